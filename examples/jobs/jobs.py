#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""jobs: asynchronous work.

    jobs.py URL submit [--count N] [--rounds N] TEXT    prints the ids of new jobs
    jobs.py URL worker [--lease SECONDS]                does jobs until it is ended
    jobs.py URL status                                  how many are waiting, being done, done
    jobs.py URL result ID                               prints a result

In the store:

    queue/job/ID      what to do; made by a create-only PUT, deleted when the result is there
    queue/lease/ID    a worker is at it; ends by its TTL unless the worker renews it
    result/ID         made by a create-only PUT: the first result stays, a second one is never written
"""
import argparse
import contextlib
import hashlib
import json
import os
import random
import secrets
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from sherd import Store, Unavailable  # noqa: E402

JOB, LEASE, RESULT = "queue/job/", "queue/lease/", "result/"


def work(job):
    """What takes its time, and may be begun more than once."""
    digest = job["text"].encode()
    for _ in range(job["rounds"]):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


def submit(store, text, rounds):
    """The id of a new job, when it is stored. Ids sort by time, so the queue lists the oldest first."""
    ident = "%013d-%s" % (time.time_ns() // 1000000, secrets.token_hex(8))
    store.create(JOB + ident, json.dumps({"text": text, "rounds": rounds}).encode())
    return ident


class Queue:
    """The jobs that wait and the leases on them, followed by the feed."""

    def __init__(self, store):
        self.jobs = set()
        self.leases = {}  # id: when it ends, seconds since 1970
        self.changed = threading.Condition()
        threading.Thread(target=self._follow, args=(store,), daemon=True).start()

    def _follow(self, store):
        # From 0: what is there already comes first.
        for event in store.changes("queue/", since="0"):
            with self.changed:
                self._take(event)
                self.changed.notify()

    def _take(self, event):
        if event["event"] == "restart":
            self.jobs.clear()
            self.leases.clear()
        elif event["event"] != "progress":
            put = event["event"] == "put"
            if event["key"].startswith(JOB):
                (self.jobs.add if put else self.jobs.discard)(event["key"][len(JOB):])
            elif event["key"].startswith(LEASE):
                ident = event["key"][len(LEASE):]
                self.leases.pop(ident, None)
                if put:
                    self.leases[ident] = event["expires"] / 1000

    def next(self):
        """Waits for a job on which there is no lease: one of the oldest, lest all workers want the same."""
        with self.changed:
            while True:
                now = time.time()
                free = sorted(ident for ident in self.jobs if self.leases.get(ident, 0) <= now)
                if free:
                    return random.choice(free[:8])
                # That a lease ran out is no event: wait for a change, or until the first one ends.
                ends = [end for ident, end in self.leases.items() if ident in self.jobs]
                self.changed.wait(min(ends) - now if ends else None)

    def avoid(self, ident, seconds):
        """Somebody else is at it; the feed will say more."""
        with self.changed:
            self.leases[ident] = max(self.leases.get(ident, 0), time.time() + seconds)

    def forget(self, ident):
        with self.changed:
            self.jobs.discard(ident)


class Lease:
    """Keeps others off a job while its worker lives. It only saves work: what keeps a result from being written twice
    is the create-only PUT. `version` grows with every lease on a job, so it is a fencing token for whatever else the
    work changes."""

    def __init__(self, store, ident, seconds, owner):
        self.store, self.key, self.seconds, self.owner = store, LEASE + ident, seconds, owner
        self.version = store.create(self.key, owner, ttl=seconds)
        self.done = threading.Event()
        self.renewing = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self):
        self.renewing.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.renewing.join()
        if self.version:
            with contextlib.suppress(Unavailable):  # then it ends by itself
                self.store.delete(self.key, self.version)  # ours, not that of a successor

    def _renew(self):
        while self.version and not self.done.wait(self.seconds / 3):
            with contextlib.suppress(Unavailable):
                self.version = self.store.replace(self.key, self.owner, self.version, ttl=self.seconds)


def worker(store, seconds):
    queue = Queue(store)
    while True:
        ident = queue.next()
        try:
            done = do(store, ident, seconds)
        except Unavailable as problem:  # the job is still there, for whoever comes next
            print(problem, file=sys.stderr)
            done = False
        if done:
            queue.forget(ident)
        else:
            queue.avoid(ident, 1)


def do(store, ident, seconds):
    """Whether the job has its result now. We may die behind every line: whoever comes next begins at the top."""
    lease = Lease(store, ident, seconds, secrets.token_bytes(16))
    if not lease.version:
        return False
    with lease:
        job = store.get(JOB + ident, certain=True)
        if not job:
            return True  # done, while we were about to begin
        if not store.get(RESULT + ident):  # else somebody died between the result and the deletion
            result = {"result": work(json.loads(job.value)), "worker": os.getpid(), "fence": lease.version}
            if store.create(RESULT + ident, json.dumps(result).encode()) is None:
                print("%s: another worker was faster" % ident, file=sys.stderr)
        store.delete(JOB + ident)
    return True


def status(store):
    jobs = set(store.keys(JOB))
    leases = {key[len(LEASE):] for key in store.keys(LEASE)}
    doing = sum(key[len(JOB):] in leases for key in jobs)
    return {"waiting": len(jobs) - doing, "doing": doing, "done": sum(1 for _ in store.keys(RESULT))}


def arguments():
    parser = argparse.ArgumentParser(description="asynchronous work")
    parser.add_argument("url")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("submit")
    verb.add_argument("--count", type=int, default=1)
    verb.add_argument("--rounds", type=int, default=100000)
    verb.add_argument("text")
    verb = verbs.add_parser("worker")
    verb.add_argument("--lease", type=int, default=5)
    verbs.add_parser("status")
    verb = verbs.add_parser("result")
    verb.add_argument("id")
    return parser.parse_args()


def main():
    given = arguments()
    store = Store(given.url)
    if given.verb == "submit":
        for number in range(given.count):
            print(submit(store, "%s %d" % (given.text, number) if number else given.text, given.rounds))
    elif given.verb == "worker":
        worker(store, given.lease)
    elif given.verb == "status":
        print(json.dumps(status(store)))
    else:
        pair = store.get(RESULT + given.id)
        print(pair.value.decode() if pair else sys.exit("no result yet"))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

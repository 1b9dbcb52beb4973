# SPDX-License-Identifier: MIT
"""The job queue: workers die, or are too slow, and every job is done, each result written once."""
import collections
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import unittest

from common import EXAMPLES, SLACK, StackTest, Store, load, wait_until

run = load("jobs", "run")
jobs = load("jobs", "jobs.py")

JOBS, WORKERS, KILLS, ROUNDS, LEASE = 200, 4, 12, 60000, 2
LONG_ROUNDS = 6000000  # longer than a lease


def digest_of(text, rounds):
    digest = text.encode()
    for _ in range(rounds):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


def entry_keys(entry):
    """The keys of a batch, each behind its length and = or -."""
    while entry:
        head = re.match("([0-9]+)[=-]", entry)
        end = head.end() + int(head.group(1))
        yield entry[head.end():end]
        entry = entry[end:]


class Jobs(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.url = "http://127.0.0.1:%d" % cls.stack.daemon(1).port
        cls.store = Store(cls.url)

    def command(self, *words):
        return subprocess.run([sys.executable, os.path.join(EXAMPLES, "jobs", "jobs.py"), self.url, *map(str, words)],
                              check=True, capture_output=True, text=True).stdout

    def worker(self, name):
        program = run.start_worker(self.stack, self.url, name, LEASE)
        self.addCleanup(program.stop)
        return program

    def times_written(self, prefix):
        """{id: how often its key was put}: the change logs know, and mark what one partition took from another."""
        counts = collections.Counter()
        for node in range(1, self.stack.partitions + 1):
            for (entry,) in self.sql(node, "SELECT ks FROM changes WHERE op = 1"):
                counts.update(key[len(prefix):] for key in entry_keys(entry) if key.startswith(prefix))
        return counts

    def done(self):
        return {key[len(jobs.RESULT):] for key in self.store.keys(jobs.RESULT)}

    def test_every_job_is_done_and_each_result_written_once_though_workers_are_killed(self):
        workers = [self.worker("killed-%d" % number) for number in range(WORKERS)]
        ids = self.command("submit", "--count", JOBS, "--rounds", ROUNDS, "job").split()
        self.assertEqual(JOBS, len(set(ids)))

        seed = time.time_ns()
        chance, killed, deadline = random.Random(seed), 0, time.monotonic() + 40 * SLACK
        while (done := len(self.done() & set(ids))) < JOBS:
            self.assertLess(time.monotonic(), deadline, "%d of %d done; seed %d" % (done, JOBS, seed))
            if killed < KILLS and done >= killed * JOBS // KILLS:
                victim = chance.choice(workers)
                victim.kill()
                victim.start()
                killed += 1
        self.assertEqual(KILLS, killed)
        wait_until(lambda: not list(self.store.keys("queue/")), 10, "nothing is left in the queue")

        for number, ident in enumerate(ids):
            text = "job %d" % number if number else "job"
            self.assertEqual(digest_of(text, ROUNDS), json.loads(self.store.get(jobs.RESULT + ident).value)["result"])
        written = self.times_written(jobs.RESULT)
        self.assertEqual({ident: 1 for ident in ids}, {ident: written[ident] for ident in ids})
        leases = self.times_written(jobs.LEASE)
        print("%d jobs, %d kills: %d jobs were leased again" % (JOBS, killed, sum(leases[ident] > 1 for ident in ids)))

    def test_a_worker_that_lost_its_lease_does_not_write_a_second_result(self):
        slow = self.worker("slow")
        ident = self.command("submit", "--rounds", LONG_ROUNDS, "long").strip()
        first = wait_until(lambda: self.store.get(jobs.LEASE + ident), 10, "a lease")
        wait_until(lambda: self.store.get(jobs.LEASE + ident) not in (None, first), 10, "a renewed lease")
        slow.process.send_signal(signal.SIGSTOP)
        self.addCleanup(slow.process.send_signal, signal.SIGCONT)

        self.worker("fast")
        result = wait_until(lambda: self.store.get(jobs.RESULT + ident), 30, "a result")
        slow.process.send_signal(signal.SIGCONT)
        wait_until(lambda: ident + ": another worker was faster" in self.log(slow), 30, "the slow worker's end")
        self.assertEqual(result, self.store.get(jobs.RESULT + ident))
        self.assertEqual(1, self.times_written(jobs.RESULT)[ident])
        self.assertEqual({"waiting": 0, "doing": 0}, {name: count for name, count in json.loads(
            self.command("status")).items() if name != "done"})


if __name__ == "__main__":
    unittest.main()

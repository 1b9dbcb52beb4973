# SPDX-License-Identifier: MIT
"""The clients: each a thread with one kept connection to one clone, and a sequence of operations that its seed gives.

70 of 100 operations read, 25 put, 5 delete. Every value is unique. A client whose request fails goes on with the next
operation at the next clone; it never sends a value again, so that each value has one outcome.
"""
import random
import sys
import threading
import time
import traceback

from history import REFUSED, UNKNOWN, UNSEEN, value_bytes, value_id

from harness import key_path
from wire import Ended, Malformed, Wire

HOT_KEYS = 12        # of those below, each the target of many clients
KEYS = 400
SHARED_KEYS = 30
SQL_KEYS = 20
RACES_A_SECOND = 3
ANSWER_SECONDS = 6   # then the outcome is unknown
THINK_SECONDS = 0.03


class Client(threading.Thread):
    """`clones`: objects with `name` (which changes when the process does) and `port` (None while it is away)."""

    def __init__(self, number, seed, clones, history, problems):
        super().__init__(name="client-%d" % number, daemon=True)
        self.number, self.clones, self.history, self.problems = number, clones, history, problems
        self.random = random.Random("%s/%d" % (seed, number))
        self.at = number % len(clones)
        self.wire = self.clone = None
        self.count = 0
        self.seen = {}  # key -> version last seen here
        self.stopping = threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
                self.stopping.wait(self.random.expovariate(1 / THINK_SECONDS))
        except Exception:  # the harness itself is broken: that is a failure of the run, not of a client
            self.problems.append("%s: %s" % (self.name, traceback.format_exc()))
        finally:
            self.hang_up()

    def hang_up(self):
        if self.wire:
            self.wire.close()
        self.wire = None

    def step(self):
        choice, key, chance = self.random.random(), self.key(), self.random.random()
        if choice < 0.70:
            self.read(key, chance)
        elif choice < 0.93:
            self.put(key, chance)
        elif choice < 0.95:
            self.create()
        else:
            self.write("delete", key, "DELETE")

    def key(self):
        choice = self.random.random()
        if choice < 0.30:
            return "h/%d" % self.random.randrange(HOT_KEYS)
        if choice < 0.90:
            return "h/%d" % self.random.randrange(HOT_KEYS, KEYS)
        return "s/%d" % self.random.randrange(SHARED_KEYS)

    # -- operations

    def read(self, key, chance):
        if chance < 0.03:
            key = "r/%d.1/%d" % (self.random.randrange(1, 4), self.random.randrange(SQL_KEYS))
        if chance > 0.97:
            return self.send("quorum", key, "GET", "?read=quorum", status_of_read)
        known = self.seen.get(key)
        headers = {"If-None-Match": '"%d"' % known} if known and chance > 0.80 else {}
        return self.send("get", key, "GET", "", status_of_read, headers=headers)

    def put(self, key, chance):
        known = self.seen.get(key)
        if known and chance > 0.85:
            self.write("cas", key, "PUT", {"If-Match": '"%d"' % known}, base=known)
        else:
            self.write("put", key, "PUT")

    def create(self):
        race = int(time.monotonic() * RACES_A_SECOND)
        self.write("create", "c/%d" % race, "PUT", {"If-None-Match": "*"})

    def write(self, kind, key, method, headers=None, base=None):
        value = None
        if method == "PUT":
            self.count += 1
            value = "c%d-%d" % (self.number, self.count)
        self.send(kind, key, method, "", status_of_write, headers=headers, value=value, base=base)

    # -- the connection

    def send(self, kind, key, method, query, take, headers=None, value=None, base=None):
        if not self.connect():
            return
        fields = {"kind": kind, "client": self.number, "clone": self.clone, "key": key, "value": value, "base": base,
                  "begin": time.monotonic_ns()}
        answer = None
        try:
            answer = self.wire.request(method, key_path(key) + query, value_bytes(value) if value else None, headers)
            fields.update(take(answer))
        except Malformed as error:
            self.problems.append("malformed answer: %s" % error)
            answer = None
        except (Ended, OSError):
            answer = None
        if answer is None:
            fields["status"] = UNKNOWN
        done = self.history.add(end=time.monotonic_ns(), **fields)
        self.learn(key, done)
        if answer is None or answer.closes or answer.status in (503, 504):
            self.turn_to_next()

    def learn(self, key, done):
        if done.version and done.outcome() != REFUSED:
            self.seen[key] = done.version
        elif done.status == 404:
            self.seen.pop(key, None)

    def connect(self):
        if self.wire:
            return True
        clone = self.clones[self.at]
        self.clone = clone.name
        try:
            self.wire = Wire(clone.port, ANSWER_SECONDS) if clone.port else None
        except OSError:
            self.wire = None
        if not self.wire:
            self.turn_to_next()
        return bool(self.wire)

    def turn_to_next(self):
        self.hang_up()
        self.at = (self.at + 1) % len(self.clones)


def status_of_write(answer):
    fields = common(answer)
    if not 200 <= answer.status < 300:
        fields["version"] = None
    return fields


def status_of_read(answer):
    fields = common(answer)
    if answer.status == 200:
        fields["read"] = value_id(answer.body)
    elif answer.status == 304:
        fields["read"] = UNSEEN
    if answer.status not in (200, 304):
        fields["version"] = None
    return fields


def common(answer):
    tag, partition = answer.header("ETag"), answer.header("Sherd-Partition")
    return {"status": answer.status, "version": int(tag.strip('"')) if tag else None,
            "partition": int(partition) if partition else None, "stale": answer.header("Sherd-Stale"),
            "acks": answer.header("Sherd-Acks")}


class Load:
    """All clients."""

    def __init__(self, count, seed, clones, history, problems):
        sys.setswitchinterval(0.001)
        self.clients = [Client(n, seed, clones, history, problems) for n in range(count)]

    def start(self):
        for client in self.clients:
            client.start()

    def stop(self):
        for client in self.clients:
            client.stopping.set()
        for client in self.clients:
            client.join(ANSWER_SECONDS * 2 + 5)

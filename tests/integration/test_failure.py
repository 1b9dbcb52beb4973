# SPDX-License-Identifier: MIT
"""Partitions that die, hang or hold locks: what is answered, what is lost (nothing), who notices (nobody else). Each
key has one owner here: what the others take over is for test_failover.py."""
import threading
import time
import unittest

from harness import SLACK, Server, SherdTest, Transaction, wait_until
from wire import Ended

TIMEOUT = 1.0
BACK = 2.0  # seconds until a partition that answers again is used again


class Answer:
    def __init__(self, status, seconds, began, retry_after=None):
        self.status, self.seconds, self.began, self.retry_after = status, seconds, began, retry_after


class Writer(threading.Thread):
    """Writes ever new values to keys of one partition, one request after the other on one connection, and remembers
    for each key which values it may have now: the last one acknowledged, and those with an unknown outcome since."""

    def __init__(self, server, keys):
        super().__init__()
        self.server, self.keys = server, keys
        self.stopping = threading.Event()
        self.answers = []
        self.possible = {key: {b"first"} for key in keys}
        self.error = None

    def run(self):
        try:
            with self.server.wire() as wire:
                turn = 0
                while not self.stopping.is_set():
                    self.write(wire, self.keys[turn % len(self.keys)], b"value %d" % turn)
                    turn += 1
        except BaseException as error:  # told by finish
            self.error = error

    def write(self, wire, key, value):
        began = time.monotonic()
        answer = wire.request("PUT", "/keys/" + key, value)
        self.answers.append(Answer(answer.status, time.monotonic() - began, began, answer.header("Retry-After")))
        if answer.status in (201, 204):
            self.possible[key] = {value}
        elif answer.status == 504:
            self.possible[key].add(value)

    def finish(self):
        self.stopping.set()
        self.join(30)
        if self.error:
            raise self.error
        return self.answers


class FailureTest(SherdTest):
    partitions = 2
    config = {"store": {"timeout": "1s", "replicas": 1}}

    def setUp(self):
        wait_until(self.server.all_up, 5, "all partitions up")
        self.keys = {n: self.server.keys_on(n, 10, self.id().split(".")[-1] + "-%d" % n) for n in (1, 2)}
        self.addCleanup(self.nodes.start)

    def status(self, key, method="GET"):
        return self.server.request(method, "/keys/" + key, b"probe" if method == "PUT" else None).status

    def start_writers(self):
        writers = [Writer(self.server, keys[i::3]) for n, keys in self.keys.items() for i in range(3)]
        for writer in writers:
            self.addCleanup(writer.stopping.set)
            writer.start()
        return [w for w in writers if w.keys[0] in self.keys[1]], [w for w in writers if w.keys[0] in self.keys[2]]

    def check_values(self, writers):
        for writer in writers:
            for key, possible in writer.possible.items():
                self.assertIn(self.value(key), possible, key)

    def wait_back(self, partition):
        """Every thread uses the partition again; fails if that takes longer than promised."""
        key = self.keys[partition][0]
        wait_until(lambda: all(self.status(key) == 200 for _ in range(20)), BACK, "partition %d back" % partition)


class Killed(FailureTest):
    def test_a_killed_partition_loses_nothing_and_harms_no_other(self):
        others, dead = self.start_writers()
        wait_until(lambda: all(len(w.answers) > 20 for w in others + dead), 10, "load")
        self.nodes.kill(2)
        known = wait_until(lambda: self.since_first_503(dead, 200), 10, "200 answers 503")
        self.nodes.start(2)
        up = time.monotonic()
        wait_until(lambda: all(w.answers[-1].status == 204 for w in dead), BACK, "writes to partition 2")
        wait_until(lambda: self.answers_since(dead, up) > 100, 10, "load")
        for writer in others:
            self.assertEqual({204}, {answer.status for answer in writer.finish()})
        self.wait_back(2)
        for writer in dead:
            self.assertLessEqual({a.status for a in writer.finish()}, {204, 503, 504})
        self.check_fast(known)
        self.check_values(others + dead)

    def since_first_503(self, writers, count):
        """`count` answers from the third 503 of each on, when there are so many."""
        answers = []
        for writer in writers:
            refused = [answer for answer in list(writer.answers) if answer.status == 503]
            answers += refused[3:]
        return answers if len(answers) >= count else None

    def answers_since(self, writers, when):
        return sum(1 for w in writers for a in list(w.answers) if a.began > when and a.status == 204)

    def check_fast(self, refused):
        times = sorted(answer.seconds for answer in refused)
        self.assertLess(times[len(times) * 95 // 100], 0.05 * SLACK)
        self.assertTrue(all(int(answer.retry_after) > 0 for answer in refused))

    def test_a_write_that_was_503_never_happens(self):
        self.nodes.kill(2)
        wait_until(lambda: self.status(self.keys[2][0]) == 503, 5, "503")
        for key in self.keys[2]:
            self.check(self.server.put(key, b"never"), 503)
            self.check(self.server.delete(key), 503)
            self.check(self.server.get(key), 503)
        for key in self.keys[1]:
            self.check(self.server.put(key, b"second"), 204)
        self.nodes.start(2)
        self.wait_back(2)
        for key in self.keys[2]:
            self.assertEqual(b"first", self.value(key))

    def test_a_bulk_goes_on_with_the_partitions_that_are_there(self):
        self.nodes.kill(2)
        wait_until(lambda: self.status(self.keys[2][0]) == 503, 5, "503")
        keys = [key for pair in zip(self.keys[1], self.keys[2]) for key in pair]
        body = "".join('{"op":"put","key":"%s","value":"v"}\n' % key for key in keys)
        answer = self.check(self.server.request("POST", "/bulk", body), 200)
        self.assertEqual([204, 503] * 10, [line["status"] for line in answer.lines()])

    def test_pipelined_answers_of_both_partitions_keep_their_order(self):
        self.nodes.kill(2)
        wait_until(lambda: self.status(self.keys[2][0]) == 503, 5, "503")
        with self.server.wire() as wire:
            for one, two in zip(self.keys[1], self.keys[2]):
                wire.send(b"GET /keys/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % one.encode())
                wire.send(b"GET /keys/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % two.encode())
            self.assertEqual([200, 503] * 10, [wire.response().status for _ in range(20)])

    def test_both_partitions_dead_then_back(self):
        for node in (1, 2):
            self.nodes.kill(node)
        for node in (1, 2):
            wait_until(lambda node=node: self.status(self.keys[node][0]) == 503, 5, "503")
        self.check(self.server.request("GET", "/livez"), 200)
        self.check(self.server.request("GET", "/readyz"), 503)
        self.nodes.start()
        for node in (1, 2):
            self.wait_back(node)
        self.check(self.server.request("GET", "/readyz"), 200)

    def test_a_node_shut_down_in_good_order_is_the_same(self):
        others, dead = self.start_writers()
        wait_until(lambda: all(len(w.answers) > 20 for w in others + dead), 10, "load")
        self.nodes.stop(2)
        wait_until(lambda: self.since_first_503(dead, 50), 10, "503")
        self.nodes.start(2)
        self.wait_back(2)
        for writer in others:
            self.assertEqual({204}, {answer.status for answer in writer.finish()})
        for writer in dead:
            writer.finish()
        self.check_values(others + dead)


class Cut(FailureTest):
    """The server's connections are ended one after the other, while clients open theirs."""

    def test_every_client_that_connects_meanwhile_is_answered(self):
        """A descriptor that the client library has closed may be a client's a moment later."""
        stopping = threading.Event()
        clients = [threading.Thread(target=self.connect, args=(n, stopping)) for n in range(8)]
        self.addCleanup(stopping.set)
        self.ended = []
        for client in clients:
            client.start()
        for _ in range(200):
            self.nodes.sql(2, "KILL USER sherd")
        stopping.set()
        for client in clients:
            client.join()
        self.assertEqual([], self.ended)
        self.wait_back(2)

    def connect(self, n, stopping):
        key = self.keys[2][n]
        while not stopping.is_set():
            try:
                self.status(key, "GET" if n % 2 else "PUT")
            except Ended as error:
                self.ended.append(error)
                return


class Frozen(FailureTest):
    """SIGSTOP: the node accepts connections and says nothing."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self.nodes.thaw, 2)

    def timed(self, key, method):
        began = time.monotonic()
        status = self.status(key, method)
        return status, time.monotonic() - began

    def test_every_request_is_answered_in_time(self):
        others, frozen = self.start_writers()
        wait_until(lambda: all(len(w.answers) > 20 for w in others + frozen), 10, "load")
        self.nodes.freeze(2)
        frozen_at = time.monotonic()
        wait_until(lambda: self.after(frozen, frozen_at, 503), 10, "503")
        for method in ("GET", "PUT", "GET"):
            status, seconds = self.timed(self.keys[2][0], method)
            self.assertIn(status, (503, 504))
            self.assertLess(seconds, (2 * TIMEOUT + 0.5) * SLACK)
        self.nodes.thaw(2)
        self.wait_back(2)
        wait_until(lambda: all(w.answers[-1].status == 204 for w in frozen), BACK, "writes to partition 2")
        for writer in others:
            answers = writer.finish()
            self.assertEqual({204}, {answer.status for answer in answers})
        for writer in frozen:
            answers = writer.finish()
            self.assertLessEqual({a.status for a in answers}, {204, 503, 504})
            self.assertLess(max(a.seconds for a in answers), (2 * TIMEOUT + 0.5) * SLACK)
        self.frozen_keys_differ(frozen)
        self.check_values(others + frozen)

    def frozen_keys_differ(self, writers):
        """The probe above wrote to a key of a writer; its outcome is open too."""
        for writer in writers:
            if self.keys[2][0] in writer.possible:
                writer.possible[self.keys[2][0]].add(b"probe")

    def after(self, writers, when, status):
        return any(a.status == status and a.began > when for w in writers for a in list(w.answers))

    def test_reads_are_503_and_never_504(self):
        self.nodes.freeze(2)
        for _ in range(5):
            status, seconds = self.timed(self.keys[2][0], "GET")
            self.assertEqual(503, status)
            self.assertLess(seconds, (2 * TIMEOUT + 0.5) * SLACK)
        self.nodes.thaw(2)
        self.wait_back(2)

    def test_a_write_that_was_503_never_happens(self):
        self.nodes.freeze(2)
        possible = {}
        for key in self.keys[2]:
            answer = self.check(self.server.put(key, b"frozen"), 503, 504)
            possible[key] = {b"first"} | ({b"frozen"} if answer.status == 504 else set())
        self.nodes.thaw(2)
        self.wait_back(2)
        for key in self.keys[2]:
            self.assertIn(self.value(key), possible[key])

    def test_a_list_is_answered_too(self):
        self.nodes.freeze(2)
        began = time.monotonic()
        with self.server.wire() as wire:
            wire.send(b"GET /keys?limit=5 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.check(wire.response(), 503)
        self.assertLess(time.monotonic() - began, (2 * TIMEOUT + 0.5) * SLACK)
        self.nodes.thaw(2)
        self.wait_back(2)
        wait_until(lambda: self.server.request("GET", "/keys?limit=5").status == 200, BACK, "lists")

    def test_a_stream_that_loses_a_partition_does_not_look_complete(self):
        for n in (1, 2):
            for i in range(10):
                self.put("stream/%d/%d" % (n, i), b"v")
        self.nodes.freeze(2)
        with self.server.wire() as wire:
            wire.send(b"GET /keys HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n")
            try:
                self.check(wire.response(), 503)
            except Ended:
                pass  # cut off before the last chunk: as good
        self.nodes.thaw(2)
        self.wait_back(2)

    def test_a_short_pause_is_only_slow(self):
        """Frozen for less than the timeout, nothing fails."""
        self.nodes.freeze(2)
        thaw = threading.Timer(0.3, self.nodes.thaw, [2])
        thaw.start()
        self.addCleanup(thaw.join)
        self.check(self.server.put(self.keys[2][0], b"slow"), 204)
        self.assertEqual(b"slow", self.value(self.keys[2][0]))


class Locked(FailureTest):
    """A transaction of another SQL client holds a row."""

    # Locks are waited for in whole seconds: half of it, at least one.
    config = {"store": {"timeout": "2s", "replicas": 1}}

    def setUp(self):
        super().setUp()
        self.locked = self.keys[2][0]
        self.transaction = Transaction(self.nodes, 2)
        self.addCleanup(self.transaction.end)
        self.transaction.run("BEGIN; UPDATE pairs SET v = 'locked' WHERE k = '%s'" % self.locked)

    def test_only_the_locked_key_waits(self):
        holder = Writer(self.server, [self.locked])
        self.addCleanup(holder.stopping.set)
        holder.start()
        for _ in range(5):
            for key in self.keys[2][1:] + self.keys[1]:
                self.check(self.server.put(key, b"second"), 204)
        wait_until(lambda: len(holder.answers) >= 2, 10, "answers for the locked key")
        self.assertEqual({503}, {answer.status for answer in holder.finish()})
        self.assertLess(max(a.seconds for a in holder.answers), (2 * 2 * TIMEOUT + 0.5) * SLACK)
        self.assertEqual(b"first", self.value(self.locked))
        self.transaction.run("ROLLBACK")
        wait_until(lambda: self.server.put(self.locked, b"later").status == 204, BACK, "the lock's end")
        self.assertEqual(b"later", self.value(self.locked))

    def test_a_batch_with_the_locked_key_writes_the_others(self):
        with self.server.wire() as locked:
            locked.send(b"PUT /keys/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nv" % self.locked.encode())
            wires = [self.server.wire() for _ in self.keys[2][1:]]
            for wire, key in zip(wires, self.keys[2][1:]):
                self.addCleanup(wire.close)
                wire.send(b"PUT /keys/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nv" % key.encode())
            self.assertEqual([204] * len(wires), [wire.response().status for wire in wires])
            self.check(locked.response(), 503)

    def test_a_lock_given_up_in_time_is_only_slow(self):
        server = Server(self.nodes, self.config, self.partitions)  # one that has seen no lock held for long
        self.addCleanup(server.discard)
        server.start()
        with server.wire() as wire:
            wire.send(b"PUT /keys/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nv" % self.locked.encode())
            self.assertFalse(wire.receive(0.2))
            self.transaction.run("COMMIT")
            self.check(wire.response(), 204)
        self.assertEqual(b"v", self.value(self.locked))

    def test_for_a_while_after_a_lock_held_for_long_nobody_waits_for_one(self):
        self.check(self.server.put(self.locked, b"waits"), 503)
        self.check(self.server.put(self.locked, b"does not wait"), 503)
        wait_until(lambda: self.server.put(self.keys[2][1], b"free").status == 204, BACK, "a key that is not locked")

    def test_a_locked_key_can_be_read(self):
        self.assertEqual(b"first", self.value(self.locked))
        self.transaction.run("COMMIT")
        self.assertEqual(b"locked", self.value(self.locked))

    def test_a_locked_table_is_answered_in_time(self):
        self.transaction.run("COMMIT; LOCK TABLES pairs WRITE, changes WRITE")
        for method in ("PUT", "GET"):
            began = time.monotonic()
            self.assertIn(self.status(self.keys[2][1], method), (503, 504))
            self.assertLess(time.monotonic() - began, (2 * 2 * TIMEOUT + 0.5) * SLACK)
        self.check(self.server.put(self.keys[1][0], b"v"), 204)
        self.transaction.run("UNLOCK TABLES")
        wait_until(lambda: self.status(self.keys[2][1], "PUT") == 204, BACK + 2 * TIMEOUT, "the lock's end")


class Disturbed(FailureTest):
    """A DBA ends connections under load."""

    def test_killed_connections_lose_nothing(self):
        others, disturbed = self.start_writers()
        for _ in range(5):
            count = sum(len(w.answers) for w in disturbed)
            wait_until(lambda count=count: sum(len(w.answers) for w in disturbed) > count + 100, 10, "load")
            for row in self.nodes.sql(2, "SELECT id FROM information_schema.processlist WHERE user = 'sherd'"):
                try:
                    self.nodes.sql(2, "KILL " + row[0])
                except AssertionError:
                    pass  # it had gone by itself
        wait_until(lambda: all(w.answers[-1].status == 204 for w in disturbed), BACK, "writes to partition 2")
        for writer in others:
            self.assertEqual({204}, {answer.status for answer in writer.finish()})
        for writer in disturbed:
            self.assertLessEqual({a.status for a in writer.finish()}, {204, 503, 504})
        self.check_values(others + disturbed)

    def test_killed_reads_are_repeated_or_503(self):
        key = self.keys[2][0]
        for row in self.nodes.sql(2, "SELECT id FROM information_schema.processlist WHERE user = 'sherd'"):
            self.nodes.sql(2, "KILL " + row[0])
            self.assertIn(self.status(key), (200, 503))
        self.wait_back(2)

    def test_idle_connections_that_the_server_dropped_do_not_fail_a_request(self):
        self.nodes.sql(2, "SELECT CONCAT('KILL ', id) FROM information_schema.processlist WHERE user = 'sherd'")
        for row in self.nodes.sql(2, "SELECT id FROM information_schema.processlist WHERE user = 'sherd'"):
            self.nodes.sql(2, "KILL " + row[0])
        wait_until(lambda: self.server.all_up() and self.status(self.keys[2][0], "PUT") == 204, BACK, "up")
        for key in self.keys[2]:
            self.check(self.server.put(key, b"second"), 204)


if __name__ == "__main__":
    unittest.main()

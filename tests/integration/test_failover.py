# SPDX-License-Identifier: MIT
"""Partitions go away and come back: the next owners take over, and nothing that was acknowledged is lost or comes back.

All three partitions own every key here; keys of the home 1 are the ones that need the others.
"""
import signal
import threading
import time
import unittest

from harness import SLACK, Server, SherdTest, Transaction, key_path, shared_nodes, sql_bytes, wait_until

HOME = 1
KNOWN = 1.0  # seconds until an outage, or another daemon's divert, is known
BACK = 3.0  # seconds until a partition that answers again is used again
ROW = "SELECT HEX(v), type, version, created, expires FROM pairs WHERE k = %s"


class FailoverTest(SherdTest):
    """Each test has emptied tables and a server of its own: diverts last until sync has delivered them."""

    config = {"store": {"timeout": "1s"}}

    @classmethod
    def setUpClass(cls):
        cls.nodes = shared_nodes()

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        self.addCleanup(self.nodes.start)
        self.nodes.start()
        self.nodes.truncate()
        self.server = self.start_server()

    def start_server(self, **store):
        server = Server(self.nodes, {**self.config, "store": {**self.config["store"], **store}}, self.partitions)
        self.addCleanup(server.discard)
        return server.start_up()

    def tearDown(self):
        self.server.stop()

    # ------------------------------------------------------------ partitions

    def kill(self, node=HOME, server=None):
        """A crash, and until every thread of the server knows."""
        self.nodes.signal(node, signal.SIGKILL)
        self.wait_down(node, server)

    def wait_down(self, node=HOME, server=None):
        server = server or self.server
        target = "/readyz?partition=%d" % node
        wait_until(lambda: all(server.request("GET", target).status == 503 for _ in range(20)), 5,
                   "partition %d down" % node)

    def back(self, node=None):
        self.nodes.start(node)
        wait_until(self.server.all_up, BACK, "all partitions up")

    # ------------------------------------------------------------ what lies in them

    def row(self, node, key):
        rows = self.nodes.sql(node, ROW % sql_bytes(key))
        return tuple(rows[0]) if rows else None

    def diverts(self, node):
        """{home: version of the last write that the node holds for it}"""
        rows = self.nodes.sql(node, "SELECT target, MAX(version) FROM diverts GROUP BY target")
        return {int(target): int(version) for target, version in rows}

    def apply(self, node, key, value, version, expires=0):
        """Brings a row to a node as sync does; a value of None makes a tombstone."""
        self.nodes.sql(node, "SET @sherd_purges = 1; REPLACE INTO pairs (k, v, type, version, created, expires, touched)"
                             " VALUES (%s, %s, 'text/plain', %d, %d, %d, NULL)"
                       % (sql_bytes(key), "NULL" if value is None else sql_bytes(value), version, version, expires))

    def new_version(self, node):
        rows = self.nodes.sql(node, "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) << 10")
        return int(rows[0][0])

    # ------------------------------------------------------------ what is answered

    def keys(self, count, prefix="key", home=HOME):
        return self.server.keys_on(home, count, prefix)

    def listed(self, target="/keys"):
        answer = self.check(self.server.request("GET", target, None, {"Accept": "application/x-ndjson"}), 200)
        return [line["key"] for line in answer.lines()]

    def check_listing(self, keys):
        """The list has exactly the keys that GET finds."""
        found = sorted(key for key in keys if self.check(self.server.get(key), 200, 404).status == 200)
        self.assertEqual(found, self.listed())
        pages, target = [], "/keys?limit=7"
        while target:
            page = self.check(self.server.request("GET", target), 200).json()
            pages += [item["key"] for item in page["keys"]]
            target = page.get("next")
        self.assertEqual(found, pages)

    def bulk(self, *lines):
        body = "".join(line + "\n" for line in lines)
        return self.check(self.server.request("POST", "/bulk", body), 200).lines()


class HomeKilled(FailoverTest):
    def test_everything_goes_to_the_next_owner_within_a_second(self):
        key, gone = self.keys(2)
        self.nodes.signal(HOME, signal.SIGKILL)
        began = time.monotonic()
        put = wait_until(lambda: self.answered(self.server.put(key, b"second")), 5, "a write")
        self.assertLess(time.monotonic() - began, KNOWN * SLACK)
        self.assertNotEqual(HOME, put.partition)
        got = self.check(self.server.get(key), 200)
        self.assertEqual((b"second", put.header("ETag")), (got.body, got.header("ETag")))
        self.check(self.server.delete(gone), 204)
        self.check(self.server.get(gone), 404)
        self.assertLess(time.monotonic() - began, 2 * KNOWN * SLACK)

    def answered(self, answer):
        return answer if self.check(answer, 201, 204, 503, 504).status < 300 else None

    def test_answers_say_who_gave_them_and_who_could_not_be_asked(self):
        key, none = self.keys(1)[0], "none"
        self.kill()
        put = self.check(self.server.put(key, b"second"), 201, 204)
        self.assertIn(put.partition, (2, 3))
        self.assertIsNone(put.header("Sherd-Stale"))
        self.assertIsNone(put.header("Sherd-Acks"))
        got = self.check(self.server.get(key), 200)
        self.assertEqual((put.partition, "1"), (got.partition, got.header("Sherd-Stale")))
        same = self.check(self.server.get(key, {"If-None-Match": put.header("ETag")}), 304)
        self.assertEqual("1", same.header("Sherd-Stale"))
        head = self.check(self.server.request("HEAD", key_path(key)), 200)
        self.assertEqual(("1", "6"), (head.header("Sherd-Stale"), head.header("Content-Length")))
        while self.server.get(none).header("Sherd-Stale") is None:
            none += "!"  # until it is one of the home that is away
        self.check(self.server.get(none), 404)

    def test_the_divert_is_recorded_before_the_answer(self):
        key = self.keys(1)[0]
        self.kill()
        for method, value in (("PUT", b"v"), ("DELETE", None), ("PUT", b"w")):
            answer = self.check(self.server.request(method, key_path(key), value), 201, 204)
            self.assertGreaterEqual(self.diverts(answer.partition).get(HOME, 0), int(answer.version_tag))
            self.assertEqual(answer.version_tag, self.row(answer.partition, key)[2])

    def test_no_divert_is_recorded_for_keys_whose_home_is_there(self):
        others = self.keys(5, "other", 2) + self.keys(5, "other", 3)
        self.kill()
        for key in others:
            answer = self.check(self.server.put(key, b"second"), 204)
            self.assertIsNone(self.check(self.server.get(key), 200).header("Sherd-Stale"))
            self.assertEqual({}, self.diverts(answer.partition))

    def test_a_bulk_goes_on_without_a_gap(self):
        keys = self.keys(20) + self.keys(20, "other", 2)
        self.kill()
        puts = self.bulk(*('{"op":"put","key":"%s","value":"bulk"}' % key for key in keys))
        self.assertLessEqual({line["status"] for line in puts}, {201, 204})
        gets = self.bulk(*('{"op":"get","key":"%s"}' % key for key in keys))
        self.assertEqual([("bulk", put["version"]) for put in puts], [(g["value"], g["version"]) for g in gets])
        self.assertEqual([[1]] * 20 + [None] * 20, [line.get("stale") for line in gets])
        deletes = self.bulk(*('{"op":"delete","key":"%s"}' % key for key in keys))
        self.assertEqual({204}, {line["status"] for line in deletes})

    def test_back_again_the_newest_is_read_and_the_home_repaired(self):
        keys = self.keys(10)
        self.kill()
        for key in keys:
            answer = self.check(self.server.put(key, b"second " + key.encode(), {"Content-Type": "text/x-second",
                                                                                "X-TTL": "1000"}), 201, 204)
        self.back(HOME)
        for key in keys:
            got = self.check(self.server.get(key), 200)
            self.assertEqual((b"second " + key.encode(), "text/x-second"), (got.body, got.header("Content-Type")))
            self.assertIsNone(got.header("Sherd-Stale"))
            wait_until(lambda key=key: self.row(HOME, key) == self.row(answer.partition, key) or
                       self.row(HOME, key) in (self.row(2, key), self.row(3, key)), 2, "%s at home" % key)
            self.assertEqual(got.version_tag, self.row(HOME, key)[2])

    def test_a_diverted_deletion_stays_deleted(self):
        keys = self.keys(10)
        self.kill()
        for key in keys:
            self.check(self.server.delete(key), 204)
            self.check(self.server.get(key), 404)
        self.back(HOME)
        for key in keys:
            for _ in range(5):
                self.assertIsNone(self.check(self.server.get(key), 404).header("Sherd-Stale"))
            wait_until(lambda key=key: self.row(HOME, key)[0] == "NULL", 2, "a tombstone at home")
        self.assertEqual([], [key for key in self.listed() if key in keys])

    def test_writes_of_one_client_are_ordered_through_it_all(self):
        key = self.keys(1)[0]
        versions = []

        def put(value):
            versions.append(int(self.check(self.server.put(key, value), 201, 204).version_tag))
        put(b"at home")
        self.kill()
        put(b"diverted")
        put(b"diverted again")
        self.back(HOME)
        put(b"at home again")
        self.assertEqual(b"at home again", self.value(key))
        self.kill()
        put(b"diverted at last")
        self.back(HOME)
        self.assertEqual(b"diverted at last", self.value(key))
        self.assertEqual(sorted(set(versions)), versions)

    def test_conditional_writes_are_refused_without_the_home(self):
        key = self.keys(1)[0]
        tag = self.server.get(key).header("ETag")
        self.kill()
        for condition in ({"If-Match": tag}, {"If-Match": "*"}, {"If-None-Match": "*"}, {"If-None-Match": tag}):
            for method in ("PUT", "DELETE"):
                if method == "DELETE" and "If-None-Match" in condition:
                    continue
                answer = self.check(self.server.request(method, key_path(key), b"never", condition), 503)
                self.assertGreater(int(answer.header("Retry-After")), 0)
        self.assertEqual({}, {**self.diverts(2), **self.diverts(3)})
        self.back(HOME)
        self.assertEqual((b"first", tag), (self.value(key), self.server.get(key).header("ETag")))

    def test_conditions_are_tested_on_the_newest_row_afterwards(self):
        old, new, deleted, fresh = self.keys(4)
        before = self.server.get(old).header("ETag")
        self.kill()
        tags = {key: self.check(self.server.put(key, b"diverted"), 201, 204).header("ETag") for key in (old, new)}
        self.check(self.server.delete(deleted), 204)
        created = self.a_new_key()
        self.back(HOME)
        self.check(self.server.put(old, b"never", {"If-Match": before}), 412)
        self.check(self.server.put(old, b"matched", {"If-Match": tags[old]}), 204)
        self.assertEqual(b"matched", self.value(old))
        self.check(self.server.put(new, b"never", {"If-None-Match": tags[new]}), 412)
        self.check(self.server.delete(new, {"If-Match": tags[new]}), 204)
        self.check(self.server.get(new), 404)
        self.check(self.server.put(created, b"never", {"If-None-Match": "*"}), 412)
        self.check(self.server.put(deleted, b"never", {"If-Match": "*"}), 412)
        self.check(self.server.put(deleted, b"born again", {"If-None-Match": "*"}), 201)
        self.check(self.server.put(fresh, b"second", {"If-Match": "*"}), 204)

    def a_new_key(self):
        """Stores a key of the home that is away, which only its taker has then."""
        for i in range(100):
            key = "new-%d" % i
            answer = self.check(self.server.put(key, b"diverted"), 201)
            if self.diverts(answer.partition).get(HOME, 0) == int(answer.version_tag):
                return key
        raise AssertionError("no key of partition %d" % HOME)

    def test_keys_of_other_homes_notice_nothing(self):
        others = self.keys(5, "other", 2) + self.keys(5, "other", 3)
        before = self.latencies(others)
        self.nodes.signal(HOME, signal.SIGKILL)
        during = self.latencies(others)
        self.assertLess(during[len(during) * 99 // 100], (2 * before[len(before) * 99 // 100] + 0.05) * SLACK)

    def latencies(self, keys):
        """Of a second of writes and reads, all of which must be answered well; sorted."""
        seconds = []
        with self.server.wire() as wire:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                for method, status in (("PUT", 204), ("GET", 200)):
                    began = time.monotonic()
                    self.check(wire.request(method, key_path(keys[len(seconds) % len(keys)]),
                                            b"v" if method == "PUT" else None), status)
                    seconds.append(time.monotonic() - began)
        return sorted(seconds)

    def test_two_of_three_away_the_last_one_serves_everything(self):
        keys = self.keys(5)
        self.kill(1)
        self.kill(2)
        for key in keys + ["any"]:
            self.assertEqual(3, self.check(self.server.put(key, b"last"), 201, 204).partition)
            self.assertIn("1", self.check(self.server.get(key), 200).header("Sherd-Stale") or "1")
        self.back()
        for key in keys:
            self.assertEqual(b"last", self.value(key))

    def test_none_there_everything_is_503(self):
        key = self.keys(1)[0]
        for node in (1, 2, 3):
            self.kill(node)
        for method in ("GET", "PUT", "DELETE"):
            self.check(self.server.request(method, key_path(key), b"v" if method == "PUT" else None), 503)
        self.check(self.server.request("GET", "/keys"), 503)
        self.back()
        self.assertEqual(b"first", self.value(key))

    def test_large_values_and_ranges_take_the_same_way(self):
        keys = self.keys(3)
        values = {key: bytes(range(256)) * 1024 * (i + 1) for i, key in enumerate(keys)}
        self.kill()
        for key in keys:
            self.check(self.server.put(key, values[key]), 201, 204)
            self.assertEqual(values[key], self.value(key))
        self.back(HOME)
        for key in keys:
            part = self.check(self.server.get(key, {"Range": "bytes=1000-1009"}), 206)
            self.assertEqual(values[key][1000:1010], part.body)
            head = self.check(self.server.request("HEAD", key_path(key)), 200)
            self.assertEqual(str(len(values[key])), head.header("Content-Length"))
            self.assertEqual(values[key], self.value(key))
            wait_until(lambda key=key: self.row(HOME, key) in (self.row(2, key), self.row(3, key)), 2, "the repair")

    def test_a_diverted_pair_that_has_expired_hides_the_older_one(self):
        key = self.keys(1)[0]
        self.kill()
        self.check(self.server.put(key, b"for a second", {"X-TTL": "1"}), 201, 204)
        self.back(HOME)
        wait_until(lambda: self.check(self.server.get(key), 200, 404).status == 404, 3, "the end of the pair")
        for _ in range(5):
            self.check(self.server.get(key), 404)
        self.assertNotIn(key, self.listed())
        self.check(self.server.put(key, b"never", {"If-Match": "*"}), 412)
        self.check(self.server.put(key, b"born again", {"If-None-Match": "*"}), 201)

    def test_no_compare_and_swap_is_lost_or_doubled(self):
        """Four clients add words to one value, each on the condition that it is still what it read, while its home
        dies and comes back twice."""
        key = self.keys(1)[0]
        done, unknown, stop = [], [], threading.Event()
        threads = [threading.Thread(target=self.add_words, args=(key, "w%d" % i, done, unknown, stop))
                   for i in range(4)]
        self.addCleanup(stop.set)
        for thread in threads:
            thread.start()
        for _ in range(2):
            count = len(done)
            wait_until(lambda count=count: len(done) > count + 20, 10, "words")
            self.kill()
            self.back(HOME)
        count = len(done)
        wait_until(lambda: len(done) > count + 20, 10, "words")
        stop.set()
        for thread in threads:
            thread.join(20)
        words = self.value(key).decode().split()[1:]
        self.assertEqual(len(set(words)), len(words))
        self.assertLessEqual(set(done), set(words))
        self.assertLessEqual(set(words), set(done) | set(unknown))

    def add_words(self, key, name, done, unknown, stop):
        turn = 0
        with self.server.wire() as wire:
            while not stop.is_set():
                now = wire.request("GET", key_path(key))
                if now.status != 200 or now.header("Sherd-Stale"):
                    continue
                turn += 1
                word = "%s-%d" % (name, turn)
                after = wire.request("PUT", key_path(key), now.body + b" " + word.encode(),
                                     {"If-Match": now.header("ETag")})
                if after.status == 204:
                    done.append(word)
                elif after.status == 504:
                    unknown.append(word)

    def test_without_an_owner_nothing_is_said_of_a_key(self):
        """Of two owners a key; the third partition knows nothing of it."""
        self.server.stop()
        self.nodes.truncate()  # a store of its own, for the placement would stay
        self.server = self.start_server(replicas=2)
        keys = ["key-%d" % i for i in range(30)]
        homes = {key: self.check(self.server.put(key, b"v"), 201).partition for key in keys}
        self.kill(1)
        owners = {key: {homes[key], self.check(self.server.put(key, b"w"), 201, 204).partition} for key in keys}
        self.kill(2)
        for key in keys:
            if owners[key] == {1, 2}:
                self.check(self.server.get(key), 503)
                self.check(self.server.put(key, b"never"), 503)
        self.assertIn({1, 2}, owners.values())
        self.check(self.server.request("GET", "/keys"), 503)
        self.back()
        for key in keys:
            self.assertEqual(b"w", self.value(key))

    def test_reads_at_a_lone_replica_are_marked_even_after_a_restart(self):
        """A daemon that starts cannot know what the partition that is away took for others."""
        key = self.keys(1)[0]
        self.kill()
        taker = self.check(self.server.put(key, b"second"), 201, 204).partition
        self.back(HOME)
        self.server.stop()
        self.nodes.kill(taker)
        self.server = Server(self.nodes, self.config, self.partitions)
        self.addCleanup(self.server.discard)
        self.server.start()
        self.wait_down(taker)
        answer = self.check(self.server.get(key), 200)
        if answer.body != b"second":
            self.assertEqual(str(taker), answer.header("Sherd-Stale"))
        self.check(self.server.put(key, b"never", {"If-None-Match": "*"}), 412, 503)
        self.back()


class HomeFrozen(FailoverTest):
    """SIGSTOP: the home accepts connections and says nothing."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self.nodes.thaw, HOME)

    def test_everything_is_answered_again_within_a_second(self):
        keys = self.keys(8)
        for key in keys:
            for node in (2, 3):
                self.apply(node, key, b"first", int(self.row(HOME, key)[2]))
        failed, stop = [], threading.Event()
        threads = [threading.Thread(target=self.ask, args=(keys[i], ("PUT", "GET")[i % 2], failed, stop))
                   for i in range(8)]
        for thread in threads:
            thread.start()
        self.addCleanup(stop.set)
        self.nodes.freeze(HOME)
        frozen = time.monotonic()
        wait_until(lambda: time.monotonic() > frozen + 2 or any(end > frozen + 2 for _, end, _ in failed), 5)
        stop.set()
        for thread in threads:
            thread.join(10)
        for began, ended, status in failed:
            self.assertIn(status, (503, 504))
            self.assertLess(ended - frozen, (KNOWN + 0.2) * SLACK, (began - frozen, ended - frozen, status))
        self.nodes.thaw(HOME)

    def ask(self, key, method, failed, stop):
        with self.server.wire() as wire:
            while not stop.is_set():
                began = time.monotonic()
                answer = wire.request(method, key_path(key), b"v" if method == "PUT" else None)
                if answer.status not in (200, 204, 201):
                    failed.append((began, time.monotonic(), answer.status))
                elif time.monotonic() - began > (KNOWN + 0.2) * SLACK:
                    failed.append((began, time.monotonic(), "slow %g" % (time.monotonic() - began)))

    def test_what_it_wakes_up_with_never_wins(self):
        """Writes that were under way in the frozen home are not newer than what was acknowledged elsewhere since."""
        keys = self.keys(10)
        wires = [self.server.wire() for _ in keys]
        self.nodes.freeze(HOME)
        for wire, key in zip(wires, keys):
            wire.send(b"PUT /keys/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nstale" % key.encode())
        statuses = [wire.response().status for wire in wires]
        for wire in wires:
            wire.close()
        self.assertLessEqual(set(statuses), {201, 204, 503, 504})
        for key in keys:
            self.check(self.server.put(key, b"newer"), 201, 204)
        self.nodes.thaw(HOME)
        wait_until(self.server.all_up, BACK, "all partitions up")
        for key in keys:
            for _ in range(3):
                self.assertEqual(b"newer", self.value(key))


class HomeFrozenWithALock(FailoverTest):
    """A write waits for another client's lock when the home is frozen, and goes on when it wakes up."""

    config = {"store": {"timeout": "8s"}}  # locks are waited for half as long

    def test_what_waited_for_a_lock_never_wins(self):
        key = self.keys(1)[0]
        self.addCleanup(self.nodes.thaw, HOME)
        transaction = Transaction(self.nodes, HOME)
        self.addCleanup(transaction.end)
        transaction.run("BEGIN; UPDATE pairs SET v = 'locked' WHERE k = '%s'" % key)
        with self.server.wire() as wire:
            wire.send(b"PUT /keys/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nstale" % key.encode())
            wait_until(self.is_writing, 3, "the lock wait")
            self.nodes.freeze(HOME)
            self.wait_down()
            newer = self.check(self.server.put(key, b"newer"), 201, 204)
            self.check(wire.response(), 201, 204, 504)
            wait_until(lambda: self.new_version(2) > int(newer.version_tag), 3, "the divert's time")
        self.nodes.thaw(HOME)
        transaction.end()
        wait_until(self.server.all_up, BACK, "all partitions up")
        wait_until(lambda: not self.is_writing(), 6, "the end of what waited")
        self.assertEqual("stale".encode().hex(), self.row(HOME, key)[0].lower())  # it went on, and did not win
        self.assertEqual(b"newer", self.value(key))

    def is_writing(self):
        return self.nodes.sql(HOME, "SELECT 1 FROM information_schema.processlist"
                                    " WHERE user = 'sherd' AND info LIKE '%stale%'")


class WriteAcksTwo(FailoverTest):
    partitions = 2
    config = {"store": {"timeout": "1s", "write_acks": 2}}

    def test_a_write_is_on_both_when_it_is_acknowledged(self):
        for i in range(10):
            key = "key-%d" % i
            for value, status, headers in ((b"v", 201, {"Content-Type": "text/x-a"}), (b"w", 204, {"X-TTL": "99"})):
                answer = self.check(self.server.put(key, value, headers), status)
                self.assertEqual("2/2", answer.header("Sherd-Acks"))
                self.assertEqual(self.row(1, key), self.row(2, key))
                self.assertEqual(answer.version_tag, self.row(1, key)[2])
            answer = self.check(self.server.delete(key), 204)
            self.assertEqual(("2/2", "NULL"), (answer.header("Sherd-Acks"), self.row(1, key)[0]))
            self.assertEqual(self.row(1, key), self.row(2, key))
        self.assertEqual({}, {**self.diverts(1), **self.diverts(2)})

    def test_with_one_away_it_is_202(self):
        for home in (1, 2):
            for down in (1, 2):
                with self.subTest(home=home, down=down):
                    key = self.keys(1, "key-%d-%d" % (home, down), home)[0]
                    self.kill(down)
                    for method, value in (("PUT", b"w"), ("DELETE", None)):
                        answer = self.check(self.server.request(method, key_path(key), value), 202)
                        self.assertEqual(("1/2", 3 - down), (answer.header("Sherd-Acks"), answer.partition))
                        self.assertEqual(b"", answer.body)
                    line = self.bulk('{"op":"put","key":"%s","value":"bulk"}' % key)[0]
                    self.assertEqual(202, line["status"])
                    self.back(down)
                    self.assertEqual(b"bulk", self.value(key))

    def test_conditional_writes_are_on_both_too(self):
        answer = self.check(self.server.put("key", b"v", {"If-None-Match": "*"}), 201)
        self.assertEqual("2/2", answer.header("Sherd-Acks"))
        self.check(self.server.put("key", b"w", {"If-None-Match": "*"}), 412)
        answer = self.check(self.server.put("key", b"w", {"If-Match": answer.header("ETag")}), 204)
        self.assertEqual("2/2", answer.header("Sherd-Acks"))
        self.assertEqual(self.row(1, "key"), self.row(2, "key"))

    def test_a_large_value_is_on_both_too(self):
        value = bytes(range(256)) * 1024
        self.assertEqual("2/2", self.check(self.server.put("large", value), 201).header("Sherd-Acks"))
        self.assertEqual(self.row(1, "large"), self.row(2, "large"))
        self.assertEqual(value, self.value("large"))


class WriteAcksThree(FailoverTest):
    config = {"store": {"timeout": "1s", "write_acks": 3}}

    def test_a_frozen_third_costs_a_second_at_most(self):
        self.addCleanup(self.nodes.thaw, 3)
        keys = self.keys(3)
        self.assertEqual("3/3", self.server.put(keys[0], b"v").header("Sherd-Acks"))
        self.nodes.freeze(3)
        for key in keys:
            began = time.monotonic()
            answer = self.check(self.server.put(key, b"second"), 202)
            self.assertEqual("2/3", answer.header("Sherd-Acks"))
            self.assertLess(time.monotonic() - began, (KNOWN + 0.2) * SLACK)
            self.assertEqual(self.row(1, key), self.row(2, key))
        self.nodes.thaw(3)
        wait_until(self.server.all_up, BACK, "all partitions up")
        self.assertEqual("3/3", self.server.put(keys[0], b"third").header("Sherd-Acks"))
        self.assertEqual(self.row(1, keys[0]), self.row(3, keys[0]))


class Quorum(FailoverTest):
    def quorum(self, key, method="GET"):
        return self.server.request(method, key_path(key) + "?read=quorum")

    def test_a_majority_is_asked(self):
        key = self.keys(1)[0]
        self.assertEqual(b"first", self.check(self.quorum(key), 200).body)
        for node in (2, 3):  # whichever of them is asked beside the home
            self.apply(node, key, b"newer", self.new_version(node))
        self.assertEqual(b"newer", self.check(self.quorum(key), 200).body)
        self.check(self.quorum(key, "HEAD"), 200)
        self.check(self.quorum("none"), 404)
        self.kill(HOME)
        wait_until(lambda: all(self.quorum(key).status == 200 for _ in range(20)), KNOWN, "a majority of the rest")
        self.assertEqual(b"newer", self.check(self.quorum(key), 200).body)
        self.kill(2)
        self.check(self.quorum(key), 503)
        self.check(self.quorum("none"), 503)
        self.assertEqual(b"newer", self.value(key))

    def test_no_other_query_is_taken(self):
        for query in ("read=all", "read=", "read", "x=quorum", "read=quorum&x=1", "Read=quorum"):
            self.check(self.server.request("GET", "/keys/a?" + query), 400)
        self.check(self.server.request("PUT", "/keys/a?read=quorum", b"v"), 400)


class Blank(FailoverTest):
    """A partition that lost everything must not answer for what it lost."""

    def replicated(self, count):
        """Keys of the home, on all partitions."""
        server = self.start_server(write_acks=3)
        keys = server.keys_on(HOME, count, "key")
        server.stop()
        return keys

    def restart_with(self, work):
        self.server.stop()
        work()
        self.server = self.start_server()

    def blank(self):
        self.nodes.sql(HOME, "".join("TRUNCATE %s;" % t for t in
                                     ("pairs", "changes", "removed", "diverts", "cursors", "sherd_partition", "placement", "servers")))

    def test_a_new_store_is_complete(self):
        for node in self.nodes.all():
            self.assertEqual([[str(node), "1"]], self.nodes.sql(node, "SELECT id, seeded FROM sherd_partition"))
        self.assertEqual([True] * 3, self.server.trusted())

    def test_a_store_with_data_somewhere_is_not_new(self):
        self.server.stop()
        self.nodes.truncate()
        self.nodes.sql(2, "INSERT INTO pairs (k, v) VALUES ('k', 'v')")
        self.server = self.start_server()
        for node in self.nodes.all():
            self.assertNotEqual([["1"]], self.nodes.sql(node, "SELECT seeded FROM sherd_partition"))
        self.assertEqual([False] * 3, self.server.trusted())
        self.assertEqual(b"v", self.value("k"))

    def test_nothing_is_missing(self):
        keys = self.replicated(20)
        versions = {key: self.row(2, key)[2] for key in keys}
        self.check_blank(keys, versions, lambda: self.restart_with(self.blank))

    def test_nothing_is_missing_when_it_happens_to_a_running_server(self):
        keys = self.replicated(20)
        versions = {key: self.row(2, key)[2] for key in keys}
        self.check_blank(keys, versions, self.blank_running)

    def blank_running(self):
        self.kill()
        self.nodes.start(HOME)
        self.blank()
        wait_until(self.server.all_up, BACK, "all partitions up")
        self.server.wait_trusted(False, True, True)

    def check_blank(self, keys, versions, work):
        work()
        self.assertEqual([False, True, True], self.server.trusted())
        for key in keys:
            answer = self.check(self.server.get(key), 200)
            self.assertEqual((b"first", versions[key]), (answer.body, answer.version_tag))
        self.assertLessEqual(set(keys), set(self.listed()))
        self.check_listing(self.listed() + ["none"])

    def test_conditions_are_right_or_503(self):
        keys = self.replicated(12)
        tags = {key: '"%s"' % self.row(2, key)[2] for key in keys}
        self.restart_with(self.blank)
        for key in keys[:4]:
            self.check(self.server.put(key, b"never", {"If-None-Match": "*"}), 412, 503)
            self.assertEqual(b"first", self.value(key))
        for key in keys[4:8]:
            self.check(self.server.put(key, b"never", {"If-Match": '"1025"'}), 412, 503)
            self.assertEqual(b"first", self.value(key))
        for key in keys[8:]:
            status = self.check(self.server.put(key, b"matched", {"If-Match": tags[key]}), 204, 503).status
            self.assertEqual(b"matched" if status == 204 else b"first", self.value(key))

    def test_deletions_and_writes_count_at_once(self):
        keys = self.replicated(4)
        self.restart_with(self.blank)
        for key in keys[:2]:
            self.check(self.server.delete(key), 204)
            self.check(self.server.get(key), 404)
        for key in keys[2:]:
            tag = self.check(self.server.put(key, b"second"), 201, 204).version_tag
            self.assertGreater(int(tag), int(self.row(2, key)[2]))
            self.assertEqual(b"second", self.value(key))

    def test_a_restored_backup_is_not_trusted(self):
        keys = self.replicated(4)

        def restore():
            self.nodes.sql(HOME, "UPDATE sherd_partition SET pass = 5; DELETE FROM pairs WHERE k = '%s';"
                                 "DELETE FROM removed" % keys[0])
            self.nodes.sql(2, "INSERT INTO cursors VALUES (1, 9, 0, '', 0, 0)")
        self.restart_with(restore)
        self.assertEqual([False, True, True], self.server.trusted())
        self.assertEqual(b"first", self.value(keys[0]))
        self.nodes.sql(HOME, "UPDATE sherd_partition SET pass = 9")
        self.server.wait_trusted(True, True, True)

    def test_a_partition_below_the_floor_is_not_trusted(self):
        self.nodes.sql(2, "UPDATE sherd_partition SET floor = 5000")
        self.server.wait_trusted(False, True, False)

    def test_what_may_have_been_purged_is_not_brought_back(self):
        """The home lacks a key that another has with a version below the floor: it may have been deleted."""
        key = self.keys(1)[0]
        version = self.new_version(2)
        self.apply(2, key, b"old", 1000 << 10)
        self.nodes.sql(HOME, "SET @sherd_purges = 1; DELETE FROM pairs WHERE k = '%s'" % key)
        for node in self.nodes.all():
            self.nodes.sql(node, "UPDATE sherd_partition SET floor = %d, seeded = %d" % (version, node != HOME))
        self.server.wait_trusted(False, True, True)
        self.check(self.server.get(key), 200, 404)
        self.assertIsNone(self.row(HOME, key))


class Sql(FailoverTest):
    """Other SQL clients write while diverts exist."""

    def test_a_row_that_sql_removed_is_not_brought_back(self):
        keys = self.keys(6)
        for key in keys[:5]:
            self.apply(2, key, b"first", int(self.row(HOME, key)[2]))
            self.apply(3, key, b"first", int(self.row(HOME, key)[2]))
        self.kill()
        self.check(self.server.put(keys[5], b"diverted"), 201, 204)
        self.back(HOME)
        self.nodes.sql(HOME, "DELETE FROM pairs WHERE k IN (%s)" % ",".join(map(sql_bytes, keys[:5])))
        for _ in range(3):
            for key in keys[:5]:
                self.check(self.server.get(key), 404)
                self.assertIsNone(self.row(HOME, key))
        self.assertEqual([], [key for key in self.listed() if key in keys[:5]])
        self.check(self.server.put(keys[0], b"never", {"If-Match": "*"}), 412)
        self.check(self.server.put(keys[1], b"born again", {"If-None-Match": "*"}), 201)
        self.check(self.server.put(keys[2], b"born again"), 201)
        for key in keys[1:3]:
            self.assertEqual(b"born again", self.value(key))
        self.assertEqual(b"diverted", self.value(keys[5]))

    def test_a_row_that_sql_wrote_at_home_is_newer_than_a_divert(self):
        key = self.keys(1)[0]
        self.kill()
        diverted = self.check(self.server.put(key, b"diverted"), 201, 204)
        self.back(HOME)
        # The versions of diverts are a little ahead of the clocks.
        wait_until(lambda: self.new_version(HOME) > int(diverted.version_tag), 3, "the divert's time")
        self.nodes.sql(HOME, "UPDATE pairs SET v = 'by SQL' WHERE k = '%s'" % key)
        self.assertEqual(b"by SQL", self.value(key))


class Clones(FailoverTest):
    def test_a_clone_learns_of_a_divert_within_a_second(self):
        clone = self.start_server()
        keys = self.keys(20)
        self.assertEqual(b"first", clone.get(keys[0]).body)
        for key in keys:  # another daemon could not reach the home, this one can
            self.nodes.sql(2, "SET @version = 0, @sherd_seq = 0; INSERT INTO pairs (k, v, version, created, seq, touched)"
                              " VALUES ('{0}', 'diverted', @version := sherd_diverted(1, sherd_log('{1}={0}', 2, 0, ~0, NULL)),"
                              " @version, @sherd_seq, NULL)".format(key, len(key)))
        began = time.monotonic()
        for key in keys:
            wait_until(lambda key=key: clone.get(key).body == b"diverted", KNOWN, "the divert of %s" % key)
        self.assertLess(time.monotonic() - began, 2 * KNOWN * SLACK)
        for key in keys:
            self.assertEqual(b"diverted", clone.get(key).body)
        for key in keys:
            self.assertEqual(b"diverted", self.value(key))
        clone.stop()

    def test_diverts_outlive_the_daemon_that_made_them(self):
        keys = self.keys(5)
        self.kill()
        for key in keys:
            self.check(self.server.put(key, b"diverted"), 201, 204)
        self.nodes.start(HOME)
        self.server.process.kill()
        self.server.process.wait()
        self.server = self.start_server()
        for key in keys:
            self.assertEqual(b"diverted", self.value(key))


class ReadOnly(FailoverTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.nodes.sql, HOME, "SET GLOBAL read_only = 0")

    def test_writes_go_to_the_next_owner_and_reads_stay(self):
        key, other = self.keys(2)
        self.nodes.sql(HOME, "SET GLOBAL read_only = 1")
        answer = self.check(self.server.put(key, b"second"), 201, 204)
        self.assertNotEqual(HOME, answer.partition)
        got = self.check(self.server.get(key), 200)
        self.assertEqual((b"second", None), (got.body, got.header("Sherd-Stale")))
        got = self.check(self.server.get(other), 200)
        self.assertEqual((HOME, None), (got.partition, got.header("Sherd-Stale")))
        self.check(self.server.put(other, b"never", {"If-Match": "*"}), 503)
        for line in self.bulk(*('{"op":"put","key":"%s","value":"%d"}' % (other, i) for i in range(5))):
            self.assertIn(line["status"], (201, 204))
        self.nodes.sql(HOME, "SET GLOBAL read_only = 0")
        wait_until(lambda: self.server.put(key, b"third").partition == HOME, BACK, "writes at home")
        self.assertEqual((b"third", b"4"), (self.value(key), self.value(other)))


class Listing(FailoverTest):
    def test_a_list_is_what_can_be_read(self):
        """With a partition away, with diverts and tombstones at their takers, and with all of them back."""
        server = self.start_server(write_acks=3)
        keys = ["key-%02d" % i for i in range(60)]
        for key in keys[:40]:
            self.check(server.put(key, b"v"), 201)
        server.stop()
        self.kill()
        for i, key in enumerate(keys):
            if i % 3 == 0:
                self.check(self.server.put(key, b"second"), 201, 204)
            elif i % 3 == 1:
                self.check(self.server.delete(key), 204)
        answer = self.check(self.server.request("GET", "/keys?limit=3"), 200)
        self.assertEqual("1", answer.header("Sherd-Stale"))
        self.check_listing(keys)
        self.back(HOME)
        self.check_listing(keys)
        self.assertIsNone(self.server.request("GET", "/keys?limit=3").header("Sherd-Stale"))
        self.assertEqual([], [key for key in keys[1:40:3] if self.server.get(key).status != 404])

    def test_a_folder_with_nothing_alive_in_it_is_not_listed(self):
        """Its keys live on only at the home that missed their deletion."""
        folders = ["dir-%d/%s" % (i, leaf) for i in range(6) for leaf in "ab"]
        for key in folders:
            self.put(key, b"v")
        self.kill()
        for key in folders[:6]:
            self.check(self.server.delete(key), 204)
        self.back(HOME)
        page = self.check(self.server.request("GET", "/keys?delimiter=/"), 200).json()
        self.assertEqual(["dir-3/", "dir-4/", "dir-5/"], sorted(str(p) for p in self.folders(page)))

    def folders(self, page):
        for value in page.values():
            if isinstance(value, list):
                for item in value:
                    name = item if isinstance(item, str) else item.get("folder") or item.get("prefix") or ""
                    if name.endswith("/"):
                        yield name

    def test_a_stream_that_loses_a_partition_on_its_way_is_complete(self):
        count = 30000
        version = self.new_version(1)
        for node in self.nodes.all():
            self.nodes.sql(node, "INSERT INTO pairs (k, v, type, version, created, touched)"
                                 " SELECT CONCAT('%s', LPAD(seq, 6, '0')), 'v', '', %d, %d, NULL FROM seq_1_to_%d"
                           % ("long/" * 40, version, version, count))
        with self.server.wire(30) as wire:
            wire.send(b"GET /keys HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n")
            self.assertTrue(wire.receive(5))
            self.kill()
            answer = self.check(wire.response(), 200)
        names = [line["key"][-6:] for line in answer.lines()]
        self.assertEqual(["%06d" % (i + 1) for i in range(count)], names)


class Shown(FailoverTest):
    """What /status and /metrics tell of it."""

    def status(self):
        return {p["id"]: p for p in self.server.request("GET", "/status").json()["partitions"]}

    def metric(self, name, partition):
        want = '%s{partition="%d"} ' % (name, partition)
        for line in self.server.request("GET", "/metrics").body.decode().splitlines():
            if line.startswith(want):
                return float(line[len(want):])
        raise AssertionError("no %s" % want)

    def test_diverts_and_trust_are_shown(self):
        key = self.keys(1)[0]
        for partition in self.status().values():
            self.assertEqual((True, []), (partition["trusted"], partition["holds_diverts_for"]))
            self.assertLess(abs(partition["clock_offset_us"]), 1000000)
        self.kill()
        taker = self.check(self.server.put(key, b"second"), 201, 204).partition
        wait_until(lambda: self.status()[taker]["holds_diverts_for"] == [HOME], KNOWN, "the divert in /status")
        self.assertFalse(self.status()[HOME]["trusted"])
        for name, number, partition in (("trusted", 0, HOME), ("trusted", 1, taker), ("holds_diverts", 1, taker)):
            # another thread may answer, which looks at the partition a moment later
            wait_until(lambda: self.metric("sherd_partition_" + name, partition) == number, KNOWN, name)
        self.assertEqual(1, self.metric("sherd_partition_diverts_total", taker))
        self.assertLess(abs(self.metric("sherd_partition_clock_offset_seconds", taker)), 1)
        self.back(HOME)
        self.assertEqual(b"second", self.value(key))
        wait_until(lambda: self.metric("sherd_partition_applied_total", HOME) >= 1, 2, "the repair in /metrics")


if __name__ == "__main__":
    unittest.main()

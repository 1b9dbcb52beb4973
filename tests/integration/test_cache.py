# SPDX-License-Identifier: MIT
"""[server] cache: what comes from memory, and that it is never older than it may be."""
import concurrent.futures
import os
import random
import re
import threading
import time
import unittest

from harness import Server, Transaction, shared_nodes, wait_until


class WithCache(unittest.TestCase):
    staleness = "1s"  # generous: how fresh memory must be has a test of its own

    def setUp(self):
        self.nodes = shared_nodes()
        self.nodes.start()
        self.nodes.truncate()
        self.server = self.new_server()

    def new_server(self, **options):
        server = Server(self.nodes, {"server": {"cache": "16M", "cache_staleness": self.staleness, **options}})
        self.addCleanup(server.discard)
        server.start_up()
        return server

    def warm(self, key, server=None):
        """Asks until the answer comes from memory."""
        return wait_until(lambda: self.from_memory((server or self.server).get(key)), 10, "a hit")

    @staticmethod
    def from_memory(answer):
        hit = answer.header("Sherd-Cache")
        assert hit in (None, "hit") and (hit is None) == (answer.header("Age") is None), answer.headers
        return answer if hit else None

    def metric(self, name):
        text = self.server.request("GET", "/metrics").body.decode()
        return int(re.search(r"^sherd_%s (\d+)$" % name, text, re.M)[1])


class Memory(WithCache):
    def test_a_hit_is_the_same_answer(self):
        self.server.put("a", b"value", {"Content-Type": "text/plain"})
        cold = self.server.get("a", {"Cache-Control": "no-cache"})
        warm = self.warm("a")
        self.assertIsNone(self.from_memory(cold))
        mine = ("date", "age", "sherd-cache")
        self.assertEqual([h for h in warm.headers if h[0] not in mine], [h for h in cold.headers if h[0] not in mine])
        self.assertEqual(warm.body, cold.body)
        self.assertEqual(self.server.get("a", {"If-None-Match": warm.header("ETag")}).status, 304)
        self.assertEqual(self.server.get("a", {"Range": "bytes=1-2"}).body, b"al")

    def test_what_asks_for_the_database_gets_it(self):
        self.server.put("a", b"1")
        self.warm("a")
        for headers in ({"Cache-Control": "no-cache"}, {"Cache-Control": "x, No-Store"}, {"Cache-Control": "max-age=0"}):
            self.assertIsNone(self.from_memory(self.server.get("a", headers)))
        self.assertIsNone(self.from_memory(self.server.request("GET", "/keys/a?read=quorum")))
        self.warm("a")
        self.assertTrue(self.from_memory(self.server.get("a", {"Cache-Control": "max-age=10"})))

    def test_own_writes_are_seen_at_once(self):
        for i in range(200):
            self.server.put("a", b"%d" % i)
            self.assertEqual(self.server.get("a").body, b"%d" % i)
            self.server.get("a")
        self.server.delete("a")
        self.assertEqual(self.server.get("a").status, 404)

    def test_bulk_writes_are_seen_at_once(self):
        self.server.put("a", b"1")
        self.warm("a")
        self.server.request("POST", "/bulk", b'{"op":"put","key":"a","value":"2"}\n',
                            {"Content-Type": "application/x-ndjson"})
        self.assertEqual(self.server.get("a").body, b"2")

    def test_writes_of_sql_and_of_other_daemons_are_seen_soon(self):
        other = self.new_server()
        for write in (lambda: other.put("a", b"2"),
                      lambda: [self.nodes.sql(n, "UPDATE pairs SET v='2' WHERE k='a'") for n in self.nodes.all()]):
            self.server.put("a", b"1")
            self.warm("a")
            write()
            wait_until(lambda: self.server.get("a").body == b"2", 2, "the new value")
        self.warm("a")
        for node in self.nodes.all():
            self.nodes.sql(node, "DELETE FROM pairs WHERE k='a'")
        wait_until(lambda: self.server.get("a").status == 404, 2, "the deletion")

    def test_what_expires_is_not_served(self):
        self.server.put("a", b"1", {"X-TTL": "2"})
        self.warm("a")
        deadline = time.monotonic() + 10
        while self.server.get("a").status == 200:
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(self.server.get("a").status, 404)

    def test_readers_never_see_a_value_go_back(self):
        """Many readers and writers on one key: what a reader sees only grows."""
        stop = threading.Event()

        def write():
            with self.server.wire() as wire:
                for i in range(1, 1500):
                    wire.request("PUT", "/keys/n", b"%d" % i)
            stop.set()

        def read():
            last = hits = 0
            with self.server.wire() as wire:
                while not stop.is_set():
                    answer = wire.request("GET", "/keys/n")
                    hits += answer.header("Sherd-Cache") == "hit"
                    value = int(answer.body)
                    assert value >= last, (value, last)
                    last = value
            return hits
        self.server.put("n", b"0")
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            readers = [pool.submit(read) for _ in range(5)]
            pool.submit(write).result()
            hits = sum(reader.result() for reader in readers)
        self.assertGreater(hits, 0)

    def test_the_budget_holds(self):
        chance = random.Random(3)
        for _ in range(2000):
            key = "k%d" % chance.randrange(1000)
            if self.server.get(key).status == 404:
                self.server.put(key, os.urandom(30000))
        self.assertLessEqual(self.metric("cache_bytes"), 16 << 20)
        self.assertGreater(self.metric("cache_entries"), 100)

    def test_nothing_is_kept_without_the_option(self):
        server = Server(self.nodes)
        self.addCleanup(server.discard)
        server.start_up()
        server.put("a", b"1")
        self.assertFalse(any(self.from_memory(server.get("a")) for _ in range(50)))


class Freshness(WithCache):
    staleness = "200ms"

    def test_a_silent_partition_makes_memory_stale(self):
        key = self.server.keys_on(2, 1, "k")[0]
        self.warm(key)
        self.nodes.freeze(2)
        self.addCleanup(self.nodes.thaw, 2)
        time_frozen = time.monotonic()
        last_hit = time_frozen
        while time.monotonic() < time_frozen + 1:
            if self.from_memory(self.server.get(key)):
                last_hit = time.monotonic()
        self.assertLess(last_hit - time_frozen, 0.3)

    def test_a_late_commit_is_seen(self):
        self.server.put("a", b"1")
        home = self.server.get("a").partition
        client = Transaction(self.nodes, home)
        self.addCleanup(client.end)
        client.run("BEGIN; UPDATE pairs SET v='2' WHERE k='a'")
        self.warm("a")
        client.run("COMMIT")
        wait_until(lambda: self.server.get("a").body == b"2", 2, "the new value")

    def test_nothing_is_served_while_a_change_has_no_version_yet(self):
        """SQL commits a change, and another connection locks the row at once: nobody can give it a version."""
        key = self.server.keys_on(1, 1, "k")[0]
        writer, holder = Transaction(self.nodes, 1), Transaction(self.nodes, 1)
        self.addCleanup(holder.end)
        self.addCleanup(writer.end)
        writer.run("BEGIN; UPDATE pairs SET v='new' WHERE k='%s'" % key)
        self.warm(key)
        locked = threading.Thread(target=lambda: holder.run("BEGIN; SELECT k FROM pairs WHERE k='%s' FOR UPDATE" % key))
        locked.start()
        wait_until(lambda: self.nodes.sql(1, "SELECT COUNT(*) FROM information_schema.innodb_trx"
                                             " WHERE trx_state='LOCK WAIT'") == [["1"]], 5, "it waits for the row")
        writer.run("COMMIT")
        committed = time.monotonic()
        locked.join()
        while time.monotonic() < committed + 1:
            asked, answer = time.monotonic(), self.server.get(key)
            if asked > committed + 0.3:
                self.assertEqual((answer.body, self.from_memory(answer)), (b"new", None))
        holder.run("COMMIT")
        self.assertEqual(self.warm(key).body, b"new")

    def test_a_trimmed_log_empties_memory(self):
        key = self.server.keys_on(1, 1, "k")[0]
        self.warm(key)
        before = self.metric("cache_clears_total")
        self.nodes.sql(1, "TRUNCATE changes; UPDATE pairs SET v='new' WHERE k='%s'" % key)
        wait_until(lambda: self.server.get(key).body == b"new", 5, "the new value")
        wait_until(lambda: self.metric("cache_clears_total") > before, 5, "the clearing")  # a slow reader's cache is not asked


if __name__ == "__main__":
    unittest.main()

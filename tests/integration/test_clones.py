# SPDX-License-Identifier: MIT
"""Any number of servers over the same partitions give the same answers."""
import unittest

from harness import Server, SherdTest, concurrently


class Clones(SherdTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clone = Server(cls.nodes, {"server": {"threads": 1}, "store": {"connections": 1}}, cls.partitions)
        cls.addClassCleanup(cls.clone.discard)
        cls.clone.start_up()
        cls.both = (cls.server, cls.clone)

    @classmethod
    def tearDownClass(cls):
        cls.clone.stop()
        super().tearDownClass()

    def test_a_write_of_one_is_read_by_the_other_at_once(self):
        for i in range(200):
            writer, reader = self.both[i % 2], self.both[1 - i % 2]
            tag = self.check(writer.put("shared", b"%d" % i), 201, 204).header("ETag")
            answer = self.check(reader.get("shared"), 200)
            self.assertEqual((b"%d" % i, tag), (answer.body, answer.header("ETag")))

    def test_both_know_the_same_home_of_every_key(self):
        for i in range(300):
            homes = {server.put("home-%d" % i, b"").partition for server in self.both}
            self.assertEqual(1, len(homes))

    def test_both_list_the_same(self):
        for i in range(100):
            self.check(self.both[i % 2].put("list/%03d" % i, b""), 201)
        pages = [server.request("GET", "/keys?prefix=list/&limit=30").json() for server in self.both]
        self.assertEqual(*pages)
        following = [self.both[1 - i].request("GET", page["next"]).json() for i, page in enumerate(pages)]
        self.assertEqual(*following)

    def test_of_concurrent_creators_at_both_exactly_one_succeeds(self):
        for turn in range(10):
            statuses = concurrently(16, lambda i, turn=turn: self.both[i % 2].put(
                "create-%d" % turn, b"", {"If-None-Match": "*"}).status)
            self.assertEqual([201] + [412] * 15, sorted(statuses))

    def test_of_concurrent_puts_at_both_exactly_one_creates(self):
        for turn in range(10):
            statuses = concurrently(16, lambda i, turn=turn: self.both[i % 2].put("put-%d" % turn, b"").status)
            self.assertEqual([201] + [204] * 15, sorted(statuses))

    def test_a_counter_at_both_loses_nothing(self):
        self.put("counter", b"0")

        def add(i):
            done = 0
            with self.both[i % 2].wire() as wire:
                while done < 25:
                    now = wire.request("GET", "/keys/counter")
                    after = wire.request("PUT", "/keys/counter", b"%d" % (int(now.body) + 1),
                                         {"If-Match": now.header("ETag")})
                    done += self.check(after, 204, 412).status == 204
        concurrently(4, add)
        self.assertEqual(b"100", self.value("counter"))

    def test_one_may_die_without_harm(self):
        third = Server(self.nodes, {}, self.partitions)
        self.addCleanup(third.discard)
        third.start_up()
        self.check(third.put("last words", b"v"), 201)
        third.process.kill()
        third.process.wait()
        for server in self.both:
            self.assertEqual(b"v", server.get("last words").body)


if __name__ == "__main__":
    unittest.main()

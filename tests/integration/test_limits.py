# SPDX-License-Identifier: MIT
"""Limits: who comes with too much is told so, and the others notice nothing."""
import json
import os
import socket
import unittest

from harness import SLACK, SherdTest, Wire, wait_until
from test_fail import LIBRARY
from wire import request_bytes

NDJSON = {"Accept": "application/x-ndjson"}
WINDOW = 384  # lines of a bulk that are under way at once


class Addresses(SherdTest):
    config = {"server": {"clients_per_address": 5}}

    def wires(self, count, address="127.0.0.3"):  # 127.0.0.1 has connections of the harness that may not be closed yet
        wires = []
        for _ in range(count):
            wire = Wire(self.server.port, 10 * SLACK, source=address)
            self.addCleanup(wire.close)
            wires.append(wire)
        return wires

    def test_one_address_leaves_room_for_others(self):
        mine = self.wires(5)
        self.assertEqual([200] * 5, [wire.request("GET", "/livez").status for wire in mine])
        for wire in self.wires(3):
            self.assertEqual(503, wire.response().status)
            self.assertTrue(wire.is_closed())
        others = self.wires(5, "127.0.0.2")
        self.assertEqual([200] * 5, [wire.request("GET", "/livez").status for wire in others])
        mine[0].close()
        wait_until(lambda: self.wires(1)[0].request("GET", "/livez").status == 200, 5, "room again")
        self.assertEqual(200, mine[1].request("GET", "/livez").status)


class Listeners(SherdTest):
    config = {"server": {"listeners": 3}}

    def listen(self):
        wire = self.server.wire()
        self.addCleanup(wire.close)
        wire.send(request_bytes("GET", "/changes", headers=NDJSON))
        return wire, wire.head()

    def test_so_many_listeners_and_no_more(self):
        streams = [self.listen() for _ in range(3)]
        self.assertEqual([200] * 3, [head.status for _, head in streams])
        refused = self.server.request("GET", "/changes", headers=NDJSON)
        self.assertEqual(503, refused.status)
        self.assertIsNotNone(refused.header("Retry-After"))
        self.assertEqual(503, self.server.request("GET", "/changes?wait=1").status)
        streams[0][0].close()  # which the server learns when it has something to tell
        wait_until(lambda: self.put("k", b"x") and self.listen()[1].status == 200, 5, "room again")


@unittest.skipUnless(os.path.exists(LIBRARY), "sanitizers bring an allocator of their own, which is not counted")
class Memory(SherdTest):
    config = {"server": {"memory": "24M", "max_value": "8M"}}

    def test_too_many_bodies_at_once(self):
        """Bodies that are not complete have to be held; what would go beyond the limit is refused."""
        wires = [self.server.wire() for _ in range(8)]
        self.addCleanup(lambda: [wire.close() for wire in wires])
        for i, wire in enumerate(wires):
            wire.send(b"PUT /keys/held-%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n" % i)
            wire.send(b"x" * 7900000)
        wait_until(lambda: self.server.request("GET", "/keys/a").status == 503, 10, "no room")
        for target in ("/keys", "/changes", "/keys/a"):
            refused = self.server.request("GET", target)
            self.assertEqual(503, refused.status, target)
            self.assertIsNotNone(refused.header("Retry-After"))
        for target in ("/livez", "/readyz", "/metrics", "/status"):
            self.assertEqual(200, self.server.request("GET", target).status, target)
        refused = 0
        for wire in wires:
            wire.send(b"x" * 100000)
            answer = wire.response()
            self.assertIn(answer.status, (201, 503))
            refused += answer.status == 503
            if answer.status == 503:
                self.assertTrue(wire.is_closed(5 * SLACK))
        self.assertGreater(refused, 0)
        for wire in wires:
            wire.close()
        wait_until(lambda: self.server.request("GET", "/keys/a").status == 404, 10, "room again")
        self.assertIn("enough again", self.server.log())
        self.assertIn(self.server.put("k", b"x" * 1000000).status, (201, 204))


class Descriptors(SherdTest):
    """A process that may open few files."""

    config = {"server": {"threads": 1}, "store": {"connections": 1}}

    def test_without_descriptors_the_old_clients_are_served_and_new_ones_later(self):
        self.server.files = 64
        self.server.limit_files(self.server.process.pid)
        old = self.server.wire()
        self.addCleanup(old.close)
        self.assertEqual(200, old.request("GET", "/livez").status)
        more = []
        for _ in range(100):
            more.append(socket.create_connection(("127.0.0.1", self.server.port)))
        self.addCleanup(lambda: [connection.close() for connection in more])
        wait_until(lambda: "Too many open files" in self.server.log(), 10, "EMFILE")
        before = self.server.cpu_seconds()
        for i in range(20):
            self.assertIn(old.request("PUT", "/keys/k", b"%d" % i).status, (201, 204))
        self.assertLess(self.server.cpu_seconds() - before, 1)
        for connection in more:
            connection.close()
        wait_until(lambda: self.server.get("k").body == b"19", 10, "new clients")


class FewFiles(SherdTest):
    """A process that was started with few files."""

    config = {"server": {"threads": 1}, "store": {"connections": 1}}

    @classmethod
    def prepare(cls, server):
        server.files = 64

    def test_clients_leave_enough_for_the_partitions(self):
        self.assertRegex(self.server.log(), "64 files may be open: no more than 18 clients")
        self.put("k", b"v")
        old = self.server.wire()
        self.addCleanup(old.close)
        self.assertEqual(200, old.request("GET", "/livez").status)
        more = [socket.create_connection(("127.0.0.1", self.server.port), 10) for _ in range(40)]
        self.addCleanup(lambda: [connection.close() for connection in more])
        self.assertIn(b"503", more[-1].recv(1000))
        for node in self.nodes.all():
            for row in self.nodes.sql(node, "SELECT id FROM information_schema.processlist WHERE user = 'sherd'"):
                self.nodes.sql(node, "KILL %s" % row[0])
        wait_until(lambda: old.request("GET", "/keys/k").status == 200, 10, "new connections to the partitions")
        self.assertNotIn("Too many open files", self.server.log())


@unittest.skipUnless(os.path.exists(LIBRARY), "sanitizers keep what was freed")
class Bulks(SherdTest):
    """What a bulk brings, and what it is refused, is not kept."""

    config = {"server": {"threads": 1}}

    def asked(self):
        """How many operations the partitions were given."""
        return sum(int(line.split()[1]) for line in self.server.request("GET", "/metrics").body.splitlines()
                   if line.startswith(b"sherd_partition_operations_total{"))

    def test_large_values_come_one_after_the_other(self):
        with self.server.wire(60) as wire:
            for i in range(WINDOW):
                self.check(wire.request("PUT", "/keys/large-%d" % i, b"%03d" % i + b"x" * 399997), 201)
        self.server.forget_most()
        before, asked = self.server.memory("VmRSS"), self.asked()
        lines = b"".join(b'{"op":"get","key":"large-%d"}\n' % i for i in range(WINDOW))
        with self.server.wire(60) as wire:
            wire.send(b"POST /bulk HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(lines), lines))
            wait_until(lambda: self.asked() - asked >= WINDOW, 20, "all are asked for")
            results = wire.response().body.splitlines()
        self.assertEqual(["%03d" % i for i in range(WINDOW)],
                         [json.loads(result)["value"][:3] for result in results])
        self.assertLess(self.server.memory("VmHWM") - before, 64 << 20)

    def test_a_refused_value_is_dropped(self):
        line = b'{"op":"put","key":"k","value":"%s"}\n' % (b"x" * 1100000)
        before = self.server.memory("VmRSS")
        with self.server.wire(60) as wire:
            wire.send(b"POST /bulk HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (300 * len(line)))
            for _ in range(299):
                wire.send(line)
            wait_until(lambda: wire.receive(0.1) is not None and wire.buffer.count(b"413") > 290, 10, "results")
            self.assertLess(self.server.memory("VmRSS") - before, 100 << 20)
            wire.send(line)
            wire.abort()


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: MIT
"""The n-th allocation, statement or read of a database's socket fails, for every n until none is left.

Whatever fails, the server goes on; an answer claims no more than happened; and nothing is leaked.
"""
import mmap
import os
import struct
import unittest

import test_tls
from harness import BINARY, Server, shared_nodes, wait_until
from wire import Ended

LIBRARY = os.path.join(os.path.dirname(BINARY), "tests", "fail.so")
ALLOCATION, OWN_ALLOCATION, STATEMENT, SOCKET = range(4)
FAILED = (409, 500, 503, 504)  # 409: the database refused it
MOST = 3000  # calls in one request: a bound against a loop without end
BULK = b"".join(b'{"op":"%s","key":"bulk-%d"%s}\n' % (op, i, b',"value":"v"' if op == b"put" else b"")
                for i, op in enumerate((b"put", b"get", b"delete")))


class Page:
    """The other end of the page of tests/fail/fail.c."""

    def __init__(self, path):
        with open(path, "wb") as file:
            file.write(bytes(72))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 72)

    def number(self, i):
        return struct.unpack_from("q", self.memory, 8 * i)[0]

    def arm(self, kind, n):
        struct.pack_into("q", self.memory, 8 * kind, n)

    def fired(self, kind):
        return self.number(4 + kind)

    @property
    def alive(self):
        return self.number(8)


@unittest.skipUnless(os.path.exists(LIBRARY), "without tests/fail.so, as under sanitizers, which bring their allocator")
class FailTest(unittest.TestCase):
    def set_up_server(self):
        """For what a class needs beyond the configuration here."""

    def setUp(self):
        self.nodes = shared_nodes()
        self.nodes.truncate()
        # One thread and one connection: which call is the n-th is the same each time, about.
        self.server = Server(self.nodes, {"server": {"threads": 1, "cache": "1M"}, "store": {"connections": 1}}, partitions=2)
        self.addCleanup(self.server.discard)
        path = os.path.join(self.server.directory, "fail")
        self.page = Page(path)
        self.server.environment.update(LD_PRELOAD=LIBRARY, SHERD_FAIL=path)
        self.set_up_server()
        self.server.start_up()

    def ask(self, method, target, body=None, headers=None):
        """The answer, None where the connection ended without one."""
        try:
            return self.server.request(method, target, body, headers)
        except (Ended, OSError):  # of which those of TLS are
            return None

    def up(self):
        wait_until(self.server.all_up, 10, "all partitions up")

    def each(self, kind, request, right, statuses):
        """Asks with the first call failing, the second, ... and each time, without, again."""
        for n in range(1, MOST):
            before = self.page.fired(kind)
            self.page.arm(kind, n)
            answer = self.ask(*request)
            self.page.arm(kind, 0)
            if answer and not answer.header("Sherd-Stale"):  # else from others, to which no sync has brought it
                self.assertIn(answer.status, (*statuses, *FAILED), "%r: call %d" % (request, n))
                if answer.status in statuses:
                    right(answer)
            self.assertIsNone(self.server.process.poll(), "%r: call %d:\n%s" % (request, n, self.server.log()))
            if kind in (STATEMENT, SOCKET):
                self.up()
            if self.page.fired(kind) == before:
                return n
            wait_until(lambda: self.works(request, right, statuses), 10, "%r works after call %d" % (request, n))
        self.fail("%r: after %d failed calls there are still more" % (request, MOST))

    def works(self, request, right, statuses):
        answer = self.ask(*request)
        if answer is None or answer.status in FAILED or answer.header("Sherd-Stale"):
            return False
        self.assertIn(answer.status, statuses, answer)
        right(answer)
        return True

    def requests(self):
        def has(text):
            return lambda answer: self.assertIn(text, answer.body, answer)

        def listed(answer):
            """All of the list, or a token with which it goes on."""
            self.assertTrue(b"there" in answer.body or ".." in answer.json()["token"], answer)

        def stored(answer):
            del answer
            wait_until(lambda: (self.ask("GET", "/keys/put") or self.empty).body == b"new", 10, "what was acknowledged")
        yield ("PUT", "/keys/put", b"new"), stored, (201, 204)
        yield ("GET", "/keys/there"), has(b"value"), (200,)
        yield ("GET", "/keys/none"), lambda answer: None, (404,)
        yield ("GET", "/keys/there", None, {"If-None-Match": "*"}), lambda answer: None, (304,)
        yield ("DELETE", "/keys/gone"), lambda answer: None, (204,)
        for accept in ("application/json", "text/plain", "text/html", "application/xml", "application/x-ndjson"):
            yield ("GET", "/keys?prefix=there", None, {"Accept": accept}), has(b"there"), (200, 406)
        yield ("GET", "/changes?since=0&include=value"), listed, (200,)
        yield ("POST", "/bulk", BULK), lambda answer: self.assertEqual(3, len(answer.lines())), (200,)
        for target in ("/status", "/metrics", "/readyz", "/livez", "/"):
            yield ("GET", target), lambda answer: self.assertTrue(answer.body), (200,)

    class empty:
        body = None


class Handshake(FailTest):
    def set_up_server(self):
        test_tls.prepare(self.server)

    def test_allocations(self):
        def right(answer):
            self.assertTrue(answer.body)
        self.assertGreater(self.each(ALLOCATION, ("GET", "/livez"), right, (200,)), 100)
        self.server.stop()


class Fail(FailTest):
    def prepare(self):
        for key in ("there", "there-2", "gone"):
            self.assertIn(self.server.put(key, b"value").status, (201, 204))

    def test_allocations(self):
        self.prepare()
        for request, right, statuses in self.requests():
            self.each(ALLOCATION, request, right, statuses)
        self.up()
        self.assertGreater(self.page.fired(ALLOCATION), 400)
        self.server.stop()

    def test_own_allocations(self):
        """Without those of libraries, of which some leak when they fail."""
        self.prepare()
        for request, right, statuses in self.requests():
            with self.subTest(request):
                self.leaks_nothing(request, right, statuses)
        self.server.stop()

    def leaks_nothing(self, request, right, statuses):
        """Failures leave no more behind than as many requests do that do not fail: the feed remembers what is written.

        A leak is there each time; what a question to a partition holds for a moment is not.
        """
        for _ in range(3):
            before = self.settled()
            failures = self.each(OWN_ALLOCATION, request, right, statuses) - 1
            failed = self.settled() - before
            before = self.settled()
            for _ in range(2 * failures):
                self.ask(*request)
            left = failed - (self.settled() - before)
            if left < 8:
                return
        self.fail("%d allocations are left after %d failures" % (left, failures))

    def settled(self):
        """How many allocations there are when nothing is under way: the least that is seen."""
        least = []
        for _ in range(20):
            self.assertEqual(200, self.server.request("GET", "/livez").status)
            least.append(self.page.alive)
        return min(least)

    def test_statements(self):
        self.prepare()
        for request, right, statuses in self.requests():
            self.each(STATEMENT, request, right, statuses)
        self.server.stop()

    def test_sockets(self):
        self.prepare()
        for request, right, statuses in self.requests():
            self.each(SOCKET, request, right, statuses)
        self.server.stop()


if __name__ == "__main__":
    unittest.main()

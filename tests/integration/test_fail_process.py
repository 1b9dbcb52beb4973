# SPDX-License-Identifier: MIT
"""The n-th allocation, statement or read of a database's socket of a whole process fails, for every n until none is left.

Whatever fails in a pass of sherd-sync, it ends by itself, says that it failed unless it did its work all the same, and
the next pass does the rest. A server that cannot start says why.
"""
import os
import subprocess
import unittest

import test_sync
import test_tls
from harness import BINARY, SLACK, TABLES, Server, shared_nodes, wait_until
from test_fail import LIBRARY, MOST, OWN_ALLOCATION, SOCKET, STATEMENT, Page
from test_sync import BUSY, CONVERGED, FAILED, SyncTest


@unittest.skipUnless(os.path.exists(LIBRARY), "without tests/fail.so, as under sanitizers, which bring their allocator")
class Sync(SyncTest):
    config = {"sync": {"grace": "0", "keep_log": "0", "verify": "4096", "threads": "1"}}
    RULED = (CONVERGED, FAILED, BUSY)

    def setUp(self):
        super().setUp()
        self.path_of_page = os.path.join(self.directory, "fail")
        self.page = Page(self.path_of_page)
        self.sync()

    disturb = test_sync.TestDeath.disturb

    def blank(self, n):
        self.sql(1, "INSERT INTO pairs(k,v) VALUES('two-%d','y')" % n)
        self.sql(2, "".join("TRUNCATE %s;" % table for table in TABLES))

    def every(self, kind, *arguments, disturb=None):
        for n in range(1, MOST):
            (disturb or self.disturb)(n)
            before = self.page.fired(kind)
            self.page.arm(kind, n)
            done = self.run_sync(*arguments, LD_PRELOAD=LIBRARY, SHERD_FAIL=self.path_of_page)
            self.page.arm(kind, 0)
            none_left = self.page.fired(kind) == before
            self.assertIn(done.code, (CONVERGED,) if none_left else self.RULED, "call %d: %r" % (n, done))
            self.assertTrue(done.err or done.code == CONVERGED, "call %d: %r" % (n, done))
            if done.code == CONVERGED:
                self.check(n)
            wait_until(lambda: self.run_sync("--verify=all").code == CONVERGED, 10, "the locks of the dead are free")
            self.check(n)
            if none_left:
                break
        else:
            self.fail("after %d failed calls there are still more" % MOST)
        self.assert_idle(self.sync())
        return n

    def check(self, n):
        """After a pass that says that all is well."""
        self.assert_equal_rows(1, 2)
        self.assertEqual(self.value(2, "two-%d" % n), b"y")
        self.assertTrue(self.seeded(1) and self.seeded(2))

    def test_statements(self):
        self.assertGreater(self.every(STATEMENT, "--verify=all"), 20)

    def test_sockets(self):
        self.assertGreater(self.every(SOCKET, "--verify=all"), 50)

    def test_allocations(self):
        self.assertGreater(self.every(OWN_ALLOCATION, "--verify=all"), 50)

    def test_allocations_while_a_partition_is_filled(self):
        self.assertGreater(self.every(OWN_ALLOCATION, "--json", disturb=self.blank), 50)

    def test_statements_while_a_partition_is_filled(self):
        self.assertGreater(self.every(STATEMENT, disturb=self.blank), 20)

    def test_allocations_of_a_dry_run(self):
        """Which changes nothing, whatever fails."""
        self.disturb(1)
        before = self.rows(1), self.rows(2)
        for n in range(1, MOST):
            fired = self.page.fired(OWN_ALLOCATION)
            self.page.arm(OWN_ALLOCATION, n)
            done = self.run_sync("--dry-run", "--verify=all", LD_PRELOAD=LIBRARY, SHERD_FAIL=self.path_of_page)
            self.page.arm(OWN_ALLOCATION, 0)
            self.assertIn(done.code, self.RULED, "call %d: %r" % (n, done))
            self.assertTrue(done.err or done.code == CONVERGED, "call %d: %r" % (n, done))
            if self.page.fired(OWN_ALLOCATION) == fired:
                break
        else:
            self.fail("after %d failed calls there are still more" % MOST)
        self.assertEqual((CONVERGED, before), (done.code, (self.rows(1), self.rows(2))), done)


@unittest.skipUnless(os.path.exists(LIBRARY), "without tests/fail.so, as under sanitizers, which bring their allocator")
class Start(unittest.TestCase):
    def setUp(self):
        self.server = Server(shared_nodes(), {"server": {"threads": 1, "cache": "1M", "access_log": "-"},
                                              "store": {"connections": 1}, "token-a": {"sha256": "0" * 64, "read": "a, b"}},
                             partitions=2)
        self.addCleanup(self.server.discard)
        path = os.path.join(self.server.directory, "fail")
        self.page = Page(path)
        self.server.environment.update(LD_PRELOAD=LIBRARY, SHERD_FAIL=path)

    def run_server(self, *arguments):
        done = subprocess.run([BINARY, "--config", self.server.config, *arguments], env=self.server.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30 * SLACK,
                              check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def every(self, *arguments, code=0):
        """Without allocations of libraries, of which some crash when they cannot begin."""
        right = self.run_server(*arguments)
        self.assertEqual(code, right[0], right)
        for n in range(1, MOST):
            before = self.page.fired(OWN_ALLOCATION)
            self.page.arm(OWN_ALLOCATION, n)
            done, out, err = self.run_server(*arguments)
            self.page.arm(OWN_ALLOCATION, 0)
            if done == code:
                self.assertEqual((right[1], bool(code)), (out, bool(err)), "call %d: %s" % (n, err))
            else:
                self.assertEqual((1, True), (done, bool(err)), "call %d: %s%s" % (n, out, err))
            if self.page.fired(OWN_ALLOCATION) == before:
                return
        self.fail("after %d failed calls there are still more" % MOST)

    def test_check_config_of_tls(self):
        test_tls.prepare(self.server)
        self.every("--check-config")
        self.server.configure("server", tls_key=self.server.authority.key)  # which is that of another certificate
        self.every("--check-config", code=78)

    def test_check_config(self):
        self.every("--check-config")

    def test_print_config(self):
        self.every("--print-config")

    def ready(self):
        return self.server.process.poll() is not None or "listening on" in self.server.log()

    def test_start(self):
        """It ends with the reason, or serves."""
        for n in range(1, MOST):
            before = self.page.fired(OWN_ALLOCATION)
            self.page.arm(OWN_ALLOCATION, n)
            open(self.server.log_path, "wb").close()
            self.server.launch()
            wait_until(self.ready, 20, "the server listens or ends")
            if self.server.process.poll() is None:
                self.server.terminate()
                self.assertEqual(0, self.server.wait_for_end(), "call %d:\n%s" % (n, self.server.log()))
            else:
                self.assertEqual(1, self.server.process.returncode, "call %d:\n%s" % (n, self.server.log()))
                self.assertTrue(self.server.log(), "call %d" % n)
            self.page.arm(OWN_ALLOCATION, 0)
            if self.page.fired(OWN_ALLOCATION) == before:
                return
        self.fail("after %d failed calls there are still more" % MOST)

# SPDX-License-Identifier: MIT
"""TLS to a partition: who it is, that nothing goes in clear, and that no step of it ever blocks the loop."""
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from harness import BINARY, SLACK, Server, shared_nodes, wait_until
from test_tls import Authority

NODE = 2
USER, PASSWORD = "tls_sherd", "over the wire"
SYNC = os.environ.get("SHERD_SYNC") or os.path.join(os.path.dirname(BINARY), "sherd-sync")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Proxy(threading.Thread):
    """Passes bytes on to a port until it is told to pass on no more; keeps all that it saw."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.to = port
        self.stalled = False
        self.stall_after = None  # bytes of a client's, on each connection
        self.seen = bytearray()
        self.pairs = []
        self.listener = socket.create_server(("", 0))  # of 127.0.0.2, too
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.to))
            self.pairs += [client, server]
            threading.Thread(target=self.carry, args=(client, server), daemon=True).start()

    def carry(self, client, server):
        sent = 0
        try:
            while True:
                for ready in select.select([client, server], [], [], 0.05)[0]:
                    while self.stalled or (self.stall_after is not None and sent >= self.stall_after):
                        time.sleep(0.01)
                    data = ready.recv(65536)
                    if not data:
                        return
                    self.seen += data
                    sent += len(data) if ready is client else 0
                    (server if ready is client else client).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            client.close()
            server.close()

    def close(self):
        self.stalled, self.stall_after = False, None
        for end in (self.listener, *self.pairs):
            end.close()


class PartitionTls(unittest.TestCase):
    """Partition 2 is reached through TCP, a proxy and TLS, as by root's own certificates."""

    @classmethod
    def setUpClass(cls):
        cls.nodes = shared_nodes()
        cls.directory = tempfile.mkdtemp(prefix="sherd-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        os.chmod(cls.directory, 0o755)
        cls.authority = Authority(cls.directory)
        cls.key, cls.certificate = cls.authority.sign("database")
        cls.port = free_port()
        cls.addClassCleanup(cls.nodes.start, NODE)
        cls.addClassCleanup(cls.nodes.stop, NODE)
        cls.nodes.stop(NODE)
        cls.nodes.tool("start", NODE, "--skip-networking=0", "--bind-address=127.0.0.1", "--port=%d" % cls.port,
                       "--ssl-ca=" + cls.authority.certificate, "--ssl-cert=" + cls.certificate, "--ssl-key=" + cls.key)
        cls.nodes.sql(NODE, "CREATE OR REPLACE USER %s IDENTIFIED BY '%s' REQUIRE SSL;"
                      "GRANT SELECT,INSERT,UPDATE,DELETE,EXECUTE ON test_sherd.* TO %s" % (USER, PASSWORD, USER))
        cls.addClassCleanup(lambda: cls.nodes.sql(NODE, "DROP USER " + USER))

    def setUp(self):
        self.nodes.truncate()
        self.proxy = Proxy(self.port)
        self.addCleanup(self.proxy.close)

    def sections(self, **partition):
        return {"store": {"timeout": "3s"},  # for so long a loop would be blocked
                "partition-%d" % NODE: {"socket": None, "host": "localhost", "port": self.proxy.port, "user": USER,
                                        "password": PASSWORD, "tls": "required", "tls_ca": self.authority.certificate,
                                        **partition}}

    def server(self, **partition):
        server = Server(self.nodes, self.sections(**partition))
        self.addCleanup(server.discard)
        return server

    def state(self, server):
        return {p["id"]: p["state"] for p in server.request("GET", "/status").json()["partitions"]}[NODE]

    def test_values_come_back_and_nothing_is_in_clear(self):
        server = self.server().start_up()
        keys = server.keys_on(NODE, 20, "a key that nobody may read")
        for key in keys:
            server.put(key, b"a value that is secret " * 2000)
        for key in keys:
            self.assertEqual(b"a value that is secret " * 2000, server.get(key).body)
        server.put(keys[0], bytes(range(256)) * 4096)
        self.assertEqual(bytes(range(256)) * 4096, server.get(keys[0]).body)
        for text in (b"a value that is secret", b"SELECT", b"INSERT", USER.encode(), b"a key that nobody"):
            self.assertNotIn(text, self.proxy.seen)
        server.stop()

    def test_the_feed_and_sync(self):
        server = self.server().start_up()
        server.put("key", b"value")
        self.nodes.sql(NODE, "INSERT INTO pairs(k,v) VALUES('by-sql','1')")
        wait_until(lambda: b"by-sql" in server.request("GET", "/changes?since=0").body, 10, "the change")
        done = subprocess.run([SYNC, "--config", server.config, "--json"], env=server.environment, capture_output=True,
                              timeout=60 * SLACK)
        self.assertEqual(0, done.returncode, done)
        self.assertEqual([["1"]], self.nodes.sql(1, "SELECT v FROM pairs WHERE k='by-sql'"))
        server.stop()

    def test_the_server_must_be_who_it_says(self):
        other = tempfile.mkdtemp(prefix="sherd-tls-")
        self.addCleanup(shutil.rmtree, other, ignore_errors=True)
        stranger = Authority(other)
        for partition, wrong in (({"tls_ca": stranger.certificate}, "certificate"),
                                 ({"host": "127.0.0.2"}, "certificate")):  # the same server, but not its name
            with self.subTest(partition):
                server = self.server(**partition).start()
                wait_until(lambda: "partition-%d is down" % NODE in server.log(), 10, "down")
                self.assertNotIn(USER.encode(), self.proxy.seen)
                self.assertNotEqual("up", self.state(server))
                server.stop()

    def test_what_is_trusted_changes_by_sighup(self):
        other = tempfile.mkdtemp(prefix="sherd-tls-")
        self.addCleanup(shutil.rmtree, other, ignore_errors=True)
        server = self.server(tls_ca=Authority(other).certificate).start()
        wait_until(lambda: "partition-%d is down" % NODE in server.log(), 10, "down")
        server.configure("partition-%d" % NODE, tls_ca=self.authority.certificate)
        server.hang_up()
        wait_until(server.all_up, 10, "up")
        server.configure("partition-%d" % NODE, host="127.0.0.2")  # the same server, but not its name
        server.hang_up()
        wait_until(lambda: self.state(server) == "down", 10, "down")
        server.configure("partition-%d" % NODE, host="localhost")
        server.hang_up()
        wait_until(server.all_up, 10, "up again")
        server.stop()

    def test_a_server_without_tls_is_refused(self):
        self.addCleanup(lambda: self.restart("--ssl-ca=" + self.authority.certificate, "--ssl-cert=" + self.certificate,
                                             "--ssl-key=" + self.key))
        self.restart("--skip-ssl")
        server = self.server().start()
        wait_until(lambda: "partition-%d is down" % NODE in server.log(), 10, "down")
        server.stop()

    def restart(self, *options):
        self.nodes.stop(NODE)
        self.nodes.tool("start", NODE, "--skip-networking=0", "--bind-address=127.0.0.1", "--port=%d" % self.port, *options)

    def test_a_certificate_of_the_client(self):
        key, certificate = self.authority.sign("client")
        self.nodes.sql(NODE, "ALTER USER %s REQUIRE X509" % USER)
        self.addCleanup(lambda: self.nodes.sql(NODE, "ALTER USER %s REQUIRE SSL" % USER))
        without = self.server().launch()
        self.assertEqual(78, without.wait_for_end(20))
        self.assertIn("Access denied", without.log())
        server = self.server(tls_certificate=certificate, tls_key=key).start_up()
        self.assertEqual("up", self.state(server))
        server.stop()

    def longest_wait(self, server, keys, seconds):
        """The slowest of many answers, in seconds, from all threads, to requests that the partition has no part in."""
        longest, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            for key in keys:
                began = time.monotonic()
                self.assertEqual(200, server.get(key).status)
                longest = max(longest, time.monotonic() - began)
        return longest

    def test_a_partition_that_stalls_in_the_handshake_blocks_nobody(self):
        server = self.server().start_up()
        keys = server.keys_on(1, 5, "one")
        for after in (0, 1, 40, 600):  # before its greeting is answered, in the hello, in the sign-in
            self.proxy.stall_after = after
            for pair in list(self.proxy.pairs):
                pair.close()
            wait_until(lambda: self.state(server) != "up", 10, "down")
            # Who asked it just then is answered when connecting is given up, after 0.5 s; a blocked loop would take 3 s.
            self.assertLess(self.longest_wait(server, keys, 2), 0.9 * SLACK)
            self.proxy.stall_after = None
            wait_until(server.all_up, 20, "up again")
        server.stop()

    def test_a_partition_that_stalls_in_an_answer_blocks_nobody(self):
        server = self.server().start_up()
        keys = server.keys_on(1, 5, "one")
        there = server.keys_on(NODE, 1, "two")[0]
        self.proxy.stalled = True
        thread = threading.Thread(target=lambda: server.get(there))
        thread.start()
        self.assertLess(self.longest_wait(server, keys, 2), 0.5 * SLACK)
        thread.join(20)
        self.proxy.stalled = False
        wait_until(server.all_up, 20, "up again")
        self.assertEqual(200, server.get(there).status)
        server.stop()

    def test_a_server_stops_while_a_handshake_hangs(self):
        server = self.server().start_up()
        self.proxy.stall_after = 0
        for pair in list(self.proxy.pairs):
            pair.close()
        wait_until(lambda: self.state(server) != "up", 10, "down")
        server.stop()  # exit code 0, in time


if __name__ == "__main__":
    unittest.main()

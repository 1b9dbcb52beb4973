# SPDX-License-Identifier: MIT
"""TLS of the clients: handshakes, resumption, reload, and what comes in clear."""
import os
import pwd
import re
import shutil
import socket
import ssl
import subprocess
import time
import unittest

import test_bytes
import test_values
from harness import BINARY, SLACK, Server, SherdTest, Wire, shared_nodes, wait_until
from wire import request_bytes

HELLO = bytes.fromhex("16030100c8010000c40303")  # how a ClientHello begins


class Authority:
    """Makes certificates that `context` trusts."""

    def __init__(self, directory):
        self.directory = directory
        self.made = 0
        self.key, self.certificate = self.sign("authority", ("-addext", "basicConstraints=critical,CA:TRUE"))

    def path(self, name):
        return os.path.join(self.directory, name)

    def sign(self, name, extra=(), key_type="rsa:2048"):
        """The paths of a new key and its certificate for localhost, made by the authority or by itself."""
        key, certificate = self.path(name + ".key"), self.path(name + ".pem")
        issuer = ("-CA", self.path("authority.pem"), "-CAkey", self.path("authority.key")) if self.made else ()
        subprocess.run(["openssl", "req", "-x509", "-newkey", key_type, "-nodes", "-days", "2", "-subj", "/CN=" + name,
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate,
                        *issuer, *extra], check=True, capture_output=True)
        os.chmod(key, 0o600)
        self.made += 1
        return key, certificate

    def context(self, version=None, alpn=None):
        context = ssl.create_default_context(cafile=self.certificate)
        if version:
            context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


def prepare(server):
    """Has the server, which does not run yet, speak TLS."""
    authority = Authority(server.directory)
    key, certificate = authority.sign("server")
    server.configure("server", tls_certificate=certificate, tls_key=os.path.basename(key))
    server.tls = authority.context()
    server.authority = authority


class TlsTest(SherdTest):
    @classmethod
    def prepare(cls, server):
        prepare(server)

    @property
    def authority(self):
        return self.server.authority

    def connect(self, context=None, session=None, strict=False):
        """A blocking connection after its handshake; a strict one raises at an end without close_notify."""
        raw = socket.create_connection(("127.0.0.1", self.server.port), 10 * SLACK)
        self.addCleanup(raw.close)
        connection = (context or self.server.tls).wrap_socket(raw, server_hostname="localhost", session=session,
                                                                   suppress_ragged_eofs=not strict)
        self.addCleanup(connection.close)
        return connection

    def ask(self, connection, target="/livez"):
        """One request and its answer, which is short."""
        connection.sendall(request_bytes("GET", target))
        text = b""
        while b"\r\n\r\n" not in text:
            piece = connection.recv(65536)
            self.assertTrue(piece, text)
            text += piece
        self.assertTrue(text.startswith(b"HTTP/1.1 200"), text)


# What is tested in clear, over TLS.

class Puts(TlsTest, test_values.Puts):
    pass


class Gets(TlsTest, test_values.Gets):
    pass


class Values(TlsTest, test_bytes.Values):
    pass


class LargeValues(TlsTest, test_bytes.LargeValues):
    pass


class Handshakes(TlsTest):
    def test_versions(self):
        for version, works in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
            context = self.authority.context(version)
            context.set_ciphers("ALL:@SECLEVEL=0")  # the client would do anything
            with self.subTest(version=version):
                if not works:
                    with self.assertRaises((ssl.SSLError, ConnectionError)):
                        self.connect(context)
                    continue
                connection = self.connect(context)
                self.assertRegex(connection.cipher()[0], "^(ECDHE-RSA-|TLS_)(AES|CHACHA20)[0-9_-]*(128|256|)[_-]?(GCM|POLY1305)")
                self.ask(connection)

    def test_ciphers_without_forward_secrecy_are_refused(self):
        context = self.authority.context(ssl.TLSVersion.TLSv1_2)
        for ciphers in ("AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA384", "AES128-SHA"):
            context.set_ciphers(ciphers + ":@SECLEVEL=0")
            with self.subTest(ciphers), self.assertRaises((ssl.SSLError, ConnectionError)):
                self.connect(context)

    def test_protocols(self):
        for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (None, None)):
            connection = self.connect(self.authority.context(alpn=offered))
            self.assertEqual(chosen, connection.selected_alpn_protocol())
            self.ask(connection)
        with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
            self.connect(self.authority.context(alpn=["h2"]))

    def test_sessions_are_resumed(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                context = self.authority.context(version)
                first = self.connect(context)
                self.ask(first)
                self.assertFalse(first.session_reused)
                for _ in range(5):  # by all threads, each with the ticket of the one before
                    again = self.connect(context, first.session)
                    self.ask(again)
                    self.assertTrue(again.session_reused)
                    if version == ssl.TLSVersion.TLSv1_3:  # whose tickets serve once
                        self.assertNotEqual(first.session.id, again.session.id)
                    first = again

    def test_many_requests_in_one_record_and_one_in_many(self):
        with self.server.wire() as wire:
            wire.send(request_bytes("GET", "/livez") * 12)
            self.assertEqual([200] * 12, [wire.response().status for _ in range(12)])
            wire.byte_by_byte(request_bytes("GET", "/livez"))
            self.assertEqual(200, wire.response().status)

    def test_the_end_is_said(self):
        connection = self.connect(strict=True)
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = b""
        while piece := connection.recv(65536):  # raises where close_notify is missing
            text += piece
        self.assertTrue(text.startswith(b"HTTP/1.1 200"), text)

    def test_a_client_that_ends_without_saying_so(self):
        for _ in range(3):
            connection = self.connect()
            connection.sendall(b"PUT /keys/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
            connection.detach and socket.socket(fileno=connection.detach()).close()
        self.check(self.server.get("half"), 404)

    def test_a_client_that_goes_in_the_middle_of_an_answer_costs_nothing(self):
        self.put("large", b"x" * 1000000)
        for _ in range(3):
            connection = self.connect()
            connection.sendall(request_bytes("GET", "/changes", headers={"Accept": "application/x-ndjson"}))
            self.assertIn(b"200", connection.recv(65536))
            connection.close()
            download = self.connect()
            download.sendall(request_bytes("GET", "/keys/large") * 10)
            download.recv(10)
            download.close()
        for i in range(5):
            self.put("told", b"%d" % i)
        before = self.server.cpu_seconds()
        time.sleep(1)  # what is measured: a second in which nothing is asked
        self.assertLess(self.server.cpu_seconds() - before, 0.3)

    def test_the_feed(self):
        with self.server.wire() as wire:
            wire.send(request_bytes("GET", "/changes", headers={"Accept": "application/x-ndjson"}))
            self.assertEqual(200, wire.head().status)
            self.assertIn(b'"progress"', wire.chunk())
            self.put("heard", b"over TLS")
            self.assertIn(b'"heard"', wire.chunk())


class Clear(TlsTest):
    def test_http_on_a_port_of_tls_is_told_so(self):
        for method in ("GET", "DELETE", "PATCH"):
            with Wire(self.server.port, 10 * SLACK) as wire:
                answer = wire.request(method, "/keys/a", headers={"Authorization": "Bearer secret"})
                self.assertEqual(400, answer.status)
                self.assertIn("TLS", answer.json()["detail"])
                self.assertTrue(wire.is_closed())

    def test_what_is_no_handshake_ends(self):
        for data in (b"\x16" + b"x" * 100, HELLO + b"\xff" * 300, b"\x16\x03\x01\x00\x05hello", b"\0" * 50, b"\x80\x2e\x01\x00\x02"):
            with self.subTest(data=data[:20]), Wire(self.server.port, 10 * SLACK) as wire:
                wire.send(data)
                while wire.receive(5 * SLACK):
                    pass
                self.assertTrue(wire.ended)
                self.assertFalse(wire.reset)

    def test_a_handshake_on_a_port_in_clear_ends(self):
        server = Server(self.nodes)
        self.addCleanup(server.discard)
        server.start_up()
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.server.tls.wrap_socket(socket.create_connection(("127.0.0.1", server.port), 10 * SLACK),
                                        server_hostname="localhost")
        server.stop()


class Slow(TlsTest):
    config = {"server": {"head_timeout": "300ms"}}

    def test_a_handshake_that_does_not_go_on(self):
        for data in (b"", HELLO[:1], HELLO):
            with self.subTest(data=data), Wire(self.server.port, 10 * SLACK) as wire:
                wire.send(data)
                self.assertTrue(wire.is_closed(5 * SLACK))
        self.assertEqual(200, self.server.request("GET", "/livez").status)

    def test_a_client_may_wait_after_its_handshake(self):
        connection = self.connect()
        late = self.connect()
        wait_until(lambda: self.is_cut(late, b"GET /livez"), 10, "the head is late")
        self.ask(connection)

    def is_cut(self, connection, begin):
        if begin and not getattr(self, "sent", False):
            connection.sendall(begin)
            self.sent = True
        connection.settimeout(0.01)
        try:
            return b"408" in connection.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError):
            return False


class Reload(unittest.TestCase):
    def setUp(self):
        self.nodes = shared_nodes()
        self.server = Server(self.nodes)
        self.addCleanup(self.server.discard)
        prepare(self.server)

    def test_a_ticket_of_another_process_is_a_whole_handshake(self):
        session, context = None, self.server.tls
        for _ in range(2):
            open(self.server.log_path, "wb").close()  # which says the port
            self.server.port = None
            self.server.start_up()
            raw = socket.create_connection(("127.0.0.1", self.server.port), 10 * SLACK)
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as connection:
                connection.sendall(request_bytes("GET", "/livez"))
                self.assertTrue(connection.recv(65536).startswith(b"HTTP/1.1 200"))
                self.assertFalse(connection.session_reused)
                session = connection.session
            self.server.terminate()
            self.assertEqual(0, self.server.wait_for_end())

    def shown(self):
        """The name in the certificate that a new connection is shown."""
        raw = socket.create_connection(("127.0.0.1", self.server.port), 10 * SLACK)
        with self.server.tls.wrap_socket(raw, server_hostname="localhost") as connection:
            return dict(pair for part in connection.getpeercert()["subject"] for pair in part)["commonName"]

    def test_a_new_certificate_without_dropping_a_connection(self):
        self.server.start_up()
        self.assertEqual("server", self.shown())
        with self.server.wire() as wire:
            self.assertEqual(200, wire.request("GET", "/livez").status)
            key, certificate = self.server.authority.sign("renewed", key_type="ec:" + self.curve())
            self.server.configure("server", tls_certificate=certificate, tls_key=key)
            self.server.hang_up()
            wait_until(lambda: self.shown() == "renewed", 10, "the new certificate")
            self.assertEqual(200, wire.request("GET", "/livez").status)
        self.server.stop()

    def curve(self):
        path = self.server.authority.path("curve")
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-out", path], check=True)
        return path

    def test_what_cannot_be_used_changes_nothing(self):
        self.server.start_up()
        key, certificate = self.server.authority.sign("other")
        empty = self.server.authority.path("empty")
        with open(os.open(empty, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write("-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n")
        elliptic = self.server.authority.sign("elliptic", key_type="ec:" + self.curve())
        shown = self.server.authority.path("shown.key")
        shutil.copy(key, shown)
        os.chmod(shown, 0o640)
        for tls_certificate, tls_key, wrong in (
                (certificate, "server.key", "key values mismatch"), (certificate, "none", "No such file"),
                (empty, key, "no chain of certificates"), (elliptic[1], key, "no private key"), (certificate, empty, "no private key"),
                (certificate, shown, "others than its owner may read or write it")):
            with self.subTest(wrong):
                self.server.configure("server", tls_certificate=tls_certificate, tls_key=tls_key)
                self.server.hang_up()
                wait_until(lambda: wrong in self.server.log(), 10, wrong)
                self.assertEqual("server", self.shown())
                checked = subprocess.run([self.server.process.args[0], "--config", self.server.config, "--check-config"],
                                         env=self.server.environment, capture_output=True, text=True)
                self.assertEqual(78, checked.returncode, checked)
                self.assertIn(wrong, checked.stderr)
        self.assertNotIn("SECRET", self.server.log())
        self.server.stop()

    def test_a_server_does_not_start_with_what_cannot_be_used(self):
        self.server.configure("server", tls_key="none")
        self.server.launch()
        self.assertEqual(78, self.server.wait_for_end())
        self.assertIn("none: No such file", self.server.log())

    def test_to_tls_and_back(self):
        tls = self.server.tls
        self.server.start_up()
        self.server.sections["server"].pop("tls_key")
        self.server.sections["server"].pop("tls_certificate")
        self.server.configure("server")
        self.server.hang_up()
        wait_until(lambda: "reloaded" in self.server.log(), 10, "the reload")
        self.server.tls = None
        wait_until(self.speaks_clear, 10, "all threads in clear")
        self.server.tls = tls
        self.server.configure("server", tls_certificate="server.pem", tls_key="server.key")
        self.server.hang_up()
        wait_until(lambda: self.server.log().count("reloaded") == 2, 10, "the second reload")
        self.server.stop()

    def speaks_clear(self):
        return all(self.server.request("GET", "/livez").status == 200 for _ in range(10))


class Privileges(unittest.TestCase):
    def setUp(self):
        self.server = Server(shared_nodes())
        self.addCleanup(self.server.discard)

    def status(self):
        with open("/proc/%d/status" % self.server.process.pid, encoding="ascii") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_root_becomes_another_user_before_it_answers(self):
        prepare(self.server)  # whose key only root may read
        self.server.configure("server", user="nobody")
        self.server.start_up()
        status = self.status()
        self.assertEqual({"65534"}, set(status["Uid"].split()))
        self.assertEqual({"0000000000000000"}, {status[name] for name in ("CapEff", "CapPrm")})
        self.assertNotIn("0", status["Groups"].split())
        self.assertEqual(200, self.server.request("GET", "/livez").status)
        self.server.hang_up()
        wait_until(lambda: "Permission denied" in self.server.log(), 10, "what the user cannot read is told")
        self.assertEqual(200, self.server.request("GET", "/livez").status)
        self.server.stop()

    def test_a_user_that_is_not_there(self):
        self.server.configure("server", user="sherd-nobody-has-this-name")
        self.server.launch()
        self.assertEqual(78, self.server.wait_for_end())
        self.assertIn("there is no such user", self.server.log())

    @unittest.skipUnless(os.geteuid() == 0, "only root can lose that right")
    def test_root_without_the_right_to_become_another_user(self):
        self.server.configure("server", user="nobody")
        for missing in ("-setgid", "-setuid"):
            done = subprocess.run(["setpriv", "--bounding-set=" + missing, BINARY, "--config", self.server.config],
                                  env=self.server.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=20 * SLACK, check=False)
            self.assertEqual(78, done.returncode)
            self.assertIn(b"user = nobody: Operation not permitted", done.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_a_user_that_cannot_read_what_partitions_need(self):
        authority = Authority(self.server.directory)
        os.chmod(self.server.directory, 0o755)
        self.server.configure("server", user="nobody")
        self.server.configure("partition-2", socket=None, host="localhost", port=1, tls="required", tls_ca=authority.certificate,
                              tls_certificate=authority.certificate, tls_key=authority.key)
        self.server.launch()
        self.assertEqual(78, self.server.wait_for_end())
        self.assertIn("partition-2: %s: Permission denied" % authority.key, self.server.log())

    def test_the_user_that_it_is(self):
        self.server.configure("server", user=pwd.getpwuid(os.geteuid()).pw_name)
        self.server.start_up().stop()

    def test_memory_goes_into_no_core_file(self):
        self.server.start_up()
        with open("/proc/%d/limits" % self.server.process.pid, encoding="ascii") as file:
            self.assertRegex(file.read(), r"Max core file size +0 +0 ")
        self.server.stop()


if __name__ == "__main__":
    unittest.main()

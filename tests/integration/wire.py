# SPDX-License-Identifier: MIT
"""A strict HTTP/1.1 client on a raw socket: sends any bytes, accepts only well-formed answers.

A Wire is one connection. It never blocks in send: while the server does not read, the answers are
read, as RFC 9112 (9.5) asks of clients. Whatever in an answer breaks RFC 9110 or 9112 raises
Malformed, so every test that reads one is also a test of its grammar.
"""
import json
import re
import select
import socket
import ssl
import struct
import time

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [\t \x21-\x7e\x80-\xff]*")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*"
                        rb"[\x21-\x7e\x80-\xff])?)?)[ \t]*")
DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT")
PROBLEM = re.compile(r"urn:problem-type:sherd:[a-z-]+")
BODILESS = (204, 304)
LINE_MAX = 64 * 1024


class Malformed(AssertionError):
    """The server's bytes are no HTTP answer, or one that breaks a rule."""


class Ended(AssertionError):
    """The connection ended, or nothing came in time, where an answer was due."""


class Response:
    """One answer. `headers` is a list of (lower-case name, value) in the order of the wire."""

    def __init__(self, status, version, headers):
        self.status = status
        self.version = version
        self.headers = headers
        self.body = b""

    def all(self, name):
        return [value for other, value in self.headers if other == name.lower()]

    def header(self, name):
        """The value of a header that may be there once; None without it."""
        values = self.all(name)
        if len(values) > 1:
            raise Malformed("%s twice: %r" % (name, values))
        return values[0] if values else None

    def json(self):
        return json.loads(self.body.decode("utf-8"))

    def lines(self):
        """The JSON values of an NDJSON body."""
        return [json.loads(line) for line in self.body.decode("utf-8").splitlines()]

    @property
    def version_tag(self):
        return self.header("ETag").strip('"')

    @property
    def partition(self):
        return int(self.header("Sherd-Partition"))

    @property
    def closes(self):
        tokens = [t.strip().lower() for v in self.all("Connection") for t in v.split(",")]
        return "close" in tokens or (self.version == "HTTP/1.0" and "keep-alive" not in tokens)

    def __repr__(self):
        return "<%d %r %r>" % (self.status, self.headers, bytes(self.body[:200]))


class Wire:
    def __init__(self, port, timeout=10, tls=None, source=None):
        """`tls`: the ssl.SSLContext of one that speaks TLS; `source`: its own address."""
        self.timeout = timeout
        self.buffer = bytearray()
        self.ended = False  # no byte will come any more
        self.reset = False  # and the end was a RST
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.pending = self.socket.pending if tls else lambda: 0
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def abort(self):
        """Ends the connection with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def half_close(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server was faster

    def receive(self, seconds):
        """Takes in what comes within `seconds`; False if nothing did."""
        if self.ended or not (self.pending() or select.select([self.socket], [], [], max(seconds, 0))[0]):
            return False
        try:
            data = self.socket.recv(1 << 18)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except ConnectionError:
            self.reset, data = True, b""
        self.ended = not data
        self.buffer += data
        return bool(data)

    def send(self, data):
        """Sends all, unless the server ends the connection first: its answer can still be read."""
        view = memoryview(data)
        deadline = time.monotonic() + self.timeout
        while view:
            readers = [] if self.ended else [self.socket]
            left = deadline - time.monotonic()
            if left < 0:
                raise Ended("%d bytes could not be sent in %d s" % (len(view), self.timeout))
            readable, writable, _ = select.select(readers, [self.socket], [], left)
            if readable:
                self.receive(0)
            if writable:
                try:
                    view = view[self.socket.send(view[:1 << 18]):]
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
                except OSError:
                    return

    def byte_by_byte(self, data):
        for i in range(len(data)):
            self.send(data[i:i + 1])

    def _more(self, deadline):
        if not self.receive(deadline - time.monotonic()):
            if self.ended or time.monotonic() >= deadline:
                raise Ended("%s after %r" % ("reset" if self.reset else "end" if self.ended else
                                             "silence", bytes(self.buffer[:200])))

    def _line(self, deadline):
        while True:
            at = self.buffer.find(b"\n")
            if at >= 0:
                break
            if len(self.buffer) > LINE_MAX:
                raise Malformed("endless line: %r" % bytes(self.buffer[:200]))
            self._more(deadline)
        line = bytes(self.buffer[:at + 1])
        del self.buffer[:at + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Malformed("not a line: %r" % line)
        return line[:-2]

    def _bytes(self, count, deadline):
        while len(self.buffer) < count:
            self._more(deadline)
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def _head(self, deadline):
        line = self._line(deadline)
        match = STATUS_LINE.fullmatch(line)
        if not match:
            raise Malformed("status line: %r" % line)
        headers = []
        while True:
            field = self._line(deadline)
            if not field:
                return Response(int(match.group(1)), line[:8].decode(), headers)
            parts = FIELD_LINE.fullmatch(field)
            if not parts:
                raise Malformed("header line: %r" % field)
            headers.append((parts.group(1).decode().lower(), parts.group(2).decode("latin-1")))

    def head(self, seconds=None):
        """The next answer without its body, for who reads that as it comes (`chunk`)."""
        response = self._head(time.monotonic() + (seconds or self.timeout))
        check_head(response)
        return response

    def chunk(self, seconds=None):
        """The next chunk of a body; b"" is the last."""
        deadline = time.monotonic() + (seconds or self.timeout)
        line = self._line(deadline)
        if not re.fullmatch(rb"[0-9A-Fa-f]+", line):
            raise Malformed("chunk size: %r" % line)
        data = self._bytes(int(line, 16), deadline)
        if self._line(deadline):
            raise Malformed("no CRLF after a chunk, or a trailer")
        return data

    def _body(self, response, deadline):
        if "chunked" in (response.header("Transfer-Encoding") or ""):
            chunks = []
            while True:
                chunks.append(self.chunk(deadline - time.monotonic()))
                if not chunks[-1]:
                    return b"".join(chunks)
        if response.header("Content-Length") is not None:
            return self._bytes(int(response.header("Content-Length")), deadline)
        if not response.closes:
            raise Malformed("no length: %r" % response)
        while self.receive(deadline - time.monotonic()):
            pass
        if not self.ended:
            raise Ended("a body without length that does not end")
        body = bytes(self.buffer)
        self.buffer.clear()
        return body

    def response(self, head=False, seconds=None):
        """The next answer, an interim one (1xx) too. `head`: to a HEAD request."""
        deadline = time.monotonic() + (seconds or self.timeout)
        response = self._head(deadline)
        check_head(response)
        if not head and response.status >= 200 and response.status not in BODILESS:
            response.body = self._body(response, deadline)
            check_problem(response)
        return response

    def is_closed(self, seconds=3):
        """True if the server ends the connection within `seconds` without another byte."""
        deadline = time.monotonic() + seconds
        while not self.ended and not self.buffer and time.monotonic() < deadline:
            self.receive(deadline - time.monotonic())
        return self.ended and not self.buffer

    def request(self, method, target, body=None, headers=None):
        self.send(request_bytes(method, target, body, headers))
        return self.response(head=method == "HEAD")


def request_bytes(method, target, body=None, headers=None):
    lines = ["%s %s HTTP/1.1" % (method, target)]
    lines += ["%s: %s" % pair for pair in {"Host": "localhost", **(headers or {})}.items()]
    if body is not None:
        body = body if isinstance(body, bytes) else body.encode("utf-8")
        lines.append("Content-Length: %d" % len(body))
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def check_head(response):
    """What RFC 9110 and 9112 demand of every head, and docs/http.md of every error."""
    status = response.status
    length, coding = response.header("Content-Length"), response.header("Transfer-Encoding")
    if length is not None and not re.fullmatch("[0-9]+", length):
        raise Malformed("Content-Length %r" % length)
    if length is not None and coding is not None:
        raise Malformed("length and coding: %r" % response)
    if coding is not None and coding != "chunked":
        raise Malformed("Transfer-Encoding %r" % coding)
    if (status < 200 or status == 204) and (length or coding):
        raise Malformed("a body for %r" % response)
    if 200 <= status < 500 and not DATE.fullmatch(response.header("Date") or ""):
        raise Malformed("no Date: %r" % response)
    needed = {405: "Allow", 206: "Content-Range", 416: "Content-Range"}.get(status)
    if needed and response.header(needed) is None:
        raise Malformed("no %s: %r" % (needed, response))
    for name in ("ETag", "Last-Modified", "Content-Type", "Content-Range", "Location"):
        response.header(name)  # never twice


def check_problem(response):
    if response.header("Content-Type") != "application/problem+json" or response.status < 400:
        return
    problem = response.json()
    if problem.get("status") != response.status or not PROBLEM.fullmatch(problem.get("type", "")):
        raise Malformed("problem: %r" % response)
    if response.status == 503 and response.header("Retry-After") is None:
        raise Malformed("no Retry-After: %r" % response)
    if not isinstance(problem.get("title"), str) or not isinstance(problem.get("detail", ""), str):
        raise Malformed("problem: %r" % response)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The corpus of raw requests through nginx and haproxy: no two may disagree on where a request ends.

run.py [--only CATEGORY,...]   exit code 0: none did

Each proxy keeps one connection to the server for all its clients, so that bytes which the proxy takes for a body, and
the server for a request, would be answered to the next client. Behind every case another client asks for a value that
nobody else knows: it must get that. And the server's log must not have more requests than the case got answers.
"""
import argparse
import collections
import contextlib
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

import corpus  # noqa: E402
import corpus_store  # noqa: E402,F401  more of the cases
from corpus import CASES, HALF_CLOSE, RESET, TRICKLE, Await, Bytewise  # noqa: E402
from harness import SLACK, Nodes, Server, wait_until  # noqa: E402

PROGRAMS = os.path.join(ROOT, "build", "proxies")
# What lasts, is about ends of connections, which a proxy makes its own, or needs a server of its own.
LEFT_OUT = ("deadlines", "connections", "authorization", "browsers")
FINAL = re.compile(rb"HTTP/1\.[01] [2-5][0-9][0-9] ")
SILENCE = 0.12 * SLACK  # after an answer; the proxy has then passed on what it will
NGINX = """
daemon off; worker_processes 1; pid %(dir)s/pid; error_log stderr crit;
events {}
http {
  access_log off; client_body_temp_path %(dir)s/body; proxy_temp_path %(dir)s/proxy; fastcgi_temp_path %(dir)s/fastcgi;
  uwsgi_temp_path %(dir)s/uwsgi; scgi_temp_path %(dir)s/scgi;
  upstream sherd { server 127.0.0.1:%(to)d; keepalive 1; }
  server {
    listen 127.0.0.1:%(port)d; client_max_body_size 16m; proxy_request_buffering off; proxy_buffering off;
    location / { proxy_pass http://sherd; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }
  }
}
"""
HAPROXY = """
global
  log stderr local0 emerg
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout http-request 5s
frontend all
  bind 127.0.0.1:%(port)d
  default_backend sherd
backend sherd
  http-reuse always
  server sherd 127.0.0.1:%(to)d maxconn 1 pool-max-conn 1
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Proxy:
    def __init__(self, name, server, directory):
        self.name, self.port = name, free_port()
        path = os.path.join(directory, name)
        os.mkdir(path)
        config = os.path.join(path, "config")
        with open(config, "w", encoding="utf-8") as file:
            file.write((NGINX if name == "nginx" else HAPROXY) % {"dir": path, "to": server.port, "port": self.port})
        program = os.path.join(PROGRAMS, name)
        command = [program, "-p", path, "-e", "stderr", "-c", config] if name == "nginx" else [program, "-db", "-q", "-f", config]
        self.log = open(os.path.join(path, "log"), "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until(self.answers, 10, name)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("%s ended with %d" % (self.name, self.process.returncode))
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()

    def send(self, steps):
        """All that comes back to a client that sends these bytes."""
        got = bytearray()
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            with contextlib.suppress(OSError):
                for step in steps:
                    if isinstance(step, Await):
                        wait_for(connection, got, step.count)
                    elif step == HALF_CLOSE:
                        connection.shutdown(socket.SHUT_WR)
                    elif isinstance(step, Bytewise):
                        for i in range(len(step.data)):
                            connection.sendall(step.data[i:i + 1])
                    else:
                        connection.sendall(step)
                wait_for(connection, got, 1)
                while receive(connection, got, SILENCE):
                    pass
        return bytes(got)

    def ask(self, key):
        """The body of the answer to a client that comes next."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(b"GET /keys/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % key)
            got = bytearray()
            with contextlib.suppress(OSError):
                while receive(connection, got, 5 * SLACK):
                    pass
        return bytes(got)


def receive(connection, got, seconds):
    if not select.select([connection], [], [], seconds)[0]:
        return False
    data = connection.recv(1 << 18)
    got += data
    return bool(data)


def wait_for(connection, got, answers):
    deadline = time.monotonic() + 1 * SLACK
    while len(FINAL.findall(bytes(got))) < answers and time.monotonic() < deadline:
        if not receive(connection, got, max(0, deadline - time.monotonic())):
            return


class Check:
    def __init__(self, server, log):
        self.server, self.log, self.at = server, log, 0
        self.wrong = []
        self.counts = collections.Counter()

    def seen(self, target):
        """How many requests the server has logged before that of `target`, since the last call. It logs after it answers."""
        with open(self.log, "rb") as file:
            file.seek(self.at)
            lines = wait_until(lambda: self.up_to(file, b"/keys/" + target), 5, "%r in the log" % target)
        self.at += sum(map(len, lines))
        return len(lines) - 1

    def up_to(self, file, target):
        file.seek(self.at)
        lines = file.readlines()
        for i, line in enumerate(lines):
            if b'target="%s"' % target in line and line.endswith(b"\n"):
                return lines[:i + 1]
        return None

    def case(self, proxy, category, case, number):
        key = b"p%04d" % number
        marker = b"m%s%04d" % (proxy.name[:1].encode(), number)
        secret = b"only for whoever asks for " + marker

        def fill(step):
            for old, new in ((b"KEY", key), (b"PAST", corpus.PAST), (b"FUTURE", corpus.FUTURE), (b"ETAG", b'"1"'),
                             (b"MODIFIED", corpus.PAST)):
                step = step.replace(old, new)
            return step
        for name, value in case.before.items():
            self.server.put(name.replace("KEY", key.decode()), value)
        self.server.put(marker.decode(), secret)
        self.seen(marker)
        steps = [fill(s) if isinstance(s, bytes) else Bytewise(fill(s.data)) if isinstance(s, Bytewise) else s for s in case.send]
        answers = len(FINAL.findall(proxy.send(steps)))
        answer = proxy.ask(marker)
        requests = self.seen(marker)
        head, _, body = answer.partition(b"\r\n\r\n")
        self.counts[category, proxy.name, bool(requests)] += 1
        if not head.startswith(b"HTTP/1.1 200 ") or body != secret:
            self.wrong.append("%s, %s: the next client got %r" % (proxy.name, category + ": " + case.name, answer[:200]))
        elif requests > answers and HALF_CLOSE not in case.send:  # nginx takes that for a client who has gone
            self.wrong.append("%s, %s: %d answers, but the server saw %d requests" %
                              (proxy.name, category + ": " + case.name, answers, requests))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="CATEGORY,...")
    options = parser.parse_args()
    categories = [name for name in options.only.split(",") if name] or [name for name in CASES if name not in LEFT_OUT]
    subprocess.run([os.path.join(ROOT, "tools", "packages"), "proxies", PROGRAMS], check=True)
    directory = tempfile.mkdtemp(prefix="sherd-proxies-")
    nodes = Nodes(os.path.join(directory, "nodes"), 2)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(nodes.stop)
        nodes.start()
        nodes.define()
        log = os.path.join(directory, "access.log")
        server = Server(nodes, {"server": {"insecure": "yes", "threads": 1, "access_log": log}}, partitions=2)
        stack.callback(server.discard)
        server.start_up()
        check = Check(server, log)
        proxies = [stack.enter_context(contextlib.closing(Proxy(name, server, directory))) for name in ("nginx", "haproxy")]
        for number, (category, case) in enumerate((c, case) for c in categories for case in CASES[c]):
            if RESET in case.send or TRICKLE in case.send or case.stored_type is not None:
                continue
            for proxy in proxies:
                check.case(proxy, category, case, number)
        server.stop()
    print("%-16s %22s %22s" % ("passed on, answered by", "nginx", "haproxy"))
    for category in categories:
        print("%-16s" % category + "".join("%15d, %5d " % tuple(check.counts[category, name, passed] for passed in (True, False))
                                           for name in ("nginx", "haproxy")))
    for wrong in check.wrong:
        print("WRONG: " + wrong)
    print("proxies: %d cases, %d wrong" % (sum(check.counts.values()), len(check.wrong)))
    return 1 if check.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

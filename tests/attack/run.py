#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Attacks on a server with default limits, and what others notice: run.py [--rounds N] [--seconds N] [--only NAME,...]

Slow heads, bodies and readers (slowhttptest, 1,000 connections each), 10,000 idle connections, and a server that may
open 64 files. Others ask at a fixed rate meanwhile; their p99 is compared with that of the quiet seconds between, and
with that of seconds in which the same attackers, on the same processors, attack another server, in turn. Then nobody
asks: the server must use less than 5 % of a core while the attackers hold on. When they have gone,
every connection must be gone, and p99 what it was. Exit code 1 if something was not so.
"""
import argparse
import contextlib
import http.client
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from harness import Nodes, Server, wait_until  # noqa: E402

RATE = 1000          # requests a second of the others
OTHERS = 16          # their connections
KEYS = 2000
SLOW = 1000          # connections of an attacker
IDLE = 10000
FACTOR, CPU = 2, 0.05
READ = "GET /keys/$key HTTP/1.1\r\nHost: localhost\r\n\r\n"
WRITE = "PUT /keys/$key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n$value"


def rate(port, *options):
    command = [os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "bench", "rate"), "--port", str(port),
               "--prefix", "key:", "--size", "100", "--keys", str(KEYS), "--read", READ, "--read-answer", "$value",
               "--write", WRITE, *(str(option) for option in options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise AssertionError("the others were answered wrongly: " + done.stdout)
    return json.loads(done.stdout)


def p99(server, seconds):
    return rate(server.port, "--rate", RATE, "--seconds", seconds, "--connections", OTHERS)["p99"]


def clients(server):
    """Connections of clients, without this one, whose descriptor may be too large for select."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("sherd_http_clients "))) - 1


# ------------------------------------------------------------------------------------------------ the attackers

class Slow:
    """slowhttptest, again as soon as it ends."""

    def __init__(self, server, *options):
        # On other machines they would not take the server's processor either.
        self.command = ["nice", "-n", "19", "slowhttptest", "-c", str(SLOW), "-r", str(SLOW // 2), "-l", "60", "-p", "10",
                        *(option.replace("PORT", str(server.port)) for option in options)]
        self.stopping = threading.Event()
        self.process = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL)
            while self.process.poll() is None and not self.stopping.wait(0.05):
                pass
            self.process.kill()
            self.process.wait()

    def close(self):
        self.stopping.set()
        self.thread.join()


class Waiting:
    """Connections that were answered once, or never asked, and say nothing more."""

    def __init__(self, server, count):
        self.sockets = []
        for i in range(count):
            connection = socket.create_connection(("127.0.0.1", server.port))
            if i % 2:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.sockets.append(connection)

    def close(self):
        for connection in self.sockets:
            connection.close()


URL = "http://127.0.0.1:PORT/keys/"
ATTACKS = {
    "slow heads (H)": (lambda server: Slow(server, "-H", "-i", "1", "-t", "GET", "-u", URL + "key:000000"), SLOW),
    "slow bodies (B)": (lambda server: Slow(server, "-B", "-i", "1", "-s", "8192", "-t", "PUT", "-u", URL + "body"), SLOW),
    "slow readers (X)": (lambda server: Slow(server, "-X", "-w", "256", "-y", "512", "-n", "5", "-z", "32", "-k", "3",
                                             "-u", URL + "large"), SLOW),
    "idle": (lambda server: Waiting(server, IDLE), IDLE),
}


# ------------------------------------------------------------------------------------------------ measuring

def cpu_of(server, seconds):
    before = server.cpu_seconds()
    time.sleep(seconds)  # what is measured is a time in which nobody asks
    return (server.cpu_seconds() - before) / seconds


def show(name, quiet, elsewhere, attacked, after, cpu, held):
    """A line of the table; False if something was missed."""
    allowed = FACTOR * max(quiet, elsewhere)
    fine = attacked <= allowed and after <= allowed and cpu < CPU
    print("%-18s %8d %9.2f %10.2f %9.2f %9.2f %9.2f %8.1f %%  %s" %
          (name, held, quiet / 1000, elsewhere / 1000, attacked / 1000, after / 1000, attacked / quiet, 100 * cpu,
           "ok" if fine else "MISSED"), flush=True)
    return fine


@contextlib.contextmanager
def attack(server, name):
    begin, connections = ATTACKS[name]
    with contextlib.closing(begin(server)):
        wait_until(lambda: clients(server) >= connections * 0.9, 20, "%s: the attackers are there" % name)
        yield
    wait_until(lambda: clients(server) == 0, 90, "%s: all are gone" % name)


def under_attack(server, other, name, options):
    quiet, elsewhere, attacked, after, held, cpu = [], [], [], [], [], []
    for _ in range(options.rounds):
        quiet.append(p99(server, options.seconds))
        with attack(other, name):
            elsewhere.append(p99(server, options.seconds))
        with attack(server, name):
            held.append(clients(server))
            attacked.append(p99(server, options.seconds))
            cpu.append(cpu_of(server, options.seconds))
        after.append(p99(server, options.seconds))
    figures = (statistics.median(f) for f in (quiet, elsewhere, attacked, after))
    return show(name, *figures, max(cpu), max(held))


def without_files(nodes, options):
    """Others who are there are served while nobody new can be accepted."""
    server = Server(nodes, {"server": {"insecure": "yes"}}, partitions=2)
    with contextlib.ExitStack() as stack:
        stack.callback(server.discard)
        server.start_up()
        server.files = 64
        server.limit_files(server.process.pid)  # at the start it would have taken fewer clients
        quiet = p99(server, options.seconds)
        found = []
        others = threading.Thread(target=lambda: found.append(p99(server, 3 * options.seconds)))
        others.start()
        wait_until(lambda: clients(server) >= OTHERS, 10, "the others are there")
        waiting = stack.enter_context(contextlib.closing(Waiting(server, 200)))
        wait_until(lambda: "Too many open files" in server.log(), 10, "EMFILE")
        others.join()
        cpu = cpu_of(server, options.seconds)
        waiting.close()
        wait_until(lambda: clients(server) == 0, 90, "all are gone")
        if not found:
            raise AssertionError("the others were not served")
        return show("64 files", quiet, quiet, found[0], p99(server, options.seconds), cpu, 64)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--only", default="", metavar="NAME,...")
    return parser.parse_args()


def main():
    options = arguments()
    wanted = [name for name in options.only.split(",") if name] or [*ATTACKS, "64 files"]
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * IDLE, 2 * IDLE))
    directory = tempfile.mkdtemp(prefix="sherd-attack-")
    nodes = Nodes(os.path.join(directory, "nodes"), 2)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(nodes.stop)
        nodes.start()
        nodes.define()
        server, other = (Server(nodes, {}, partitions=2) for _ in range(2))
        for one in (server, other):
            stack.callback(one.discard)
            one.start_up()
        rate(server.port, "--each")
        server.put("large", b"x" * 200000)
        print("others: %d requests a second on %d connections; p99 in ms; %d rounds of %d s" %
              (RATE, OTHERS, options.rounds, options.seconds))
        print("%-18s %8s %9s %10s %9s %9s %9s %10s" %
              ("attack", "clients", "quiet", "elsewhere", "attacked", "after", "to quiet", "CPU idle"))
        fine = [under_attack(server, other, name, options) for name in ATTACKS if name in wanted]
        if "64 files" in wanted:
            fine.append(without_files(nodes, options))
        server.stop()
        other.stop()
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""What the faults happen to: partitions, their proxies and networks, clones of the server, runs of sync."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from faults import faketime_library

import harness
from harness import ROOT, Nodes, Server, wait_until
from history import Row, value_id

SYNC = os.environ.get("SHERD_SYNC") or os.path.join(ROOT, "build", "sherd-sync")
SYNC_SECONDS = 90
SIGNS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "ssertion", "Segmentation")
DISK_SIZE = "400m"


def copy_tree(source, target):
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True)


def empty_directory(directory):
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


class Partitions(Nodes):
    """Nodes that come from a template, and may live in networks, with clocks and on a disk of their own."""

    def __init__(self, directory, template, needs):
        super().__init__(directory)
        self.network = Network(self.count) if "net" in needs else None
        self.clocks = "clock" in needs
        for node in self.all():
            os.makedirs(self.data(node))
            if "disk" in needs and node == 1:
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + DISK_SIZE, "sherd-disk", self.data(1)],
                               check=True)
            self.replace(node, template)
            self.set_clock(node, 0)

    def data(self, node):
        return os.path.join(self.directory, "node-%d" % node, "data")

    def clock(self, node):
        return os.path.join(self.directory, "node-%d" % node, "clock")

    def set_clock(self, node, seconds):
        path = self.clock(node)
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write("%+.3f\n" % seconds)
        os.rename(path + ".new", path)
        wait_until(lambda: self.shows_clock(node, seconds), 5, "node %d %+g s" % (node, seconds))

    def shows_clock(self, node, seconds):
        """The library looks at the file once a second. A node that does not answer looks before it does again."""
        try:
            done = subprocess.run(self.client(node, None, "-e", "SELECT UNIX_TIMESTAMP(NOW(6))"),
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=1)
        except subprocess.TimeoutExpired:
            return True
        return done.returncode or abs(float(done.stdout) - seconds - time.time()) < 0.2

    def replace(self, node, source):
        """Puts the data of another directory in place of a node's, which does not run."""
        empty_directory(self.data(node))
        subprocess.run(["cp", "-a", "--sparse=always", source + "/.", self.data(node)], check=True)
        # But the redo log has its room from the beginning, as the server made it: without, a full disk ends the server.
        with open(os.path.join(self.data(node), "ib_logfile0"), "r+b") as log:
            os.posix_fallocate(log.fileno(), 0, os.fstat(log.fileno()).st_size)

    def tool(self, verb, node=None):
        if verb != "start":
            return super().tool(verb, node)
        starts = [self.launch(n) for n in ([node] if node else self.all())]
        for start in starts:
            assert start.wait() == 0, "a node did not start"
        return None

    def launch(self, node):
        command = [os.path.join(ROOT, "tools", "nodes"), "start", "--count", str(self.count), "--dir", self.directory,
                   "--node", str(node), "--", "--innodb-buffer-pool-size=64M"]
        if self.network:
            command = self.network.inside(node) + command + ["--skip-networking=0", "--port=3306",
                                                             "--bind-address=0.0.0.0"]
        return subprocess.Popen(command, env=self.environment(node), stdout=subprocess.DEVNULL)

    def environment(self, node):
        if not self.clocks:
            return None
        return {**os.environ, "LD_PRELOAD": faketime_library(), "FAKETIME_TIMESTAMP_FILE": self.clock(node),
                "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def snapshot(self, node, target):
        """A copy of a running node's files at one moment, as a snapshot of its disk would be."""
        self.freeze(node)
        try:
            copy_tree(self.data(node), target)
        finally:
            self.thaw(node)

    def rows(self, node):
        """{key: Row} of all that a partition has."""
        found = {}
        for k, v, kind, version, created, expires in self.sql(
                node, "SELECT HEX(k), HEX(v), HEX(type), version, created, expires FROM pairs"):
            key = bytes.fromhex(k).decode()
            value = None if v == "NULL" else value_id(bytes.fromhex(v))
            found[key] = Row(key, value, int(version), bytes.fromhex(kind).decode(), int(created), int(expires))
        return found

    def unsettled(self, node):
        """The keys of rows that SQL wrote and nobody stamped, and of those that it removed and nobody buried."""
        return [bytes.fromhex(k).decode() for k, in self.sql(
            node, "SELECT HEX(k) FROM pairs WHERE touched IS NOT NULL UNION ALL SELECT HEX(k) FROM removed")]

    def floor(self, node):
        rows = self.sql(node, "SELECT floor FROM sherd_partition")
        return int(rows[0][0]) if rows else 0

    def checksum(self, node, floor):
        """The server's own opinion of all rows, in one order."""
        rows = self.sql(node, "CREATE OR REPLACE TABLE sherd.canonical AS SELECT k, v, type, version, created, expires "
                              "FROM pairs WHERE NOT (v IS NULL AND version < %d) ORDER BY k; "
                              "CHECKSUM TABLE sherd.canonical; DROP TABLE sherd.canonical" % floor)
        return rows[0][1]


class Network:
    """A network namespace for each partition, joined to ours by a veth pair. All of it ends with this process."""

    def __init__(self, count):
        self.holders = {node: subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE,
                                               stdout=subprocess.DEVNULL) for node in range(1, count + 1)}
        for node in self.holders:
            wait_until(lambda n=node: self.apart(n), 5, "a network namespace")
            self.join(node)

    def apart(self, node):
        pid = self.holders[node].pid
        return os.readlink("/proc/%d/ns/net" % pid) != os.readlink("/proc/self/ns/net")

    def join(self, node):
        ours, theirs = "sherd%d" % node, "partition%d" % node
        self.ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns",
                str(self.holders[node].pid))
        self.ip("addr", "add", "10.77.%d.1/24" % node, "dev", ours)
        self.ip("link", "set", ours, "up")
        inside = self.inside(node)
        self.ip("addr", "add", self.address(node) + "/24", "dev", theirs, inside=inside)
        self.ip("link", "set", theirs, "up", inside=inside)
        self.ip("link", "set", "lo", "up", inside=inside)

    @staticmethod
    def ip(*words, inside=()):
        subprocess.run([*inside, "ip", *words], check=True)

    @staticmethod
    def address(node):
        return "10.77.%d.2" % node

    def inside(self, node):
        return ["nsenter", "--net=/proc/%d/ns/net" % self.holders[node].pid]

    def filter(self, node, rules):
        """Puts rules `chain rule` in place of those that are there."""
        text = ["table ip sherd", "delete table ip sherd"]
        if rules:
            text.append("table ip sherd {")
            for rule in rules:
                hook, _, words = rule.partition(" ")
                text.append("chain %s { type filter hook %s priority 0; %s; }" % (hook, hook, words))
            text.append("}")
        subprocess.run([*self.inside(node), "nft", "-f", "-"], input="\n".join(text).encode() + b"\n", check=True,
                       env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})

    def end(self):
        for holder in self.holders.values():
            holder.kill()
            holder.wait()


class Proxy:
    """A running proxy.py before one partition."""

    def __init__(self, directory, node, target):
        self.socket = os.path.join(directory, "proxy-%d.sock" % node)
        self.control = os.path.join(directory, "control-%d.sock" % node)
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "proxy.py")
        self.process = subprocess.Popen([sys.executable, program, self.socket, self.control, target],
                                        stdin=subprocess.DEVNULL)
        wait_until(lambda: os.path.exists(self.control), 10, "the proxy")

    def set(self, mode):
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(self.control)
            control.sendall(mode.encode() + b"\n")
            assert control.recv(10) == b"ok\n"

    def end(self):
        self.process.kill()
        self.process.wait()


class Clone(Server):
    """A server that may end and come again; `name` is another one then, for it knows nothing of what it knew."""

    def __init__(self, nodes, number, overrides, problems):
        super().__init__(nodes, overrides)
        self.number, self.life, self.problems = number, 0, problems
        self.listening = None

    @property
    def name(self):
        return "%d.%d" % (self.number, self.life)

    def restart(self):
        if self.process and self.process.poll() is None:
            return
        self.read_log()
        if os.path.exists(self.log_path):
            os.rename(self.log_path, "%s.%d" % (self.log_path, self.life))
        self.life += 1
        self.port = None
        self.start()

    def end(self, number):
        """Ends it by a signal; anything but what that signal leads to is a problem."""
        if self.process.poll() is not None:
            self.problems.append("clone %s had ended with %r" % (self.name, self.process.returncode))
            return
        self.process.send_signal(number)
        try:
            code = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if code != (-signal.SIGKILL if number == signal.SIGKILL else 0):
            self.problems.append("clone %s ended with %d after signal %d" % (self.name, code, number))

    def finish(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        self.end(signal.SIGTERM)
        self.read_log()

    def read_log(self):
        if not os.path.exists(self.log_path):
            return
        for line in self.log().splitlines():
            if any(sign in line for sign in SIGNS):
                self.problems.append("clone %s: %s" % (self.name, line))

    def __str__(self):
        return "clone %s" % self.name


class SyncRun:
    """One run of sync: `code`, what it said, and whether it ended by itself."""

    def __init__(self, config, arguments=(), environment=None, kill_after=None):
        self.begin = time.monotonic_ns()
        self.hung = False
        command = [SYNC, "--config", config, "--quiet", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              env={**os.environ, "SHERD_ENV": "test", **(environment or {})}) as process:
            try:
                self.out, self.error = process.communicate(timeout=kill_after or SYNC_SECONDS)
            except subprocess.TimeoutExpired:
                self.hung = kill_after is None
                process.kill()
                self.out, self.error = process.communicate()
        self.code = process.returncode
        self.end = time.monotonic_ns()


def sync_is_there():
    """Whether the program exists and is more than a placeholder."""
    try:
        return subprocess.run([SYNC, "--help"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10,
                              check=False).returncode == 0
    except OSError:
        return False


def make_template(directory):
    """The data directory of a node that has the definition and nothing else; made once and copied."""
    data = os.path.join(directory, "node-1", "data")
    if not os.path.exists(os.path.join(directory, "ready")):
        nodes = Nodes(directory, 1)
        nodes.start()
        try:
            nodes.define()
            # The load is not about durability against a loss of power, which no fault here makes.
        finally:
            nodes.stop()
        with open(os.path.join(directory, "ready"), "w", encoding="ascii"):
            pass
    return data

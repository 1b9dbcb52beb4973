# SPDX-License-Identifier: MIT
"""What runs on the machine for a while: a directory on its disk, processes, MariaDB nodes, Sherd over them.

Everything ends with the Place that it was started in, also when the program is interrupted.
"""
import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
START_SECONDS = 20
STOP_SECONDS = 20


class Void(Exception):
    """Something was answered wrongly, or did not run: what was measured is worth nothing."""


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


def tool(name, *arguments):
    """Runs a script of tools/; its output is told only if it fails."""
    done = subprocess.run([os.path.join(ROOT, "tools", name), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
    if done.returncode:
        raise Void("tools/%s %s:\n%s" % (name, " ".join(arguments), done.stdout))


def wait_until(condition, what, seconds=START_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Void("%s: not within %d s" % (what, seconds))
        time.sleep(0.01)


def free_port():
    """One on which nobody listens, below those that the kernel gives to clients. Servers share ports (SO_REUSEPORT),
    so that it has to be asked."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def cpu_seconds():
    """What the processes of each session have used so far, with their children that ended, by the session's id.

    Servers are sessions of their own.
    """
    used = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, encoding="latin-1") as file:
                    fields = file.read().rpartition(") ")[2].split()
            except OSError:  # it has gone
                continue
            session = int(fields[3])
            used[session] = used.get(session, 0) + sum(int(field) for field in fields[11:15])
    return {session: ticks / os.sysconf("SC_CLK_TCK") for session, ticks in used.items()}


def resident(pid):
    """Kilobytes in memory."""
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


class Process:
    """A server in a session of its own, so that a ^C in the terminal reaches only us."""

    def __init__(self, name, command, log, env=None, cwd=None):
        self.name = name
        self.log = log
        with open(log, "ab") as output:
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd,
                                          env={**os.environ, **(env or {})}, start_new_session=True)
        self.pid = self.popen.pid

    def wait_for(self, condition):
        """Waits until the condition holds; tells the log's end if the process does not get there."""
        def there():
            if self.popen.poll() is not None:
                raise Void("%s ended:\n%s" % (self.name, self.tail()))
            return condition()
        try:
            wait_until(there, self.name)
        except Void as void:
            raise Void("%s\n%s" % (void, self.tail())) from None

    def tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-20:])

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            self.popen.send_signal(signal.SIGCONT)
            try:
                self.popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                say("%s does not stop: killed" % self.name)
                os.killpg(self.pid, signal.SIGKILL)
                self.popen.wait()


class Place(contextlib.ExitStack):
    """A new directory and what runs in it; all of it is gone at the end of the `with`."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def __enter__(self):
        super().__enter__()
        # /tmp may be memory, where a commit costs nothing.
        self.directory = tempfile.mkdtemp(prefix="sherd-%s." % self.name, dir=os.environ.get("TMPDIR") or "/var/tmp")
        self.callback(shutil.rmtree, self.directory, ignore_errors=True)
        os.chmod(self.directory, 0o711)  # servers that give up root pass through
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
        return self

    def __exit__(self, *why):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the second ^C of who is impatient
        return super().__exit__(*why)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def write(self, name, text):
        path = self.path(name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)  # it may hold a password
        return path

    def start(self, name, command, **options):
        process = Process(name, command, self.path(name + ".log"), **options)
        self.callback(process.stop)
        return process

    def nodes(self, count):
        return self.enter_context(Nodes(self, count))


class Nodes:
    """Private MariaDB servers with Sherd's definition, numbered from 1."""

    def __init__(self, place, count):
        self.directory = place.path("nodes")
        self.count = count
        self.password = secrets.token_hex(16)

    def __enter__(self):
        os.mkdir(self.directory, 0o700)
        try:
            # All that is measured has to fit.
            tool("nodes", "start", "--count", str(self.count), "--dir", self.directory, "--",
                 "--innodb-buffer-pool-size=1G")
            with open(os.path.join(ROOT, "database_definition.sql"), encoding="utf-8") as file:
                definition = file.read() + "\nSET PASSWORD FOR sherd = PASSWORD('%s');\n" % self.password
            for node in self.all():
                self.sql(node, definition, database=None)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        tool("nodes", "stop", "--count", str(self.count), "--dir", self.directory)

    def all(self):
        return range(1, self.count + 1)

    def socket(self, node):
        return os.path.join(self.directory, "node-%d" % node, "mariadb.sock")

    def pid(self, node):
        with open(os.path.join(self.directory, "node-%d" % node, "mariadb.pid"), encoding="ascii") as file:
            return int(file.read())

    def sql(self, node, text, database="sherd"):
        """Runs statements as root; returns rows of texts."""
        command = ["mariadb", "--no-defaults", "-S", self.socket(node), "-u", "root", "-N", "-B"]
        done = subprocess.run(command + ([database] if database else []), input=text, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise Void("node %d: %s" % (node, done.stderr))
        return [line.split("\t") for line in done.stdout.splitlines()]

    def settle(self):
        """Waits until the writes before are cleaned up after, which nobody else is to pay for."""
        deadline = time.monotonic() + 15
        for node in self.all():
            while time.monotonic() < deadline:
                length = self.sql(node, "SHOW GLOBAL STATUS LIKE 'Innodb_history_list_length'")
                if int(length[0][1]) < 1000:
                    break
                time.sleep(0.1)
        self.settle_disk()

    def settle_disk(self):
        """Waits until the disk is no longer busy with what was written before: ten commits in a row go fast."""
        path, deadline, calm = os.path.join(self.directory, "calm"), time.monotonic() + 60, 0
        while calm < 10 and time.monotonic() < deadline:
            began = time.monotonic()
            with open(path, "wb") as file:
                file.write(bytes(16384))
                os.fsync(file.fileno())
            calm = calm + 1 if time.monotonic() - began < 0.02 else 0
        os.unlink(path)

    def schemas(self, count):
        """Makes more databases with Sherd's definition, evenly over the nodes; returns (node, database) of each."""
        with open(os.path.join(ROOT, "database_definition.sql"), encoding="utf-8") as file:
            definition = file.read()
        definition = definition[definition.index("CREATE DATABASE IF NOT EXISTS test_sherd"):]
        databases = [(i % self.count + 1, "part_%d" % i) for i in range(count)]
        for node in self.all():
            self.sql(node, "".join(definition.replace("test_sherd", database) + "\nDELIMITER ;\n"
                                   for where, database in databases if where == node), database=None)
        return databases


def sherd_config(nodes, port, store=(), server=(), databases=None):
    """The text of a configuration; `databases` names (node, database) of each partition, one a node unless given."""
    databases = databases or [(node, "sherd") for node in nodes.all()]
    lines = ["[store]", "partitions = %d" % len(databases), *store,
             "[server]", "listen = 127.0.0.1:%d" % port, "log_level = warn", *server]
    for number, (node, database) in enumerate(databases, 1):
        lines += ["[partition-%d]" % number, "socket = " + nodes.socket(node), "user = sherd",
                  "password = " + nodes.password, "database = " + database]
    return "\n".join(lines) + "\n"

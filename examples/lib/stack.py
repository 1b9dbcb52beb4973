# SPDX-License-Identifier: MIT
"""What the examples run on: private MariaDB servers, daemons of Sherd, haproxy, programs. Everything listens on
127.0.0.1 or on sockets in one directory, and is ended, by process id, when the stack is closed."""
import atexit
import csv
import fcntl
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SERVER = os.environ.get("SHERD_SERVER") or os.path.join(ROOT, "build", "sherd-server")
SYNC = os.environ.get("SHERD_SYNC") or os.path.join(ROOT, "build", "sherd-sync")
HAPROXY_DIR = os.path.join(ROOT, "build", "haproxy")
SLACK = float(os.environ.get("SHERD_TEST_SLACK", "1"))  # multiplies deadlines on slow machines

HAPROXY = """\
global
    stats socket "%s" mode 600

defaults
    mode http
    timeout connect 1s
    # An event stream says something every 15 seconds: what is silent for longer is dead.
    timeout client 60s
    timeout server 60s
    timeout queue 5s
    # Only where the connection could not be made is a request given to another server: it cannot have been
    # carried out. Everything else is the client's to decide.
    option redispatch 1
    retries 3
    option httpchk
    http-check expect status 200
    balance leastconn
    default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
"""


def wait_until(condition, seconds, what):
    """The first true value of condition()."""
    deadline = time.monotonic() + seconds * SLACK
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("%s: not within %g s" % (what, seconds * SLACK))
        time.sleep(0.02)
    return value


def free_port():
    """A port that nobody uses; not one of those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def ask(port, path):
    """Status and text of a GET; (0, "") if nobody is there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


class Stack:
    def __init__(self, directory, partitions=2):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self.directory = os.path.abspath(directory)
        self.partitions = partitions
        self.started = []  # programs in the order of their start
        self.closed = threading.Event()
        self.launching = threading.Lock()  # nothing is started behind the back of close
        self.lock = open(self.path("lock"), "w")  # a second stack would end the servers of the first
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another run is using " + self.directory)
        atexit.register(self.close)
        build()
        self.nodes("start")
        self.define()

    def path(self, name):
        return os.path.join(self.directory, name)

    def close(self):
        """Ends all programs, those that were started last first, and then the databases."""
        with self.launching:
            if self.closed.is_set():
                return
            self.closed.set()
        for program in reversed(self.started):
            program.stop()
        self.nodes("stop")

    # ------------------------------------------------------------ the store

    def nodes(self, verb, node=None):
        """tools/nodes: start, stop or kill all database servers, or one."""
        only = ["--node", str(node)] if node else []
        subprocess.run([os.path.join(ROOT, "tools", "nodes"), verb, "--count", str(self.partitions),
                        "--dir", self.directory, *only], check=True, stdout=subprocess.DEVNULL)

    def define(self):
        """Makes the servers into partitions; writes configuration.cfg, which sherd-sync reads."""
        subprocess.run([os.path.join(ROOT, "tools", "store"), "--count", str(self.partitions), "--dir", self.directory],
                       check=True)

    def add_partition(self):
        """One more database server; the daemons know it when they are configured and started anew."""
        self.partitions += 1
        self.nodes("start", self.partitions)
        self.define()

    def daemon(self, number, port=None, **options):
        """A running sherd-server; `options` belong into [store]."""
        command = [SERVER, "--config", self.path("daemon-%d.cfg" % number)]
        daemon = Program(self, "daemon-%d" % number, command, port or free_port())
        self.configure(daemon, **options)
        daemon.start()
        return daemon

    def configure(self, daemon, **options):
        """Writes a daemon's configuration for the partitions of now."""
        with open(self.path("configuration.cfg"), encoding="ascii") as file:
            text = file.read()
        lines = "".join("%s = %s\n" % option for option in options.items())
        text = text.replace("listen = 127.0.0.1:8080", "listen = 127.0.0.1:%d" % daemon.port)
        text = text.replace("[store]\n", "[store]\n" + lines)
        write_private(self.path(daemon.name + ".cfg"), text)

    def sync(self):
        """A pass of sherd-sync; its exit code."""
        with open(self.path("sync.log"), "ab") as log:
            return subprocess.run([SYNC, "--config", self.path("configuration.cfg")], env=environment(),
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode

    def sync_every(self, seconds):
        """What cron does on real servers, where it is every minute."""
        def loop():
            while not self.closed.wait(seconds):
                self.sync()
        threading.Thread(target=loop, daemon=True).start()

    # ------------------------------------------------------------ what is around it

    def haproxy(self, text):
        """A running haproxy; `text` are its frontends and backends."""
        write_private(self.path("haproxy.cfg"), HAPROXY % self.path("haproxy.sock") + text)
        return Program(self, "haproxy", [find_haproxy(), "-db", "-q", "-f", self.path("haproxy.cfg")]).start()

    def connections(self):
        """{server: how many connections haproxy has to it}"""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(self.path("haproxy.sock"))
            control.sendall(b"show stat\n")
            with control.makefile(encoding="ascii") as file:
                rows = csv.DictReader(line for line in file if line.strip())
                return {row["svname"]: int(row["scur"]) for row in rows}

    def keep(self, program):
        """Starts it anew, soon after it ends: what a service manager does on real servers."""
        def loop():
            while not self.closed.is_set():
                program.process.wait()
                self.closed.wait(2)
                program.launch()
        threading.Thread(target=loop, daemon=True).start()

    def python(self, name, *command, port=None, health="/healthz"):
        """A running program of Python's."""
        return Program(self, name, [sys.executable, *map(str, command)], port, health).start()


class Program:
    """A process that writes its log to a file of its name. One with a port has started when `health` there is 200."""

    def __init__(self, stack, name, command, port=None, health="/readyz"):
        self.stack, self.name, self.command, self.port, self.health = stack, name, command, port, health
        self.process = None
        stack.started.append(self)

    def start(self):
        self.launch()
        if self.port:
            wait_until(self.is_ready, 15, self.name + " is ready")
        return self

    def launch(self):
        with self.stack.launching, open(self.stack.path(self.name + ".log"), "ab") as log:
            if not self.stack.closed.is_set():
                # A session of its own: Ctrl-C reaches the script that runs all this, which ends things in order.
                self.process = subprocess.Popen(self.command, env=environment(), start_new_session=True,
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def is_ready(self):
        if self.process.poll() is not None:
            with open(self.stack.path(self.name + ".log"), encoding="utf-8", errors="replace") as log:
                raise AssertionError("%s ended with %d:\n%s" % (self.name, self.process.returncode, log.read()[-2000:]))
        status, text = ask(self.port, self.health)
        return status == 200 and " down" not in text  # a daemon is ready with one partition; at its start we want all

    def kill(self):
        """As a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


def run(name, start, **options):
    """The main function of an example: start(stack) starts everything and returns what to tell; then until Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    stack = Stack(os.environ.get("VAR") or os.path.join(ROOT, "var", name), **options)
    try:
        print(start(stack), flush=True)
        while True:
            signal.pause()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stack.close()


def build():
    """Makes what is missing."""
    if not (os.access(SERVER, os.X_OK) and os.access(SYNC, os.X_OK)):
        subprocess.run(["make", "-C", ROOT, "--no-print-directory", "-j2", "all"], check=True)
    packages("nodes")


def packages(*words):
    subprocess.run([os.path.join(ROOT, "tools", "packages"), *words], check=True)


def find_haproxy():
    """The one that is installed, or else one that is unpacked beside the build: Debian's package starts a service."""
    places = os.environ.get("PATH", "") + ":/usr/sbin:" + HAPROXY_DIR
    if not shutil.which("haproxy", path=places):
        packages("examples")
        packages("haproxy", HAPROXY_DIR)
    return shutil.which("haproxy", path=places)


def environment():
    """Ours without test mode: the databases are private, and called what they are called on real servers."""
    return {name: value for name, value in os.environ.items() if name != "SHERD_ENV"}


def write_private(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)

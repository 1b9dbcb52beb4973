# SPDX-License-Identifier: MIT
"""What all integration tests share: private MariaDB nodes, a running server, waiting.

Environment:
  SHERD_TEST_NODES  a directory of tools/nodes with three running nodes; without it the harness
                    starts its own and stops them when Python ends
  SHERD_SERVER      the binary, build/sherd-server unless given
"""
import atexit
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

from wire import Wire

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BINARY = os.environ.get("SHERD_SERVER") or os.path.join(ROOT, "build", "sherd-server")
DEFINITION = os.path.join(ROOT, "database_definition.sql")
PASSWORD = "it's # secret"
NODE_COUNT = 3
TABLES = ("pairs", "changes", "removed", "diverts", "cursors", "sherd_partition", "placement", "servers")
START_SECONDS = 15
STOP_SECONDS = 7
TRUST_SECONDS = 4
COVERAGE = os.environ.get("SHERD_TEST_COVERAGE")  # set by make coverage
SLACK = float(os.environ.get("SHERD_TEST_SLACK", "1"))  # multiplies deadlines on slow machines


def wait_until(condition, seconds, what="the condition"):
    """Returns the first true value of condition(); fails if none comes within `seconds`."""
    deadline = time.monotonic() + seconds * SLACK
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("%s: not within %g s" % (what, seconds * SLACK))
        time.sleep(0.01)


def sql_bytes(data):
    """A literal of any bytes."""
    return "x'%s'" % (data if isinstance(data, bytes) else data.encode("utf-8")).hex()


def key_path(key):
    """The path of a key, everything but letters, digits and -._~/ percent-encoded."""
    return "/keys/" + urllib.parse.quote(key)


class Nodes:
    """Private MariaDB servers, numbered from 1 like the partitions that use them."""

    def __init__(self, directory, count=NODE_COUNT):
        self.directory = directory
        self.count = count

    def tool(self, verb, node=None, *options):
        """`options`: of the database server, to start."""
        command = [os.path.join(ROOT, "tools", "nodes"), verb, "--count", str(self.count),
                   "--dir", self.directory]
        command += ["--node", str(node)] if node else []
        subprocess.run(command + (["--", *options] if options else []), check=True, stdout=subprocess.DEVNULL)

    def start(self, node=None):
        """Starts what does not run (and continues what is frozen); returns when all answer."""
        self.tool("start", node)

    def stop(self, node=None):
        self.tool("stop", node)

    def kill(self, node):
        self.tool("kill", node)

    def define(self):
        """Loads the definition, again if need be, and sets the account's password."""
        with open(DEFINITION, encoding="utf-8") as file:
            text = file.read()
        for node in self.all():
            self.sql(node, text + password_sql("sherd", PASSWORD), database=None)

    def all(self):
        return range(1, self.count + 1)

    def socket(self, node):
        return os.path.join(self.directory, "node-%d" % node, "mariadb.sock")

    def client(self, node, database, *options):
        return ["mariadb", "--no-defaults", "-S", self.socket(node), "-u", "root",
                "--default-character-set=utf8mb4", "-N", "-B", *options] + ([database] if database else [])

    def sql(self, node, text, database="test_sherd"):
        """Runs statements as root; returns rows of texts, escaped as the client does in batches."""
        done = subprocess.run(self.client(node, database), input=text.encode("utf-8"),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        if done.returncode:
            raise AssertionError("node %d: %s" % (node, done.stderr.decode("utf-8", "replace")))
        return [line.split("\t") for line in done.stdout.decode("utf-8", "replace").splitlines()]

    def truncate(self):
        """Makes all partitions blank, while no server runs."""
        for node in self.all():
            self.sql(node, "".join("TRUNCATE %s;" % table for table in TABLES))

    def empty(self):
        """Empties all partitions of the store that a server serves."""
        for node in self.all():
            self.sql(node, "".join("TRUNCATE %s;" % table for table in TABLES if table not in ("placement", "servers")))

    def pid(self, node):
        with open(os.path.join(self.directory, "node-%d" % node, "mariadb.pid"), encoding="ascii") as file:
            return int(file.read())

    def signal(self, node, number):
        os.kill(self.pid(node), number)

    def freeze(self, node):
        self.signal(node, signal.SIGSTOP)
        wait_until(lambda: all(state == "T" for state in self.thread_states(node)), 5, "all threads stopped")

    def thread_states(self, node):
        tasks = "/proc/%d/task" % self.pid(node)
        for task in os.listdir(tasks):
            with open(os.path.join(tasks, task, "stat"), encoding="latin-1") as file:
                yield file.read().rpartition(") ")[2][0]

    def thaw(self, node):
        self.signal(node, signal.SIGCONT)


def password_sql(user, password):
    return "\nSET PASSWORD FOR %s = PASSWORD('%s');\n" % (user, password.replace("'", "''"))


class Transaction:
    """A connection of a foreign SQL client that stays open."""

    def __init__(self, nodes, node):
        self.process = subprocess.Popen(nodes.client(node, "test_sherd", "--unbuffered"),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, text):
        """Runs statements and returns when they are done."""
        self.process.stdin.write((text + ";\nSELECT 'done';\n").encode("utf-8"))
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            assert line, "the SQL client ended"
            if line == b"done\n":
                return

    def end(self):
        """Closes the connection; what was not committed is rolled back."""
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(10)
        self.process.stdout.close()


_nodes = None


def shared_nodes():
    """The nodes of this run: started and defined once."""
    global _nodes
    if _nodes is None:
        directory = os.environ.get("SHERD_TEST_NODES")
        if not directory:
            directory = tempfile.mkdtemp(prefix="sherd-")
            atexit.register(shutil.rmtree, directory, ignore_errors=True)
            atexit.register(Nodes(directory).stop)
        _nodes = Nodes(directory)
        _nodes.start()
        _nodes.define()
    return _nodes


def config_text(sections):
    return "".join("[%s]\n%s\n" % (name, "".join("%s = %s\n" % pair for pair in options.items()
                                                 if pair[1] is not None))
                   for name, options in sections.items() if options is not None)


def config_sections(nodes, partitions, overrides):
    """The configuration for `partitions` nodes; an override of None leaves out what it names."""
    sections = {"store": {"partitions": partitions}, "server": {"listen": "127.0.0.1:0"}}
    for n in range(1, partitions + 1):
        sections["partition-%d" % n] = {"socket": nodes.socket(n), "user": "sherd",
                                        "password": PASSWORD, "database": "sherd"}
    for name, options in overrides.items():
        sections[name] = None if options is None else {**sections.get(name, {}), **options}
    return sections


class Server:
    """A server process of its own configuration, which `overrides` changes: {section: {option: value}}."""

    def __init__(self, nodes, overrides=None, partitions=3, test=True):
        self.nodes = nodes
        self.directory = tempfile.mkdtemp(prefix="sherd-server-")
        self.config = os.path.join(self.directory, "configuration.cfg")
        self.log_path = os.path.join(self.directory, "log")
        self.sections = config_sections(nodes, partitions, overrides or {})
        self.write_config(config_text(self.sections))
        self.environment = {k: v for k, v in os.environ.items() if k != "SHERD_ENV"}
        if test:
            self.environment["SHERD_ENV"] = "test"
        self.process = None
        self.port = None
        self.tls = None  # an ssl.SSLContext: clients speak TLS
        self.files = None  # how many files it may have open

    def write_config(self, text):
        with open(self.config + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.config + ".new", 0o600)
        os.rename(self.config + ".new", self.config)

    def configure(self, section, **options):
        """Changes the file of a running server, for SIGHUP."""
        self.sections[section] = {**self.sections.get(section, {}), **options}
        self.write_config(config_text(self.sections))

    def launch(self, *arguments):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([BINARY, "--config", self.config, *arguments],
                                            env=self.environment, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=log, preexec_fn=self.limit_files)
        return self

    def limit_files(self, pid=0):
        """Of the new process, which calls this itself, or of one that runs."""
        if self.files:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (self.files, self.files))

    def start(self):
        """Launches and waits until it listens."""
        self.launch()
        wait_until(self._listens, START_SECONDS, "listening on")
        return self

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError("the server ended with %d:\n%s" % (self.process.returncode, self.log()))
        for line in self.log().splitlines():
            if "listening on 127.0.0.1:" in line:
                self.port = int(line.split("listening on 127.0.0.1:")[1].split()[0].rstrip(".,;"))
        return self.port

    def start_up(self):
        """start, and until all partitions are up."""
        self.start()
        wait_until(self.all_up, START_SECONDS, "all partitions up")
        return self

    def all_up(self):
        """Whether every thread has every partition: each has connections of its own, so ask many times."""
        return all(line.endswith(" up") for _ in range(20)
                   for line in self.request("GET", "/readyz").body.decode().splitlines())

    def trusted(self):
        """Of each partition, by one of the threads."""
        return [p["trusted"] for p in self.request("GET", "/status").json()["partitions"]]

    def wait_trusted(self, *expected):
        """Each thread learns it for itself."""
        wait_until(lambda: all(self.trusted() == list(expected) for _ in range(20)), TRUST_SECONDS,
                   "trusted: %r" % (expected,))

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def cpu_seconds(self):
        """What the process has used so far."""
        with open("/proc/%d/stat" % self.process.pid, encoding="latin-1") as file:
            fields = file.read().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, which):
        """VmRSS, what is resident now, or VmHWM, the most since `forget_most`."""
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(which + ":")) * 1024

    def forget_most(self):
        with open("/proc/%d/clear_refs" % self.process.pid, "w", encoding="ascii") as file:
            file.write("5")

    def wait_for_end(self, seconds=STOP_SECONDS):
        """The exit code of a server that ends by itself."""
        code = self.process.wait(seconds * SLACK)
        self.check_log()
        return code

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """Ends the server as a service manager would, and asserts that it ended well."""
        if self.process is None or self.process.poll() is not None:
            ended = self.process and self.process.returncode
            shutil.rmtree(self.directory, ignore_errors=True)
            assert not ended, "the server had ended with %r" % ended
            return
        self.terminate()
        try:
            code = self.process.wait(STOP_SECONDS * SLACK)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("still there %d s after SIGTERM:\n%s" % (STOP_SECONDS, self.log()))
        self.check_log()
        assert code == 0, "exit code %d:\n%s" % (code, self.log())
        shutil.rmtree(self.directory, ignore_errors=True)

    def discard(self):
        """For clean-up: gone in any case, without an opinion."""
        if self.process is not None and self.process.poll() is None:
            if COVERAGE:  # only who ends by himself tells what he did
                self.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(STOP_SECONDS * SLACK)
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def check_log(self):
        log = self.log()
        for sign in ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "ssertion"):
            assert sign not in log, log

    def wire(self, timeout=10):
        return Wire(self.port, timeout * SLACK, self.tls)

    def raw(self, data, answers=1):
        """The given number of answers to bytes on a connection of their own."""
        with self.wire() as wire:
            wire.send(data)
            return [wire.response() for _ in range(answers)]

    def request(self, method, target, body=None, headers=None, timeout=10):
        """One request on a connection of its own."""
        with self.wire(timeout) as wire:
            return wire.request(method, target, body, headers)

    # Keys are bytes or texts, of any content.
    def get(self, key, headers=None):
        return self.request("GET", key_path(key), None, headers)

    def put(self, key, value, headers=None):
        return self.request("PUT", key_path(key), value, headers)

    def delete(self, key, headers=None):
        return self.request("DELETE", key_path(key), None, headers)

    def keys_on(self, partition, count, prefix):
        """Stores keys until `count` of them have their home on `partition`; returns those."""
        found = []
        for i in range(1000):
            key = "%s-%d" % (prefix, i)
            answer = self.put(key, b"first")
            assert answer.status in (201, 204), answer
            if answer.partition == partition:
                found.append(key)
                if len(found) == count:
                    return found
        raise AssertionError("too few keys on partition %d" % partition)


class SherdTest(unittest.TestCase):
    """A server for all tests of a class, on emptied tables, with the class's configuration."""

    partitions = 3
    config = {}
    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        cls.nodes = shared_nodes()
        cls.nodes.truncate()
        cls.server = Server(cls.nodes, cls.config, cls.partitions)
        cls.addClassCleanup(cls.server.discard)
        cls.prepare(cls.server)
        cls.server.start_up()

    @classmethod
    def prepare(cls, server):
        """For what a class needs beyond its configuration, before the server starts."""

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def check(self, response, *statuses):
        """Asserts the status and returns the answer."""
        self.assertIn(response.status, statuses, response)
        return response

    def put(self, key, value, headers=None):
        return self.check(self.server.put(key, value, headers), 201, 204)

    def value(self, key):
        return self.check(self.server.get(key), 200).body


def concurrently(count, work):
    """Runs work(0..count-1), each in a thread, all let go at once; the results in order."""
    results = [None] * count
    gate = threading.Barrier(count)

    def run(i):
        try:
            gate.wait()
            results[i] = work(i)
        except BaseException as error:  # handed to the caller below
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results

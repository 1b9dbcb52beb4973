# SPDX-License-Identifier: MIT
"""The servers that are measured: how each is configured, started and asked, and what carries a durable write in it.

A peer has its best reasonable configuration; where several were tried, a comment says what was kept and why.
"""
import http.client
import json
import os
import shutil
import subprocess

from machine import BUILD, ROOT, free_port, sherd_config, tool, wait_until
import load

HERE = os.path.join(ROOT, "bench", "peers")
PACKAGES = os.path.join(BUILD, "peers")  # where tools/packages puts what is not to be installed
CORES = os.cpu_count()


def command(name):
    return os.path.join(PACKAGES, name)


class Peer:
    """One server (or two: webdis and its Redis)."""
    name = title = carries = None
    read_answer, write_answer = "$value", None
    plain = False  # whether its pairs are in the plain tables

    def __init__(self, place, nodes):
        self.place = place
        self.nodes = nodes
        self.port = free_port()
        self.processes = []
        self.shapes = set()

    def read(self):
        return load.request("GET", "/keys/$key")

    def write(self, size):
        return load.request("PUT", "/keys/$key", "$value", size, ["Content-Type: application/octet-stream"])

    def start(self):
        raise NotImplementedError

    def launch(self, name, words, ready=None, **options):
        process = self.place.start(name, words, **options)
        self.processes.append(process)
        process.wait_for(ready or self.answers)
        return process

    def answers(self):
        """Whether it answers anything at all."""
        try:
            return load.ask(self.port, load.for_key(self.read(), "key:000000"))[0] < 503
        except (OSError, load.http.client.HTTPException):
            return False

    def stop(self):
        for process in reversed(self.processes):
            process.stop()
        self.processes = []

    def fill(self, shape):
        """Gives it the pairs of that size, once."""
        if shape not in self.shapes:
            load.fill(self, shape)
            self.shapes.add(shape)


class Sherd(Peer):
    name, title = "sherd", "Sherd"
    carries = "each partition's InnoDB log, innodb_flush_log_at_trx_commit = 1: one fsync a batch"
    store = server = ()  # lines of the configuration
    databases = None

    def configure(self):
        text = sherd_config(self.nodes, self.port, self.store, self.server, self.databases)
        return self.place.write(self.name + ".cfg", text)

    def start(self):
        self.launch(self.name, [os.path.join(BUILD, "sherd-server"), "--config", self.configure()], self.ready)

    def ready(self):
        """Whether all partitions are up, and trusted: else it reads the long way."""
        count = len(self.databases or self.nodes.all())
        try:
            return (all(load.ask(self.port, load.request("GET", "/readyz?partition=%d" % i))[0] == 200
                        for i in range(1, count + 1)) and
                    b'"trusted":false' not in load.ask(self.port, load.request("GET", "/status"))[1].replace(b" ", b""))
        except OSError:
            return False


class SherdCached(Sherd):
    name, title = "sherd-cached", "Sherd, cache = 64M"
    server = ("cache = 64M",)  # enough for 200,000 values of 100 bytes

    def fill(self, shape):
        """And brings all of it into memory."""
        if shape in self.shapes:
            return
        super().fill(shape)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for first in range(0, shape.keys, 1000):
            lines = "".join('{"op":"get","key":"%s"}\n' % load.key_of(shape, number)
                            for number in range(first, min(first + 1000, shape.keys)))
            connection.request("POST", "/bulk", lines.encode(), {"Content-Type": "application/x-ndjson"})
            connection.getresponse().read()
        connection.close()


class SherdConstant(Sherd):
    """What its own HTTP layer serves without asking anybody."""
    name, title = "sherd-constant", "Sherd, a constant (/livez)"
    read_answer = "ok\n"

    def read(self):
        return load.request("GET", "/livez")

    def fill(self, shape):
        pass


class Webdis(Peer):
    """webdis over a Redis of its own behind a UNIX socket; asked for raw answers, not JSON."""
    write_answer = "...OK"
    redis = ()

    # Tried on two cores: threads 1, 2, 4; connections of each to Redis 1, 2, 4, 8, 16, 32. Few share system calls: 2 in
    # memory are 70,000 GETs a second, 16 are 59,000, 32 are 50,000. What waits for a disk gains by 4.
    THREADS, POOL = 2, 2

    def read(self):
        return load.request("GET", "/GET/$key.txt")

    def write(self, size):
        return load.request("PUT", "/SET/$key", "$value", size)

    def start(self):
        socket = self.place.path(self.name + ".sock")
        directory = self.place.path(self.name)
        os.makedirs(directory, exist_ok=True)
        self.launch(self.name + "-redis", [command("redis-server"), "--port", "0", "--unixsocket", socket,
                                           "--dir", directory, "--save", "", "--daemonize", "no", *self.redis],
                    lambda: os.path.exists(socket))
        config = self.place.write(self.name + ".json", json.dumps({
            "redis_host": socket, "redis_port": 0, "http_host": "127.0.0.1", "http_port": self.port,
            "threads": self.THREADS, "pool_size": self.POOL, "daemonize": False, "websockets": False, "database": 0,
            "http_max_request_size": 1 << 27, "verbosity": 0, "logfile": self.place.path(self.name + "-webdis.log"),
            "acl": [{"enabled": ["GET", "SET"]}]}))
        self.launch(self.name, [command("webdis"), config])


class WebdisMemory(Webdis):
    name, title = "webdis-memory", "webdis + Redis, in memory"
    carries = "nothing is durable"
    redis = ("--appendonly", "no")


class WebdisDurable(Webdis):
    name, title = "webdis-aof", "webdis + Redis, appendfsync always"
    carries = "Redis' append-only file, one fsync a turn of its loop"
    POOL = 4
    redis = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")


class Fastify(Peer):
    name, title = "fastify", "fastify + mysql2"
    carries = "InnoDB's log, a commit a request"

    plain = True
    # A pool a process and database server. 1 process or 2, pools of 8, 16, 32: within 15 %, writes best with these.
    PROCESSES, POOL = CORES, 16

    def start(self):
        directory = npm_ci("fastify")
        self.launch(self.name, ["node", "server.mjs", str(self.port), str(self.PROCESSES), str(self.POOL),
                                *(self.nodes.socket(node) for node in self.nodes.all())], cwd=directory,
                    env={"NODE_ENV": "production"})


class Etcd(Peer):
    """etcd's HTTP gateway to its gRPC API; both APIs are served by one process, over stores of their own."""
    name, title = "etcd-v3", "etcd 3.4, v3 JSON gateway"
    carries = "etcd's write-ahead log, one fsync a batch of Raft entries (one member)"
    read_answer = '..."value":"$value64'
    write_answer = '..."revision"'

    def read(self):
        return load.request("POST", "/v3/kv/range", '{"key":"$key64"}')

    def write(self, size):
        return load.request("POST", "/v3/kv/put", '{"key":"$key64","value":"$value64"}', size)

    def start(self):
        url = "http://127.0.0.1:%d" % self.port
        peers = "http://127.0.0.1:%d" % free_port()
        self.launch(self.name, [
            command("etcd"), "--name", "bench", "--data-dir", self.place.path("etcd"), "--enable-v2", "--log-level",
            "error", "--logger", "zap", "--listen-client-urls", url, "--advertise-client-urls", url,
            "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "bench=" + peers,
            "--quota-backend-bytes", str(8 << 30)])


class EtcdV2(Etcd):
    name, title = "etcd-v2", "etcd 3.4, v2 API"
    read_answer = '..."value":"$value'
    write_answer = '..."action":"set"'

    def __init__(self, etcd):
        super().__init__(etcd.place, etcd.nodes)
        self.port = etcd.port
        self.processes = etcd.processes

    def read(self):
        return load.request("GET", "/v2/keys/$key")

    def write(self, size):
        return load.request("PUT", "/v2/keys/$key", "value=$value", size,
                            ["Content-Type: application/x-www-form-urlencoded"])


class Nginx(Peer):
    """Answers a constant of 100 bytes, whatever is asked: what HTTP alone costs."""
    name, title = "nginx", "nginx, a constant"
    carries = "nothing is stored"
    constant = "=" * 100
    read_answer = constant

    def start(self):
        directory = self.place.path("nginx")
        os.mkdir(directory)
        paths = "".join("%s_temp_path %s;" % (kind, os.path.join(directory, kind))
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(os.path.join(HERE, "nginx.conf"), encoding="utf-8") as file:
            text = file.read()
        for name, value in (("CORES", CORES), ("PORT", self.port), ("PATHS", paths), ("CONSTANT", self.constant),
                            ("DIRECTORY", directory)):
            text = text.replace("@%s@" % name, str(value))
        self.launch(self.name, [command("nginx"), "-p", directory, "-e", "stderr", "-c",
                                self.place.write("nginx.conf", text)])

    def fill(self, shape):
        pass


def npm_ci(name):
    """Installs the packages of peers/NAME into a directory of the build, once for each lock file; returns it."""
    ours, installed = os.path.join(HERE, name), os.path.join(PACKAGES, name)
    lock, done = os.path.join(ours, "package-lock.json"), os.path.join(installed, "installed")
    if not os.path.exists(done) or os.path.getmtime(done) < os.path.getmtime(lock):
        shutil.rmtree(installed, ignore_errors=True)
        shutil.copytree(ours, installed, ignore=shutil.ignore_patterns("node_modules"))
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=installed, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(done, "w", encoding="utf-8"):
            pass
    for file in os.listdir(ours):
        shutil.copy(os.path.join(ours, file), installed)
    return installed


def install():
    """Everything that the peers need and that is not there yet."""
    tool("packages", "build", "nodes", "check", "bench")
    tool("packages", "peers", PACKAGES)
    npm_ci("fastify")


class Plain:
    """The table that one has without Sherd, on each node, with all the keys."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.shapes = set()
        for node in nodes.all():
            nodes.sql(node, "CREATE DATABASE plain; CREATE TABLE plain.plain (k VARBINARY(512) PRIMARY KEY, v LONGBLOB) "
                      "ENGINE=InnoDB", "mysql")

    def fill(self, shape):
        if shape in self.shapes:
            return
        self.shapes.add(shape)
        for node in self.nodes.all():
            self.nodes.sql(node, "INSERT INTO plain SELECT k, CONCAT(REPEAT(k, %d), '0000000000') FROM (SELECT "
                           "CONCAT('%s', LPAD(seq, 6, '0')) AS k FROM seq_0_to_%d) AS n"
                           % ((shape.size - 10) // 10, shape.prefix, shape.keys - 1), "plain")

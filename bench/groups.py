# SPDX-License-Identifier: MIT
"""What is measured. A group is a list of things that are measured in turn, round after round (A B C A B C ...), because
what a shared machine does to one of them it then does to all. A thing has a function that is given seconds and a seed,
and returns a number, or the line of latencies of an open loop.

To measure something more, add a thing to a group here and, if it is to be compared, a target in report.py.
"""
import collections
import concurrent.futures
import http.client
import itertools
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import time

import load
import peers
from machine import BUILD, Void, cpu_seconds, resident, say

# `pids`: of the servers that work for it beside the databases; None where a figure is not requests a second.
Thing = collections.namedtuple("Thing", "name title measure pids", defaults=[None])
SMALL = load.SHAPES[100]
LIST = load.Shape("lst:", 100, 1000000)
LIST_RATE = 20          # a second: what one list costs, not how many go
CURVE = (10, 25, 50, 75, 90)  # percent of the peak
IDLE_CONNECTIONS = 10000
BATCHES = (8, 16, 32, 64)  # rows a statement
PARTITIONS = (1, 8, 64)
PARTITION_RATE = 10000
SOAK_RATE = 10000       # so far below the peak that no neighbour on the machine can void an hour
BULK_LINES = 100000
STREAMS = 2


class Group:
    """A name, a title, a unit; things() may start servers, which run until the group is over."""
    name = title = unit = None
    share = 1.0        # of the seconds of a round
    most_rounds = 1000
    warm = True

    def __init__(self, bench):
        self.bench = bench
        self.nodes = bench.nodes

    def things(self):
        raise NotImplementedError

    # ------------------------------------------------------------ things of a kind

    def closed(self, peer, shape=SMALL, writes=0):
        peer = self.bench.peer(peer, shape)
        return Thing("%s-%d" % (peer.name, shape.size) if shape != SMALL else peer.name, peer.title,
                     lambda seconds, seed: load.closed(peer, shape, seconds, seed, writes),
                     [process.pid for process in peer.processes])

    def direct(self, threads, *options, shape=SMALL):
        self.bench.plain(shape)
        return Thing("direct-%d" % threads if shape == SMALL else "direct-%d-%d" % (threads, shape.size),
                     "direct, %d connections" % threads,
                     lambda seconds, seed: load.direct(self.nodes, shape, seconds, seed, threads, *options)["achieved"],
                     [])


class Database(Group):
    """What a row of a batch costs a database, in the statements that Sherd sends and in the plainest ones. The pairs are
    in the test database, of which no server of the other groups knows."""
    name, title, unit = "database", "CPU of mariadbd a row, batches of PUTs of 100 bytes", "microseconds"
    share = 0.3
    node, database = 1, "test_sherd"

    def things(self):
        self.fill()
        return [Thing("%s-%d" % (name, rows), "%s, %d rows a statement" % (title, rows),
                      lambda seconds, seed, rows=rows, what=what: self.measure(seconds, seed, rows, *what))
                for rows in BATCHES
                for name, title, what in (("plain", "plain upsert", ("plain", "--plain")),
                                          ("sherd", "Sherd", (self.database, "--user", "sherd", "--password",
                                                              self.nodes.password)))]

    def fill(self):
        self.bench.plain(SMALL)
        base = int(time.time() - 60) * 1000000
        self.nodes.sql(self.node, """REPLACE INTO pairs (k, v, version, created, touched)
            SELECT k, v, version, version, NULL FROM (SELECT k, v, (%d << 10) + 1 AS version FROM plain.plain
            WHERE k LIKE '%s%%') AS n""" % (base, SMALL.prefix), self.database)

    def measure(self, seconds, seed, rows, database, *options):
        """With what the server does afterwards about the rows' old versions."""
        pid = self.nodes.pid(self.node)
        self.nodes.sql(self.node, "TRUNCATE changes", self.database)
        self.nodes.settle()
        before = cpu_seconds()[pid]
        count = load.rows(self.nodes, self.node, database, SMALL, seconds, seed % 1000, rows, *options)
        self.nodes.settle()
        return (cpu_seconds()[pid] - before) / count * 1e6


class Get(Group):
    name, title, unit = "get", "GET, values of 100 bytes", "requests a second"

    def things(self):
        return [self.closed(peer)
                for peer in (peers.Sherd, peers.WebdisMemory, peers.Fastify, peers.EtcdV2, peers.Etcd,
                             peers.Nginx)] + [self.direct(16), self.direct(64)]


class Cached(Group):
    name, title, unit = "cached", "GET from memory, values of 100 bytes", "requests a second"

    def things(self):
        return [self.closed(peer) for peer in (peers.SherdCached, peers.SherdConstant, peers.Nginx,
                                                peers.WebdisMemory, peers.Sherd)]


class Put(Group):
    name, title, unit = "put", "PUT, durable, values of 100 bytes", "requests a second"

    def things(self):
        return [self.closed(peer, writes=100)
                for peer in (peers.Sherd, peers.WebdisDurable, peers.Fastify, peers.EtcdV2, peers.Etcd)
                ] + [self.direct(threads, "--upsert") for threads in (16, 64, 1)]


class Mixed(Group):
    name, title, unit = "mixed", "90 % GET, 10 % PUT, values of 1 KB", "requests a second"

    def things(self):
        return [self.closed(peer, load.SHAPES[1000], 10) for peer in (peers.Sherd, peers.WebdisDurable, peers.Fastify)]


class Sizes(Group):
    name, title, unit = "sizes", "Larger values", "requests a second"
    share = 0.5
    most_rounds = 3

    def things(self):
        things = []
        for size in (1000, 10000):
            for method, writes, redis in (("GET", 0, peers.WebdisMemory), ("PUT", 100, peers.WebdisDurable)):
                direct = self.direct(16 if not writes else 64, *(["--upsert"] if writes else []),
                                     shape=load.SHAPES[size])
                for thing in (self.closed(peers.Sherd, load.SHAPES[size], writes),
                              self.closed(redis, load.SHAPES[size], writes), direct):
                    things.append(Thing("%s-%s" % (method.lower(), thing.name),
                                        "%s %d KB, %s" % (method, size // 1000, thing.title), thing.measure,
                                        thing.pids))
        return things


# --- Latency -------------------------------------------------------------------------------------------------------

class OpenLoop(Group):
    """Groups that keep to a rate, which is a part of what the same thing did at its best in this run."""
    unit = "microseconds"
    share = 0.5

    def peak(self, kind):
        """Of "direct" or of a class of peers."""
        if kind == "direct":
            return max(self.bench.peak("get", "direct-%d" % threads, self.direct(threads)) for threads in (16, 64))
        return self.bench.peak("get", kind.name, self.closed(kind))

    def at_rate(self, kind, rate, name, title):
        if kind == "direct":
            self.bench.plain(SMALL)
            return Thing(name, title, lambda seconds, seed: load.direct(self.nodes, SMALL, seconds, seed, 16, "--rate",
                                                                        int(rate)))
        peer = self.bench.peer(kind, SMALL)
        return Thing(name, title, lambda seconds, seed: load.at_rate(peer, SMALL, rate, seconds, seed))


class Latency(OpenLoop):
    name, title = "latency", "GET at half the peak rate, open loop"

    def things(self):
        half = self.peak(peers.Sherd) / 2
        return [self.at_rate(peers.Sherd, half, "sherd", "Sherd"),
                self.at_rate("direct", self.peak("direct") / 2, "direct", "direct, 16 connections"),
                self.at_rate("direct", half, "direct-same", "direct, at Sherd's rate"),
                self.at_rate(peers.WebdisMemory, self.peak(peers.WebdisMemory) / 2, "webdis",
                             "webdis + Redis, in memory"),
                self.at_rate(peers.WebdisMemory, half, "webdis-same", "webdis + Redis, at Sherd's rate")]


class Curve(OpenLoop):
    name, title = "curve", "GET, latency against load, open loop"
    most_rounds = 1

    def things(self):
        kinds = [(peers.Sherd, "Sherd"), (peers.WebdisMemory, "webdis + Redis, in memory"),
                 (peers.Fastify, "fastify + mysql2"), ("direct", "direct, 16 connections")]
        return [self.at_rate(kind, self.peak(kind) * percent / 100,
                             "%s-%d" % (kind if kind == "direct" else kind.name, percent), title)
                for percent in CURVE for kind, title in kinds]


# --- Lists and bulk ------------------------------------------------------------------------------------------------

class Lister(peers.Sherd):
    """Sherd, asked for a page of keys behind a key."""
    read_answer = '..."keys":[{"key":"lst:'

    def __init__(self, sherd, text):
        super().__init__(sherd.place, sherd.nodes)
        self.port = sherd.port
        self.headers = []
        if text:
            self.headers, self.read_answer = ["Accept: text/plain"], "...lst:"

    def read(self):
        return load.request("GET", "/keys?limit=1000&after=$key", headers=self.headers)


class Lists(Group):
    name, title, unit = "list", "1000 keys of 1,000,000", "milliseconds"
    share = 0.3

    def things(self):
        sherd = self.bench.peer(peers.Sherd)  # before there are keys: it trusts partitions that were blank
        self.fill()

        def p50(answer):
            return answer["p50"] / 1000

        things = []
        for name, first in (("begin", 0), ("end", 980000)):
            where = ("--first", first, "--keys", 10000)
            for form, text in (("JSON", False), ("text", True)):
                lister = Lister(sherd, text)
                things.append(Thing("%s-%s" % (form.lower(), name), "GET /keys, %s, at the %s" % (form, name),
                                    lambda seconds, seed, lister=lister, where=where: p50(load.at_rate(
                                        lister, LIST, LIST_RATE, seconds, seed, "--connections", 1, *where))))
            things.append(Thing("direct-" + name, "direct SELECT k … LIMIT 1000, at the " + name,
                                lambda seconds, seed, where=where: p50(load.direct(
                                    self.nodes, LIST, seconds, seed, 1, "--list", "--rate", LIST_RATE, *where))))
        return things

    def fill(self):
        """On both partitions, as sync leaves it."""
        say("1,000,000 keys to list")
        self.bench.plain(SMALL)
        for node in self.nodes.all():
            self.nodes.sql(node, """SET @base = (UNIX_TIMESTAMP() - 60) * 1000000;
                INSERT IGNORE INTO sherd.pairs (k, v, type, version, created, touched)
                SELECT k, v, 'text/plain', version, version, NULL FROM
                (SELECT CONCAT('lst:', LPAD(seq, 6, '0')) AS k, '' AS v, (@base + seq) << 10 | 1 AS version
                FROM seq_0_to_999999) AS n;
                INSERT IGNORE INTO plain.plain SELECT CONCAT('lst:', LPAD(seq, 6, '0')), '' FROM seq_0_to_999999""")


class Bulk(Group):
    name, title, unit = "bulk", "POST /bulk, values of 100 bytes, %d streams" % STREAMS, "operations a second"
    most_rounds = 3

    def things(self):
        sherd = self.bench.peer(peers.Sherd, SMALL)
        return [Thing(op, "bulk " + op, lambda seconds, seed, op=op: self.post(sherd, op, seed))
                for op in ("get", "put")] + [self.closed(peers.Sherd)._replace(name="single-get", title="GET, single"),
                                             self.closed(peers.Sherd, writes=100)._replace(name="single-put",
                                                                                           title="PUT, single")]

    def post(self, sherd, op, seed):
        """A fixed number of operations, however long they take; each answer is compared."""
        choose, place = random.Random(seed), self.bench.place
        streams = []
        for stream in range(STREAMS):
            keys = [load.key_of(SMALL, choose.randrange(SMALL.keys)) for _ in range(BULK_LINES)]
            lines = [json.dumps({"op": op, "key": key, **({"value": load.stable_of(SMALL, key) + "%010d" %
                                                           (seed * 1000000 + i)} if op == "put" else {})})
                     for i, key in enumerate(keys)]
            streams.append((keys, place.write("bulk-%d" % stream, "\n".join(lines) + "\n"),
                            place.path("bulk-answer-%d" % stream)))
        began = time.monotonic()
        curls = [subprocess.Popen(["curl", "-sS", "-f", "-X", "POST", "-T", lines, "-o", answers, "-H", "Expect:",
                                   "-H", "Content-Type: application/x-ndjson", "http://127.0.0.1:%d/bulk" % sherd.port],
                                  stdin=subprocess.DEVNULL) for _, lines, answers in streams]
        if any([curl.wait() for curl in curls]):
            raise Void("POST /bulk failed")
        seconds = time.monotonic() - began
        for keys, _, answers in streams:
            self.check(op, keys, answers)
        return BULK_LINES * STREAMS / seconds

    @staticmethod
    def check(op, keys, answers):
        with open(answers, encoding="utf-8") as file:
            lines = file.read().splitlines()
        if len(lines) != len(keys):
            raise Void("POST /bulk: %d lines for %d operations" % (len(lines), len(keys)))
        for key, line in zip(keys, lines):
            answer = json.loads(line)
            right = answer["key"] == key and (
                answer["status"] == 204 if op == "put" else
                answer["status"] == 200 and answer["value"].startswith(load.stable_of(SMALL, key)))
            if not right:
                raise Void("POST /bulk, %s %s: %s" % (op, key, line))


# --- What it takes -------------------------------------------------------------------------------------------------

class Start(Group):
    name, title, unit = "start", "From the start of the process to the first answer", "milliseconds"

    def things(self):
        def measure(_seconds, _seed):
            sherd = peers.Sherd(self.bench.place, self.nodes)
            sherd.name = "sherd-start"
            config = sherd.configure()
            # A key that is there: the answer comes from a partition.
            text = load.for_key(sherd.read(), load.key_of(SMALL, 0))
            began = time.monotonic()
            process = self.bench.place.start(sherd.name, [os.path.join(BUILD, "sherd-server"), "--config", config])
            try:
                while True:
                    try:
                        if load.ask(sherd.port, text)[0] == 200:
                            return (time.monotonic() - began) * 1000
                    except (OSError, http.client.HTTPException):
                        pass
                    if time.monotonic() - began > 10:
                        raise Void("no answer 10 s after the start: " + process.tail())
                    time.sleep(0.0005)
            finally:
                process.stop()
        self.bench.peer(peers.Sherd, SMALL)
        return [Thing("start", "Sherd", measure)]


class Memory(Group):
    name, title, unit = "memory", "Memory of sherd-server", "KB"
    most_rounds = 1
    warm = False  # it would last as long

    def things(self):
        return [Thing("memory", "Sherd", self.measure)]

    def measure(self, _seconds, seed):
        """Idle, with many idle connections, and under load, every second of which is looked at."""
        self.bench.peer(peers.Sherd, SMALL)
        sherd = peers.Sherd(self.bench.place, self.nodes)
        sherd.name = "sherd-memory"
        sherd.start()
        pid = sherd.processes[0].pid
        try:
            time.sleep(1)
            idle = resident(pid)
            connections = self.idle_connections(sherd)
            time.sleep(1)
            per_connection = (resident(pid) - idle) / IDLE_CONNECTIONS
            for connection in connections:
                connection.close()
            samples = self.soak(sherd, pid, seed)
        finally:
            sherd.stop()
        quarter = len(samples) // 4
        early, late = statistics.median(samples[quarter:2 * quarter]), statistics.median(samples[-quarter:])
        return {"idle": idle, "connection": per_connection, "early": early, "late": late,
                "growth": (late / early - 1) * 100, "soak": self.bench.options.soak}

    @staticmethod
    def idle_connections(sherd):
        """Each has been answered once."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (IDLE_CONNECTIONS + 100, IDLE_CONNECTIONS + 100))
        text = load.for_key(sherd.read(), load.key_of(SMALL, 0)).encode()
        connections = []
        for _ in range(IDLE_CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", sherd.port))
            connection.sendall(text)
            if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
                raise Void("connection %d was not answered" % len(connections))
            connections.append(connection)
        return connections

    def soak(self, sherd, pid, seed):
        """Returns a sample a second, while each answer is compared."""
        samples, seconds = [], self.bench.options.soak
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            client = pool.submit(load.at_rate, sherd, SMALL, SOAK_RATE, seconds, seed, "--writes", 10)
            while not client.done():
                samples.append(resident(pid))
                time.sleep(1)
            answers = client.result()["requests"]
        if answers < 0.99 * SOAK_RATE * seconds:
            raise Void("memory: only %d answers in %d s" % (answers, seconds))
        return samples


class Partitions(Group):
    name, title, unit = "partitions", "CPU a GET at %d a second, by the number of partitions" % PARTITION_RATE, \
        "microseconds"
    share = 0.5
    shape = load.Shape("key:", 100, 20000)

    def things(self):
        databases = iter(self.nodes.schemas(sum(PARTITIONS)))
        things = []
        for count in PARTITIONS:
            sherd = peers.Sherd(self.bench.place, self.nodes)
            sherd.name = "sherd-%d" % count
            sherd.databases = list(itertools.islice(databases, count))
            self.bench.start(sherd)
            sherd.fill(self.shape)
            things.append(Thing("partitions-%d" % count, "%d partitions" % count if count > 1 else "1 partition",
                                lambda seconds, seed, sherd=sherd: self.measure(sherd, seconds, seed)))
        return things

    def measure(self, sherd, seconds, seed):
        before = cpu_seconds()
        answer = load.at_rate(sherd, self.shape, PARTITION_RATE, seconds, seed)
        after = cpu_seconds()

        def used(pids):
            return sum(after[pid] - before[pid] for pid in pids) / answer["requests"] * 1e6
        return {"server": used([sherd.processes[0].pid]), "nodes": used(self.nodes.pid(n) for n in self.nodes.all())}


GROUPS = (Database, Get, Put, Mixed, Sizes, Latency, Curve, Lists, Bulk, Start, Partitions, Cached, Memory)

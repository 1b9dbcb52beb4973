# SPDX-License-Identifier: MIT
"""The members of a store change under load: nothing is lost, and no condition is decided twice."""
import contextlib
import random
import re
import signal
import threading
import time

from harness import Server, config_sections, config_text, key_path, shared_nodes, wait_until
from wire import request_bytes
from test_sync import BUSY, CONFIG, CONVERGED, SyncTest

LOAD_SECONDS = 1  # of load before and after each change
FAILURES = 0.001  # of the requests during a change, at most
STORE_PAIRS = 300
OLD_SECONDS = 2  # by then a server that slept takes nothing that it knows for granted


class Load:
    """Clients of several servers: counters that are raised under If-Match, keys that two clients try to create, and
    keys of one client each that only ever grow."""

    loads = 0

    def __init__(self, servers, seed=1):
        Load.loads += 1
        self.number = Load.loads
        self.servers = servers
        self.seed = seed
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.raised = {}    # counter: acknowledged increments
        self.doubtful = {}  # counter: increments of which nobody knows
        self.created = {}   # key: acknowledged creations
        self.unsure = set()  # keys of creations of which nobody knows
        self.last = {}      # key of one client: what was acknowledged last
        self.requests = 0
        self.failures = []
        self.wrong = []
        self.threads = [threading.Thread(target=self.run, args=(work, i))
                        for i in range(2) for work in (self.count, self.create, self.grow, self.grow)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.wait(LOAD_SECONDS)
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.wait(LOAD_SECONDS)
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def wait(self, seconds):
        """So many seconds of load, counted in requests where the machine is slow."""
        before = self.requests
        self.stop.wait(seconds)
        wait_until(lambda: self.requests > before + 50, 20, "requests")

    def run(self, work, number):
        dice = random.Random(repr((self.seed, work.__name__, number)))
        wires = [server.wire() for server in self.servers]
        step = 0
        try:
            while not self.stop.is_set():
                i = dice.randrange(len(wires))
                step += 1
                try:
                    work(wires[i], dice, number, step)
                except (OSError, AssertionError) as error:
                    self.failures.append(repr(error))
                    wires[i] = self.servers[i].wire()
        finally:
            for wire in wires:
                wire.close()

    def ask(self, wire, method, key, body=None, headers=None):
        answer = wire.request(method, key_path(key), body, headers)
        with self.lock:
            self.requests += 1
            if answer.status >= 500:
                self.failures.append("%s %s: %d %s" % (method, key, answer.status, answer.body))
        return answer

    def count(self, wire, dice, number, step):
        key = "counter-%d-%d" % (self.number, dice.randrange(20))
        answer = self.ask(wire, "GET", key)
        if answer.status == 404:
            condition, value = {"If-None-Match": "*"}, 1
        elif answer.status == 200:
            condition, value = {"If-Match": answer.header("ETag")}, int(answer.body) + 1
        else:
            return
        answer = self.ask(wire, "PUT", key, b"%d" % value, condition)
        with self.lock:
            if answer.status in (201, 204):
                self.raised[key] = self.raised.get(key, 0) + 1
            elif answer.status == 504:
                self.doubtful[key] = self.doubtful.get(key, 0) + 1

    def create(self, wire, dice, number, step):
        key = "created-%d-%d" % (self.number, step)
        answer = self.ask(wire, "PUT", key, b"%d" % number, {"If-None-Match": "*"})
        with self.lock:
            if answer.status == 201:
                self.created[key] = self.created.get(key, 0) + 1
            elif answer.status == 504:
                self.unsure.add(key)

    def grow(self, wire, dice, number, step):
        key = "growing-%d-%s-%d" % (self.number, threading.current_thread().name, dice.randrange(30))
        if dice.random() < 0.5:
            if self.ask(wire, "PUT", key, b"%d" % step).status in (201, 204):
                self.last[key] = step
            return
        answer = self.ask(wire, "GET", key)
        if answer.status not in (200, 404) or answer.header("Sherd-Stale"):
            return
        seen = int(answer.body) if answer.status == 200 else 0
        if seen < self.last.get(key, 0):
            self.wrong.append("%s is %d after %d" % (key, seen, self.last[key]))

    def check(self, test, server):
        """Everything that was acknowledged is there."""
        test.assertEqual(self.wrong, [])
        test.assertLessEqual(len(self.failures), FAILURES * self.requests, self.failures[:5])
        for key, raised in self.raised.items():
            value = int(server.get(key).body)
            test.assertTrue(raised <= value <= raised + self.doubtful.get(key, 0), (key, raised, value))
        twice = [key for key, count in self.created.items() if count > 1]
        test.assertEqual(twice, [])
        for key in self.created:
            test.assertEqual(server.get(key).status, 200, key)
        for key, last in self.last.items():
            test.assertGreaterEqual(int(server.get(key).body), last, key)


class PlacementTest(SyncTest):
    """Three nodes, of which some are members."""

    partitions = 3
    store = {"replicas": 2}

    def sections(self, weights, **store):
        """A configuration with these weights by partition; None: no section."""
        overrides = {"store": {**self.store, "partitions": len(weights), **store}}
        for n, weight in enumerate(weights, 1):
            overrides["partition-%d" % n] = {"weight": weight}
        return config_sections(self.nodes, len(weights), overrides)

    def want(self, *weights, **store):
        """What sync reads."""
        self.write(config_text(self.sections(weights, **store)))

    def serve(self, *weights, **store):
        server = Server(self.nodes)
        server.sections = self.sections(weights, **store)
        server.write_config(config_text(server.sections))
        self.addCleanup(server.discard)
        return server.start_up()

    def found(self, *weights, **store):
        """A store of these members, with pairs."""
        server = self.serve(*weights, **store)
        for i in range(STORE_PAIRS):
            self.assertEqual(server.put("pair-%d" % i, b"%d" % i).status, 201)
        server.delete("pair-0")
        server.stop()
        self.want(*weights, **store)
        self.expect(CONVERGED)

    def placement(self, node=1):
        rows = self.nodes.sql(node, "SELECT epoch,phase,members,replicas,other_members,gone FROM placement")
        return dict(zip(("epoch", "phase", "members", "replicas", "other", "gone"), rows[0])) if rows else None

    def expect(self, code, *options):
        done = self.run_sync(*options)
        self.assertEqual(done.code, code, done)
        return done

    def check_pairs(self, server):
        self.assertEqual(server.get("pair-0").status, 404)
        for i in range(1, STORE_PAIRS):
            self.assertEqual(server.get("pair-%d" % i).body, b"%d" % i, i)

    def check_equal(self):
        """Another pass has nothing to do."""
        done = self.expect(CONVERGED, "--json", "--verify=all")
        self.assertEqual((done.report["copied"], done.report["repaired"]), (0, 0), done)

    def change(self, to, store=None, serve=None):
        """Changes the members under load."""
        servers = [self.serve(*(serve or to), **(store or {})) for _ in range(2)]
        with Load(servers) as load:
            self.want(*to, **(store or {}))
            done = self.expect(CONVERGED)
        load.check(self, servers[0])
        load.check(self, servers[1])
        self.check_pairs(servers[1])
        self.expect(CONVERGED)
        self.check_equal()
        load.check(self, servers[1])
        return done


class TestChanges(PlacementTest):
    def test_a_member_is_added(self):
        self.found(1, 1)
        self.change((1, 1, 1))
        placement = self.placement(3)
        self.assertEqual((placement["phase"], placement["members"]), ("settled", "1:1 2:1 3:1"))
        self.assertGreater(int(self.nodes.sql(3, "SELECT COUNT(*) FROM pairs")[0][0]), STORE_PAIRS / 2)

    def test_a_member_in_the_middle_leaves(self):
        self.found(1, 1, 1)
        self.change((1, 0, 1))
        self.assertEqual(self.placement()["members"], "1:1 3:1")

    def test_the_only_other_member_leaves(self):
        self.found(1, 1, replicas=1)
        self.change((1, 0), {"replicas": 1})
        self.assertEqual(self.placement()["members"], "1:1")

    def test_weights_change(self):
        self.found(1, 1, 1, replicas="all")
        self.change((1, 5, 1), {"replicas": "all"})
        self.assertEqual(self.placement()["members"], "1:1 2:5 3:1")

    def test_replicas_change(self):
        self.found(1, 1, 1, replicas=1)
        self.change((1, 1, 1), {"replicas": 3})
        self.assertEqual(self.nodes.sql(1, "SELECT COUNT(*) FROM pairs"), self.nodes.sql(2, "SELECT COUNT(*) FROM pairs"))
        self.change((1, 1, 1), {"replicas": 1})
        self.assertEqual(self.placement()["replicas"], "1")

    def test_members_are_exchanged(self):
        self.found(1, 1, 0, replicas=1)
        self.change((0, 1, 1), {"replicas": 1})
        self.assertEqual(self.placement(2)["members"], "2:1 3:1")

    def test_one_that_left_comes_back_and_resurrects_nothing(self):
        self.found(1, 1, 1)
        self.want(1, 1, 0)
        self.expect(CONVERGED)
        server = self.serve(1, 1, 1)
        for i in range(1, 100):
            server.delete("pair-%d" % i)
        self.want(1, 1, 1)
        self.expect(CONVERGED)
        for i in range(STORE_PAIRS):
            self.assertEqual(server.get("pair-%d" % i).status, 404 if i < 100 else 200, i)
        self.expect(CONVERGED)
        self.check_equal()


class TestHindrances(PlacementTest):
    def test_a_server_without_the_section_is_waited_for(self):
        self.found(1, 1)
        old = self.serve(1, 1)
        wait_until(lambda: self.nodes.sql(1, "SELECT 1 FROM servers WHERE epoch=1 AND reaches='1 2'"), 5, "its report")
        self.want(1, 1, 1)
        before = self.placement()
        done = self.expect(BUSY)
        self.assertIn("pid %d cannot reach partition-3" % old.process.pid, done.err)
        self.assertEqual(self.placement(), before)
        old.stop()
        self.expect(CONVERGED)
        self.assertEqual(self.placement()["members"], "1:1 2:1 3:1")

    def test_a_server_that_lacks_a_member_says_so(self):
        self.found(1, 1, 1, replicas=1)
        server = Server(self.nodes)
        server.sections = self.sections((1, 1), replicas=1)
        server.write_config(config_text(server.sections))
        self.addCleanup(server.discard)
        server.start()
        wait_until(lambda: server.request("GET", "/status").json()["placement"]["epoch"], 10, "a placement")
        status = server.request("GET", "/status").json()["placement"]
        self.assertEqual(status["missing"], [3])
        self.assertEqual(status["members"], {"1": 1, "2": 1, "3": 1})
        self.assertIn("partition-3 is a member of the store, but the configuration has no section", server.log())
        ready = server.request("GET", "/readyz?partition=3")
        self.assertEqual((ready.status, ready.body), (503, b"partition-3 down\n"))
        self.assertIn(b"sherd_placement_missing 1\n", server.request("GET", "/metrics").body)
        answers = [server.put("key-%d" % i, b"") for i in range(40)]
        self.assertEqual({answer.status for answer in answers}, {201, 503})
        self.assertTrue(all(answer.partition == 3 for answer in answers if answer.status == 503))

    def test_nothing_changes_while_a_member_is_away(self):
        self.found(1, 1)
        self.nodes.stop(2)
        self.addCleanup(self.nodes.start)
        self.want(1, 1, 1)
        done = self.expect(BUSY)
        self.assertIn("the placement waits until all its partitions are up", done.err)
        self.assertEqual(self.placement()["phase"], "settled")
        self.nodes.start(2)
        self.expect(CONVERGED)
        self.assertEqual(self.placement()["members"], "1:1 2:1 3:1")

    def test_a_member_does_not_leave_because_a_file_does_not_name_it(self):
        self.found(1, 1, 1)
        self.want(1, 1)
        done = self.expect(CONFIG)
        self.assertIn("partition-3 is a member of the store, but has no server in this file", done.err)
        self.assertEqual(self.placement()["members"], "1:1 2:1 3:1")

    def test_a_partition_of_another_store_is_left_alone(self):
        self.found(1, 1)
        self.nodes.sql(3, "INSERT INTO placement VALUES(1,UUID(),7,'settled','3:1',0,'',0,'',0);"
                          "INSERT INTO pairs(k,v) VALUES('theirs','value')")
        self.want(1, 1, 1)
        done = self.expect(CONFIG)
        self.assertIn("partition-3 belongs to another store", done.err)
        self.assertEqual(self.placement()["members"], "1:1 2:1")
        server = self.serve(1, 1, 1)
        wait_until(lambda: "partition-3 belongs to another store" in server.log(), 5, "a line in the log")
        self.assertEqual(server.get("theirs").status, 404)
        self.assertEqual(self.nodes.sql(3, "SELECT id FROM sherd_partition"), [])

    def test_a_dead_member_is_forgotten(self):
        self.found(1, 1, 1)
        server = self.serve(1, 1, 1)
        self.nodes.stop(3)
        self.addCleanup(self.nodes.start)
        self.assertIn("is no member", self.expect(CONFIG, "--forget", "9").err)
        self.assertIn("partition-2 answers", self.expect(CONFIG, "--forget", "2").err)
        with Load([server]) as load:
            done = self.run_sync("--forget", "3")
        self.assertIn("partition-3 is forgotten: what it alone took since", done.err)
        self.assertEqual((self.placement()["members"], self.placement()["gone"]), ("1:1 2:1", "3"))
        self.check_pairs(server)
        load.failures = []  # until it was forgotten, conditions on its keys could not be decided
        load.check(self, server)
        self.nodes.start(3)
        self.assertIn("partition-3 was forgotten: its number is not used again", self.expect(CONFIG).err)
        self.want(1, 1, 0)
        self.expect(CONVERGED)
        self.check_equal()
        load.check(self, server)

    def test_a_feed_after_a_member_has_left(self):
        """A token that names it is of no use any more; the feed of those that are left goes on without it."""
        self.found(1, 1, 1)
        server = self.serve(1, 1, 1)
        server.put("pair-1", b"new")
        token = server.request("GET", "/changes?since=0&wait=1").json()["token"]
        self.want(1, 1, 0)
        self.expect(CONVERGED)
        again = server.request("GET", "/changes?since=" + token + "&wait=1")
        self.assertEqual(again.status, 200, again)
        server.stop()
        self.nodes.stop(3)
        self.addCleanup(self.nodes.start)
        sections = self.sections((1, 1, 0))
        sections["partition-3"] = {"weight": 0}
        server = Server(self.nodes)
        server.sections = sections
        server.write_config(config_text(server.sections))
        self.addCleanup(server.discard)
        server.start()
        self.assertEqual(server.request("GET", "/changes?wait=1&since=" + token).status, 410)
        server.put("pair-1", b"newer")
        news = server.request("GET", "/changes?since=0&wait=1")
        self.assertEqual(news.status, 200, news)
        self.assertIn("pair-1", [change["key"] for change in news.json()["changes"]])
        self.assertIsNone(news.header("Sherd-Stale"))
        after = server.request("GET", "/changes?wait=1&since=" + news.json()["token"])
        self.assertEqual(after.status, 200, after)

    def test_what_was_announced_is_taken_back(self):
        self.found(1, 1)
        self.want(1, 1, 1)
        self.nodes.sql(1, "UPDATE placement SET epoch=2,phase='announced',other_members='1:1 2:1 3:1',other_replicas=2")
        self.want(1, 1)
        self.expect(CONVERGED)
        self.assertEqual(self.placement()["phase"], "settled")
        self.assertEqual(self.placement()["members"], "1:1 2:1")
        self.assertEqual(self.placement(1), self.placement(2))


class TestInterruptions(PlacementTest):
    def test_a_pass_that_dies_anywhere_is_gone_on_with(self):
        """Killed before statements of a move, here and there; servers go on all the while."""
        self.found(1, 1)
        servers = [self.serve(1, 1, 1) for _ in range(2)]
        wanted = [(1, 1, 1), (1, 1, 0)]
        with Load(servers) as load:
            self.want(*wanted[0])
            environment = {"SHERD_SYNC_STATEMENTS": "1"}
            done = self.run_sync(**environment)
            statements = int(done.err.split(" statements")[0].split()[-1])
            dice = random.Random(7)
            for i, n in enumerate(sorted(dice.sample(range(5, statements), 12))):
                self.want(*wanted[(i + 1) % 2])
                self.run_sync(SHERD_SYNC_DIE_AT=str(n))
            self.want(*wanted[0])
            self.expect(CONVERGED)
        self.expect(CONVERGED)
        self.assertEqual(self.placement()["members"], "1:1 2:1 3:1")
        load.check(self, servers[0])
        self.check_pairs(servers[1])
        self.check_equal()

    def sleep_through_a_change(self):
        """A server is stopped while a member joins, with requests that it finds when it wakes up: returns the keys of
        which it answered something old, and those of which it acknowledged what nobody finds."""
        self.found(1, 1)
        sleeper, other = self.serve(1, 1, 1), self.serve(1, 1, 1)
        with contextlib.ExitStack() as stack:
            readers, writers = ([stack.enter_context(sleeper.wire(20)) for _ in range(40)] for _ in range(2))
            sleeper.process.send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            self.addCleanup(sleeper.process.send_signal, signal.SIGCONT)
            for node in self.nodes.all():  # as if half a minute had passed
                self.nodes.sql(node, "UPDATE servers SET seen=0 WHERE pid=%d" % sleeper.process.pid)
            self.want(1, 1, 1)
            self.expect(CONVERGED)
            for i in range(1, STORE_PAIRS):
                other.put("pair-%d" % i, b"new")
            wait_until(lambda: time.monotonic() > stopped + OLD_SECONDS, 10, "what it knows is old")
            for i in range(40):
                readers[i].send(request_bytes("GET", "/keys/pair-%d" % (100 + i)))
                writers[i].send(request_bytes("PUT", "/keys/pair-%d" % (200 + i), b"newer"))
            sleeper.process.send_signal(signal.SIGCONT)
            old = [i for i, wire in enumerate(readers, 100) if wire.response().body != b"new"]
            done = [i for i, wire in enumerate(writers, 200) if wire.response().status == 204]
        self.assertEqual(len(done), 40)
        return old, [i for i in done if other.get("pair-%d" % i).body != b"newer"]

    def test_a_server_that_slept_through_a_change(self):
        """Its writes by the old epoch are refused; it takes the new one, and the client notices nothing."""
        self.assertEqual(self.sleep_through_a_change(), ([], []))

    def test_without_the_check_of_the_epoch_writes_would_be_lost(self):
        """The test above can fail: what it holds is done by that check."""
        check = re.compile(r"IF epoch_ IS NOT NULL.*?END IF;", re.DOTALL)
        self.addCleanup(self.nodes.define)
        for node in self.nodes.all():
            (name, mode, text, *_), = self.nodes.sql(node, "SHOW CREATE FUNCTION sherd_log")
            text = text.replace("\\n", "\n").replace("CREATE", "CREATE OR REPLACE", 1)
            mutant, count = check.subn("", text)
            self.assertEqual(count, 1)
            self.nodes.sql(node, "DELIMITER //\n%s //\nDELIMITER ;\n" % mutant)
        old, lost = self.sleep_through_a_change()
        self.assertEqual(old, [])
        self.assertGreater(len(lost), 5)

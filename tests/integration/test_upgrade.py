# SPDX-License-Identifier: MIT
"""A store of schema 3, written by its own triggers, becomes one of this schema: with all that is in it, and any number of times."""
import os
import re
import subprocess
import threading
import unittest

import harness
from harness import Server, shared_nodes, sql_bytes, wait_until
from test_sql import SYNC, Row, entry_keys

NAME = "sherd3"
DATABASE = "test_" + NAME
CONFIG = 78
OLD_TRIGGERS = ("before_insert", "before_update", "after_insert", "after_update")
TABLES = ("pairs", "changes", "removed", "diverts", "cursors", "sherd_partition", "sherd_schema")
HOSTILE = (b"'", b"\\", b"\0", b"\n", b"3=abc", b"1-x1=y", b"\xff\xfe", b"k" * 512, b"'; DROP TABLE pairs; -- ")


def read(*path):
    with open(os.path.join(harness.ROOT, *path), encoding="utf-8") as file:
        return file.read()


OLD = read("tests", "integration", "schema_3.sql")
NEW = read("store", "sql", "schema.sql")


def upgrade_steps():
    """The statements of the upgrade, one by one, as they are in the definition."""
    body = re.search(r"PROCEDURE sherd_upgrade\(\).*?\bTHEN\b(.*?)END IF //", NEW, re.DOTALL).group(1)
    body = re.sub(r"(^|\s)-- .*", "", body)
    return [step.strip() for step in re.split(r";\s*\n", body) if step.strip()]


def drop_triggers():
    return "".join("DROP TRIGGER IF EXISTS pairs_%s;" % name for name in OLD_TRIGGERS)


class UpgradeTest(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.nodes = shared_nodes()
        self.make(1)

    def sql(self, text, node=1, database=DATABASE):
        return self.nodes.sql(node, text, database)

    def make(self, node, definition=OLD):
        self.addCleanup(self.nodes.sql, node, "DROP DATABASE IF EXISTS " + DATABASE, None)
        self.sql("DROP DATABASE IF EXISTS %s; CREATE DATABASE %s; GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON %s.* TO sherd"
                 % ((DATABASE,) * 3), node, None)
        self.sql("SET sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';" + definition, node)

    def load(self, node=1):
        """As database_definition.sql does."""
        self.sql("SET NAMES utf8mb4; SET sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';\n" + NEW, node)

    def fill(self):
        """What a partition has after a time: rows of servers, of SQL, of sync; a log that was trimmed and has gaps."""
        past = 1700000000000
        run = self.sql
        run("INSERT INTO pairs (k, v) SELECT CONCAT('old-', seq), 'trimmed' FROM seq_1_to_50")
        run("DELETE FROM changes WHERE seq <= 50")  # as sync trims
        run("SET @sherd_node = 1, @sherd_apply = 0; INSERT INTO pairs (k, v, type) VALUES ('put', 'a', 'text/plain'), ('twice', 'a', '');"
            "INSERT INTO pairs (k, v) VALUES ('twice', 'b') ON DUPLICATE KEY UPDATE v = VALUES(v);"
            "INSERT INTO pairs (k, v, type, expires) VALUES ('gone', NULL, '', 1)")
        for key in HOSTILE:
            run("INSERT INTO pairs (k, v) VALUES (%s, %s)" % (sql_bytes(key), sql_bytes(key * 3)))
        run("INSERT INTO pairs (k, v) VALUES ('large', REPEAT('x', 100000)), ('empty', ''), ('null', NULL), ('deleted', 'x'),"
            "('replaced', 'x'), ('renamed', 'x'), ('tombstone', 'x'), ('updated', 'x'), ('again', 'x')")
        run("DELETE FROM pairs WHERE k IN ('deleted', 'again'); REPLACE INTO pairs (k, v) VALUES ('replaced', 'new');"
            "INSERT INTO pairs (k, v) VALUES ('again', 'new'); UPDATE pairs SET k = 'renamed-to' WHERE k = 'renamed';"
            "UPDATE pairs SET v = NULL WHERE k = 'tombstone'; UPDATE pairs SET v = 'new' WHERE k IN ('updated', 'old-7')")
        run("INSERT INTO pairs (k, v, expires) VALUES ('expired', 'x', %d), ('expires', 'x', %d)" % (past, past + 10 ** 12))
        # Applied by a server, by sync, and by sync where nothing is logged; one that is not newer.
        version = "(%d << 10) + 2" % (past * 1000)
        run("SET @sherd_apply = 1; INSERT INTO pairs (k, v, version, created) VALUES ('applied', 'x', {0}, {0});"
            "SET @sherd_apply = 2; INSERT INTO pairs (k, v, version, created, expires) VALUES ('applied-gone', NULL, {0}, {0}, 1);"
            "INSERT INTO pairs (k, v, version, created) VALUES ('put', 'z', {0}, {0}) ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version));"
            "SET @sherd_apply = 3; INSERT INTO pairs (k, v, version, created) VALUES ('unlogged', 'x', {0}, {0})".format(version))
        run("SET @sherd_node = 1, @sherd_divert = 3; INSERT INTO pairs (k, v) VALUES ('diverted', 'x')")
        run("START TRANSACTION; INSERT INTO pairs (k, v) VALUES ('rolled-back', 'x'); ROLLBACK;"
            "INSERT INTO changes (version, op, k) VALUES (0, 0, '')")
        run("INSERT INTO cursors VALUES (2, 5, 70, '60-61@1700000000001:1700000000000 65-65@0:1', 1700000000002, 1024), (3, 5, 9, '', 0, 0);"
            "INSERT INTO sherd_partition (id, seeded, ring, pass, floor, token, verified, trimmed)"
            " VALUES (1, 1, 4294967295, 5, 6, 18446744073709551615, 123, 50)")

    def state(self):
        """All that must stay, and the log as (seq, version, op, key)."""
        return {
            "pairs": self.sql("SELECT HEX(k), IFNULL(HEX(v), 'NULL'), HEX(type), version, created,"
                              " IF(v IS NULL, 0, expires) FROM pairs ORDER BY k"),
            "removed": self.sql("SELECT HEX(k), version FROM removed ORDER BY k"),
            "diverts": self.sql("SELECT target, writer, version FROM diverts"),
            "cursors": self.sql("SELECT source, pass, high, gaps, marked, frontier FROM cursors"),
            "partition": self.sql("SELECT one, id, seeded, ring, pass, floor, token, trimmed FROM sherd_partition"),
        }

    def old_log(self):
        return [(int(seq), int(version), int(op), bytes.fromhex(key)) for seq, version, op, key in
                self.sql("SELECT seq, version, op, HEX(k) FROM changes ORDER BY seq")]

    def new_log(self):
        return [(int(seq), int(version), int(op), entry_keys(bytes.fromhex(ks))) for seq, version, op, ks in
                self.sql("SELECT seq, version, op, HEX(ks) FROM changes ORDER BY seq")]

    def rows(self, node=1):
        return {row.key: row for row in map(Row, self.sql("SELECT %s FROM pairs" % Row.columns, node))}

    def definitions(self, node=1):
        """What the tables, the trigger and the functions of the database are, but for how far numbers were given."""
        tables = [re.sub(r" AUTO_INCREMENT=\d+", "", self.sql("SHOW CREATE TABLE " + table, node)[0][1]) for table in TABLES]
        return tables + self.sql("SELECT trigger_name, action_statement FROM information_schema.triggers"
                                 " WHERE event_object_schema = '%s'" % DATABASE, node) \
            + self.sql("SELECT routine_name, routine_type, routine_definition FROM information_schema.routines"
                       " WHERE routine_schema = '%s' ORDER BY routine_name" % DATABASE, node)

    def dump(self):
        return [self.sql("SELECT * FROM %s ORDER BY 1" % table) for table in TABLES] + self.definitions()

    def check_log(self, old):
        """Each old entry is one of a single key, under its number."""
        expected = []
        for seq, version, op, key in old:
            if key:
                expected.append((seq, version, 1 | op & 128, [(key, op & 127 != 1)]))
            else:
                expected.append((seq, version, 0, []))
        self.assertEqual(expected, self.new_log())

    def check_rows(self, old):
        """No row waits for a stamp; each names the last entry of its key, if the log still has one."""
        last = {}
        for seq, _, _, key in old:
            last[key] = seq
        for key, row in self.rows().items():
            self.assertIsNone(row.touched_us, key)
            self.assertEqual(last.get(key, 0), row.seq, key)
            self.assertEqual(1 if row.value is None else row.expires, row.ends, key)
        self.assertEqual([["0"]], self.sql("SELECT COUNT(*) FROM pairs WHERE hash <> CRC32(k)"))


class TestUpgrade(UpgradeTest):
    def test_everything_is_there_afterwards(self):
        self.fill()
        before, log = self.state(), self.old_log()
        self.assertEqual({0, 1, 2, 3, 129, 130}, {op for _, _, op, _ in log})  # there is something of each kind
        self.assertGreater(log[-1][0] - log[0][0] + 1, len(log))
        self.assertLessEqual({"deleted", "renamed"}, {bytes.fromhex(key).decode() for key, _ in before["removed"]})
        self.load()
        self.assertEqual(before, self.state())
        self.check_log(log)
        self.check_rows(log)
        self.assertEqual([["4"]], self.sql("SELECT version FROM sherd_schema"))

    def test_loading_it_again_changes_nothing(self):
        self.fill()
        self.load()
        once = self.dump()
        self.load()
        self.assertEqual(once, self.dump())

    def test_it_is_the_same_database_as_a_new_one(self):
        self.fill()
        self.load()
        upgraded = self.definitions()
        self.make(1, NEW)
        self.assertEqual(self.definitions(), upgraded)

    def test_an_empty_store_is_upgraded(self):
        self.load()
        self.assertEqual([[]] * 6 + [[["4"]]], self.dump()[:7])

    def test_numbers_go_on_behind_those_that_were_given(self):
        self.fill()
        last = self.old_log()[-1][0]
        self.load()
        self.sql("INSERT INTO changes (op, version, ks) VALUES (0, 0, '')")
        self.assertGreater(self.new_log()[-1][0], last)

    def test_what_sql_writes_then_waits_for_its_stamp(self):
        self.fill()
        self.load()
        old = self.rows()[b"put"].version
        self.sql("UPDATE pairs SET v = 'sql' WHERE k = 'put'; INSERT INTO pairs (k, v) VALUES ('new', 'sql'); DELETE FROM pairs WHERE k = 'twice'")
        rows = self.rows()
        self.assertGreater(rows[b"put"].effective(), old)
        self.assertEqual({b"put", b"new"}, {row.key for row in rows.values() if row.touched_us})
        self.assertIn(["twice"], self.sql("SELECT k FROM removed"))
        self.load()  # and still after another one
        self.assertEqual({key: rows[key].touched_us for key in (b"put", b"new")},
                         {row.key: row.touched_us for row in self.rows().values() if row.touched_us})

    def test_an_upgrade_that_was_interrupted_goes_on(self):
        steps = upgrade_steps()
        self.assertGreater(len(steps), 5)
        for n in range(len(steps) + 1):
            with self.subTest(steps=n):
                self.make(1)
                self.fill()
                before, log = self.state(), self.old_log()
                self.sql("SET sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';" + drop_triggers() + ";".join(steps[:n]))
                self.load()
                self.assertEqual(before, self.state())
                self.check_log(log)
                self.check_rows(log)

    # Those of a team may not know that an upgrade was interrupted.
    def test_what_sql_writes_meanwhile_waits_for_its_stamp(self):
        steps = upgrade_steps()
        touched = next(n for n, step in enumerate(steps) if "MODIFY touched" in step) + 1
        for n in range(touched, len(steps)):
            with self.subTest(steps=n):
                self.make(1)
                self.fill()
                self.sql("SET sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';" + drop_triggers() + ";".join(steps[:n]))
                self.sql("UPDATE pairs SET v = 'sql' WHERE k IN ('put', 'old-9'); INSERT INTO pairs (k, v) VALUES ('new', 'sql')")
                rows = self.rows()
                self.load()
                after = self.rows()
                self.assertEqual({b"put", b"old-9", b"new"}, {row.key for row in after.values() if row.touched_us})
                for key in (b"put", b"old-9", b"new"):
                    self.assertEqual((b"sql", rows[key].effective()), (after[key].value, after[key].effective()))


    def test_what_sql_writes_under_an_upgrade_has_a_version_or_waits_for_one(self):
        self.sql("INSERT INTO pairs (k, v) SELECT CONCAT('row-', seq), REPEAT('x', 100) FROM seq_1_to_20000")
        writer = subprocess.Popen(self.nodes.client(1, DATABASE), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.addCleanup(writer.wait)
        self.addCleanup(writer.stdin.close)
        feeder = threading.Thread(target=self.feed, args=(writer,))
        feeder.start()
        wait_until(lambda: self.sql("SELECT COUNT(*) > 100 FROM pairs WHERE k LIKE 'new-%'") == [["1"]], 10, "the writer writes")
        self.load()
        self.fed = True
        feeder.join()
        writer.wait(30)
        self.assertEqual(0, writer.returncode)
        self.assertEqual([["0"]], self.sql("SELECT COUNT(*) FROM pairs LEFT JOIN changes USING (seq) WHERE touched IS NULL"
                                           " AND (pairs.version = 0 OR changes.version <> pairs.version OR changes.version IS NULL)"))
        for since in ("touched IS NULL", "touched IS NOT NULL"):
            self.assertEqual([["1"]], self.sql("SELECT COUNT(*) > 0 FROM pairs WHERE k LIKE 'new-%%' AND %s" % since))

    def feed(self, writer):
        """Inserts rows and changes others until `fed`, and a little on."""
        self.fed, n, rest = False, 0, 200
        while rest:
            n, rest = n + 1, rest - self.fed
            writer.stdin.write(b"INSERT INTO pairs (k, v) VALUES ('new-%d', 'x'); UPDATE pairs SET v = '%d' WHERE k = 'row-%d';\n"
                               % (n, n, n % 20000 + 1))
            writer.stdin.flush()
        writer.stdin.close()


class TestPrograms(UpgradeTest):
    """Server and sync over two partitions that were upgraded."""

    config = {"partition-1": {"database": NAME}, "partition-2": {"database": NAME}, "sync": {"verify": "0", "keep_log": "3600"}}

    def setUp(self):
        super().setUp()
        self.server = self.new_server()

    def new_server(self):
        server = Server(self.nodes, self.config, 2)
        self.addCleanup(server.discard)
        return server

    def sync(self):
        return subprocess.run([SYNC, "--config", self.server.config, "--json"], env=self.server.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)

    def make_old(self):
        """Two partitions that know themselves and each other, of schema 3."""
        known = []
        for node in (1, 2):
            self.make(node, NEW)
        for _ in range(2):
            done = self.sync()
            self.assertEqual(0, done.returncode, done.stdout)
        server = self.new_server().start_up()
        self.token = server.request("GET", "/changes?wait=0").json()["token"]
        server.stop()
        for node in (1, 2):
            known.append((self.sql("SELECT id, seeded, ring, pass, floor, token FROM sherd_partition", node),
                          self.sql("SELECT source, pass, high, gaps, marked, frontier FROM cursors", node)))
        for node, (partition, cursors) in zip((1, 2), known):
            self.make(node)
            self.sql("INSERT INTO sherd_partition (id, seeded, ring, pass, floor, token) VALUES (%s)" % ",".join(partition[0]), node)
            self.sql("INSERT INTO cursors VALUES %s; ALTER TABLE changes AUTO_INCREMENT = 100"  # behind what was read
                     % ",".join("(%s, %s, %s, '%s', %s, %s)" % tuple(row) for row in cursors), node)

    def test_they_refuse_a_store_that_was_not_upgraded(self):
        self.make(2)
        self.server.launch()
        self.assertEqual(CONFIG, self.server.wait_for_end())
        self.assertEqual(CONFIG, self.sync().returncode)

    def test_what_was_not_everywhere_comes_there_by_the_log(self):
        self.make_old()
        for node in (1, 2):
            self.sql("SET @sherd_node = {0}; INSERT INTO pairs (k, v) SELECT CONCAT('k{0}-', seq), 'x' FROM seq_1_to_300;"
                     "UPDATE pairs SET v = 'new' WHERE k LIKE '%-1'; UPDATE pairs SET v = NULL WHERE k LIKE '%-2';"
                     "DELETE FROM pairs WHERE k LIKE '%-3'; REPLACE INTO pairs (k, v) VALUES ('k{0}-4', 'replaced');"
                     "UPDATE pairs SET k = 'r{0}' WHERE k = 'k{0}-5'".format(node), node)
        written = {bytes.fromhex(key): (None if null == "1" else bytes.fromhex(value), int(version))
                   for node in (1, 2)
                   for key, null, value, version in self.sql("SELECT HEX(k), v IS NULL, HEX(v), version FROM pairs", node)}
        self.assertEqual(598, len(written))
        for node in (1, 2):
            self.load(node)
        done = self.sync()
        self.assertEqual(0, done.returncode, done.stdout)
        rows = self.rows(1)
        self.assertEqual({k: (r.value, r.version) for k, r in rows.items()}, {k: (r.value, r.version) for k, r in self.rows(2).items()})
        for key, (value, version) in written.items():
            if value == b"replaced":  # its version was that of the removal, above which it is put
                version = ((version >> 10) + 1) << 10 | (1 if key.startswith(b"k1") else 2)
            self.assertEqual((value, version), (rows[key].value, rows[key].version), key)
        for key in (b"k1-3", b"k2-3", b"k1-5", b"k2-5"):
            self.assertIsNone(rows[key].value)
        self.server.start_up()
        for key in (b"k1-1", b"k2-1", b"k1-4", b"r2", b"k1-100"):
            answer = self.server.get(key)
            self.assertEqual((200, rows[key].value, rows[key].version), (answer.status, answer.body, int(answer.version_tag)))
        for key in (b"k1-2", b"k2-3", b"k1-5"):
            self.assertEqual(404, self.server.get(key).status)
        self.server.stop()

    def test_a_listener_goes_on_where_it_was(self):
        self.make_old()
        for node in (1, 2):
            self.sql("SET @sherd_node = {0}; INSERT INTO pairs (k, v) VALUES ('put{0}', 'x'), ('twice{0}', 'x'), ('gone{0}', 'x');"
                     "UPDATE pairs SET v = 'y' WHERE k LIKE 'twice%'; DELETE FROM pairs WHERE k LIKE 'gone%'".format(node), node)
            self.load(node)
        self.server.start_up()
        events = {}

        def told():
            answer = self.server.request("GET", "/changes?wait=0&since=" + self.token).json()
            self.token = answer["token"]
            events.update({event["key"]: event["event"] for event in answer["changes"]})
            return len(events) >= 6
        wait_until(told, 10, "all changes are told")
        self.assertEqual({"put1": "put", "twice1": "put", "gone1": "delete", "put2": "put", "twice2": "put", "gone2": "delete"}, events)
        self.server.stop()


if __name__ == "__main__":
    unittest.main()

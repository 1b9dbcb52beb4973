# SPDX-License-Identifier: MIT
"""sherd-sync over real partitions, written to as any SQL client writes."""
import fcntl
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

import harness
from harness import SLACK, TABLES, Transaction, config_sections, config_text, shared_nodes, sql_bytes, wait_until

BINARY = os.environ.get("SHERD_SYNC") or os.path.join(os.path.dirname(harness.BINARY), "sherd-sync")
SANITIZERS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "ssertion")
CONVERGED, FAILED, USAGE, BUSY, CONFIG = 0, 1, 64, 75, 78
WORK = ("copied", "repaired", "stamped", "tombstones", "purged")
COLUMNS = {
    "pairs": "k,v,type,version,created,expires,seq",
    "changes": "seq,op,version,ks",
    "removed": "k,version",
    "diverts": "target,writer,version",
    "cursors": "source,pass,high,gaps,marked,frontier",
    "sherd_partition": "one,id,seeded,ring,pass,floor,token,verified",
}
BINARY_COLUMNS = ("k", "v", "type", "ks", "gaps", "verified")
NOW = "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(6))"


def written(node, key, value, divert=None, least_us="0"):
    """A PUT as a sherd-server's statement does it on that partition, for `divert` if that is given."""
    begin = "sherd_log('%d=%s',%d,%s,18446744073709551615,NULL)" % (len(key), key, node, least_us)
    if divert:
        begin = "sherd_diverted(%d,%s)" % (divert, begin)
    return ("SET @sherd_version=1<<60,@sherd_seq=1<<60; INSERT INTO pairs(k,v,version,created,seq,touched) VALUES"
            "('%s','%s',@sherd_version:=%s,@sherd_version,@sherd_seq,NULL);" % (key, value, begin))


class Done:
    """What a run of sync came to."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    @property
    def report(self):
        return json.loads(self.out)

    def __repr__(self):
        return "exit %d\n%s%s" % (self.code, self.out, self.err)


class SyncTest(unittest.TestCase):
    """Emptied partitions before each test, and sync with a configuration of the test's own."""

    partitions = 2
    config = {}
    maxDiff = 2000

    def setUp(self):
        self.nodes = shared_nodes()
        self.nodes.truncate()
        self.directory = tempfile.mkdtemp(prefix="sherd-sync-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.path = os.path.join(self.directory, "configuration.cfg")
        self.configure()

    def configure(self, partitions=None, **sections):
        self.write(config_text(config_sections(self.nodes, partitions or self.partitions,
                                               {**self.config, **sections})))

    def write(self, text):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path, 0o600)

    def launch(self, *arguments, **environment):
        return subprocess.Popen([BINARY, "--config", self.path, *arguments], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**os.environ, "SHERD_ENV": "test", **environment})

    def finish(self, process):
        out, err = process.communicate(timeout=60 * SLACK)
        done = Done(process.returncode, out.decode(), err.decode("utf-8", "replace"))
        for sign in SANITIZERS:
            self.assertNotIn(sign, done.err)
        return done

    def run_sync(self, *arguments, **environment):
        return self.finish(self.launch(*arguments, **environment))

    def sync(self, *arguments, code=CONVERGED):
        """A pass that ends with `code`; returns its report."""
        done = self.run_sync("--json", *arguments)
        self.assertEqual(done.code, code, done)
        if code == CONVERGED:
            self.assertEqual(done.err, "")
        return done.report

    def sql(self, node, text):
        return self.nodes.sql(node, text)

    def one(self, node, query):
        """The only field of the only row."""
        rows = self.sql(node, query)
        self.assertEqual([len(row) for row in rows], [1], rows)
        return rows[0][0]

    def put(self, node, *keys, value="value"):
        self.sql(node, "INSERT INTO pairs(k,v) VALUES%s" %
                 ",".join("(%s,%s)" % (sql_bytes(key), sql_bytes(value)) for key in keys))

    def value(self, node, key):
        """The value of a key, None for a tombstone, False for no row."""
        rows = self.sql(node, "SELECT v IS NULL,HEX(v) FROM pairs WHERE k=%s" % sql_bytes(key))
        if not rows:
            return False
        return None if rows[0][0] == "1" else bytes.fromhex(rows[0][1])

    def rows(self, node):
        return self.sql(node, "SELECT HEX(k),HEX(v),type,version,created,expires FROM pairs ORDER BY k")

    def assert_equal_rows(self, *nodes):
        first = self.rows(nodes[0])
        for node in nodes[1:]:
            self.assertEqual(self.rows(node), first)
        return first

    def settle(self):
        """Two passes and a third that finds nothing to do."""
        self.sync()
        self.sync()
        self.assert_idle(self.sync())

    def assert_idle(self, report):
        self.assertEqual({name: report[name] for name in WORK}, dict.fromkeys(WORK, 0), report)

    def seeded(self, node):
        return self.one(node, "SELECT seeded FROM sherd_partition") == "1"

    def sync_until(self, condition, seconds=20, *arguments):
        """Runs passes until condition(report)."""
        return wait_until(lambda: condition(self.sync(*arguments)), seconds, "a pass")


class TestBetweenTwo(SyncTest):
    def setUp(self):
        super().setUp()
        self.sync()

    def test_blank_partitions_are_seeded_by_the_first_pass(self):
        self.assertTrue(self.seeded(1) and self.seeded(2))
        self.assert_idle(self.sync())

    def test_pairs_go_both_ways_and_the_newer_wins(self):
        self.put(1, "a", "both", value="first")
        self.put(2, "b", "both", value="second")
        report = self.sync()
        self.assertGreaterEqual(report["copied"], 3, report)
        self.assertEqual(self.value(1, "both"), b"second")
        self.assertEqual(len(self.assert_equal_rows(1, 2)), 3)
        self.assert_idle(self.sync())

    def test_a_change_that_met_a_newer_one_counts_as_a_conflict(self):
        self.configure(sync={"threads": "1"})
        self.put(1, "k")
        self.sync()
        self.sql(2, "UPDATE pairs SET v='newer'")
        self.sql(1, "INSERT INTO changes(op,version,ks) VALUES(1,1,'1=k')")
        self.assertEqual(self.sync()["conflicts"], 1)
        self.assertEqual(self.value(1, "k"), b"newer")

    def test_entries_of_many_keys(self):
        """Pages of the log with more keys than go into one block, keys that are named twice, and few of them left."""
        entry = ("SET group_concat_max_len=1<<30,@sherd_seq=0; SET @v=sherd_log((SELECT GROUP_CONCAT(CONCAT(LENGTH("
                 "CONCAT('k',seq)),'=k',seq) SEPARATOR '') FROM seq_{0}_to_{1}),1,0,1<<62,NULL);"
                 "INSERT INTO pairs(k,v,version,created,seq,touched) SELECT CONCAT('k',seq),@v,@v,@v,@sherd_seq,NULL"
                 " FROM seq_{0}_to_{1} ON DUPLICATE KEY UPDATE v=VALUES(v),version=VALUES(version),seq=VALUES(seq),"
                 "touched=NULL;")
        self.sql(1, "".join(entry.format(first, first + 499) for first in range(1, 5000, 250)))
        report = self.sync()
        self.assertEqual((report["copied"], report["conflicts"]), (5250, 0), report)
        self.assertEqual(len(self.assert_equal_rows(1, 2)), 5250)
        self.sql(2, "UPDATE pairs SET v='newer' WHERE k='k7'")
        self.sql(1, entry.format(1000, 1999) + "INSERT INTO changes(op,version,ks) VALUES(1,1,'2=k72=k8')")
        self.configure(sync={"threads": "1"})
        report = self.sync()
        self.assertEqual((report["copied"], report["conflicts"]), (1001, 1), report)
        self.assertEqual(self.value(1, "k7"), b"newer")
        self.assert_equal_rows(1, 2)
        self.assert_idle(self.sync())

    def test_an_entry_that_is_none_is_told(self):
        for spoilt in ("x", "9=short", "0=", "1k"):
            self.sql(1, "INSERT INTO changes(op,version,ks) VALUES(1,1,'%s')" % spoilt)
            done = self.run_sync("--json")
            self.assertEqual((done.code, len(done.err.splitlines())), (FAILED, 1), done)
            self.assertIn("partition-1: ", done.err)
            self.sql(1, "DELETE FROM changes WHERE version=1")
            self.sync()

    def test_every_byte_arrives(self):
        key = bytes(range(256))
        values = [bytes(range(256)) * 3, b"", b"'\\\"\0\n\r\x1a%_", b"x" * 65536, b"'" * 1048576]
        for i, value in enumerate(values):
            self.sql(1 + i % 2, "INSERT INTO pairs(k,v,type) VALUES(%s,%s,%s)" %
                     (sql_bytes(key + b"%d" % i), sql_bytes(value), sql_bytes(b"a/b; c='\\'")))
        self.sync()
        self.assertEqual(len(self.assert_equal_rows(1, 2)), len(values))
        for i, value in enumerate(values):
            self.assertEqual(self.value(2 - i % 2, key + b"%d" % i), value)

    def test_many_pairs_of_all_sizes(self):
        self.sql(1, "INSERT INTO pairs(k,v) SELECT CONCAT('k',seq),REPEAT(seq,seq MOD 1000) FROM seq_1_to_3000")
        self.sql(2, "INSERT INTO pairs(k,v) SELECT CONCAT('k',seq),REPEAT('y',70000) FROM seq_2990_to_3010")
        self.sync()
        self.assertEqual(len(self.assert_equal_rows(1, 2)), 3010)
        self.assert_idle(self.sync())

    def test_deleted_rows_become_tombstones_everywhere(self):
        self.put(1, "a", "b")
        self.sync()
        self.sql(2, "DELETE FROM pairs WHERE k='a'")
        self.sql(1, "DELETE FROM pairs WHERE k='b'")
        report = self.sync()
        self.assertEqual(report["tombstones"], 2, report)
        for node in (1, 2):
            self.assertIsNone(self.value(node, "a"))
            self.assertIsNone(self.value(node, "b"))
            self.assertEqual(self.one(node, "SELECT COUNT(*) FROM removed"), "0")
        self.assert_equal_rows(1, 2)
        self.assert_idle(self.sync())

    def test_deleted_and_written_again_is_there(self):
        self.put(1, "a")
        self.sync()
        self.sql(1, "DELETE FROM pairs WHERE k='a'")
        self.put(1, "a", value="again")
        self.settle()
        self.assertEqual(self.value(2, "a"), b"again")

    def test_replace(self):
        self.put(1, "a")
        self.sync()
        self.sql(2, "REPLACE INTO pairs(k,v) VALUES('a','replaced'),('b','new')")
        self.settle()
        self.assertEqual((self.value(1, "a"), self.value(1, "b")), (b"replaced", b"new"))
        self.assert_equal_rows(1, 2)

    def test_a_rename_is_refused(self):
        self.put(1, "old", value="x")
        self.sync()
        with self.assertRaisesRegex(AssertionError, "4025.*a_key_cannot_be_renamed_use_INSERT_and_DELETE"):
            self.sql(2, "UPDATE pairs SET k='new' WHERE k='old'")
        self.assert_idle(self.sync())
        self.assertEqual((self.value(2, "old"), self.value(2, "new")), (b"x", False))

    def test_a_rename_that_did_not_happen(self):
        self.put(1, "a", value="1")
        self.put(1, "b", value="2")
        self.sync()
        self.sql(1, "UPDATE IGNORE pairs SET k='b' WHERE k='a'")
        self.settle()
        self.assertEqual((self.value(2, "a"), self.value(2, "b")), (b"1", b"2"))
        self.assert_equal_rows(1, 2)

    def test_load_data(self):
        path = os.path.join(self.directory, "data")
        with open(path, "w", encoding="ascii") as file:
            file.write("".join("load-%d\tvalue %d\n" % (i, i) for i in range(1200)))
        done = subprocess.run(self.nodes.client(1, "test_sherd", "--local-infile=1", "-e",
                                                "LOAD DATA LOCAL INFILE '%s' INTO TABLE pairs(k,v)" % path),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.sync()["copied"], 1200)
        self.assertEqual(len(self.assert_equal_rows(1, 2)), 1200)

    def test_an_update_brings_the_expiry(self):
        self.put(1, "a")
        self.sync()
        self.sql(1, "UPDATE pairs SET expires=9000000000000 WHERE k='a'")
        self.sync()
        self.assertEqual(self.one(2, "SELECT expires FROM pairs"), "9000000000000")
        self.assert_equal_rows(1, 2)

    def test_versions_that_are_equal_by_chance_end_equal(self):
        for node, value in ((1, "small"), (2, "greater"), (1, "larger")):
            self.sql(node, "INSERT INTO pairs(k,v,version,created,touched) VALUES"
                     "('k%s','%s',1795000000000000<<10,1,NULL)" % (node if value != "larger" else 2, value))
        self.sql(2, "INSERT INTO changes(op,version,ks) VALUES(1,1,'2=k2')")
        self.sql(1, "INSERT INTO changes(op,version,ks) VALUES(1,1,'2=k2')")
        self.sync()
        self.sync()
        self.assertEqual((self.value(1, "k2"), self.value(2, "k2")), (b"larger", b"larger"))

    def test_a_value_that_no_packet_holds_is_told_and_keeps_nobody_else(self):
        self.configure(sync={"verify": "0"})
        self.sql(1, "INSERT INTO pairs(k,v) VALUES('huge',REPEAT('x',10000000)),('small','x')")
        packet = self.one(2, "SELECT @@GLOBAL.max_allowed_packet")
        self.sql(2, "SET GLOBAL max_allowed_packet=4194304")
        try:
            done = self.run_sync("--json")
        finally:
            self.sql(2, "SET GLOBAL max_allowed_packet=%s" % packet)
        self.assertEqual((done.code, len(done.err.splitlines())), (BUSY, 1), done)
        self.assertIn("huge", done.err)
        self.assertEqual(self.value(2, "small"), b"x")
        self.assertEqual(self.one(2, "SELECT COUNT(*) FROM pairs"), "1")
        self.sync("--verify=all")
        self.assertEqual(self.one(2, "SELECT v=REPEAT('x',10000000) FROM pairs WHERE k='huge'"), "1")

    def test_a_version_in_the_future_is_rejected_and_told(self):
        self.configure(sync={"verify": "0"})
        self.put(1, "good")
        self.sql(1, written(1, "future", "x", least_us="%s+60000000" % NOW))
        done = self.run_sync("--json")
        self.assertEqual(done.code, BUSY, done)
        self.assertEqual(done.report["rejected"], 1, done)
        self.assertEqual(len(done.err.splitlines()), 1, done)
        self.assertEqual(self.value(2, "good"), b"value")
        self.assertIs(self.value(2, "future"), False)


class TestOpenTransactions(SyncTest):
    def setUp(self):
        super().setUp()
        self.sync()

    def open(self, node, text):
        transaction = Transaction(self.nodes, node)
        self.addCleanup(transaction.end)
        transaction.run("SET autocommit=0;" + text)
        return transaction

    def gaps(self, source, target):
        return self.one(target, "SELECT gaps FROM cursors WHERE source=%d" % source)

    def test_what_commits_late_arrives_late(self):
        transaction = self.open(1, written(1, "late", "x"))
        self.put(1, "early")
        self.sync()
        self.assertEqual((self.value(2, "early"), self.value(2, "late")), (b"value", False))
        self.assertNotEqual(self.gaps(1, 2), "")
        transaction.run("COMMIT")
        self.assertEqual(self.sync()["copied"], 1)
        self.assertEqual(self.value(2, "late"), b"x")
        self.assertEqual(self.gaps(1, 2), "")

    def test_what_commits_after_its_gap_was_to_be_filled_arrives(self):
        transaction = self.open(1, written(1, "late", "x"))
        self.put(1, "early")
        self.sync()
        seen = int(re.match(r"\d+-\d+@(\d+)", self.gaps(1, 2)).group(1))
        wait_until(lambda: int(self.one(1, "SELECT %s DIV 1000" % NOW)) > seen + 5100, 10)
        frontier = self.one(2, "SELECT frontier FROM cursors")
        self.sync()
        self.assertNotEqual(self.gaps(1, 2), "", "filled under a transaction")
        self.assertEqual(self.one(2, "SELECT frontier FROM cursors"), frontier)
        transaction.run("COMMIT")
        self.sync()
        self.assertEqual(self.value(2, "late"), b"x")
        self.assertEqual(self.gaps(1, 2), "")

    def test_what_was_rolled_back_is_settled_for_good(self):
        transaction = self.open(1, "INSERT INTO changes(op,version,ks) SELECT 1,0,'' FROM seq_1_to_10000")
        self.put(1, "early")
        self.sync()
        transaction.run("ROLLBACK")
        self.sync()
        frontier = int(self.one(2, "SELECT frontier FROM cursors"))
        self.sync_until(lambda report: self.gaps(1, 2) == "")
        self.sync()
        self.assertGreater(int(self.one(2, "SELECT frontier FROM cursors")), frontier)
        self.put(1, "after")
        self.sync()
        self.assertEqual(self.value(2, "after"), b"value")

    def test_a_row_that_is_locked_is_tried_again_and_then_left_for_later(self):
        self.put(1, "a")
        self.sync()
        transaction = self.open(2, "SELECT * FROM pairs WHERE k='a' FOR UPDATE")
        self.sql(1, "UPDATE pairs SET v='new'")
        self.sync(code=BUSY)
        transaction.run("COMMIT")
        self.sync()
        self.assertEqual(self.value(2, "a"), b"new")

    def test_a_locked_key_keeps_no_other_removal_waiting(self):
        self.put(1, "a", "b", "c")
        self.sync()
        self.sql(1, "DELETE FROM pairs")
        transaction = self.open(1, "INSERT INTO pairs(k,v) VALUES('b','again')")
        done = self.run_sync()
        self.assertEqual(done.code, BUSY, done)
        self.assertIn("partition-1: 1 key that SQL deleted is locked", done.err)
        self.assertEqual([self.value(2, key) for key in "abc"], [None, b"value", None])
        transaction.run("COMMIT")
        self.sync()
        self.assertEqual(self.value(2, "b"), b"again")
        self.assert_equal_rows(1, 2)


class TestPurge(SyncTest):
    config = {"sync": {"grace": "0", "keep_log": "0", "verify": "16384"}}

    def setUp(self):
        super().setUp()
        self.sync()

    def purge(self):
        self.sync_until(lambda report: report["purged"])

    def count(self, node, table="pairs"):
        return int(self.one(node, "SELECT COUNT(*) FROM %s" % table))

    def test_a_tombstone_that_is_locked_goes_later(self):
        self.put(1, "a")
        self.sync()
        self.sql(1, "DELETE FROM pairs WHERE k='a'")
        self.sync()
        self.assertIsNone(self.value(1, "a"))
        transaction = Transaction(self.nodes, 1)
        try:
            transaction.run("BEGIN; SELECT * FROM pairs WHERE k='a' FOR UPDATE")
            wait_until(lambda: self.run_sync().code == BUSY, 20, "it is locked")
        finally:
            transaction.end()
        self.purge()
        self.assertFalse(self.value(1, "a"))

    def test_tombstones_and_expired_pairs_go_when_all_have_them(self):
        self.put(1, "a", "b", "stays")
        self.sync()
        self.sql(1, "DELETE FROM pairs WHERE k='a'; UPDATE pairs SET expires=%s DIV 1000+100 WHERE k='b'" % NOW)
        self.sync_until(lambda report: self.count(1) == 1)
        self.assertEqual(self.value(1, "stays"), b"value")
        self.assert_equal_rows(1, 2)
        self.assert_idle(self.sync())

    def test_the_log_is_trimmed_to_nothing(self):
        self.put(1, "a", "b")
        self.sync_until(lambda report: self.count(1, "changes") + self.count(2, "changes") == 0)
        self.put(1, "c")
        self.sync()
        self.assertEqual(self.value(2, "c"), b"value")

    def test_a_partition_that_is_away_freezes_the_floor_and_the_logs(self):
        self.put(1, "a")
        self.sync()
        self.sql(1, "DELETE FROM pairs")
        self.nodes.stop(2)
        try:
            done = self.run_sync("--json")
            self.assertEqual(done.code, BUSY, done)
            floor = self.one(1, "SELECT floor FROM sherd_partition")
            log = self.count(1, "changes")
            started = int(self.one(1, "SELECT %s" % NOW))
            wait_until(lambda: int(self.one(1, "SELECT %s" % NOW)) > started + 5500000, 10)
            report = self.sync("--quiet", code=BUSY)
            self.assertEqual(report["purged"], 0)
            self.assertEqual(self.one(1, "SELECT floor FROM sherd_partition"), floor)
            self.assertGreater(self.count(1, "changes"), log)
            self.assertIsNone(self.value(1, "a"))
            away = report["partitions"][1]
            self.assertEqual(away["state"], "away")
            self.assertGreater(away["lag_seconds"], 5)
            self.assertEqual(away["pending"], 1)
        finally:
            self.nodes.start(2)
        # It is old enough to go at once; on partition 2 it has come with this pass, and goes with the next.
        self.sync_until(lambda report: (self.value(1, "a"), self.value(2, "a")) == (False, False))

    def test_a_restored_backup_is_filled_anew_and_brings_nothing_back(self):
        self.put(1, "purged", "changed", "kept")
        self.sync()
        backup = self.dump(2)
        self.sql(1, "DELETE FROM pairs WHERE k='purged'; UPDATE pairs SET v='new' WHERE k='changed'")
        self.put(1, "later")
        self.purge()
        self.restore(2, backup)
        self.put(2, "own")
        self.assertTrue(self.seeded(2))
        self.sync()
        self.assertTrue(self.seeded(2))
        for node in (1, 2):
            self.assertIs(self.value(node, "purged"), False)
            self.assertEqual(self.value(node, "changed"), b"new")
            self.assertEqual(self.value(node, "later"), b"value")
            self.assertEqual(self.value(node, "own"), b"value")
        self.settle()
        self.assert_equal_rows(1, 2)

    def test_a_backup_made_during_a_pass_is_known_too(self):
        """It lacks what the pass read of it later: what the others remember is above the number it has in the pass."""
        self.put(1, "a")
        self.sync()
        number, remembered = self.passes()
        self.assertEqual(number, remembered)
        self.put(1, "b")
        self.sync()
        self.assertGreater(self.passes()[1], number + 1)

    def passes(self):
        """The number of the last pass that partition 2 knows, and which one of its passes partition 1 remembers."""
        return (int(self.sql(2, "SELECT pass FROM sherd_partition")[0][0]),
                int(self.sql(1, "SELECT pass FROM cursors WHERE source=2")[0][0]))

    def test_a_restored_backup_is_known_although_a_partition_is_away(self):
        self.put(1, "a")
        self.configure(3)
        self.sync()
        backup = self.dump(2)
        self.sync()
        self.restore(2, backup)
        self.nodes.stop(3)
        try:
            self.sync(code=BUSY)
            self.assertFalse(self.seeded(2))
        finally:
            self.nodes.start(3)
        self.sync()
        self.assertTrue(self.seeded(2))

    def dump(self, node):
        """All rows of a partition as SQL."""
        return "".join(self.dump_table(node, table, columns.split(",")) for table, columns in COLUMNS.items())

    def dump_table(self, node, table, columns):
        literals = ",".join("IFNULL(CONCAT('x\\'',HEX(%s),'\\''),'NULL')" % column if column in BINARY_COLUMNS
                            else column for column in columns)
        rows = self.sql(node, "SELECT CONCAT_WS(',',%s) FROM %s" % (literals, table))
        return "".join("INSERT INTO %s(%s) VALUES(%s);" % (table, ",".join(columns), row[0]) for row in rows)

    def restore(self, node, dump):
        self.sql(node, "".join("TRUNCATE %s;" % table for table in TABLES) + dump + "UPDATE pairs SET touched=NULL")

    def test_the_dump_of_another_partition_is_filled_anew(self):
        self.put(1, "a", "b")
        self.sync()
        dump = self.dump(1)
        self.sql(1, "DELETE FROM pairs WHERE k='a'")
        self.purge()
        self.restore(2, dump)
        self.sync()
        self.assertEqual(self.one(2, "SELECT id FROM sherd_partition"), "2")
        self.assertIs(self.value(1, "a"), False)
        self.assert_equal_rows(1, 2)
        self.settle()


class TestSeeding(SyncTest):
    def test_old_partitions_that_were_never_synced_are_merged(self):
        self.put(1, "a", "both", value="1")
        self.put(2, "b", "both", value="2")
        self.sql(1, "DELETE FROM pairs WHERE k='a'")
        report = self.sync()
        self.assertEqual(report["repaired"], 3, report)
        self.assertIsNone(self.value(2, "a"))
        self.assertEqual(self.value(1, "both"), b"2")
        self.assert_equal_rows(1, 2)
        self.assertTrue(self.seeded(1) and self.seeded(2))
        self.assert_idle(self.sync())

    def test_a_blank_partition_is_filled_and_says_so_only_then(self):
        self.configure(3)
        self.sql(1, "INSERT INTO pairs(k,v) SELECT CONCAT('key-',seq),seq FROM seq_1_to_5000")
        self.sync()
        self.sql(2, "".join("TRUNCATE %s;" % table for table in TABLES))
        self.nodes.stop(3)
        try:
            self.sync(code=BUSY)
            self.assertFalse(self.seeded(2), "while one is away nobody knows that nothing is lacking")
        finally:
            self.nodes.start(3)
        self.sync()
        self.assertTrue(all(self.seeded(node) for node in (1, 2, 3)))
        self.assertEqual(len(self.assert_equal_rows(1, 2, 3)), 5000)
        self.assertEqual(self.one(2, "SELECT COUNT(*) FROM changes WHERE op>0"), "0")
        self.settle()

    def test_a_blank_partition_gets_its_share_and_nothing_that_is_long_dead(self):
        self.configure(3, store={"partitions": 3, "replicas": 2}, sync={"grace": "0", "keep_log": "0", "threads": "1"})
        self.sql(1, "INSERT INTO pairs(k,v) SELECT CONCAT('key-',seq),seq FROM seq_1_to_20000")
        self.sync()
        self.sql(1, "DELETE FROM pairs LIMIT 10")
        self.sync_until(lambda report: all(self.one(node, "SELECT COUNT(*) FROM pairs WHERE v IS NULL") == "0"
                                           for node in (1, 2, 3)))
        left = int(self.one(1, "SELECT COUNT(*) FROM pairs")) + int(self.one(2, "SELECT COUNT(*) FROM pairs"))
        self.sql(3, "".join("TRUNCATE %s;" % table for table in TABLES))
        for node in (1, 2):  # older than what all partitions have seen die
            self.sql(node, "INSERT INTO pairs(k,v,type,version,created,expires,touched) SELECT CONCAT('old-',seq),"
                           "IF(seq%2,NULL,'x'),'',1025,1025,2*(1-seq%2),NULL FROM seq_1_to_40")
        report = self.sync()  # purges those that there are: more if one had been copied
        self.assertEqual(report["purged"], 80, report)
        self.assertEqual(self.one(3, "SELECT COUNT(*) FROM pairs WHERE k LIKE 'old-%'"), "0")
        self.assertEqual(int(self.one(3, "SELECT COUNT(*) FROM pairs")), 2 * 19990 - left)

    def test_pairs_move_to_a_partition_that_is_added(self):
        self.configure(2, store={"partitions": 2, "replicas": 1})
        self.sql(1, "INSERT INTO pairs(k,v) SELECT CONCAT('key-',seq),seq FROM seq_1_to_2000")
        self.sync()
        self.assertEqual(self.spread(1, 2), 2000)
        self.configure(3, store={"partitions": 3, "replicas": 1})
        self.sync()
        self.assertEqual(self.spread(1, 2, 3), 2000)
        self.assertTrue(all(self.seeded(node) for node in (1, 2, 3)))
        self.settle()
        self.put(1, *["more-%d" % i for i in range(100)])
        self.sync("--verify=all")
        self.assertEqual(self.spread(1, 2, 3), 2100)

    def spread(self, *nodes):
        """How many pairs there are, no key twice and no partition without any."""
        keys = [row[0] for node in nodes for row in self.sql(node, "SELECT k FROM pairs")]
        self.assertEqual(len(keys), len(set(keys)))
        for node in nodes:
            self.assertGreater(int(self.one(node, "SELECT COUNT(*) FROM pairs")), 0)
        return len(keys)

    def test_a_log_that_went_back_is_noticed(self):
        self.put(1, *["k%d" % i for i in range(50)])
        self.sync()
        self.sql(1, "TRUNCATE changes")
        self.put(1, "new")
        self.sync()
        self.assertEqual(self.value(2, "new"), b"value")
        self.settle()


class TestVerify(SyncTest):
    def setUp(self):
        super().setUp()
        self.sync()

    def test_differences_that_no_log_tells_of_are_found(self):
        self.put(1, "a", "b", "c")
        self.sync()
        self.sql(1, "SET @sherd_purges=1; DELETE FROM pairs WHERE k='a'; INSERT INTO pairs(k,v,version,touched)"
                 " VALUES('d','silent',1795000000000000<<10|1,NULL)")
        self.sql(2, "UPDATE pairs SET v='newer',version=version+1,touched=NULL WHERE k='b'")
        report = self.sync("--verify=all")
        self.assertEqual(report["repaired"], 3, report)
        self.assertEqual(self.value(1, "b"), b"newer")
        self.assertEqual(len(self.assert_equal_rows(1, 2)), 4)
        self.assert_idle(self.sync("--verify=all"))

    def test_no_difference_hides_in_a_digest(self):
        """With a floor, which every pass but the first has; half of the products in a digest are above 2^63."""
        self.put(1, *["key-%d" % i for i in range(2000)])
        self.sync()
        self.assertGreater(int(self.one(1, "SELECT floor FROM sherd_partition")), 0)
        self.sql(2, "UPDATE pairs SET v='older',version=version-1024,touched=NULL")
        self.assertEqual(self.sync("--verify=all")["repaired"], 2000)
        self.assert_equal_rows(1, 2)

    def test_each_pass_compares_the_next_rows(self):
        self.configure(sync={"verify": "40"})
        self.put(1, *["key-%d" % i for i in range(100)])
        self.sync()
        self.sql(2, "SET @sherd_purges=1; DELETE FROM pairs")
        repaired = [self.sync()["repaired"] for _ in range(4)]
        self.assertEqual(sum(repaired), 100, repaired)
        self.assertEqual(repaired[3], 0)
        self.assert_equal_rows(1, 2)

    def test_a_wrong_hash_is_named_and_corrected(self):
        self.put(1, "a", "b")
        self.sync()
        self.sql(2, "SET check_constraint_checks=0; UPDATE pairs SET hash=hash+1,touched=touched WHERE k='a'")
        done = self.run_sync("--dry-run", "--verify=all")
        self.assertEqual(done.code, CONVERGED, done)
        self.assertRegex(done.err, "^[^\n]*partition-2: key a had a wrong hash[^\n]*\n$")
        done = self.run_sync("--verify=all")
        self.assertEqual(done.code, CONVERGED, done)
        self.assertRegex(done.err, "^[^\n]*partition-2: key a had a wrong hash[^\n]*\n$")
        self.assertEqual(self.one(2, "SELECT COUNT(*) FROM pairs WHERE hash<>CRC32(k) OR touched IS NOT NULL"), "0")
        self.assert_idle(self.sync("--verify=all"))

    def test_rows_that_the_first_partition_lacks_are_found(self):
        """It is its rows that the ranges are cut by: none, or ranges that are much larger elsewhere."""
        silent = ("INSERT INTO pairs(k,v,version,created,touched) SELECT CONCAT('%s',seq),seq,"
                  "(1795000000000000+seq)<<10|2,1,NULL FROM seq_1_to_%d")
        for prefix, count in (("m-", 20000), ("a-", 9000), ("z-", 100)):
            self.sql(2, silent % (prefix, count))
            self.assertEqual(self.sync("--verify=all")["repaired"], count)
            self.assertEqual(len(self.assert_equal_rows(1, 2)) > 0, True)
            self.sql(1, "SET @sherd_purges=1; DELETE FROM pairs WHERE k>'m-2'")
            gone = int(self.one(2, "SELECT COUNT(*) FROM pairs WHERE k>'m-2'"))
            self.assertEqual(self.sync("--verify=all")["repaired"], gone)
            self.assert_equal_rows(1, 2)
        self.assert_idle(self.sync("--verify=all"))

    def test_a_pass_may_compare_nothing(self):
        self.configure(sync={"verify": "0"})
        self.put(1, "a")
        self.sync()
        self.sql(2, "SET @sherd_purges=1; DELETE FROM pairs")
        self.assert_idle(self.sync())


class TestFuture(SyncTest):
    """A writer whose clock is 8 s ahead: the other partition takes its rows only when their time has come."""

    config = {"sync": {"verify": "0"}}

    def test_rows_from_the_future_are_tried_again_until_they_are_taken(self):
        self.sync()
        self.put(1, "a")
        self.sql(1, "SET timestamp=UNIX_TIMESTAMP()+8; INSERT INTO pairs(k,v) VALUES('b','early')")
        self.sql(1, "INSERT INTO diverts VALUES(2,1,1)")
        report = self.sync(code=BUSY)
        self.assertEqual((report["copied"], report["rejected"]), (1, 1), report)
        self.assertEqual(self.value(2, "a"), b"value")
        self.assertEqual(self.one(1, "SELECT COUNT(*) FROM diverts"), "1")  # not all has been delivered
        wait_until(lambda: self.run_sync().code == CONVERGED, 20, "a pass that converges")
        self.assertEqual(self.value(2, "b"), b"early")
        self.assert_equal_rows(1, 2)
        self.assertEqual(self.one(1, "SELECT COUNT(*) FROM diverts"), "0")
        self.assert_idle(self.sync())


class TestDiverts(SyncTest):
    def setUp(self):
        super().setUp()
        self.sync()

    def test_a_divert_is_forgotten_when_its_writes_have_arrived(self):
        self.sql(2, written(2, "a", "x", divert=1))
        self.assertEqual(self.one(2, "SELECT COUNT(*) FROM diverts"), "1")
        self.sync()
        self.assertEqual(self.value(1, "a"), b"x")
        self.assertEqual(self.one(2, "SELECT COUNT(*) FROM diverts"), "0")

    def test_a_divert_stays_while_its_home_is_away(self):
        self.sql(2, written(2, "a", "x", divert=1))
        self.nodes.stop(1)
        try:
            self.sync(code=BUSY)
            self.assertEqual(self.one(2, "SELECT COUNT(*) FROM diverts"), "1")
        finally:
            self.nodes.start(1)
        self.sync()
        self.assertEqual(self.one(2, "SELECT COUNT(*) FROM diverts"), "0")

    def test_a_divert_for_a_partition_that_is_no_more_goes_too(self):
        self.sql(2, written(2, "a", "x", divert=9))
        self.sync()
        self.assertEqual(self.one(2, "SELECT COUNT(*) FROM diverts"), "0")


class TestAlone(SyncTest):
    def test_a_second_sync_of_the_same_file_is_busy(self):
        with open(self.path, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            done = self.run_sync()
            self.assertEqual((done.code, len(done.err.splitlines())), (BUSY, 1), done)
        self.sync()

    def test_a_second_sync_of_another_machine_is_busy(self):
        other = Transaction(self.nodes, 2)
        try:
            other.run("DO GET_LOCK('sherd_sync:test_sherd',0)")
            done = self.run_sync()
            self.assertEqual((done.code, len(done.err.splitlines())), (BUSY, 1), done)
            self.assertEqual(self.one(1, "SELECT COUNT(*) FROM sherd_partition"), "0")
        finally:
            other.end()
        wait_until(lambda: self.run_sync().code == CONVERGED, 5)

    def test_the_locks_of_a_long_pass_last_and_those_of_one_that_was_cut_off_end(self):
        """A frozen sync is for the servers what one behind a dead network is: sessions that stay silent."""
        self.sql(1, "INSERT INTO pairs(k,v) SELECT CONCAT('key-',seq),seq FROM seq_1_to_30000")
        self.sync()
        self.sql(2, "".join("TRUNCATE %s;" % table for table in TABLES))
        other = self.path + ".other"  # another machine's: flock does not tell of each other
        shutil.copy(self.path, other)
        self.configure(sync={"rows_per_second": "1000", "threads": "1"})
        first = self.launch()
        # The control channels are idle for longer than a server waits for a silent one.
        wait_until(lambda: int(self.one(2, "SELECT COUNT(*) FROM pairs")) > 18000, 40 * SLACK, "18 s of copying")
        self.path = other
        done = self.run_sync()
        self.assertEqual(done.code, BUSY, done)
        self.assertIn("another sync is running", done.err)
        first.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: self.run_sync().code == CONVERGED, 30, "a pass after the locks of the first")
        finally:
            first.send_signal(signal.SIGCONT)
        done = self.finish(first)
        self.assertEqual(done.code, BUSY, done)
        self.settle()

    def test_a_sync_that_thaws_does_no_harm(self):
        """Stopped in its midst; another token is set meanwhile; whatever it goes on to do is refused."""
        self.sync()
        self.put(1, *["key-%d" % i for i in range(3000)])
        self.configure(sync={"rows_per_second": "1000", "threads": "1"})
        frozen = self.launch()
        wait_until(lambda: self.one(2, "SELECT COUNT(*) FROM pairs") != "0", 10, "the first rows")
        frozen.send_signal(signal.SIGSTOP)
        self.sql(1, "UPDATE sherd_partition SET token=1")
        self.sql(2, "UPDATE sherd_partition SET token=1")
        before = self.rows(2)
        frozen.send_signal(signal.SIGCONT)
        done = self.finish(frozen)
        self.assertEqual(done.code, BUSY, done)
        self.assertIn("a newer sync took over", done.err)
        self.assertEqual(self.rows(2), before)
        self.configure()
        self.sync()
        self.assert_equal_rows(1, 2)


class TestNodesThatDie(SyncTest):
    def test_a_partition_that_dies_during_a_pass(self):
        """The pass ends by itself, says which partition it lost, and the next one goes on."""
        self.sync()
        for killed in (1, 2):
            self.put(1, *["key-%d-%d" % (killed, i) for i in range(3000)])
            before = int(self.one(2, "SELECT COUNT(*) FROM pairs"))
            self.configure(sync={"rows_per_second": "1000"})
            process = self.launch("--json")
            try:
                wait_until(lambda: int(self.one(2, "SELECT COUNT(*) FROM pairs")) > before, 10, "the first rows")
                self.nodes.kill(killed)
                done = self.finish(process)
            finally:
                self.nodes.start(killed)
            self.assertEqual(done.code, BUSY, done)
            self.assertIn("partition-%d" % killed, done.err)
            self.assertEqual(done.report["partitions"][killed - 1]["state"], "away")
            self.configure()
            self.settle()
            self.assertEqual(len(self.assert_equal_rows(1, 2)), 3000 * killed)


class TestDeath(SyncTest):
    config = {"sync": {"grace": "0", "keep_log": "0", "threads": "2"}}

    def disturb(self, n):
        """Work for every step of a pass."""
        self.sql(1, "REPLACE INTO pairs(k,v) SELECT CONCAT('one-',seq),%d FROM seq_1_to_5;"
                 "DELETE FROM pairs WHERE k='one-1';"
                 % n + written(1, "d-%d" % n, "x", divert=2))
        self.sql(2, "INSERT INTO pairs(k,v) VALUES('two-%d','y');"
                 "UPDATE pairs SET v=%d WHERE k='one-2';"
                 "SET @sherd_purges=1; DELETE FROM pairs WHERE k='one-3'" % (n, n))

    def statements(self):
        done = self.run_sync(SHERD_SYNC_STATEMENTS="1")
        self.assertEqual(done.code, CONVERGED, done)
        return int(done.err.split()[0])

    def test_killed_before_any_statement_it_goes_on(self):
        self.sync()
        self.disturb(0)
        last = self.statements() + 3
        for n in range(1, last):
            self.disturb(n)
            done = self.run_sync(SHERD_SYNC_DIE_AT=str(n))
            self.assertIn(done.code, (-signal.SIGKILL, CONVERGED), done)
            wait_until(lambda: self.run_sync().code == CONVERGED, 10, "the locks of the dead are free")
            self.sync("--verify=all")
            self.assert_equal_rows(1, 2)
            self.assertEqual(self.value(1, "two-%d" % n), b"y")
            self.assertIsNone(self.value(2, "one-1"))
            self.assertEqual(self.one(1, "SELECT COUNT(*) FROM diverts"), "0")
        self.assert_idle(self.sync())

    def test_killed_while_filling_a_blank_partition_it_goes_on(self):
        self.sql(1, "INSERT INTO pairs(k,v) SELECT CONCAT('key-',seq),seq FROM seq_1_to_300")
        for n in range(1, 60, 2):
            self.sql(2, "".join("TRUNCATE %s;" % table for table in TABLES))
            self.run_sync(SHERD_SYNC_DIE_AT=str(n))
            if self.sql(2, "SELECT seeded FROM sherd_partition WHERE seeded=1"):
                self.assert_equal_rows(1, 2)
            wait_until(lambda: self.run_sync().code == CONVERGED, 10, "the locks of the dead are free")
            self.assertEqual(len(self.assert_equal_rows(1, 2)), 300)
            self.assertTrue(self.seeded(1) and self.seeded(2))


class TestUnderWay(SyncTest):
    """Passes while SQL clients write."""

    config = {"sync": {"grace": "0", "keep_log": "0", "verify": "4096"}}
    WRITERS = 3
    ROUNDS = 40
    KEYS = 12

    def test_the_last_word_wins_on_both_partitions(self):
        self.sync()
        writers = [Writer(self, n) for n in range(self.WRITERS)]
        threads = [threading.Thread(target=writer.run) for writer in writers]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            done = self.run_sync()
            self.assertIn(done.code, (CONVERGED, BUSY), done)
        for thread in threads:
            thread.join()
        for writer in writers:
            self.assertIsNone(writer.failure)
        self.sync()
        self.sync()
        self.assert_idle(self.sync("--verify=all"))
        self.assert_equal_rows(1, 2)
        for writer in writers:
            for key, value in writer.last.items():
                for node in (1, 2):
                    self.assertEqual(self.value(node, key) or None, value, key)

    def test_a_row_that_waits_for_a_delete_does_not_come_in_behind_it(self):
        """SQL holds the row when sync brings another version of it, and deletes it before sync's turn."""
        waits = ("SELECT variable_value FROM information_schema.global_status"
                 " WHERE variable_name='innodb_row_lock_current_waits'")
        hold = "SELECT 1 FROM pairs WHERE k='%s' FOR UPDATE"
        delete = "DELETE FROM pairs WHERE k='%s'"
        for key, before, after in (("a", delete, "DO 1"), ("b", hold, delete)):
            self.put(2, key, value="there")
            self.sync()
            self.sql(1, "UPDATE pairs SET v='older than the delete' WHERE k='%s'" % key)
            client = Transaction(self.nodes, 2)
            self.addCleanup(client.end)
            client.run("BEGIN; " + before.replace("%s", key))
            process = self.launch("--json")
            wait_until(lambda: self.one(2, waits) != "0", 10, "sync waits for the row")
            client.run(after.replace("%s", key) + "; COMMIT")
            done = self.finish(process)
            self.assertIn(done.code, (CONVERGED, BUSY), done)
            self.settle()
            self.assert_equal_rows(1, 2)
            self.assertFalse(self.value(1, key), key)


class Writer:
    """Writes its own keys, now here, now there, and knows what it said last."""

    def __init__(self, test, n):
        self.test = test
        self.name = "w%d" % n
        self.random = random.Random(n)
        self.last = {}
        self.failure = None

    def run(self):
        try:
            for i in range(TestUnderWay.ROUNDS):
                self.write(self.random.randint(1, 2), i)
        except BaseException as failure:  # told by the test
            self.failure = failure

    def write(self, node, i):
        changes = {}
        text = ["BEGIN"]
        for number in self.random.sample(range(TestUnderWay.KEYS), self.random.randint(1, 4)):
            key = "%s-%d" % (self.name, number)
            verb = self.random.choice(("insert", "replace", "delete"))
            text.append({"insert": "INSERT INTO pairs(k,v) VALUES('{0}','{1}') ON DUPLICATE KEY UPDATE v=VALUES(v)",
                         "replace": "REPLACE INTO pairs(k,v) VALUES('{0}','{1}')",
                         "delete": "DELETE FROM pairs WHERE k='{0}'; SELECT '{0}',ROW_COUNT()"}[verb].format(key, i))
            changes[key] = None if verb == "delete" else b"%d" % i
        kept = self.random.random() < 0.8
        text.append("COMMIT" if kept else "ROLLBACK")
        try:
            deleted = self.test.sql(node, ";".join(text))
        except AssertionError as error:
            if "ERROR 1213" not in str(error) and "ERROR 1205" not in str(error):
                raise
            return
        for key, count in deleted:
            if count == "0":  # it may be on its way here, and comes: this deleted nothing
                del changes[key]
        if kept:
            self.last.update(changes)


class TestDryRun(SyncTest):
    def checksums(self):
        return [self.sql(node, "CHECKSUM TABLE %s" % ",".join(TABLES)) for node in (1, 2)]

    def expect_untouched(self, *arguments, code=CONVERGED):
        before = self.checksums()
        done = self.run_sync("--dry-run", *arguments)
        self.assertEqual(done.code, code, done)
        self.assertEqual(self.checksums(), before)
        return done

    def test_nothing_is_written_to_blank_partitions(self):
        self.put(1, "a")
        self.sql(2, "INSERT INTO pairs(k,v) VALUES('b','x'); DELETE FROM pairs")
        self.sql(1, "INSERT INTO pairs(k,v,version,touched) VALUES('c','x',1795000000000000<<10,NULL)")
        report = self.expect_untouched("--json").report
        self.assertEqual((report["stamped"], report["tombstones"], report["repaired"]), (1, 1, 1), report)

    def test_the_plan_is_told(self):
        self.sync()
        self.put(1, "a", "b")
        self.sql(2, "INSERT INTO pairs(k,v) VALUES('x','x'); DELETE FROM pairs;" + written(2, "c", "x"))
        done = self.expect_untouched("--verify=all")
        self.assertIn("copied 1", done.out)
        self.assertIn("stamped 2", done.out)
        self.assertIn("tombstones 1", done.out)
        self.assertEqual(done.err, "")
        report = self.expect_untouched("--json").report
        self.assertTrue(report["dry_run"])
        self.assertEqual((report["copied"], report["stamped"], report["tombstones"]), (1, 2, 1), report)


class TestReports(SyncTest):
    def test_silence_is_golden(self):
        self.put(1, "a")
        done = self.run_sync()
        self.assertEqual((done.code, done.out, done.err), (CONVERGED, "", ""))

    def test_json(self):
        self.put(1, "a")
        report = self.sync()
        self.assertEqual(set(report), {"pass", "duration_seconds", "converged", "dry_run", "copied", "repaired",
                                       "stamped", "tombstones", "purged", "trimmed", "conflicts", "rejected", "partitions",
                                       "placement"})
        self.assertEqual(report["placement"], {"epoch": 1, "phase": "settled"})
        self.assertIs(report["converged"], True)
        self.assertEqual([p["id"] for p in report["partitions"]], [1, 2])
        for partition in report["partitions"]:
            self.assertEqual((partition["state"], partition["seeded"], partition["pending"]), ("up", True, 0))
            self.assertLess(partition["lag_seconds"], 10)

    def test_metrics(self):
        path = os.path.join(self.directory, "sherd.prom")
        self.sync("--metrics", path)
        first = self.metrics(path)
        self.assertEqual(first["exit_code"], 0)
        self.assertGreater(first["last_success_timestamp_seconds"], 1e9)
        self.assertEqual(first['pending{partition="2"}'], 0)
        self.assertIn('lag_seconds{partition="1"}', first)
        self.nodes.stop(2)
        try:
            self.sync("--metrics", path, code=BUSY)
        finally:
            self.nodes.start(2)
        second = self.metrics(path)
        self.assertEqual(second["exit_code"], BUSY)
        self.assertEqual(second["last_success_timestamp_seconds"], first["last_success_timestamp_seconds"])
        self.assertGreater(second["last_run_timestamp_seconds"], first["last_run_timestamp_seconds"])
        self.assertEqual(os.listdir(self.directory).count("sherd.prom"), 1)
        self.assertEqual(len(os.listdir(self.directory)), 2)

    def metrics(self, path):
        with open(path, encoding="ascii") as file:
            text = file.read()
        tool = os.environ.get("PROMTOOL")
        if tool and os.path.exists(tool):
            done = subprocess.run([tool, "check", "metrics"], input=text.encode(), stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=60)
            self.assertEqual((done.returncode, done.stdout), (0, b""))
        return {name[len("sherd_sync_"):]: float(value)
                for name, value in (line.split() for line in text.splitlines() if not line.startswith("#"))}

    def test_standard_output_that_is_full(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "--config", self.path, "--json"], env={**os.environ, "SHERD_ENV": "test"},
                                  stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=60 * SLACK, check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn(b"standard output: No space left on device", done.stderr)

    def test_what_cannot_be_reported_makes_no_code_better(self):
        self.configure(**{"partition-2": {"password": "wrong"}})
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "--config", self.path, "--json", "--metrics", "/nowhere/at/all"],
                                  env={**os.environ, "SHERD_ENV": "test"}, stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, timeout=60 * SLACK, check=False)
        self.assertEqual(done.returncode, CONFIG, done)

    def test_a_name_that_does_not_resolve_is_one_partition_that_is_away(self):
        self.put(1, "key")
        self.configure(3, **{"partition-2": {"socket": None, "host": "no.such.name.invalid"}})
        done = self.run_sync(RES_OPTIONS="timeout:1 attempts:1")  # where no resolver answers
        self.assertEqual(done.code, BUSY)
        self.assertIn("partition-2: the name no.such.name.invalid cannot be resolved: ", done.err)
        self.assertEqual(self.value(3, "key"), b"value")

    def test_what_is_for_tests_is_nothing_in_production(self):
        for environment in ({"SHERD_SYNC_STATEMENTS": "1"}, {"SHERD_SYNC_DIE_AT": "1"}):
            done = self.run_sync("--dry-run", SHERD_ENV="production", **environment)
            self.assertGreaterEqual(done.code, 0)
            self.assertNotIn("statements", done.err)

    def test_metrics_that_cannot_be_written(self):
        for path in (os.path.join(self.directory, "missing", "file"), self.directory):
            done = self.run_sync("--metrics", path)
            self.assertEqual(done.code, FAILED, done)
            self.assertIn(path + ": ", done.err)

    def test_a_bar_on_a_terminal(self):
        self.sql(1, "INSERT INTO pairs(k,v) SELECT CONCAT('key-',seq),seq FROM seq_1_to_3000")
        self.configure(sync={"rows_per_second": "2000"})
        for arguments, shown in (([], True), (["--quiet"], False)):
            self.sql(2, "".join("TRUNCATE %s;" % table for table in TABLES))
            main, terminal = pty.openpty()
            process = subprocess.Popen([BINARY, "--config", self.path, *arguments], stdin=subprocess.DEVNULL,
                                       stderr=terminal, env={**os.environ, "SHERD_ENV": "test"})
            os.close(terminal)
            text = b""
            try:
                while True:
                    text += os.read(main, 4096)
            except OSError:  # the other side is closed
                pass
            os.close(main)
            self.assertEqual(process.wait(60), CONVERGED, text)
            self.assertEqual(b"rows/s" in text, shown, text)


class TestExitCodes(SyncTest):
    def test_usage(self):
        for arguments in (["--nonsense"], ["surplus"], ["--verify=some"]):
            self.assertEqual(self.run_sync(*arguments).code, USAGE)

    def test_a_wrong_configuration(self):
        self.write("[store]\npartitions = 0\n")
        done = self.run_sync()
        self.assertEqual(done.code, CONFIG, done)
        self.assertIn("configuration.cfg:2:", done.err)

    def test_a_partition_that_can_never_work(self):
        self.sql(2, "UPDATE sherd_schema SET version=1")
        try:
            done = self.run_sync("--json")
        finally:
            self.sql(2, "UPDATE sherd_schema SET version=4")
        self.assertEqual(done.code, CONFIG, done)
        self.assertEqual(done.report["partitions"][1]["state"], "wrong")
        self.assertIn("partition-2", done.err)

    def test_an_account_that_may_not_write(self):
        self.sync()
        self.sql(2, "REVOKE INSERT ON test_sherd.* FROM sherd")
        try:
            done = self.run_sync("--json")
        finally:
            self.sql(2, "GRANT INSERT ON test_sherd.* TO sherd")
        self.assertEqual((done.code, len(done.err.splitlines())), (CONFIG, 1), done)
        self.assertEqual(done.report["partitions"][1]["state"], "wrong")

    def test_a_partition_that_is_read_only(self):
        self.sync()
        self.put(2, "a")
        self.sql(2, "SET GLOBAL read_only=1")
        try:
            done = self.run_sync("--json")
        finally:
            self.sql(2, "SET GLOBAL read_only=0")
        self.assertEqual((done.code, len(done.err.splitlines())), (BUSY, 1), done)
        self.sync()
        self.assertEqual(self.value(1, "a"), b"value")

    def test_a_partition_that_is_away_does_not_keep_the_others(self):
        self.configure(3)
        self.sync()
        self.put(1, "a")
        self.nodes.stop(3)
        try:
            done = self.run_sync("--json")
            self.assertEqual((done.code, len(done.err.splitlines())), (BUSY, 1), done)
            self.assertEqual(self.value(2, "a"), b"value")
        finally:
            self.nodes.start(3)
        self.sync()
        self.assertEqual(self.value(3, "a"), b"value")

    def test_a_partition_that_hangs_is_away(self):
        self.sync()
        self.nodes.freeze(2)
        try:
            done = self.run_sync("--json")
        finally:
            self.nodes.thaw(2)
        self.assertEqual(done.code, BUSY, done)
        self.assertEqual(done.report["partitions"][1]["state"], "away")

    def test_rates_are_kept(self):
        self.configure(sync={"rows_per_second": "500"})
        self.sync()
        self.put(1, *["key-%d" % i for i in range(1500)])
        self.assertGreater(self.sync()["duration_seconds"], 1)
        self.assert_equal_rows(1, 2)


class TestOnePartition(SyncTest):
    partitions = 1
    config = {"sync": {"grace": "0", "keep_log": "0", "verify": "16384"}}

    def test_it_makes_tombstones_purges_and_trims(self):
        self.put(1, "a", "b")
        self.sql(1, "DELETE FROM pairs WHERE k='a'")
        self.sync()
        self.assertTrue(self.seeded(1))
        self.assertIsNone(self.value(1, "a"))
        self.sync_until(lambda report: report["purged"])
        self.assertIs(self.value(1, "a"), False)
        self.sync()
        self.assertEqual(self.one(1, "SELECT COUNT(*) FROM changes"), "0")

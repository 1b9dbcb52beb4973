#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Proves the checker: a good history passes, and each thing that could go wrong, done to it, is seen by the rule for it.

The good history is made by a model that is right by construction: one map of key to (version, value), a few clones,
clients that take turns, deletions, unknown outcomes, stale answers that say so, SQL writers, a race of creates.
"""
import copy
import os
import random
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import checker  # noqa: E402
from history import History, Final, Operation, Row, load_final, load_history, value_bytes, value_id  # noqa: E402

SECOND = 1_000_000_000
FIRST_VERSION = 1_700_000_000_000_000 << 10


class Model:
    """Operations at 10 ms distance, each 4 ms long, on a store that never fails."""

    def __init__(self, seed, count=3000):
        self.random = random.Random(seed)
        self.time = SECOND
        self.version = FIRST_VERSION
        self.rows = {}
        self.past = {}
        self.operations = []
        self.number = 0
        self.clones = ["%d.1" % n for n in (1, 2, 3)]
        for _ in range(count):
            self.step()
        for n in range(5):
            self.race("c/%d" % n)

    def add(self, **fields):
        self.time += SECOND // 100
        operation = Operation(begin=self.time, end=self.time + SECOND // 250, **fields)
        self.operations.append(operation)
        return operation

    def next_value(self):
        self.number += 1
        return "v%d" % self.number

    def store(self, key, value):
        self.version += 1 << 10
        self.past.setdefault(key, []).append((self.version, value))
        self.rows[key] = (self.version, value)
        return self.version

    def step(self):
        key = "h/%d" % self.random.randrange(20)
        client = self.random.randrange(8)
        given = {"client": client, "clone": self.clones[client % 3], "key": key, "partition": 1}
        choice = self.random.random()
        if choice < 0.6:
            self.read(given)
        elif choice < 0.8:
            self.add(kind="put", value=self.next_value(), **given)
            last = self.operations[-1]
            last.version, last.status = self.store(key, last.value), 204
        elif choice < 0.88:
            self.add(kind="delete", status=204, version=self.store(key, None), **given)
        elif choice < 0.92:
            self.unknown(given)
        elif choice < 0.95:
            self.add(kind="put", value=self.next_value(), status=self.random.choice((400, 412, 503)), **given)
        else:
            self.sql("r/%d" % self.random.randrange(6))

    def read(self, given):
        version, value = self.rows.get(given["key"], (None, None))
        stale = None
        if given["key"] in self.past and self.random.random() < 0.1:
            (version, value), stale = self.random.choice(self.past[given["key"]]), "1"
        if value is None:
            self.add(kind="get", status=404, stale=stale, **given)
        else:
            self.add(kind="get", status=200, version=version, read=value, stale=stale, **given)

    def unknown(self, given):
        value = self.next_value()
        if self.random.random() < 0.5:
            self.store(given["key"], value)
        self.add(kind="put", value=value, status=self.random.choice((0, 504)), **given)

    def sql(self, key):
        value = self.random.choice((None, self.next_value()))
        self.store(key, value)
        self.add(kind="sql", client="sql-1", key=key, value=value, status=200, partition=2)

    def race(self, key):
        winner = self.random.randrange(4)
        begin = self.time + SECOND // 100
        for i in range(4):
            value = self.next_value()
            create = self.add(kind="create", client=i, clone=self.clones[i % 3], key=key, value=value, partition=1,
                              status=201 if i == winner else 412)
            if i == winner:
                create.version = self.store(key, value)
            create.begin = begin

    def final(self):
        rows = {key: Row(key, value, version) for key, (version, value) in self.rows.items()}
        return Final({id: {key: copy.copy(row) for key, row in rows.items()} for id in (1, 2, 3)}, {1: 0, 2: 0, 3: 0})


class CheckerTest(unittest.TestCase):
    def setUp(self):
        self.model = Model(7)
        self.operations, self.final = self.model.operations, self.model.final()

    def find(self, condition):
        """The operation in the middle of those that fulfil it."""
        found = [o for o in self.operations if condition(o)]
        self.assertTrue(found, "the model made no such operation")
        return found[len(found) // 2]

    def rules(self):
        return {v.rule for v in checker.check(self.operations, self.final)}

    def assertFlags(self, *rules):
        seen = self.rules()
        for rule in rules:
            self.assertIn(rule, seen)

    def last_write(self, dead=False, prefix="h/"):
        """The write that the end consists of, of some key."""
        return self.find(lambda o: o.kind in ("put", "delete") and o.version and o.key.startswith(prefix)
                         and self.model.rows[o.key] == (o.version, o.value) and (o.value is None) == dead)

    def change_rows(self, key, change):
        for rows in self.final.partitions.values():
            change(rows, rows[key])

    def fresh_read(self, status=200):
        """A read by a client of what was written more than a second before, and has an older version too."""
        def fits(o):
            past = [v for v, value in self.model.past.get(o.key, ()) if value]
            written = [w for w in self.operations if w.kind == "put" and w.key == o.key and w.version
                       and w.version == o.version]
            return (o.kind == "get" and o.status == status and not o.stale and o.key.startswith("h/")
                    and (status == 404 or written and written[0].end + SECOND < o.begin and min(past) < o.version))
        return self.find(fits)


class GoodTest(CheckerTest):
    def test_passes_what_is_right(self):
        for seed in range(20):
            model = Model(seed, 1000)
            self.assertEqual([], checker.check(model.operations, model.final()))

    def test_survives_the_file(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "history")
            history = History(path)
            for operation in self.operations:
                history.add(**{name: getattr(operation, name) for name in operation.__slots__})
            history.close()
            self.final.save(path + ".final")
            self.assertEqual([], checker.check(load_history(path), load_final(path + ".final")))
            self.assertEqual(len(self.operations), len(load_history(path)))

    def test_values_know_their_bytes(self):
        self.assertEqual("a-1", value_id(value_bytes("a-1")))
        self.assertNotEqual("a-1", value_id(value_bytes("a-1")[:-1]))
        self.assertNotEqual("a-1", value_id(value_bytes("a-1") + b"x"))

    def test_stale_answers_that_say_so_are_excused(self):
        read = self.fresh_read()
        read.version, read.read = min(p for p in self.model.past[read.key] if p[1])
        self.assertTrue(self.rules())
        read.stale = "2"
        self.assertEqual(set(), self.rules())

    def test_another_clone_has_a_second_to_learn(self):
        write = self.last_write()
        later = Operation(kind="get", client="new", clone="9.1", key=write.key, status=404, begin=write.end + SECOND // 2,
                          end=write.end + SECOND)
        self.operations.append(later)
        for other in self.operations:
            if other.key == write.key and other.kind == "delete":
                other.status = 503
        self.final.partitions = {}
        self.final = None
        self.assertFalse({v.rule for v in checker.check([o for o in self.operations if o in (write, later)])})
        later.begin = write.end + SECOND + 1
        later.end = later.begin + 1
        self.assertEqual({"lost-read"}, {v.rule for v in checker.check([write, later])})
        later.begin, later.clone = write.end + 1, write.clone
        self.assertEqual({"lost-read"}, {v.rule for v in checker.check([write, later])})

    def test_a_purged_tombstone_is_no_loss(self):
        write = self.last_write(dead=True)
        self.change_rows(write.key, lambda rows, row: rows.pop(row.key))
        self.assertFlags("tombstone-lost")
        self.final.floors = {id: write.version + 1 for id in (1, 2, 3)}
        self.assertEqual(set(), self.rules())


class MutantTest(CheckerTest):
    def test_dropped_acknowledged_write(self):
        write = self.last_write()
        self.change_rows(write.key, lambda rows, row: rows.pop(row.key))
        self.assertFlags("lost")

    def test_older_value_in_the_end(self):
        write = self.last_write()
        old = min(p for p in self.model.past[write.key] if p[1])
        self.assertNotEqual(old[0], write.version)

        def back(_, row):
            row.version, row.value = old
        self.change_rows(write.key, back)
        self.assertFlags("lost")

    def test_dead_without_a_deletion(self):
        write = next(o for o in self.operations if o.kind == "create" and o.status == 201)

        def bury(_, row):
            row.version, row.value = row.version + 1024, None
        self.change_rows(write.key, bury)
        self.assertFlags("lost", "created-lost")

    def test_resurrected_key(self):
        write = self.last_write(dead=True)
        old = max(p for p in self.model.past[write.key] if p[1])

        def revive(_, row):
            row.version, row.value = old
        self.change_rows(write.key, revive)
        self.assertFlags("resurrected")

    def test_resurrected_for_a_reader(self):
        read = self.fresh_read(status=404)
        old = max(p for p in self.model.past[read.key] if p[1] and p[0] < self.version_at(read))
        read.status, read.version, read.read = 200, old[0], old[1]
        self.assertFlags("resurrected-read")

    def version_at(self, read):
        return max(w.version for w in self.operations if w.key == read.key and w.kind == "delete"
                   and w.end < read.begin)

    def test_lost_tombstone(self):
        write = self.last_write(dead=True)
        self.change_rows(write.key, lambda rows, row: rows.pop(row.key))
        self.assertFlags("tombstone-lost")

    def test_swapped_versions(self):
        writes = [o for o in self.operations if o.kind == "put" and o.version and o.key == "h/3"]
        writes[0].version, writes[-1].version = writes[-1].version, writes[0].version
        self.assertFlags("write-order", "one-write-two-versions")

    def test_swapped_values(self):
        write = self.last_write()

        def swap(_, row):
            row.value = min(p for p in self.model.past[write.key] if p[1])[1]
        self.change_rows(write.key, swap)
        self.assertFlags("one-version-two-values")

    def test_read_going_back(self):
        read = self.fresh_read()
        read.version, read.read = min(p for p in self.model.past[read.key] if p[1])
        self.assertFlags("stale-read")

    def test_client_going_back(self):
        """What was read had an unknown outcome, so that only its reader can miss it."""
        given = {"kind": "get", "clone": "1.1", "key": "h/x", "status": 200}
        write = {"kind": "put", "key": "h/x", "clone": "1.1", "client": 1}
        self.operations = [
            Operation(**write, value="a", status=201, version=10, begin=1, end=2),
            Operation(**write, value="b", status=504, begin=3, end=4),
            Operation(**given, client=2, version=20, read="b", begin=5, end=6),
            Operation(**given, client=2, version=10, read="a", begin=7, end=8)]
        self.final = None
        self.assertEqual({"going-back"}, self.rules())
        self.operations[3].client = 3
        self.assertEqual(set(), self.rules())

    def test_value_back_after_404(self):
        given = {"clone": "1.1", "key": "h/x", "client": 1}
        self.operations = [
            Operation(kind="put", value="a", status=201, version=10, begin=1, end=2, **given),
            Operation(kind="delete", status=504, begin=3, end=4, **given),
            Operation(kind="get", status=404, begin=5, end=6, **given),
            Operation(kind="get", status=200, version=10, read="a", begin=7, end=8, **given)]
        self.final = None
        self.assertEqual({"going-back"}, self.rules())

    def test_404_of_an_acknowledged_value(self):
        read = self.find(lambda o: o.kind == "get" and o.status == 404 and o.key.startswith("h/"))
        for write in self.operations:
            if write.key == read.key and write.kind == "delete":
                write.status = 503
        self.assertFlags("lost-read")

    def test_a_replica_that_differs(self):
        for change in (lambda row: setattr(row, "type", "text/x"), lambda row: setattr(row, "created", 1),
                       lambda row: setattr(row, "expires", 1), lambda row: setattr(row, "version", row.version + 1)):
            with self.subTest():
                self.setUp()
                change(self.final.partitions[2][self.last_write().key])
                self.assertFlags("copies-differ")

    def test_a_replica_that_lacks(self):
        del self.final.partitions[3][self.last_write().key]
        self.assertFlags("copies-differ")

    def test_a_row_too_many(self):
        self.final.replicas = 2
        self.assertFlags("copies-differ")

    def test_value_never_written(self):
        read = self.fresh_read()
        read.read = "v0"
        self.assertFlags("never-written")

    def test_value_of_another_key(self):
        read = self.fresh_read()
        read.read = self.find(lambda o: o.kind == "put" and o.key != read.key and o.status == 204).value
        self.assertFlags("never-written")

    def test_value_from_the_future(self):
        read = self.fresh_read()
        read.read = self.find(lambda o: o.kind == "put" and o.key == read.key).value
        self.find(lambda o: o.value == read.read).begin = read.end + 1
        self.assertFlags("never-written")

    def test_corrupt_value(self):
        read = self.fresh_read()
        read.read = value_id(value_bytes(read.read)[:-1])
        self.assertFlags("corrupt")

    def test_refused_and_applied(self):
        for status in (400, 412, 503):
            with self.subTest(status=status):
                self.setUp()
                read = self.fresh_read()
                self.find(lambda o: o.value == read.read and o.kind == "put").status = status
                self.assertFlags("refused-applied")

    def test_unknown_and_applied_is_allowed(self):
        read = self.fresh_read()
        write = self.find(lambda o: o.value == read.read and o.kind == "put")
        write.status, write.version = 504, None
        self.assertEqual(set(), self.rules())

    def test_two_creates_win(self):
        self.find(lambda o: o.kind == "create" and o.status == 412).status = 201
        self.assertFlags("two-created")

    def test_no_create_wins(self):
        for create in self.operations:
            if create.kind == "create" and create.key == "c/1" and create.status == 201:
                create.status = 503
        self.assertFlags("none-created")

    def test_two_swaps_of_one_version(self):
        given = {"kind": "cas", "key": "h/x", "clone": "1.1", "client": 1, "status": 204, "base": 10}
        self.operations = [Operation(**given, value="a", version=20, begin=1, end=2),
                           Operation(**given, value="b", version=30, begin=3, end=4)]
        self.final = None
        self.assertEqual({"cas-twice"}, self.rules())

    def test_client_writes_below_what_it_read(self):
        given = {"clone": "1.1", "key": "h/x", "client": 1}
        self.operations = [
            Operation(kind="put", key="h/x", clone="1.1", client=2, value="a", status=504, begin=1, end=2),
            Operation(kind="get", status=200, version=20, read="a", begin=3, end=4, **given),
            Operation(kind="put", status=204, version=10, value="b", begin=5, end=6, **given)]
        self.final = None
        self.assertEqual({"session-order"}, self.rules())

    def test_lost_sql_write(self):
        key = self.find(lambda o: o.kind == "sql" and self.model.rows[o.key][1] is not None
                        and self.model.rows[o.key][1] == o.value).key
        self.change_rows(key, lambda rows, row: rows.pop(key))
        self.assertFlags("sql-lost")

    def test_rolled_back_and_there(self):
        write = self.find(lambda o: o.kind == "sql" and o.value and self.model.rows[o.key][1] == o.value)
        write.status = 503
        self.assertFlags("refused-applied", "sql-resurrected")

    def test_refused_rename_that_happened(self):
        """The value has gone to another key."""
        write = self.find(lambda o: o.kind == "sql" and o.value and self.model.rows[o.key][1] == o.value)
        given = {"kind": "sql", "client": "sql-1", "status": 503, "partition": 2, "begin": self.model.time + 1,
                 "end": self.model.time + 2}
        self.operations += [Operation(key=write.key, **given), Operation(key="r/new", value=write.value, **given)]
        self.assertEqual(set(), self.rules())
        for rows in self.final.partitions.values():
            row = rows[write.key]
            rows["r/new"] = Row("r/new", write.value, row.version + 1024)
            row.version, row.value = row.version + 1024, None
        self.assertFlags("refused-applied", "sql-lost", "sql-resurrected")


class FeedTest(CheckerTest):
    """Two listeners that hear of everything in its order: each of the first's writes, the second now and then twice."""

    def setUp(self):
        super().setUp()
        writes = [(version, key, value) for key, past in self.model.past.items() for version, value in past]
        self.told = []
        for client in ("listener-0", "listener-1"):
            for version, key, value in sorted(writes, key=lambda w: w[0]):
                for _ in range(2 if client == "listener-1" and version % 3 == 0 else 1):
                    self.told.append(Operation(kind="told", client=client, clone="1.1", key=key, version=version,
                                               status="put" if value else "delete", read=value, begin=0,
                                               end=self.model.time + len(self.told)))
        self.operations += self.told

    def last_told(self, status):
        """The event that a listener knows a key's end by."""
        return next(o for o in reversed(self.told) if o.status == status and o.version == self.model.rows[o.key][0])

    def test_passes_what_is_right(self):
        self.assertEqual(set(), self.rules())

    def test_an_event_that_never_came(self):
        for status in ("put", "delete"):
            with self.subTest(status):
                event = self.last_told(status)
                kept = list(self.operations)
                self.operations[:] = [o for o in self.operations if o.kind != "told" or o.key != event.key or
                                      o.client != event.client or o.version != event.version]
                self.assertFlags("feed-missed")
                self.operations[:] = kept

    def test_a_put_told_as_a_deletion(self):
        self.last_told("put").status = "delete"
        self.assertFlags("feed-missed")

    def test_events_out_of_order(self):
        events = [o for o in self.told if o.client == "listener-0" and o.key == "h/1"]
        events[3].version, events[4].version = events[4].version, events[3].version
        self.assertFlags("feed-order")

    def test_a_value_that_was_never_written(self):
        self.find(lambda o: o.kind == "told" and o.read).read = "nobody's"
        self.assertFlags("never-written")

    def test_what_was_told_before_a_new_beginning_does_not_count(self):
        first = len(self.operations) - len(self.told)
        half = [o for o in self.told if o.client == "listener-0"]
        deaf = Operation(kind="deaf", client="listener-0", begin=0, end=0)
        rows = self.model.rows.items()
        state = [Operation(kind="told", client="listener-0", clone="1.1", key=key, version=version, status="put",
                           read=value, begin=0, end=self.model.time * 2) for key, (version, value) in rows if value]
        self.operations[first:] = half[:len(half) // 2] + [deaf] + state
        self.assertEqual(set(), self.rules())
        self.operations.remove(next(o for o in state))
        self.assertFlags("feed-missed")


class WipeTest(CheckerTest):
    """A partition that lost its data may lose what only it had, and nothing else."""

    def setUp(self):
        super().setUp()
        self.write = self.last_write()
        self.change_rows(self.write.key, lambda rows, row: rows.pop(row.key))
        self.wipe = Operation(kind="wiped", partition=1, begin=self.model.time + 20, end=self.model.time + 30)
        self.operations.append(self.wipe)

    def lost(self):
        return "lost" in self.rules()

    def test_is_an_excuse(self):
        for write in self.operations:  # all that this key ever had was taken since the last pass
            if write.key == self.write.key and write.kind == "put":
                write.partition = 1
        self.assertFalse(self.lost())

    def test_of_another_partition_is_none(self):
        self.wipe.partition = 2
        self.assertTrue(self.lost())

    def test_is_none_after_a_pass(self):
        self.operations.append(Operation(kind="pass", status=0, begin=self.model.time + 10, end=self.model.time + 15))
        self.assertTrue(self.lost())
        self.operations[-1].status = 75
        self.assertFalse(self.lost())

    def test_is_none_for_two_owners(self):
        self.write.acks = "2/2"
        self.assertTrue(self.lost())


if __name__ == "__main__":
    unittest.main()

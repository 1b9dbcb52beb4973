# SPDX-License-Identifier: MIT
"""Rows that SQL clients write, in every way there is: HTTP shows them at once, with the version they are stamped with."""
import os
import re
import subprocess
import tempfile
import time

import harness
from harness import Server, SherdTest, Transaction, concurrently, key_path, sql_bytes, wait_until

SYNC = os.environ.get("SHERD_SYNC") or os.path.join(os.path.dirname(harness.BINARY), "sherd-sync")
NOW_US = "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(6))"
BELIEVED_US = 86400000000
KEYS = 12
CONSTRAINT_FAILED = "ERROR 4025 (23000)"


def entry_keys(entry):
    """What `ks` of the change log says: [(key, whether it was removed)]."""
    keys = []
    while entry:
        head = re.match(rb"([1-9][0-9]*)([=-])", entry)
        assert head, entry
        begin, length = head.end(), int(head.group(1))
        assert len(entry) >= begin + length, entry
        keys.append((entry[begin:begin + length], head.group(2) == b"-"))
        entry = entry[begin + length:]
    return keys


class Row:
    """A row of `pairs` as it lies there."""

    columns = "HEX(k),v IS NULL,HEX(v),HEX(type),version,created,expires,seq,CAST(UNIX_TIMESTAMP(touched)*1000000 AS UNSIGNED),ends"

    def __init__(self, fields):
        key, null, value, kind, version, created, expires, seq, touched, ends = fields
        self.key = bytes.fromhex(key)
        self.value = None if null == "1" else bytes.fromhex(value)
        self.type = bytes.fromhex(kind).decode()
        self.version, self.created, self.expires, self.seq, self.ends = map(int, (version, created, expires, seq, ends))
        self.touched_us = None if touched == "NULL" else int(touched)

    def effective(self):
        """The version that it has for everybody."""
        if self.touched_us is None:
            return self.version
        after_us = (self.version >> 10) + 1
        return (after_us if self.touched_us < after_us <= self.touched_us + BELIEVED_US else self.touched_us) << 10


class SqlTest(SherdTest):
    """Keys of partition 1, which SQL clients write there, on emptied tables before each test."""

    partitions = 2
    # No divert makes anybody ask elsewhere, and nothing is purged meanwhile.
    config = {"sync": {"keep_log": "3600"}}
    prefix = "s"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.names = [name.encode() for name in cls.server.keys_on(1, KEYS, cls.prefix)]

    def setUp(self):
        self.nodes.empty()
        self.run_sync()  # nothing is blank any more
        self.run_sync()  # and the floor is where the server remembers it
        self.server.wait_trusted(*[True] * self.partitions)  # else PUT gives versions that lie ahead
        self.keys = list(self.names)

    def sql(self, text, node=1):
        return self.nodes.sql(node, text)

    def refused(self, text):
        """What the client is told of statements that the partition refuses."""
        with self.assertRaises(AssertionError) as caught:
            self.sql(text)
        return str(caught.exception)

    def rows(self, node=1):
        return {row.key: row for row in map(Row, self.sql("SELECT %s FROM pairs" % Row.columns, node))}

    def run_sync(self):
        done = subprocess.run([SYNC, "--config", self.server.config], env=self.server.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        self.assertEqual((0, b""), (done.returncode, done.stdout))

    def put_all(self, keys=None, value=b"old"):
        for key in keys or self.keys:
            self.put(key, value)

    def literals(self, keys=None):
        return ",".join(sql_bytes(key) for key in (keys or self.keys))

    # What a test says of the rows is asked before and after stamping.

    def stamp(self):
        """Stamps what is to be stamped, and makes tombstones of what was deleted."""
        self.run_sync()

    def answers(self, keys):
        """What HTTP says of each key: (status, tag, value, type, seconds of Last-Modified); twice, as GET and HEAD."""
        told = {}
        with self.server.wire() as wire:
            for key in keys:
                get = wire.request("GET", key_path(key))
                head = wire.request("HEAD", key_path(key))
                self.check(get, 200, 404)
                for name in ("ETag", "Content-Type", "Last-Modified", "Content-Length"):
                    if get.status == 200:
                        self.assertEqual(get.header(name), head.header(name), key)
                told[key] = (get.status,) + ((int(get.version_tag), get.body, get.header("Content-Type"),
                                              get.header("Last-Modified")) if get.status == 200 else ())
        return told

    def listed(self):
        """Keys and versions of a list."""
        answer = self.check(self.server.request("GET", "/keys?limit=1000"), 200).json()
        return {row["key"].encode(): int(row["version"]) for row in answer["keys"]}

    def expect(self, expected, unstamped=None):
        """Asserts {key: value, None for none} over HTTP, stamps, and asserts that nothing else is said. `unstamped` names
        the rows that are to be stamped; all that are expected with a value unless given."""
        rows, before, listed = self.rows(), self.answers(expected), self.listed()
        for key, value in expected.items():
            self.assertEqual((404,) if value is None else (200, value), before[key][:1] + before[key][2:3], key)
        alive = {key: answer[1] for key, answer in before.items() if answer[0] == 200}
        self.assertEqual(alive, {key: rows[key].effective() for key in alive})
        self.assertEqual(alive, {key: version for key, version in listed.items() if key in expected})
        if unstamped is None:
            unstamped = [key for key, value in expected.items() if value is not None]
        self.assertEqual(sorted(unstamped), sorted(key for key in expected
                                                   if key in rows and rows[key].touched_us is not None))
        self.stamp()
        self.assertEqual(before, self.answers(expected))
        self.assertEqual(listed, self.listed())
        self.check_stamped(expected, rows)
        self.check_everywhere()
        return before

    def check_stamped(self, expected, before):
        """No row waits any more; each that did has the version it was read with, and an entry that speaks for it."""
        log = {int(seq): (int(op), entry_keys(bytes.fromhex(ks)))
               for seq, op, ks in self.sql("SELECT seq,op,HEX(ks) FROM changes")}
        rows = self.rows()
        self.assertEqual([], [row.key for row in rows.values() if row.touched_us is not None])
        self.assertEqual([], self.sql("SELECT k FROM removed"))
        for key in expected:
            if key not in before or before[key].touched_us is not None:
                op, keys = log[rows[key].seq] if key in rows else (1, [])
                self.assertEqual(1, op)
                if key in rows:
                    self.assertIn((key, rows[key].value is None), keys)
            if key in before and before[key].touched_us is not None:
                self.assertEqual(before[key].effective(), rows[key].version, key)
                self.assertEqual(before[key].created or before[key].effective(), rows[key].created, key)

    def check_everywhere(self):
        """The other partition has the same, after at most one more pass."""
        self.run_sync()
        here, there = self.rows(1), self.rows(2)
        for key, row in here.items():
            self.assertIn(key, there)
            other = there[key]
            self.assertEqual((row.value, row.version, row.created, row.expires, row.type),
                             (other.value, other.version, other.created, other.expires, other.type), key)

    def check_if_match(self, before):
        """The tag that was read before a row was stamped is the one to name afterwards."""
        for key, answer in before.items():
            if answer[0] == 200:
                self.check(self.server.put(key, b"z", {"If-Match": '"%d"' % (answer[1] + 1)}), 412)
                self.check(self.server.put(key, b"z", {"If-Match": '"%d"' % answer[1]}), 204)
            else:
                self.check(self.server.put(key, b"z", {"If-Match": "*"}), 412)
                self.check(self.server.put(key, b"z", {"If-None-Match": "*"}), 201)


class EveryWay:
    """Every way in which an SQL client can write; a class says who stamps."""

    def all(self, value):
        return dict.fromkeys(self.keys, value)

    def load(self, lines, how="", columns="(k,v)", session=""):
        """LOAD DATA of texts; `how` is REPLACE or IGNORE."""
        with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
            file.write("".join("\t".join(line) + "\n" for line in lines))
            file.flush()
            self.sql("%sLOAD DATA LOCAL INFILE '%s' %s INTO TABLE pairs %s" % (session, file.name, how, columns))

    # ---------------------------------------------------------------- insert

    def test_a_single_insert(self):
        key = self.keys[0]
        self.sql("INSERT INTO pairs (k, v) VALUES (%s, 'new')" % sql_bytes(key))
        self.check_if_match(self.expect({key: b"new", self.keys[1]: None}))

    def test_insert_set_with_a_type(self):
        key = self.keys[0]
        self.sql("INSERT INTO pairs SET k = %s, v = 'new', type = 'text/plain'" % sql_bytes(key))
        self.assertEqual("text/plain", self.expect({key: b"new"})[key][3])

    def test_a_bulk_insert(self):
        self.sql("INSERT INTO pairs (k, v) VALUES %s" % ",".join("(%s, 'new')" % sql_bytes(key) for key in self.keys))
        self.check_if_match(self.expect(self.all(b"new")))

    def test_many_inserts_of_one_transaction(self):
        self.sql("START TRANSACTION; %s COMMIT" % "".join("INSERT INTO pairs (k, v) VALUES (%s, 'new');" % sql_bytes(key)
                                                           for key in self.keys))
        self.check_if_match(self.expect(self.all(b"new")))

    def test_insert_select(self):
        self.put_all(self.keys[:6])
        self.sql("CREATE TEMPORARY TABLE names (name VARBINARY(99)); INSERT INTO names VALUES %s;"
                 "INSERT INTO pairs (k, v) SELECT name, CONCAT(name, '!') FROM names"
                 % ",".join("(%s)" % sql_bytes(key) for key in self.keys[6:]))
        self.check_if_match(self.expect({key: b"old" if i < 6 else key + b"!" for i, key in enumerate(self.keys)},
                                        self.keys[6:]))

    def test_insert_ignore(self):
        self.put_all(self.keys[:6])
        self.sql("INSERT IGNORE INTO pairs (k, v) VALUES %s" % ",".join("(%s, 'new')" % sql_bytes(k) for k in self.keys))
        self.check_if_match(self.expect({key: b"old" if i < 6 else b"new" for i, key in enumerate(self.keys)},
                                        self.keys[6:]))

    def test_load_data(self):
        self.load([(key.decode(), "new") for key in self.keys])
        self.check_if_match(self.expect(self.all(b"new")))

    def test_load_data_replace(self):
        self.put_all(self.keys[:6])
        self.load([(key.decode(), "new") for key in self.keys], "REPLACE")
        self.check_if_match(self.expect(self.all(b"new")))

    def test_load_data_ignore(self):
        self.put_all(self.keys[:6])
        self.load([(key.decode(), "new") for key in self.keys], "IGNORE")
        self.check_if_match(self.expect({key: b"old" if i < 6 else b"new" for i, key in enumerate(self.keys)},
                                        self.keys[6:]))

    def test_values_and_keys_of_any_bytes(self):
        large = bytes(range(256)) * 300  # beyond what comes with its row
        self.sql("INSERT INTO pairs (k, v) VALUES (%s, %s)" % (sql_bytes(self.keys[0]), sql_bytes(large)))
        self.sql("INSERT INTO pairs (k, v) VALUES (%s, '')" % sql_bytes(self.keys[1]))
        self.check_if_match(self.expect({self.keys[0]: large, self.keys[1]: b""}))

    # ---------------------------------------------------------------- replace, upsert, update

    def test_replace(self):
        self.put_all(self.keys[:6])
        self.sql("REPLACE INTO pairs (k, v) VALUES %s" % ",".join("(%s, 'new')" % sql_bytes(key) for key in self.keys))
        self.check_if_match(self.expect(self.all(b"new")))

    def test_replace_of_one_key_twice_in_a_statement(self):
        key = self.keys[0]
        self.put_all([key])
        self.sql("REPLACE INTO pairs (k, v) VALUES (%s, 'a'), (%s, 'b')" % (sql_bytes(key), sql_bytes(key)))
        self.check_if_match(self.expect({key: b"b"}))

    def test_replace_select(self):
        self.put_all()
        self.sql("REPLACE INTO pairs (k, v) SELECT k, CONCAT(v, '!') FROM pairs")
        self.check_if_match(self.expect(self.all(b"old!")))

    def test_upsert(self):
        self.put_all(self.keys[:6])
        self.sql("INSERT INTO pairs (k, v) VALUES %s ON DUPLICATE KEY UPDATE v = CONCAT(v, VALUES(v))"
                 % ",".join("(%s, 'new')" % sql_bytes(key) for key in self.keys))
        self.check_if_match(self.expect({key: b"oldnew" if i < 6 else b"new" for i, key in enumerate(self.keys)}))

    def test_update(self):
        self.put_all()
        self.sql("UPDATE pairs SET v = 'new' ORDER BY k DESC")
        self.check_if_match(self.expect(self.all(b"new")))

    def test_update_of_other_columns(self):
        key = self.keys[0]
        self.put_all([key])
        self.sql("UPDATE pairs SET type = 'text/html'")
        before = self.expect({key: b"old"})
        self.assertEqual("text/html", before[key][3])
        self.check_if_match(before)

    def test_update_of_several_tables(self):
        self.put_all()
        self.sql("CREATE TEMPORARY TABLE news (name VARBINARY(99) PRIMARY KEY, text VARBINARY(99));"
                 "INSERT INTO news VALUES %s;"
                 "UPDATE pairs JOIN news ON name = k SET v = text, text = '', type = 'text/plain'"
                 % ",".join("(%s, 'new')" % sql_bytes(key) for key in self.keys[:6]))
        self.check_if_match(self.expect({key: b"new" if i < 6 else b"old" for i, key in enumerate(self.keys)},
                                        self.keys[:6]))

    def test_update_joined_with_itself(self):
        self.put_all()
        self.sql("UPDATE pairs AS a JOIN pairs AS b ON a.k = b.k SET a.v = CONCAT(b.v, '!')")
        self.check_if_match(self.expect(self.all(b"old!")))

    def test_a_prepared_statement(self):
        self.put_all()
        self.sql("PREPARE p FROM 'UPDATE pairs SET v = ? WHERE k = ?'; SET @v = 'new';"
                 + "".join("SET @k = %s; EXECUTE p USING @v, @k;" % sql_bytes(key) for key in self.keys))
        self.check_if_match(self.expect(self.all(b"new")))

    def test_an_update_over_an_unstamped_row_is_a_new_version(self):
        key = self.keys[0]
        self.sql("INSERT INTO pairs (k, v) VALUES (%s, 'a')" % sql_bytes(key))
        first = int(self.server.get(key).version_tag)
        self.sql("UPDATE pairs SET v = 'b'")
        before = self.expect({key: b"b"})
        self.assertGreater(before[key][1], first)
        self.check(self.server.put(key, b"z", {"If-Match": '"%d"' % first}), 412)
        self.check_if_match(before)

    def test_an_update_that_changes_nothing_touches_nothing(self):
        self.put_all()
        tags = self.answers(self.keys)
        self.sql("UPDATE pairs SET v = v, type = type; UPDATE pairs SET v = 'old' WHERE v = 'old';"
                 "INSERT INTO pairs (k, v) VALUES (%s, 'x') ON DUPLICATE KEY UPDATE v = 'old'" % sql_bytes(self.keys[0]))
        self.assertEqual(tags, self.expect(self.all(b"old"), []))
        self.check_if_match(tags)

    # ---------------------------------------------------------------- delete

    def test_delete(self):
        self.put_all()
        self.sql("DELETE FROM pairs WHERE k IN (%s)" % self.literals(self.keys[:6]))
        self.check_if_match(self.expect({key: None if i < 6 else b"old" for i, key in enumerate(self.keys)}, []))

    def test_delete_of_all(self):
        self.put_all()
        self.sql("DELETE FROM pairs")
        self.check_if_match(self.expect(self.all(None), []))

    def test_delete_with_a_join(self):
        self.put_all()
        self.sql("CREATE TEMPORARY TABLE names (name VARBINARY(99) PRIMARY KEY); INSERT INTO names VALUES %s;"
                 "DELETE pairs, names FROM pairs JOIN names ON name = k"
                 % ",".join("(%s)" % sql_bytes(key) for key in self.keys[:6]))
        self.check_if_match(self.expect({key: None if i < 6 else b"old" for i, key in enumerate(self.keys)}, []))

    def test_delete_of_an_unstamped_row(self):
        self.sql("INSERT INTO pairs (k, v) VALUES (%s, 'x')" % sql_bytes(self.keys[0]))
        self.sql("DELETE FROM pairs")
        self.check_if_match(self.expect({self.keys[0]: None}, []))

    def test_delete_and_insert(self):
        self.put_all()
        self.sql("DELETE FROM pairs; INSERT INTO pairs (k, v) VALUES (%s, 'new')" % sql_bytes(self.keys[0]))
        self.check_if_match(self.expect({key: None if i else b"new" for i, key in enumerate(self.keys)}))

    def test_v_set_to_null(self):
        self.put_all()
        self.sql("UPDATE pairs SET v = NULL")
        self.check_if_match(self.expect(self.all(None), self.keys))

    def test_a_null_inserted(self):
        self.sql("INSERT INTO pairs (k, v) VALUES (%s, NULL)" % sql_bytes(self.keys[0]))
        self.check_if_match(self.expect({self.keys[0]: None}, self.keys[:1]))

    def test_a_tombstone_brought_back(self):
        self.put_all()
        for key in self.keys:
            self.check(self.server.delete(key), 204)
        self.sql("UPDATE pairs SET v = 'new'")
        self.check_if_match(self.expect(self.all(b"new")))

    def test_an_expiry_in_the_past_and_one_in_the_future(self):
        self.put_all(self.keys[:2])
        self.sql("UPDATE pairs SET expires = IF(k = %s, 1, UNIX_TIMESTAMP() * 1000 + 3600000)" % sql_bytes(self.keys[0]))
        before = self.expect({self.keys[0]: None, self.keys[1]: b"old"}, self.keys[:2])
        self.assertIn(int(self.server.get(self.keys[1]).header("X-TTL")), range(3500, 3601))
        self.check_if_match(before)

    # ---------------------------------------------------------------- transactions

    def test_what_is_rolled_back_was_never_there(self):
        self.put_all(self.keys[:6])
        tags = self.answers(self.keys)
        self.sql("START TRANSACTION; UPDATE pairs SET v = 'new'; DELETE FROM pairs WHERE k = %s;"
                 "INSERT INTO pairs (k, v) VALUES (%s, 'new'); ROLLBACK" % (sql_bytes(self.keys[0]), sql_bytes(self.keys[7])))
        expected = {key: b"old" if i < 6 else None for i, key in enumerate(self.keys)}
        self.assertEqual(tags, self.expect(expected, []))
        self.check_if_match(tags)

    def test_what_is_rolled_back_to_a_savepoint(self):
        self.put_all(self.keys[:2])
        self.sql("START TRANSACTION; UPDATE pairs SET v = 'a' WHERE k = %s; SAVEPOINT here; UPDATE pairs SET v = 'b';"
                 "DELETE FROM pairs; ROLLBACK TO here; COMMIT" % sql_bytes(self.keys[0]))
        self.check_if_match(self.expect({self.keys[0]: b"a", self.keys[1]: b"old"}, self.keys[:1]))

    def test_each_isolation_level(self):
        for level in ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
            with self.subTest(level):
                self.nodes.empty()
                self.run_sync()
                self.put_all(self.keys[:8])
                self.sql("SET SESSION TRANSACTION ISOLATION LEVEL %s; START TRANSACTION; SELECT COUNT(*) FROM pairs;"
                         "UPDATE pairs SET v = 'new' WHERE k IN (%s); DELETE FROM pairs WHERE k IN (%s);"
                         "REPLACE INTO pairs (k, v) VALUES (%s, 'replaced'); INSERT INTO pairs (k, v) VALUES (%s, 'inserted');"
                         "COMMIT" % (level, self.literals(self.keys[:2]), self.literals(self.keys[2:4]),
                                     sql_bytes(self.keys[4]), sql_bytes(self.keys[8])))
                expected = {key: b"old" for key in self.keys[:8]}
                expected.update({self.keys[0]: b"new", self.keys[1]: b"new", self.keys[2]: None, self.keys[3]: None,
                                 self.keys[4]: b"replaced", self.keys[8]: b"inserted"})
                self.check_if_match(self.expect(expected, [self.keys[i] for i in (0, 1, 4, 8)]))

    def test_what_is_held_open_is_seen_when_it_commits_and_nothing_waits_for_it(self):
        self.put_all(self.keys[:4])
        old = self.answers(self.keys[:6])
        held, gone, new, free = self.keys[0], self.keys[1], self.keys[4], self.keys[5]
        transaction = Transaction(self.nodes, 1)
        self.addCleanup(transaction.end)
        transaction.run("SET autocommit = 0; UPDATE pairs SET v = 'held' WHERE k = %s; DELETE FROM pairs WHERE k = %s;"
                        "INSERT INTO pairs (k, v) VALUES (%s, 'held')" % tuple(map(sql_bytes, (held, gone, new))))
        self.sql("INSERT INTO pairs (k, v) VALUES (%s, 'free')" % sql_bytes(free))
        began = time.monotonic()
        while time.monotonic() - began < 3:
            self.stamp()
            row = self.rows()[free]
            self.assertIsNone(row.touched_us)  # it did not wait
            self.assertEqual(old[held], self.answers([held])[held])
            self.assertEqual(old[gone], self.answers([gone])[gone])
            self.check(self.server.get(new), 404)
        transaction.run("COMMIT")
        # Stamped behind what committed before, and yet with the time at which it was written.
        before = self.expect({held: b"held", gone: None, new: b"held", free: b"free"}, [held, new])
        self.assertLess(before[new][1], row.version)
        self.check_if_match(before)

    # ---------------------------------------------------------------- clocks

    def near(self, version, us, within=5000000):
        self.assertAlmostEqual(version >> 10, us, delta=within * harness.SLACK)

    def test_a_time_zone_of_the_sessions_own(self):
        now_us = int(time.time() * 1000000)
        for i, zone in enumerate(("+13:00", "-12:00", "SYSTEM")):
            key = self.keys[i]
            self.sql("SET time_zone = '%s'; INSERT INTO pairs (k, v) VALUES (%s, 'new')" % (zone, sql_bytes(key)))
        before = self.expect(dict.fromkeys(self.keys[:3], b"new"))
        for key in self.keys[:3]:
            self.near(before[key][1], now_us, 30000000)
        self.check_if_match(before)

    def test_set_timestamp_in_the_past(self):
        self.put_all(self.keys[:2])
        put = self.answers(self.keys[:1])[self.keys[0]][1]
        past = int(time.time()) - 30  # above the floor
        self.sql("SET timestamp = %d.25; UPDATE pairs SET v = 'new' WHERE k = %s; INSERT INTO pairs (k, v) VALUES (%s, 'new');"
                 "DELETE FROM pairs WHERE k = %s" % ((past,) + tuple(map(sql_bytes, (self.keys[0], self.keys[2], self.keys[1])))))
        before = self.expect({self.keys[0]: b"new", self.keys[1]: None, self.keys[2]: b"new"})
        self.assertEqual(((put >> 10) + 1) << 10, before[self.keys[0]][1])
        self.assertEqual((past * 1000000 + 250000) << 10, before[self.keys[2]][1])
        self.check_if_match(before)

    def test_set_timestamp_in_the_future(self):
        self.put_all(self.keys[:1])
        self.sql("SET timestamp = UNIX_TIMESTAMP() + 3; UPDATE pairs SET v = 'new'; INSERT INTO pairs (k, v) VALUES (%s, 'new')"
                 % sql_bytes(self.keys[1]))
        self.check_if_match(self.expect(dict.fromkeys(self.keys[:2], b"new")))

    def come_from_the_future(self, key, us):
        """Gives a row a version of partition 2 that lies `us` ahead, as one that was applied; returns it."""
        self.put_all([key])
        self.sql("UPDATE pairs SET version = @v := %s + %d << 10 | 2, touched = NULL WHERE k = %s" % (NOW_US, us, sql_bytes(key)))
        return self.rows()[key].version

    def test_an_update_over_a_version_that_lies_in_the_future(self):
        for us, key in zip((1, 400000, 2000000, 4000000), self.keys):
            with self.subTest(us):
                future = self.come_from_the_future(key, us)
                self.sql("UPDATE pairs SET v = 'new' WHERE k = %s" % sql_bytes(key))
                before = self.expect({key: b"new"})
                self.assertGreater(before[key][1], future)
                if us > 1000000:
                    self.assertEqual(((future >> 10) + 1) << 10, before[key][1])
                self.check_if_match(before)

    def test_a_delete_over_a_version_that_lies_in_the_future(self):
        key = self.keys[0]
        future = self.come_from_the_future(key, 2000000)
        self.sql("DELETE FROM pairs")
        before = self.expect({key: None}, [])
        self.assertGreater(self.rows()[key].version, future)
        self.check_if_match(before)

    # The row was read with its effective version, which others may have.
    def test_a_delete_of_an_unstamped_row_that_lies_in_the_future(self):
        key = self.keys[0]
        self.come_from_the_future(key, 2000000)
        self.sql("UPDATE pairs SET v = 'new'")
        read = int(self.server.get(key).version_tag)
        self.sql("DELETE FROM pairs")
        before = self.expect({key: None}, [])
        self.assertGreater(self.rows()[key].version, read)
        self.check_if_match(before)

    # A row cannot know what REPLACE deleted for it. Its stamp is greater, for other partitions have the other version.
    def test_a_replace_over_a_version_that_lies_in_the_future(self):
        key = self.keys[0]
        future = self.come_from_the_future(key, 2000000)
        self.sql("REPLACE INTO pairs (k, v) VALUES (%s, 'new')" % sql_bytes(key))
        self.assertEqual(b"new", self.value(key))
        self.stamp()
        self.assertEqual(b"new", self.value(key))
        self.assertGreater(int(self.server.get(key).version_tag), future)
        self.assertIsNone(self.rows()[key].touched_us)

    def test_a_version_of_the_clients_own_beyond_all_bounds_counts_for_nothing(self):
        now_us = int(time.time() * 1000000)
        self.put_all(self.keys[:2])
        self.sql("UPDATE pairs SET version = 18446744073709551615, v = 'new'")
        before = self.expect(dict.fromkeys(self.keys[:2], b"new"))
        for key in self.keys[:2]:
            self.near(before[key][1], now_us, 30000000)
        self.check_if_match(before)

    # ---------------------------------------------------------------- beside writes of the server

    def test_a_put_over_an_unstamped_row_is_greater_than_what_was_read(self):
        for i, us in enumerate((0, 2000000)):
            key = self.keys[i]
            self.come_from_the_future(key, us)
            self.sql("UPDATE pairs SET v = 'new' WHERE k = %s" % sql_bytes(key))
            read = int(self.server.get(key).version_tag)
            put = self.check(self.server.put(key, b"put"), 204)
            self.assertGreater(int(put.version_tag), read)
            self.assertEqual(put.version_tag, self.server.get(key).version_tag)
        before = self.expect(dict.fromkeys(self.keys[:2], b"put"), [])
        self.check_if_match(before)

    def test_conditions_hold_for_what_was_read_before_stamping(self):
        a, b, c = self.keys[:3]
        self.sql("INSERT INTO pairs (k, v) VALUES (%s, 'a'), (%s, 'b'), (%s, 'c')" % tuple(map(sql_bytes, (a, b, c))))
        tags = {key: self.server.get(key).header("ETag") for key in (a, b, c)}
        self.check(self.server.get(a, {"If-None-Match": tags[a]}), 304)
        self.check(self.server.put(a, b"x", {"If-None-Match": tags[a]}), 412)
        self.check(self.server.put(a, b"x", {"If-None-Match": "*"}), 412)
        self.check(self.server.put(a, b"x", {"If-Match": '"1"'}), 412)
        self.check(self.server.put(a, b"x", {"If-Match": tags[a]}), 204)
        self.check(self.server.delete(b, {"If-Match": '"1"'}), 412)
        self.check(self.server.delete(b, {"If-Match": tags[b]}), 204)
        before = self.expect({a: b"x", b: None, c: b"c"}, [c])
        self.check_if_match(before)

    def test_created_and_replaced_are_told_apart(self):
        inserted, deleted, null, expired, replaced = self.keys[:5]
        self.put_all([deleted, null, expired, replaced])
        self.sql("INSERT INTO pairs (k, v) VALUES (%s, 'x'); DELETE FROM pairs WHERE k = %s;"
                 "UPDATE pairs SET v = NULL WHERE k = %s; UPDATE pairs SET expires = 1000 WHERE k = %s;"
                 "REPLACE INTO pairs (k, v) VALUES (%s, 'x')"
                 % tuple(map(sql_bytes, (inserted, deleted, null, expired, replaced))))
        for key, status in ((inserted, 204), (deleted, 201), (null, 201), (expired, 201), (replaced, 204)):
            answers = concurrently(8, lambda i, key=key: self.server.put(key, b"%d" % i))
            self.assertEqual([201] * (status == 201) + [204] * (8 - (status == 201)),
                             sorted(answer.status for answer in answers))
        self.expect({key: self.value(key) for key in self.keys[:5]}, [])


class StampedBySync(EveryWay, SqlTest):
    """A pass of sync stamps first."""

    prefix = "y"


class StampedByTheFollower(EveryWay, SqlTest):
    """A server of which somebody asks for changes stamps, and it is not the one that is read."""

    prefix = "f"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.follower = None

    def stamp(self):
        follower = Server(self.nodes, self.config, self.partitions)
        self.addCleanup(follower.discard)
        follower.start_up()
        try:
            wait_until(lambda: self.polled(follower), 10, "nothing is left to stamp")
        finally:
            follower.stop()

    def polled(self, follower):
        self.check(follower.request("GET", "/changes?wait=0", None, {"Accept": "application/json"}), 200)
        return self.sql("SELECT (SELECT COUNT(*) FROM pairs WHERE touched IS NOT NULL) + (SELECT COUNT(*) FROM removed)") == [["0"]]


class TestRefusals(SqlTest):
    prefix = "r"

    def test_a_rename_is_refused_and_says_why(self):
        a, b = map(sql_bytes, self.keys[:2])
        self.put_all(self.keys[:1])
        before = self.answers(self.keys[:2])
        for text in ("UPDATE pairs SET k = %s WHERE k = %s" % (b, a), "UPDATE pairs SET k = %s, v = 'new'" % b,
                     "UPDATE pairs SET k = CONCAT(k, 'x') ORDER BY k LIMIT 1",
                     "UPDATE pairs JOIN (SELECT 1) AS one SET k = %s" % b,
                     "INSERT INTO pairs (k, v) VALUES (%s, 'x') ON DUPLICATE KEY UPDATE k = %s" % (a, b)):
            said = self.refused(text)
            self.assertIn(CONSTRAINT_FAILED, said)
            self.assertIn("a_key_cannot_be_renamed_use_INSERT_and_DELETE", said)
        self.assertEqual(before, self.expect({self.keys[0]: b"old", self.keys[1]: None}, []))

    def test_insert_and_delete_are_the_way_to_rename(self):
        a, b = map(sql_bytes, self.keys[:2])
        self.put_all(self.keys[:1])
        self.sql("START TRANSACTION; INSERT INTO pairs (k, v, type, expires) SELECT %s, v, type, expires FROM pairs WHERE k = %s;"
                 "DELETE FROM pairs WHERE k = %s; COMMIT" % (b, a, a))
        self.check_if_match(self.expect({self.keys[0]: None, self.keys[1]: b"old"}))

    def test_an_empty_key_is_refused_and_says_why(self):
        self.put_all(self.keys[:1])
        for text in ("INSERT INTO pairs (k, v) VALUES ('', 'x')", "REPLACE INTO pairs (k, v) VALUES ('', 'x')",
                     "INSERT INTO pairs (k, v) VALUES (%s, 'x'), ('', 'x')" % sql_bytes(self.keys[1])):
            said = self.refused(text)
            self.assertIn(CONSTRAINT_FAILED, said)
            self.assertIn("the_key_is_empty", said)
        self.assertIn(CONSTRAINT_FAILED, self.refused("UPDATE pairs SET k = ''"))
        self.assertEqual([[self.keys[0].decode()]], self.sql("SELECT k FROM pairs"))

    def test_a_wrong_hash_is_refused(self):
        for text in ("INSERT INTO pairs (k, v, hash) VALUES ('x', 'x', 1)", "UPDATE pairs SET hash = hash + 1"):
            self.put_all(self.keys[:1])
            self.assertIn(CONSTRAINT_FAILED, self.refused(text))


    # One such row would keep all from being stamped.
    def test_a_zero_as_the_time_of_a_write_is_refused(self):
        key = sql_bytes(self.keys[0])
        for value in ("0", "'0000-00-00 00:00:00'", "''"):
            for text in ("INSERT INTO pairs (k, v, touched) VALUES (%s, 'x', %s)", "INSERT IGNORE INTO pairs (k, v, touched) VALUES (%s, 'x', %s)"):
                said = self.refused("SET sql_mode = ''; " + text % (key, value))
                self.assertIn(CONSTRAINT_FAILED, said)
                self.assertIn("touched_is_not_a_time", said)
        self.sql("INSERT INTO pairs (k, v) VALUES (%s, 'x')" % key)
        self.assertIn(CONSTRAINT_FAILED, self.refused("UPDATE pairs SET touched = 0"))
        self.expect({self.keys[0]: b"x"})


class TestBatches(SqlTest):
    """What the server writes in one statement has one version, one number, and one entry in the log."""

    prefix = "b"

    def entries(self):
        """{seq: (op, version, keys)} of the log."""
        return {int(seq): (int(op), int(version), entry_keys(bytes.fromhex(ks)))
                for seq, op, version, ks in self.sql("SELECT seq,op,version,HEX(ks) FROM changes ORDER BY seq") if ks}

    def check_log(self):
        """Each entry names exactly the keys whose rows had its number when it was the last; each row names its last one."""
        entries, rows = self.entries(), self.rows()
        last = {}
        for seq, (op, _, keys) in entries.items():
            self.assertEqual(1, op)
            names = [key for key, _ in keys]
            self.assertEqual(sorted(set(names)), names)
            for key, removed in keys:
                last[key] = (seq, removed)
        self.assertEqual(last, {key: (row.seq, row.value is None) for key, row in rows.items()})
        return entries, rows

    def burst(self, requests):
        """Pipelined requests, so that they wait for the same connection; their answers."""
        with self.server.wire() as wire:
            wire.send(b"".join(requests))
            return [wire.response() for _ in requests]

    @staticmethod
    def put_request(key, value=b"v", more=b""):
        return b"PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n%s" % (
            key_path(key).encode(), len(value), more, value)

    def test_rows_of_a_batch_share_number_and_version_and_entry(self):
        answers = concurrently(8, lambda i: self.burst([self.put_request("batch-%d-%d" % (i, n)) for n in range(16)]))
        self.assertEqual([201] * 128, [answer.status for burst in answers for answer in burst])
        entries, rows = self.check_log()
        for seq, (_, version, keys) in entries.items():
            for key, removed in keys:
                self.assertFalse(removed)
                self.assertEqual((seq, version, version), (rows[key].seq, rows[key].version, rows[key].created))
        batches = [len(keys) for _, _, keys in entries.values()]
        self.assertEqual(len(rows), sum(batches))  # each key once, and none that is not there
        self.assertLess(len(batches), sum(batches))  # not each in a batch of its own
        self.assertEqual(1, min(1, max(batches) - 1))

    def test_batches_that_write_over_each_other(self):
        def write(i):
            return self.burst([self.put_request("over-%d" % ((i * 7 + n) % 40), b"%d" % i) for n in range(16)])
        for _ in range(5):
            for burst in concurrently(8, write):
                self.assertLessEqual({answer.status for answer in burst}, {201, 204})
        self.check_log()

    def test_an_entry_says_which_keys_were_removed(self):
        self.put_all()
        requests = [b"DELETE %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % key_path(key).encode() if i % 2 else self.put_request(key)
                    for i, key in enumerate(self.keys)]
        self.assertEqual({204}, {answer.status for answer in self.burst(requests)})
        _, rows = self.check_log()
        self.assertEqual([i % 2 == 1 for i in range(KEYS)], [rows[key].value is None for key in self.keys])

    def test_keys_of_any_bytes_are_named(self):
        names = [b"'", b"\\", b"\0", b"\n\r\x1a\"", b"3=abc", b"1-x1=y", b"\xff\xfe", b"=", b"-", b"k" * 512, b"'" * 512]
        names += [b"\\'; DROP TABLE pairs; -- %d" % i for i in range(8)]
        self.assertEqual({201}, {answer.status for answer in self.burst([self.put_request(name) for name in names])})
        here = {key for key in self.check_log()[1]}
        there = {row.key for row in self.rows(2).values()}
        self.assertEqual(set(names), here | there)

    def test_what_is_not_written_is_not_logged(self):
        tag = self.put(self.keys[0], b"v").header("ETag")
        before = self.entries()
        for headers in ({"If-Match": '"1"'}, {"If-None-Match": "*"}, {"If-None-Match": tag}):
            self.check(self.server.put(self.keys[0], b"w", headers), 412)
        self.check(self.server.put(self.keys[1], b"w", {"If-Match": "*"}), 412)
        self.assertEqual(before, self.entries())
        self.check(self.server.put(self.keys[0], b"w", {"If-Match": tag}), 204)
        self.assertEqual(len(before) + 1, len(self.check_log()[0]))

    def test_a_put_between_writes_of_sql_has_an_entry_of_its_own(self):
        self.put_all(self.keys[:2])
        self.sql("UPDATE pairs SET v = 'sql' WHERE k = %s" % sql_bytes(self.keys[0]))
        rows = self.rows()
        self.assertEqual(1, len({row.seq for row in rows.values() if row.touched_us is not None}))
        put = self.put(self.keys[0], b"put")
        row = self.rows()[self.keys[0]]
        self.assertEqual((int(put.version_tag), None), (row.version, row.touched_us))
        self.check_log()


class TestDefinition(SqlTest):
    """What lies in a partition. Each database has the same."""

    def test_no_index_holds_what_every_put_changes(self):
        for database in ("sherd", "test_sherd"):
            for node in self.nodes.all():
                rows = self.nodes.sql(node, "SELECT index_name, non_unique, column_name, seq_in_index FROM information_schema.statistics"
                                      " WHERE table_schema = '%s' AND table_name = 'pairs' ORDER BY index_name" % database)
                self.assertEqual([["ends", "1", "ends", "1"], ["PRIMARY", "0", "k", "1"], ["touched", "1", "touched", "1"]], rows)

    def test_the_columns_are_those_that_the_docs_name(self):
        rows = self.sql("SELECT column_name, column_type, is_nullable, IFNULL(column_default, ''), extra FROM information_schema.columns"
                        " WHERE table_schema = 'test_sherd' AND table_name = 'pairs' ORDER BY ordinal_position")
        self.assertEqual([
            ["k", "varbinary(512)", "NO", "", ""],
            ["v", "longblob", "YES", "NULL", ""],
            ["type", "varbinary(128)", "NO", "'application/octet-stream'", ""],
            ["version", "bigint(20) unsigned", "NO", "0", ""],
            ["created", "bigint(20) unsigned", "NO", "0", ""],
            ["expires", "bigint(20) unsigned", "NO", "0", ""],
            ["seq", "bigint(20) unsigned", "NO", "0", ""],
            ["hash", "int(10) unsigned", "NO", "crc32(`k`)", ""],
            ["touched", "timestamp(6)", "YES", "current_timestamp(6)", "on update current_timestamp(6)"],
            ["ends", "bigint(20) unsigned", "YES", "NULL", "STORED GENERATED"]], rows)

    def test_show_create_table(self):
        text = self.sql("SHOW CREATE TABLE pairs")[0][1]
        for part in ("PRIMARY KEY (`k`)", "KEY `touched` (`touched`)", "KEY `ends` (`ends`)", "ENGINE=InnoDB",
                     "`ends` bigint(20) unsigned GENERATED ALWAYS AS (if(`v` is null,1,`expires`)) STORED",
                     "CONSTRAINT `the_key_is_empty` CHECK (`k` <> '')", "CONSTRAINT `touched_is_not_a_time` CHECK (`touched` > 0)",
                     "CONSTRAINT `a_key_cannot_be_renamed_use_INSERT_and_DELETE` CHECK (`hash` = crc32(`k`))"):
            self.assertIn(part, text)
        self.assertEqual(3, len(re.findall(r"KEY ", text)), text)
        self.assertNotIn("slot", text.replace("the slot is hash", ""))
        self.assertEqual(text, self.nodes.sql(1, "SHOW CREATE TABLE pairs", "sherd")[0][1])

    def test_the_only_trigger_is_one_that_no_put_fires(self):
        for database in ("sherd", "test_sherd"):
            rows = self.sql("SELECT trigger_name, event_manipulation, action_timing, event_object_table FROM information_schema.triggers"
                            " WHERE event_object_schema = '%s'" % database)
            self.assertEqual([["pairs_after_delete", "DELETE", "AFTER", "pairs"]], rows)
        self.assertEqual([["1"]], self.sql("SELECT sherd_triggers()"))

    def test_the_schema_is_4_and_nothing_of_its_making_stays(self):
        for database in ("sherd", "test_sherd"):
            self.assertEqual([["4"]], self.nodes.sql(1, "SELECT version FROM sherd_schema", database))
            self.assertEqual([], self.sql("SELECT routine_name FROM information_schema.routines WHERE routine_schema = '%s'"
                                          " AND routine_type = 'PROCEDURE'" % database))

    def test_loading_it_again_changes_nothing(self):
        self.put_all()
        self.sql("UPDATE pairs SET v = 'sql' WHERE k = %s; DELETE FROM pairs WHERE k = %s"
                 % (sql_bytes(self.keys[0]), sql_bytes(self.keys[1])))
        dump = "SELECT %s FROM pairs ORDER BY k; SELECT * FROM changes; SELECT * FROM removed; SELECT * FROM sherd_partition;" \
               "SELECT * FROM cursors; SHOW CREATE TABLE pairs; SHOW CREATE TABLE changes" % Row.columns
        before = self.sql(dump)
        self.nodes.define()
        self.assertEqual(before, self.sql(dump))

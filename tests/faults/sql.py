# SPDX-License-Identifier: MIT
"""Writers that know nothing of Sherd: SQL connections that change rows in every way that SQL has.

A Writer has keys of its own on one partition (r/PARTITION.GENERATION/N), so that what its last statement left is what
has to be there in the end; and now and then it writes a key that HTTP clients write too (s/N). When its connection breaks
nobody knows what became of the statement, nor when: it leaves these keys and takes new ones.

Schema 4 refuses to rename a key. A rename is tried all the same, and is recorded as refused.
"""
import os
import random
import select
import subprocess
import threading
import time
import traceback

from history import value_bytes

OK, FAILED, BROKEN = "ok", "failed", "broken"
STATUS = {OK: 200, FAILED: 503, BROKEN: 0}
SECONDS = 4          # for a statement; then its connection is given up
KEYS = 20
SHARED_KEYS = 30
RENAME_ERROR = 4025  # a CHECK failed
# What a rename may fail with before anybody looks at the CHECK: it had to wait for a lock, or nothing can be written.
OTHER_ERRORS = (1021, 1030, 1114, 1205, 1213, 1290, 1836)
LARGE = 20000        # rows of a large transaction


class Connection:
    """The command line client, a statement at a time."""

    def __init__(self, nodes, node, seconds=SECONDS):
        command = nodes.client(node, "test_sherd", "--unbuffered", "--force", "--skip-reconnect", "--local-infile=1")
        self.seconds = seconds
        self.error = 0  # the number of the last error
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.buffer = b""
        self.broken = self.run("SET innodb_lock_wait_timeout = 2")[0] == BROKEN

    def run(self, text):
        """(OK, FAILED or BROKEN; how many rows it changed). FAILED is the server's word that it did nothing."""
        try:
            self.process.stdin.write((text + ";\nSELECT 'done', ROW_COUNT();\n").encode())
            self.process.stdin.flush()
            return self.answer(time.monotonic() + self.seconds)
        except (OSError, ValueError):
            return self.give_up()

    def answer(self, deadline):
        failed = False
        while True:
            line = self.line(deadline)
            if line is None or line.startswith((b"ERROR 2", b"ERROR 1053", b"ERROR 1317", b"ERROR 1927")):
                return self.give_up()
            if line.startswith(b"ERROR "):
                failed, self.error = True, int(line.split()[1])
            elif line.startswith(b"done\t"):
                return (FAILED, 0) if failed else (OK, int(line.split(b"\t")[1]))

    def line(self, deadline):
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def give_up(self):
        self.broken = True
        self.close()
        return BROKEN, 0

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:
                pass


def literal(value):
    return "x'%s'" % value_bytes(value).hex()


class Writer(threading.Thread):
    def __init__(self, nodes, node, seed, history, problems, directory, paused):
        super().__init__(name="sql-%d" % node, daemon=True)
        self.nodes, self.node, self.history, self.problems, self.paused = nodes, node, history, problems, paused
        self.random = random.Random("%s/sql/%d" % (seed, node))
        self.file = os.path.join(directory, "load-data-%d" % node)
        self.connection = None
        self.generation = self.count = 0
        self.values = {}
        self.renames = False  # whether the table takes renames, as that of schema 3 does
        self.refused = 0      # renames
        self.stopping, self.resting = threading.Event(), threading.Event()
        self.ways = (self.insert, self.insert, self.update, self.update, self.delete, self.clear, self.replace,
                     self.rename, self.update_ignore, self.load_data, self.transaction, self.transaction, self.shared,
                     self.shared, self.shared_pair)

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
                self.stopping.wait(self.random.expovariate(30))
        except Exception:
            self.problems.append("%s: %s" % (self.name, traceback.format_exc()))
        finally:
            if self.connection:
                self.connection.close()

    def step(self):
        way = self.random.choice(self.ways) if self.random.random() > 0.004 else self.large_rollback
        if self.rests():
            return
        if not self.connection or self.connection.broken:
            self.connect()
        if not self.connection.broken:
            way()

    def rests(self):
        """Whether it does nothing for now. Between two steps it has no transaction open."""
        if self.node in self.paused:
            self.resting.set()
        else:
            self.resting.clear()
        return self.resting.is_set()

    def connect(self):
        self.connection = Connection(self.nodes, self.node)
        self.move_on()
        if self.connection.broken:
            self.stopping.wait(0.3)

    def move_on(self):
        """Leaves its keys as they are and takes new ones."""
        self.generation += 1
        self.values = {self.own(n): None for n in range(KEYS)}

    def own(self, n):
        return "r/%d.%d/%d" % (self.node, self.generation, n)

    def any_key(self, alive=None):
        """A key of its own: one with a value, one without, or either."""
        keys = [k for k, value in self.values.items() if alive is None or alive == (value is not None)]
        return self.random.choice(keys) if keys else None

    def next_value(self):
        self.count += 1
        return "q%d-%d" % (self.node, self.count)

    def record(self, begin, outcome, effects):
        """effects: [(key, value or None)] in the order in which they were done."""
        end = time.monotonic_ns()
        for key, value in effects:
            self.history.add(kind="sql", client=self.name, key=key, value=value, begin=begin, end=end,
                             status=STATUS[outcome], partition=self.node)
            if outcome == OK and key in self.values:
                self.values[key] = value

    def change(self, text, effects):
        begin = time.monotonic_ns()
        outcome, rows = self.connection.run(text)
        if outcome == OK and rows <= 0:
            outcome = FAILED  # it found nothing to change
        self.record(begin, outcome, effects)

    # -- one way each

    def insert(self):
        key, value = self.any_key(), self.next_value()
        self.change("INSERT INTO pairs (k, v) VALUES ('%s', %s)" % (key, literal(value)), [(key, value)])

    def update(self):
        key, value = self.any_key(), self.next_value()
        self.change("UPDATE pairs SET v = %s WHERE k = '%s'" % (literal(value), key), [(key, value)])

    def delete(self):
        key = self.any_key()
        self.change("DELETE FROM pairs WHERE k = '%s'" % key, [(key, None)])

    def clear(self):
        """A row without a value is a tombstone."""
        key = self.any_key()
        self.change("UPDATE pairs SET v = NULL WHERE k = '%s'" % key, [(key, None)])

    def replace(self):
        key, value = self.any_key(), self.next_value()
        self.change("REPLACE INTO pairs (k, v) VALUES ('%s', %s)" % (key, literal(value)), [(key, value)])

    def rename(self, ignore=""):
        key, to = self.any_key(alive=True), self.any_key()
        if not key or to == key:
            return
        text = "UPDATE %s pairs SET k = '%s' WHERE k = '%s'" % (ignore, to, key)
        effects = [(key, None), (to, self.values[key])]
        if self.renames:
            self.change(text, effects)
        else:
            self.refused_rename(text, effects, bool(ignore))

    def refused_rename(self, text, effects, ignore):
        """The CHECK fails before any unique key is looked at; under IGNORE that is a warning, and no row changes."""
        begin = time.monotonic_ns()
        outcome, rows = self.connection.run(text)
        self.record(begin, FAILED, effects)  # whatever became of the connection, it was not applied
        if outcome == OK and rows > 0:
            self.problems.append("%s: a key could be renamed: %s" % (self.name, text))
        elif outcome == FAILED and self.connection.error == RENAME_ERROR and not ignore:
            self.refused += 1
        elif outcome == FAILED and self.connection.error not in OTHER_ERRORS:
            self.problems.append("%s: error %d: %s" % (self.name, self.connection.error, text))

    def update_ignore(self):
        self.rename("IGNORE")

    def load_data(self):
        effects = [(key, self.next_value()) for key in self.random.sample(sorted(self.values), 5)]
        with open(self.file, "w", encoding="ascii") as file:
            file.writelines("%s\t%s\n" % (key, value_bytes(value).decode()) for key, value in effects)
        self.change("LOAD DATA LOCAL INFILE '%s' REPLACE INTO TABLE pairs (k, v)" % self.file, effects)

    def transaction(self, hold=0):
        """Several changes that come or go together."""
        effects = [(key, self.next_value()) for key in self.random.sample(sorted(self.values), 3)]
        commit = self.random.random() < 0.6
        begin = time.monotonic_ns()
        whole = self.run_all(["BEGIN"] + [upsert(*e) for e in effects])
        if hold:
            self.stopping.wait(hold)
        end = self.connection.run("COMMIT" if commit and whole else "ROLLBACK")[0]
        # Without a COMMIT sent nothing can have been written.
        outcome = FAILED if not (commit and whole) else end
        self.record(begin, outcome, effects)

    def run_all(self, texts):
        """Whether all went well. None is sent after one that did not: a deadlock ends the transaction, and what came
        then would be committed alone."""
        return all(self.connection.run(text)[0] == OK for text in texts)

    def large_rollback(self):
        prefix, value = "r/%d.%d/large" % (self.node, self.generation), self.next_value()
        begin = time.monotonic_ns()
        self.connection.seconds = 30
        self.run_all(["BEGIN", "INSERT INTO pairs (k, v) SELECT CONCAT('%s', seq), %s FROM seq_1_to_%d"
                      % (prefix, literal(value), LARGE)])
        self.connection.run("ROLLBACK")
        self.connection.seconds = SECONDS
        self.record(begin, FAILED, [(prefix + "1", value), (prefix + str(LARGE), value)])

    def shared(self):
        key, value = "s/%d" % self.random.randrange(SHARED_KEYS), self.next_value()
        if self.random.random() < 0.3:
            self.change("DELETE FROM pairs WHERE k = '%s'" % key, [(key, None)])
        else:
            self.change(upsert(key, value), [(key, value)])

    def shared_pair(self):
        """Two keys in any order: made to deadlock with the batches of the server, which are sorted."""
        effects = [("s/%d" % n, self.next_value()) for n in self.random.sample(range(SHARED_KEYS), 2)]
        begin = time.monotonic_ns()
        whole = self.run_all(["BEGIN"] + [upsert(*e) for e in effects])
        end = self.connection.run("COMMIT" if whole else "ROLLBACK")[0]
        self.record(begin, end if whole else FAILED, effects)


def upsert(key, value):
    return ("INSERT INTO pairs (k, v) VALUES ('%s', %s) ON DUPLICATE KEY UPDATE v = VALUES(v)"
            % (key, literal(value)))


class Holder(Writer):
    """One that keeps its transactions open for long."""

    def __init__(self, *given, seconds=15):
        super().__init__(*given)
        self.name = "sql-holder-%d" % self.node
        self.random.seed(self.name)
        self.seconds = seconds

    def own(self, n):
        return "r/hold%d.%d/%d" % (self.node, self.generation, n)

    def next_value(self):
        self.count += 1
        return "p%d-%d" % (self.node, self.count)

    def step(self):
        if not self.connection or self.connection.broken:
            self.connect()
        if not self.connection.broken and self.node not in self.paused:
            self.transaction(hold=self.seconds)

# SPDX-License-Identifier: MIT
"""The upgrade from schema 3, under a load of SQL clients, before a schedule begins.

The partitions of a new store get the tables and triggers of schema 3 and keep what they know of each other, as if daemons
and sync of that schema had just been stopped. SQL clients write for some seconds, and rest. The definition is loaded, on
one partition also in two attempts, of which the first is killed with its server. The clients go on, and the daemons start.
"""
import os
import random
import subprocess
import time

from harness import DEFINITION, ROOT, wait_until

SCHEMA_3 = os.path.join(ROOT, "tests", "integration", "schema_3.sql")
SECONDS = 6
LOAD_SECONDS = 0.4  # about what loading takes

KEEP = """
CREATE DATABASE kept;
CREATE TABLE kept.cursors AS SELECT * FROM test_sherd.cursors;
CREATE TABLE kept.sherd_partition AS SELECT * FROM test_sherd.sherd_partition;
CREATE TABLE kept.changes AS SELECT * FROM test_sherd.changes;
DROP DATABASE test_sherd;
CREATE DATABASE test_sherd;
"""
BRING_BACK = """
INSERT INTO cursors SELECT * FROM kept.cursors;
INSERT INTO sherd_partition (one, id, seeded, ring, pass, floor, token, trimmed)
SELECT one, id, seeded, ring, pass, floor, token, trimmed FROM kept.sherd_partition;
INSERT INTO changes (seq, version, op, k) SELECT seq, version, 0, '' FROM kept.changes;
DROP DATABASE kept;
"""


def upgrade(run):
    """`run` has partitions and configurations. When this returns, SQL writers write to schema 4."""
    chance = random.Random("%s/upgrade" % run.seed)
    began = time.monotonic_ns()
    if run.has_sync:
        run.settle_first()
    for node in run.nodes.all():
        go_back(run.nodes, node)
    run.start_writers(renames=True)
    time.sleep(SECONDS)
    rest(run)
    before = [run.nodes.sql(node, COUNT) for node in run.nodes.all()]
    interrupted = chance.choice(list(run.nodes.all()) + [None])
    if interrupted:
        load_in_vain(run, interrupted, chance.uniform(0, LOAD_SECONDS))
    run.nodes.define()
    check(run, before)
    for writer in run.writers:
        writer.renames = False
        if chance.random() < 0.5:
            writer.move_on()  # what it left has to come to the others by the log of schema 3
    run.paused.clear()
    run.history.add(kind="fault", begin=began, end=time.monotonic_ns())


def go_back(nodes, node):
    with open(SCHEMA_3, encoding="utf-8") as file:
        definition = file.read()
    nodes.sql(node, KEEP, database=None)
    nodes.sql(node, definition + BRING_BACK)


def rest(run):
    """Waits until no SQL writer has a transaction open."""
    run.paused.update(run.nodes.all())
    for writer in run.writers:
        wait_until(writer.resting.is_set, 60, "%s rests" % writer.name)


def load_in_vain(run, node, seconds):
    """Begins to load the definition and kills the server."""
    with open(DEFINITION, "rb") as file:
        loading = subprocess.Popen(run.nodes.client(node, None), stdin=file, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    run.nodes.kill(node)
    loading.wait()
    run.start_node(node)


# What loading must not change: rows, and the numbers of the log. (Tombstones had expires = 1.)
COUNT = """
SELECT COUNT(*), COUNT(v), BIT_XOR(CRC32(CONCAT_WS('/', HEX(k), HEX(v), HEX(type), version, created,
                                                   IF(v IS NULL, 0, expires)))) FROM pairs;
SELECT COUNT(*), BIT_XOR(CRC32(CONCAT_WS('/', HEX(k), version))) FROM removed;
SELECT COUNT(*), MAX(seq), BIT_XOR(CRC32(CONCAT_WS('/', seq, version))) FROM changes;
SELECT source, pass, high, gaps, marked, frontier FROM cursors ORDER BY source;
SELECT id, seeded, ring, pass, floor, trimmed FROM sherd_partition;
"""


def check(run, before):
    for node, rows in zip(run.nodes.all(), before):
        after = run.nodes.sql(node, COUNT)
        if after != rows:
            run.problems.append("loading the definition changed partition %d: %r, before %r" % (node, after, rows))
        if run.nodes.sql(node, "SELECT COUNT(*) FROM pairs WHERE touched IS NOT NULL") != [["0"]]:
            run.problems.append("loading the definition touched rows of partition %d" % node)
        if run.nodes.sql(node, "SELECT COUNT(*) FROM pairs WHERE expires = 1") != [["0"]]:
            run.problems.append("a tombstone of partition %d that SQL gives a value is dead all the same" % node)
    run.notes["rows upgraded"] += sum(int(rows[0][0]) for rows in before)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges a history against the final rows of every partition: checker.py HISTORY [FINAL]

Pure: it talks to nobody. Each rule is a function of a Judge that yields violations; docs/http.md and the semantics of
history.py say what was promised. mutants.py proves that each rule sees what it is for.

Keys begin with what may happen to them:
  h/  HTTP writes of all clients          c/  create-only PUTs of several clients at once, nothing else
  r/  one SQL writer on one partition     s/  HTTP and SQL, anything
"""
import argparse
import bisect
import collections
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from history import (CORRUPT, DONE, MAYBE, READS, REFUSED, UNSEEN, WRITES, load_final, load_history)  # noqa: E402

SETTLE = 1_000_000_000  # after so many ns every clone knows of a write that another one took
ANONYMOUS = 1023        # the bits of a version that are 0 where SQL wrote: two partitions may give the same one, and sync
                        # then takes the greater value. The keys of one SQL writer on one partition are not excused.
LISTED = 20             # violations that are printed of one rule


class Violation:
    def __init__(self, rule, key, text, operations=()):
        self.rule, self.key, self.text, self.operations = rule, key, text, operations

    def __repr__(self):
        return "%s: %s: %s%s" % (self.rule, self.key, self.text,
                                 "".join("\n      %r" % o for o in self.operations if o is not None))


class Frontier:
    """The highest version known at a time: of events (time, version) of one clone or of all."""

    def __init__(self, events):
        self.times, self.best = [], []
        highest = None
        for time, version, operation in sorted(events, key=lambda e: e[0]):
            if highest is None or version > highest[0]:
                highest = (version, operation)
                self.times.append(time)
                self.best.append(highest)

    def before(self, time):
        """(version, operation) of the newest event that ended before `time`; (0, None) without one."""
        at = bisect.bisect_left(self.times, time)
        return self.best[at - 1] if at else (0, None)


class Known:
    """What whoever begins at some time through some clone has to know of: what that clone answered before, and what
    any other answered `settle` ns before. Made of events (clone, time, version, operation)."""

    def __init__(self, events, settle):
        by_clone = collections.defaultdict(list)
        for clone, time, version, operation in events:
            by_clone[clone].append((time, version, operation))
        self.clones = {clone: Frontier(known) for clone, known in by_clone.items()}
        self.all = Frontier([(time + settle, version, operation) for _, time, version, operation in events])

    def bound(self, clone, time):
        other = self.all.before(time)
        own = self.clones[clone].before(time) if clone in self.clones else (0, None)
        return own if own[0] > other[0] else other


def events_of(operations):
    return [(o.clone, o.end, o.version, o) for o in operations]


class Judge:
    """The history of one run, by key, and what can be excused in it."""

    def __init__(self, operations, final=None, settle=SETTLE):
        self.final, self.settle = final, settle
        self.wipes = [o for o in operations if o.kind == "wiped"]
        self.passes = sorted((o for o in operations if o.kind == "pass" and o.status == 0), key=lambda o: o.end)
        self.by_key = collections.defaultdict(list)
        self.wrote = collections.defaultdict(list)  # value id -> writes
        self.feed = [o for o in operations if o.kind in ("told", "deaf")]
        self.faults = [o for o in operations if o.kind == "fault"]
        for operation in operations:
            if operation.key is None or operation.kind == "told":
                continue
            self.by_key[operation.key].append(operation)
            if operation.kind in WRITES and operation.value is not None:
                self.wrote[operation.value].append(operation)
        self.lost = {id(o) for o in operations if o.kind in WRITES and self.was_wiped(o)}
        lost = [o for o in operations if id(o) in self.lost]
        self.lost_versions = {(o.key, o.version) for o in lost if o.version}
        self.lost_values = {o.value for o in lost if o.value is not None}
        self.lost_removals = {o.key for o in lost if o.value is None}

    def was_wiped(self, write):
        """Whether the only copy may have gone with its partition: written there before it lost its data, and no whole
        pass of sync between the two. A write acknowledged by two owners is never excused."""
        if int((write.acks or "1").partition("/")[0]) >= 2:
            return False
        for wipe in self.wipes:
            if wipe.partition != write.partition and write.partition is not None or write.begin > wipe.end:
                continue
            if not any(p.begin > write.end and p.end < wipe.begin for p in self.passes):
                return True
        return False

    def outcome(self, write):
        return MAYBE if id(write) in self.lost and write.outcome() == DONE else write.outcome()

    def versioned(self, operation):
        """Whether its version has to be known to whoever comes later."""
        return (operation.version is not None and (operation.key, operation.version) not in self.lost_versions
                and (operation.kind in WRITES or operation.read not in self.lost_values))

    def writes(self, key, *outcomes):
        return [o for o in self.by_key[key] if o.kind in WRITES and self.outcome(o) in outcomes]

    def acknowledged(self, key):
        return [o for o in self.writes(key, DONE) if o.kind != "sql" and self.versioned(o)]

    def is_http(self, key):
        return key[:2] in ("h/", "c/")

    def violations(self):
        found = []
        for key in sorted(self.by_key):
            for rule in (self.check_values, self.check_versions, self.check_order, self.check_reads,
                         self.check_sessions, self.check_cas):
                found += rule(key)
            if key.startswith("c/"):
                found += self.check_create(key)
        found += self.check_feed()
        if self.final:
            for key in sorted(set(self.by_key) | self.final.keys()):
                found += self.check_final(key)
                if self.final.settled:
                    found += self.check_copies(key)
                if key.startswith("r/"):
                    found += self.check_sql(key)
        return found

    # -- one operation at a time

    def check_values(self, key):
        """Every value read was written, by something that had begun, and never by what was refused."""
        for read in self.by_key[key]:
            if read.kind in READS and read.read not in (None, UNSEEN):
                yield from self.check_value(key, read.read, read.end, read)

    def check_value(self, key, value, end, read=None):
        if value.startswith(CORRUPT):
            yield Violation("corrupt", key, "these bytes were never written: %s" % value, [read])
            return
        # A rename, which schema 3 took, carried a value to another key of the same writer, and said so with an sql record
        # for that key. Schema 4 takes none: that record is refused then, and the value may not be there.
        writes = [w for w in self.wrote.get(value, ()) if w.key == key and (end is None or w.begin < end)]
        if not writes:
            yield Violation("never-written", key, "%s was never written here" % value, [read])
        elif all(w.outcome() == REFUSED for w in writes):
            yield Violation("refused-applied", key, "%s was answered %s and is there" % (value, writes[0].status),
                            [writes[0], read])

    # -- versions

    def check_versions(self, key):
        """One version is one value, everywhere; and one HTTP write has one version."""
        values, versions = {}, {}
        for operation in self.by_key[key]:
            if operation.version is None or operation.outcome() != DONE and operation.kind in WRITES:
                continue
            value = operation.read if operation.kind in READS else operation.value
            if value == UNSEEN or operation.kind in READS and operation.status == 404:
                continue
            yield from self.one_value(key, values, versions, operation.version, value, operation)
        if self.final:
            for rows in self.final.partitions.values():
                if key in rows:
                    yield from self.one_value(key, values, versions, rows[key].version, rows[key].value, rows[key])

    def one_value(self, key, values, versions, version, value, source):
        known = values.setdefault(version, (value, source))
        if known[0] != value and not (key.startswith("s/") and version & ANONYMOUS == 0):
            yield Violation("one-version-two-values", key, "%d is %s and %s" % (version, known[0], value),
                            [known[1], source])
        if value is not None and self.is_http(key):
            known = versions.setdefault(value, (version, source))
            if known[0] != version:
                yield Violation("one-write-two-versions", key, "%s has %d and %d" % (value, known[0], version),
                                [known[1], source])

    def check_order(self, key):
        """A write begun after another's acknowledgement has the higher version. Not where SQL deletes too: a row that SQL
        removed and HTTP made again keeps its own time until burying puts it above the removal."""
        writes = self.acknowledged(key) if self.is_http(key) else []
        known = Known(events_of(writes), self.settle)
        for write in writes:
            version, earlier = known.bound(write.clone, write.begin)
            if version >= write.version:
                yield Violation("write-order", key, "%d was acknowledged before %d began" % (version, write.version),
                                [earlier, write])

    # -- reads

    def check_reads(self, key):
        """An answer without Sherd-Stale is not older than what was acknowledged before it began."""
        if not self.is_http(key):
            return
        writes = self.acknowledged(key)
        every = Known(events_of(writes), self.settle)
        alive = Known(events_of(w for w in writes if w.value is not None), self.settle)
        for read in self.by_key[key]:
            if read.kind not in READS or read.stale or read.status not in (200, 304, 404):
                continue
            if read.status == 404:
                version, write = alive.bound(read.clone, read.begin)
                if version and not self.may_be_dead(key, version, read.end):
                    yield Violation("lost-read", key, "404, but %d was acknowledged and never deleted" % version,
                                    [write, read])
                continue
            version, write = every.bound(read.clone, read.begin)
            if read.version < version:
                rule = "resurrected-read" if write.value is None else "stale-read"
                yield Violation(rule, key, "%d read after %d was acknowledged" % (read.version, version),
                                [write, read])

    def may_be_dead(self, key, version, end):
        """Whether a deletion that may be newer than `version` had begun before `end`."""
        for write in self.writes(key, DONE, MAYBE):
            if write.value is None and (end is None or write.begin < end):
                if not write.version or write.version > version or self.outcome(write) == MAYBE:
                    return True
        return False

    def check_sessions(self, key):
        """What one client has read or written never goes back for it."""
        if not self.is_http(key):
            return
        sessions = collections.defaultdict(list)
        for operation in self.by_key[key]:
            read = operation.kind in READS and not operation.stale and operation.status in (200, 304, 404)
            if read or operation.kind in WRITES and self.outcome(operation) == DONE:
                sessions[operation.client].append(operation)
        for operations in sessions.values():
            yield from self.check_session(key, operations)

    def check_session(self, key, operations):
        versioned = [o for o in operations if self.versioned(o)]
        alive = Known(events_of(o for o in versioned if o.kind in READS or o.value is not None), self.settle)
        events = events_of(versioned)
        for read in (o for o in operations if o.kind in READS and o.status == 404):
            version, earlier = alive.bound(read.clone, read.begin)
            if version and not self.may_be_dead(key, version, read.end):
                yield Violation("session-lost", key, "404 after a client knew %d" % version, [earlier, read])
            elif version and key not in self.lost_removals:  # it has seen a tombstone that is newer than that
                events.append((read.clone, read.end, version + 1, read))
        known = Known(events, self.settle)
        for operation in (o for o in operations if o.version is not None and o.status != 404):
            version, earlier = known.bound(operation.clone, operation.begin)
            if operation.version < version:
                rule = "going-back" if operation.kind in READS else "session-order"
                yield Violation(rule, key, "a client that knew %d got %d" % (version, operation.version),
                                [earlier, operation])

    # -- the feed

    def heard(self):
        """{listener: {key: its last event}}, and what was out of order on the way."""
        last, wrong = collections.defaultdict(dict), []
        for operation in self.feed:
            if operation.kind == "deaf":
                last[operation.client] = {}
                continue
            before = last[operation.client].get(operation.key)
            if before and before.version > operation.version and not self.may_go_back(before):
                wrong.append((before, operation))
            last[operation.client][operation.key] = operation
        return last, wrong

    def may_go_back(self, told):
        """Whether what was told has been lost with a partition's data since."""
        return bool(self.wipes) and ((told.key, told.version) in self.lost_versions or
                                     not any(o.version == told.version and self.outcome(o) == DONE
                                             for o in self.by_key[told.key] if o.kind in WRITES))

    def check_feed(self):
        """Of no key a lesser version behind a greater one; no value that was never written; and in the end every
        listener knows the newest state of every key."""
        last, wrong = self.heard()
        for before, operation in wrong:
            yield Violation("feed-order", operation.key, "%d was told after %d" % (operation.version, before.version),
                            [before, operation])
        for operation in self.feed:
            if operation.read is not None:
                yield from self.check_value(operation.key, operation.read, operation.end, operation)
        for listener, events in last.items() if self.final else ():
            for key in self.final.keys():
                row, told = self.final.newest(key), events.get(key)
                if told and told.version == row.version and (told.status == "delete") == row.dead:
                    continue
                if told and told.version > row.version and self.wipes:
                    continue  # told, and then lost with the partition's data
                if not told and row.dead:
                    continue  # it was gone when this listener began with the present state
                yield Violation("feed-missed", key, "%s knows %s, the store has %r" %
                                (listener, told and told.version, row), [told])

    # -- conditional writes

    def check_create(self, key):
        """Of all create-only PUTs one wins, unless nobody knows."""
        creates = [o for o in self.by_key[key] if o.kind == "create"]
        won = [o for o in creates if o.outcome() == DONE and id(o) not in self.lost]
        maybe = [o for o in creates if self.outcome(o) == MAYBE]
        if len(won) > 1:
            yield Violation("two-created", key, "%d create-only PUTs succeeded" % len(won), won)
        for refused in (o for o in creates if o.status == 412):
            if not any(o.begin < refused.end for o in won + maybe):
                yield Violation("none-created", key, "412, but nobody can have created it", [refused])
                break
        if self.final and len(won) == 1:
            row = self.final.newest(key)
            if not row or row.value != won[0].value:
                yield Violation("created-lost", key, "the winner is not there, but %r" % row, won)

    def check_cas(self, key):
        """A version is replaced by one compare-and-swap at most, and only after it was there."""
        winners = {}
        for write in self.by_key[key]:
            if write.kind != "cas" or self.outcome(write) != DONE:
                continue
            other = winners.setdefault(write.base, write)
            if other is not write:
                yield Violation("cas-twice", key, "%d was replaced twice" % write.base, [other, write])
            if write.version is not None and write.version <= write.base:
                yield Violation("cas-order", key, "the new version is not higher", [write])

    # -- what is there in the end

    def check_final(self, key):
        row = self.final.newest(key)
        writes = self.acknowledged(key)
        newest = max(writes, key=lambda w: w.version, default=None)
        if row is None:
            yield from self.check_absent(key, writes)
            return
        if newest and row.version < newest.version:
            rule = "resurrected" if newest.value is None and not row.dead else "lost"
            yield Violation(rule, key, "the end is %r, acknowledged was %d" % (row, newest.version), [newest])
        for value in sorted({rows[key].value for rows in self.final.partitions.values() if key in rows} - {None}):
            yield from self.check_value(key, value, None)
        if row.dead and not any(w.value is None for w in self.writes(key, DONE, MAYBE)):
            yield Violation("lost", key, "dead in the end, and nobody deleted it", [newest])

    def check_absent(self, key, writes):
        """No row at all: either nothing was ever written, or a deletion was, and has been purged."""
        newest = max((w for w in writes if w.value is not None), key=lambda w: w.version, default=None)
        if newest and not (self.may_be_dead(key, newest.version, None) and self.final.floor() > newest.version):
            yield Violation("lost", key, "no row in the end", [newest])
        last = max(writes, key=lambda w: w.version, default=None)
        if last and last.value is None and self.final.floor() <= last.version:
            yield Violation("tombstone-lost", key, "the tombstone is gone above the floor", [last])

    def check_copies(self, key):
        rows = {id: rows[key] for id, rows in self.final.partitions.items() if key in rows}
        if all(row.dead and row.version < self.final.floor() for row in rows.values()):
            return
        first = next(iter(rows.values()))
        if not all(row.same(first) for row in rows.values()) or len(rows) != self.final.replicas:
            yield Violation("copies-differ", key, ", ".join(
                "%d: v=%s version=%d created=%d expires=%d type=%s" % (id, r.value, r.version, r.created, r.expires,
                                                                     r.type) for id, r in sorted(rows.items())))

    def check_sql(self, key):
        """A key that one SQL connection at a time wrote on one partition: it ends as the last statement left it."""
        possible = {None}
        for write in sorted((o for o in self.by_key[key] if o.kind == "sql"), key=lambda o: o.begin):
            outcome = self.outcome(write)
            if outcome == DONE:
                possible = {write.value}
            elif outcome == MAYBE:
                possible.add(write.value)
        row = self.final.newest(key)
        value = None if row is None else row.value
        if value not in possible:
            yield Violation("sql-lost" if value is None else "sql-resurrected", key,
                            "%s in the end, possible were %s" % (value, sorted(map(str, possible))),
                            self.by_key[key][-2:])


def check(operations, final=None, settle=SETTLE):
    """All violations of a history."""
    return Judge(operations, final, settle).violations()


def report(violations, out=sys.stdout):
    counts = collections.Counter(v.rule for v in violations)
    for rule, count in sorted(counts.items()):
        for violation in [v for v in violations if v.rule == rule][:LISTED]:
            print(violation, file=out)
        if count > LISTED:
            print("%s: %d more" % (rule, count - LISTED), file=out)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("history")
    parser.add_argument("final", nargs="?", help="the final rows that run.py kept beside the history")
    parser.add_argument("--settle", type=float, default=SETTLE / 1e9, metavar="SECONDS",
                        help="after which a clone has to know what another one acknowledged")
    given = parser.parse_args()
    violations = check(load_history(given.history), load_final(given.final) if given.final else None,
                       int(given.settle * 1e9))
    report(violations)
    print("%d violations" % len(violations))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())

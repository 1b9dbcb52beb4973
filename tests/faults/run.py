#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The proof under faults: run.py [--seed N | --seeds N] [--only FAULT,...] [--seconds N] [--short] [--list]

A schedule follows from its seed: clients and SQL writers work on three partitions, things go wrong and are healed,
sync runs now and then. In the end all is healed, two passes of sync make all copies equal, a third finds nothing to do,
and the checker judges the history. A schedule that failed keeps its directory and says how to run it again. A seed gives
the same clients, faults and moments, not the same interleaving: a rare failure may take several runs.

Environment: SHERD_SERVER, SHERD_SYNC: other binaries (build/sherd-server, build/sherd-sync); TMPDIR: where it works.
"""
import argparse
import atexit
import collections
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.path.insert(0, HERE)

import checker  # noqa: E402  (found by the lines above)
from faults import FAULT_HELP, FAULTS, SHORT, SYNC_FAULTS, missing, wait_for_partitions  # noqa: E402
from history import Final, History  # noqa: E402
from listen import Listener  # noqa: E402
from load import Load  # noqa: E402
from sql import Writer  # noqa: E402
from upgrade import upgrade  # noqa: E402
from world import (Clone, Partitions, Proxy, SyncRun, make_template, sync_is_there)  # noqa: E402

CLIENTS = 64
LISTENERS = 4
SECONDS = 45
LEAD = 3           # seconds of load before the first fault
CRON_SECONDS = 2.5
VERIFY_ROWS = 20   # that a pass compares, of hundreds: the change logs have to bring everything
CONVERGE_SECONDS = 60
HEAR_SECONDS = 20
MAX_STATEMENT = 80  # sync is killed before one of so many statements


class Plan:
    """What a seed means."""

    def __init__(self, seed, seconds, only=None):
        self.random = random.Random("plan/%s" % seed)
        self.seed, self.seconds = seed, seconds
        self.clones = self.random.choice((2, 3, 3))
        self.replicas = self.random.choice(("all", "all", 2))
        self.write_acks = self.random.choice((1, 1, 1, 2))
        self.grace = self.random.choice(("0s", "1m"))
        self.transport = self.random.choice((None, "proxy", "net"))
        names = only or self.choose()
        self.faults = sorted((self.moment(i, len(names)) if FAULTS[name].timed else 0, name)
                             for i, name in enumerate(names))
        self.needs = {FAULTS[name].needs for name in names} - {None}
        if "freeze-server" in names:
            self.clones = 3
        self.cache = random.Random("cache/%s" % seed).choice(("0", "4M"))

    def choose(self):
        """A random mix: at most one that takes data away."""
        usable = [n for n, f in FAULTS.items() if n != "none"
                  and f.needs in (None, "clock", "disk", "schema-3", self.transport)
                  and not missing(f.needs) and (n not in SYNC_FAULTS or sync_is_there())]
        names = self.random.choices(usable, k=self.random.randrange(2, 6))
        wiping = [n for n in names if FAULTS[n].wipes]
        return [n for n in names if n not in wiping] + wiping[:1]

    def moment(self, index, count):
        span = max(self.seconds - LEAD - 8, 0.1) / count
        return LEAD + span * index + self.random.uniform(0, span * 0.7)

    def __str__(self):
        return "seed %s: %d clones, replicas=%s, write_acks=%d, grace=%s, cache=%s, %s" % (
            self.seed, self.clones, self.replicas, self.write_acks, self.grace, self.cache,
            ", ".join("%s at %.0f s" % (name, at) for at, name in self.faults))


class Run:
    """One schedule."""

    def __init__(self, plan, directory, template):
        self.plan, self.seed, self.directory, self.template = plan, plan.seed, directory, template
        self.problems, self.notes = [], collections.Counter()
        self.paused = set()       # partitions whose SQL writers rest
        self.history = History(os.path.join(directory, "history"))
        self.proxies, self.clones, self.writers, self.open_faults, self.listeners = {}, [], [], [], []
        self.sync_deaths = None
        self.nodes = self.cron = self.load = None
        self.has_sync = sync_is_there()
        self.stopping = threading.Event()
        self.filler = os.path.join(directory, "nodes", "node-1", "data", "filler")
        self.backups = {}
        tempfile.tempdir = directory

    # -- what faults use

    @property
    def network(self):
        return self.nodes.network

    def start_node(self, node):
        self.nodes.start(node)

    def set_clock(self, node, seconds):
        self.nodes.set_clock(node, seconds)

    def back_up(self, node):
        self.nodes.snapshot(node, self.backup(node))

    def backup(self, node):
        return os.path.join(self.directory, "backup-%d" % node)

    def want(self, section, options):
        """Changes the file of the sync on this host, which is the first clone's, too."""
        self.clones[0].configure(section, **options)

    def replace_data(self, node, source):
        self.nodes.replace(node, source)

    def sync(self, *arguments, host="this", deaths=None):
        environment, kill_after = {}, None
        if deaths and deaths.random() < 0.6:
            environment["SHERD_SYNC_DIE_AT"] = str(deaths.randrange(1, MAX_STATEMENT))
        elif deaths:
            kill_after = deaths.uniform(0.005, 0.4)
        done = SyncRun(self.configs[host], arguments, environment, kill_after)
        self.history.add(kind="pass", begin=done.begin, end=done.end, status=done.code)
        self.notes["sync exit %d" % done.code] += 1
        if done.hung:
            self.problems.append("sync did not end")
        elif done.code not in (0, 1, 75) and not (done.code == -signal.SIGKILL and deaths):
            self.problems.append("sync ended with %d: %s" % (done.code, done.error.decode("utf-8", "replace")[-2000:]))
        if b"runtime error" in done.error or b"Sanitizer" in done.error or b"ssertion" in done.error:
            self.problems.append("sync: " + done.error.decode("utf-8", "replace")[-4000:])
        with open(os.path.join(self.directory, "sync.log"), "ab") as log:
            log.write(b"%.3f %s exit %d %s\n" % (done.begin / 1e9, b" ".join(a.encode() for a in arguments), done.code,
                                              done.error + done.out))
        return done

    # -- beginning

    def start(self):
        self.nodes = Partitions(os.path.join(self.directory, "nodes"), self.template, self.plan.needs)
        self.nodes.start()
        if "proxy" in self.plan.needs:
            self.proxies = {n: Proxy(self.directory, n, self.nodes.socket(n)) for n in self.nodes.all()}
        self.clones = [Clone(self.nodes, n, self.overrides(), self.problems) for n in range(1, self.plan.clones + 1)]
        self.configs = {"this": self.clones[0].config, "other": os.path.join(self.directory, "other-host.cfg")}
        shutil.copy(self.clones[0].config, self.configs["other"])
        if "schema-3" in self.plan.needs:
            upgrade(self)
        for clone in self.clones:
            clone.restart()
        wait_for_partitions(self)
        if self.has_sync and not self.writers:
            self.settle_first()

    def settle_first(self):
        """A new cluster is seeded by its first pass."""
        done = self.sync()
        if done.code:
            self.problems.append("the first sync ended with %d: %s" % (done.code, done.error.decode()))

    def overrides(self):
        sections = {"store": {"timeout": "1s", "replicas": self.plan.replicas, "write_acks": self.plan.write_acks},
                    "server": {"log_level": "info", "cache": self.plan.cache},
                    "sync": {"grace": self.plan.grace, "verify": VERIFY_ROWS}}
        for node in self.nodes.all():
            if self.network:
                sections["partition-%d" % node] = {"socket": None, "host": self.network.address(node), "port": 3306}
            elif self.proxies:
                sections["partition-%d" % node] = {"socket": self.proxies[node].socket}
        return sections

    def work(self):
        """Load and faults."""
        began = time.monotonic()
        self.load = Load(CLIENTS, self.seed, self.clones, self.history, self.problems)
        self.listeners = [Listener(n, self.seed, self.clones, self.history, self.problems) for n in range(LISTENERS)]
        for listener in self.listeners:
            listener.start()
        self.load.start()
        if not self.writers:
            self.start_writers()
        self.cron = threading.Thread(target=self.run_cron, daemon=True)
        self.cron.start()
        self.go_wrong(began)
        self.sleep_until(began + self.plan.seconds)

    def start_writers(self, renames=False):
        self.writers = [Writer(self.nodes, n, self.seed, self.history, self.problems, self.directory, self.paused)
                        for n in self.nodes.all()]
        for writer in self.writers:
            writer.renames = renames
            writer.start()

    def run_cron(self):
        while self.has_sync and not self.stopping.is_set():
            self.stopping.wait(0.2 if self.sync_deaths else CRON_SECONDS)
            if not self.stopping.is_set():
                self.sync(deaths=self.sync_deaths)

    def go_wrong(self, began):
        waiting = [(at - FAULTS[name].lead, at, name) for at, name in self.plan.faults
                   if FAULTS[name].timed]
        made = []
        deadline = began + self.plan.seconds
        while waiting or made or self.open_faults:
            now = time.monotonic()
            for fault in [f for f in self.open_faults if now >= min(f.until, deadline)]:
                self.heal(fault)
            for entry in [w for w in waiting if now >= began + w[0]]:
                waiting.remove(entry)
                fault = self.make(entry[2])
                if fault:
                    made.append((max(began + entry[1], now + FAULTS[entry[2]].lead), fault))
            for entry in [m for m in made if now >= m[0]]:
                made.remove(entry)
                self.inject(entry[1])
            time.sleep(0.02)

    def make(self, name):
        self.notes["faults made"] += 1
        try:
            return FAULTS[name](self, random.Random("%s/%s/%d" % (self.seed, name, self.notes["faults made"])))
        except (ProcessLookupError, FileNotFoundError):  # no backup of a partition that is down
            self.notes["faults left out"] += 1
            return None

    def inject(self, fault):
        if fault.node in [other.node for other in self.open_faults]:
            self.notes["faults left out"] += 1  # what is wrong with it already is enough
            return
        say("  %s" % fault)
        self.notes["faults"] += 1
        self.open_faults.append(fault)
        fault.began = time.monotonic_ns()
        fault.inject()
        fault.until = time.monotonic() + fault.seconds

    def heal(self, fault):
        fault.heal()
        self.history.add(kind="fault", begin=fault.began, end=time.monotonic_ns())
        self.open_faults.remove(fault)

    def sleep_until(self, moment):
        while time.monotonic() < moment:
            time.sleep(min(0.1, max(moment - time.monotonic(), 0)))

    # -- end

    def settle(self):
        """Stops the load, heals what is not healed, and brings all copies together."""
        self.load.stop()
        for writer in self.writers:
            writer.stopping.set()
        for writer in self.writers:
            writer.join(60)
            self.notes["renames refused"] += writer.refused
        self.stopping.set()
        self.cron.join(120)
        for fault in list(self.open_faults):
            self.heal(fault)
        self.nodes.start()
        wait_for_partitions(self)
        if self.has_sync:
            self.converge()
        return self.final()

    def converge(self):
        """Two passes that end well; a third, over all rows, that has nothing to do.

        With replicas = 2 SQL writers also write on partitions that do not own the key. Passes bring such rows to the
        owners at once, but remove them where they stray only in the key ranges that they compare: let it be all."""
        deadline = time.monotonic() + CONVERGE_SECONDS
        rows = [] if self.plan.replicas == "all" else ["--verify=all"]
        good = tries = 0
        while good < 2:
            tries += 1
            done = self.sync(*rows)
            good += done.code == 0
            if done.code and time.monotonic() > deadline:
                self.problems.append("not converged %d s after healing: %s" % (CONVERGE_SECONDS, done.error.decode()))
                return
            if done.code:
                time.sleep(0.3)
        if tries > 2:
            self.notes["passes that failed after healing"] = tries - 2
        before = [self.last_change(n) for n in self.nodes.all()]
        done = self.sync("--verify=all", "--json")
        self.check_third(done, before)

    def check_third(self, done, before):
        if done.code:
            self.problems.append("the third pass ended with %d: %s" % (done.code, done.error.decode()))
            return
        report = json.loads(done.out)
        wrote = {name: report[name] for name in ("copied", "repaired", "stamped", "tombstones") if report.get(name)}
        if wrote or before != [self.last_change(n) for n in self.nodes.all()]:
            self.problems.append("the third pass wrote: %r, log from %r to %r" % (
                report, before, [self.last_change(n) for n in self.nodes.all()]))

    def last_change(self, node):
        return self.nodes.sql(node, "SELECT IFNULL(MAX(seq), 0) FROM changes WHERE op <> 0")[0][0]

    def final(self):
        replicas = self.nodes.count if self.plan.replicas == "all" else self.plan.replicas
        floors = {n: self.nodes.floor(n) for n in self.nodes.all()}
        final = Final({n: self.nodes.rows(n) for n in self.nodes.all()}, floors, replicas, self.has_sync)
        final.save(os.path.join(self.directory, "final"))
        for node in self.nodes.all() if self.has_sync else ():
            keys = self.nodes.unsettled(node)
            if keys:
                self.problems.append("partition %d: not stamped or not buried: %s" % (node, ", ".join(keys[:20])))
        if self.has_sync and replicas == self.nodes.count:
            sums = {n: self.nodes.checksum(n, final.floor()) for n in self.nodes.all()}
            if len(set(sums.values())) > 1:
                self.problems.append("CHECKSUM TABLE differs: %r" % sums)
        return final

    def hear_out(self, final):
        """Waits until the listeners have heard what there is, and ends them."""
        deadline = time.monotonic() + HEAR_SECONDS
        while time.monotonic() < deadline:
            if not any(v.rule == "feed-missed" for v in checker.Judge(self.history.operations, final).check_feed()):
                break
            time.sleep(0.5)
        for listener in self.listeners:
            listener.stop()
        for listener in self.listeners:
            listener.join(10)
        self.notes["streams"] += sum(listener.streams for listener in self.listeners)
        self.notes["told"] += sum(listener.heard for listener in self.listeners)

    def mutate(self, final):
        """The checker sees a row changed in a real replica; else nothing that it says is worth anything."""
        key = next((key for key, row in sorted(final.partitions[2].items()) if not row.dead), None)
        if not key or not self.has_sync:
            return
        self.nodes.sql(2, "UPDATE pairs SET v = CONCAT(v, '!'), touched = NULL WHERE k = x'%s'" % key.encode().hex())
        changed = Final({**final.partitions, 2: self.nodes.rows(2)}, final.floors, final.replicas)
        rules = {v.rule for v in checker.check(self.history.operations, changed)}
        if not {"corrupt", "copies-differ"} <= rules:
            self.problems.append("the checker does not see a changed row, only %s" % sorted(rules))

    def judge(self, final):
        self.hear_out(final)
        violations = checker.check(self.history.operations, final)
        for clone in self.clones:
            clone.finish()
        for node in self.nodes.all():
            self.read_partition_log(node)
        if not violations:
            self.mutate(final)
        return violations

    def read_partition_log(self, node):
        """A function or a statement of ours that crashes the database would be a find too. That InnoDB ends itself where
        the disk has no room even for a rollback is its way, and a part of that fault."""
        before = ""
        with open(os.path.join(self.nodes.directory, "node-%d" % node, "mariadb.log"), encoding="utf-8",
                  errors="replace") as log:
            for line in log:
                full = "[FATAL] InnoDB" in before and ("error 28" in before or "Out of disk space" in before)
                if ("got signal" in line and not full) or "ssertion fail" in line or "InnoDB: Corrupt" in line:
                    self.problems.append("partition %d: %s" % (node, line.strip()))
                before = line

    def release(self):
        """Leaves nothing running; may be called at any time, twice."""
        for clone in self.clones:
            if clone.process and clone.process.poll() is None:
                clone.process.kill()
                clone.process.wait()
        if self.load:
            for client in self.load.clients:
                client.stopping.set()
        for writer in self.writers:
            writer.stopping.set()
        for listener in self.listeners:
            listener.stop()
        self.stopping.set()
        if self.nodes:
            subprocess.run([os.path.join(HERE, "..", "..", "tools", "nodes"), "kill", "--count", "3", "--dir",
                            self.nodes.directory], check=False, stdout=subprocess.DEVNULL)
            if self.nodes.network:
                self.nodes.network.end()
            if "disk" in self.plan.needs:
                subprocess.run(["umount", "--lazy", self.nodes.data(1)], check=False, stderr=subprocess.DEVNULL)
        for proxy in self.proxies.values():
            proxy.end()

    def figures(self):
        kinds = collections.Counter(o.kind for o in self.history.operations if o.key and o.kind != "told")
        statuses = collections.Counter(o.status for o in self.history.operations if o.key and o.kind not in ("sql", "told"))
        stale = sum(1 for o in self.history.operations if o.stale)
        return "%d operations (%s); answers %s, %d stale; %s" % (
            sum(kinds.values()), words(kinds), words(statuses), stale, words(self.notes))


def words(counter):
    return ", ".join("%s %d" % (name, count) for name, count in sorted(counter.items(), key=str))


def say(text):
    print(text, flush=True)


# -- one schedule in this process

def one(given):
    plan = Plan(given.seed, given.seconds, given.only)
    for need in sorted(plan.needs):
        if missing(need):
            say("skipped: %s %s" % (need, missing(need)))
            return 0
    say(str(plan))
    os.makedirs(given.directory, exist_ok=True)
    template = make_template(os.path.join(given.template, "template"))
    run = Run(plan, given.directory, template)
    atexit.register(run.release)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    violations = []
    began = time.monotonic()
    try:
        run.start()
        if not run.has_sync:
            say("  sherd-sync is not there: copies are not compared")
        run.work()
        violations = run.judge(run.settle())
    except Exception:
        run.problems.append(traceback.format_exc())
    run.release()
    run.history.close()
    return verdict(run, violations, time.monotonic() - began)


def verdict(run, violations, seconds):
    say("  %s; %.0f s" % (run.figures(), seconds))
    counts = checker.report(violations)
    for problem in run.problems:
        say("PROBLEM: %s" % problem)
    total = len(violations) + len(run.problems)
    say("  %s" % ("ok" if not total else "FAILED: %s%d problems" % (words(counts) + ", " if counts else "",
                                                                  len(run.problems))))
    return 1 if total else 0


# -- many, each in a process of its own, so that one cannot harm the next

def many(given):
    directory = tempfile.mkdtemp(prefix="sherd-faults-", dir=given.directory)
    template = os.path.join(directory, "all")
    os.makedirs(template)
    make_template(os.path.join(template, "template"))
    schedules = [(seed, only) for seed in given.seed_list for only in given.groups]
    failed = []
    for seed, only in schedules:
        words_of = ["--seed", str(seed), "--seconds", str(given.seconds)] + (["--only", ",".join(only)] if only else [])
        place = os.path.join(directory, "%s-%s" % (seed, "-".join(only) if only else "mix"))[:80]
        if child(words_of, place, template, Plan(seed, given.seconds, only).needs):
            failed.append(words_of)
            say("  kept: %s    again: tests/faults/run.py %s" % (place, shlex.join(words_of)))
        else:
            shutil.rmtree(place, ignore_errors=True)
    if not failed:
        shutil.rmtree(directory, ignore_errors=True)
    say("faults: %d passed, %d failed" % (len(schedules) - len(failed), len(failed)))
    return 1 if failed else 0


def child(words_of, place, template, needs):
    """Networks and disks are made in namespaces, which vanish with the process."""
    command = [sys.executable, os.path.abspath(__file__), *words_of, "--inside", place, "--template", template]
    if needs & {"net", "disk"} and os.geteuid() == 0:
        command = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c",
                   'PATH="$PATH:/usr/sbin:/sbin"; ip link set lo up && exec "$@"', "sh", *command]
    process = subprocess.Popen(command)
    try:
        return process.wait(600)
    except BaseException:  # ours is to see that it cleans up
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the faults")
    parser.add_argument("--seed", help="one schedule")
    parser.add_argument("--seeds", type=int, metavar="N", help="the seeds 1 to N")
    parser.add_argument("--only", metavar="FAULT,...", help="these faults, all in one schedule")
    parser.add_argument("--each", action="store_true", help="each fault alone")
    parser.add_argument("--short", action="store_true", help="the short set of `make check`")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of load in each schedule")
    parser.add_argument("--directory", metavar="DIR", default=tempfile.gettempdir(), help="where to work")
    parser.add_argument("--inside", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--template", metavar="DIR", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.only = given.only.split(",") if given.only else None
    for name in given.only or ():
        if name not in FAULTS:
            parser.error("no fault %s; --list names them" % name)
    return given


def main():
    given = arguments()
    if given.list:
        for name, text in FAULT_HELP.items():
            say("%-20s %s%s" % (name, text, "  [%s]" % missing(FAULTS[name].needs)
                                if missing(FAULTS[name].needs) else ""))
        return 0
    if given.inside:
        given.directory = given.inside
        return one(given)
    given.seed_list = range(1, given.seeds + 1) if given.seeds else [given.seed or "1"]
    given.groups = [[n] for n in FAULTS] if given.each else [given.only]
    if given.short:
        given.groups, given.seconds, given.seed_list = [[n] for n in SHORT], 7, [given.seed or "3"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return many(given)


if __name__ == "__main__":
    sys.exit(main())

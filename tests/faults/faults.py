# SPDX-License-Identifier: MIT
"""What goes wrong. A fault is injected at some moment and healed `hold` seconds later; heal may be called twice.

Each is a small class; FAULTS lists them by name. `needs` names what the run has to have prepared: proxy (every
partition behind proxy.py), net (every partition in a network namespace of its own, over TCP), clock (libfaketime), disk
(partition 1 on a small tmpfs), schema-3 (upgrade.py, before the daemons start). A run is `run.Run`.
"""
import os
import shutil
import signal
import subprocess
import threading
import time

from sql import OK, Connection, Holder
from upgrade import SCHEMA_3

from harness import DEFINITION, wait_until


class Fault:
    needs = None
    hold = (3, 6)      # seconds between inject and heal
    lead = 0           # seconds before inject at which it wants to be made
    wipes = False      # it takes data away: only one such in a schedule
    timed = True       # it happens at a moment of the plan

    def __init__(self, run, random):
        self.run, self.random = run, random
        self.node = random.choice(list(run.nodes.all()))
        self.seconds = random.uniform(*self.hold)

    def inject(self):
        """Makes it wrong."""

    def heal(self):
        """Makes it right again."""

    def sql(self, text):
        try:
            return self.run.nodes.sql(self.node, text)
        except (AssertionError, subprocess.TimeoutExpired, OSError):
            return []

    def __str__(self):
        return "%s on %s for %.1f s" % (self.name, self.node, self.seconds)


class KillPartition(Fault):
    """kill -9 and a restart."""

    def inject(self):
        self.run.nodes.kill(self.node)

    def heal(self):
        self.run.start_node(self.node)


class KillTwoPartitions(Fault):
    def inject(self):
        self.two = self.random.sample(list(self.run.nodes.all()), 2)
        for node in self.two:
            self.run.nodes.kill(node)

    def heal(self):
        for node in self.two:
            self.run.start_node(node)


class RestartPartition(KillPartition):
    """An orderly restart."""

    def inject(self):
        self.run.nodes.stop(self.node)


class FreezePartition(Fault):
    """SIGSTOP: it accepts connections and answers nothing."""

    hold = (2, 30)

    def inject(self):
        self.run.nodes.signal(self.node, signal.SIGSTOP)

    def heal(self):
        self.run.nodes.signal(self.node, signal.SIGCONT)


class KillConnections(Fault):
    """All statements under way lose their connections."""

    hold = (0.1, 0.2)

    def inject(self):
        for _ in range(3):
            self.sql("KILL CONNECTION USER sherd")


class SlowPartition(Fault):
    needs = "proxy"
    mode = "delay %d"
    hold = (3, 8)

    def inject(self):
        mode = self.mode % self.random.choice((20, 100, 300, 700)) if "%d" in self.mode else self.mode
        self.run.proxies[self.node].set(mode)

    def heal(self):
        self.run.proxies[self.node].set("pass 0")


class CutBoth(SlowPartition):
    """Nothing goes through, nothing is closed."""

    mode = "cut 0"


class CutReplies(SlowPartition):
    mode = "replies 0"


class CutReset(SlowPartition):
    mode = "reset 0"


class NetworkCut(Fault):
    """A network that drops packets, in the partition's namespace."""

    needs = "net"
    rules = ("input tcp dport 3306 drop", "output tcp sport 3306 drop")

    def inject(self):
        self.run.network.filter(self.node, self.rules)

    def heal(self):
        self.run.network.filter(self.node, ())


class NetworkRequestsLost(NetworkCut):
    rules = ("input tcp dport 3306 drop",)


class NetworkRepliesLost(NetworkCut):
    rules = ("output tcp sport 3306 drop",)


class NetworkReset(NetworkCut):
    rules = ("input tcp dport 3306 reject with tcp reset",)


class DiskFull(Fault):
    needs = "disk"
    hold = (3, 6)

    def __init__(self, run, random):
        super().__init__(run, random)
        self.node = 1

    def inject(self):
        with open(self.run.filler, "wb", buffering=0) as file:
            piece = b"x" * (1 << 20)
            while len(piece) >= 512:
                try:
                    file.write(piece)
                except OSError:
                    piece = piece[:len(piece) // 2]

    def heal(self):
        if os.path.exists(self.run.filler):
            os.unlink(self.run.filler)


class ClockSkew(Fault):
    """A clock 400 ms ahead or behind."""

    needs = "clock"
    hold = (5, 10)
    offsets = (-0.4, 0.4)

    def inject(self):
        self.run.set_clock(self.node, self.random.choice(self.offsets))

    def heal(self):
        self.run.set_clock(self.node, 0)


class ClockJump(ClockSkew):
    """Ten minutes. What SQL writes then has versions that no partition takes for ten minutes, so its writers rest."""

    offsets = (-600, 600)

    def inject(self):
        self.run.paused.add(self.node)
        time.sleep(0.5)  # a statement under way keeps its stamp
        super().inject()

    def heal(self):
        super().heal()
        self.run.paused.discard(self.node)


class KillServer(Fault):
    """kill -9 of a clone, and a new one."""

    hold = (0.5, 3)
    signal = signal.SIGKILL

    def __init__(self, run, random):
        super().__init__(run, random)
        self.node = random.choice(run.clones)

    def inject(self):
        self.node.end(self.signal)

    def heal(self):
        self.node.restart()


class TerminateServer(KillServer):
    signal = signal.SIGTERM


class FreezeServer(KillServer):
    hold = (3, 10)

    def inject(self):
        self.node.process.send_signal(signal.SIGSTOP)

    def heal(self):
        self.node.process.send_signal(signal.SIGCONT)


class KillSync(Fault):
    """sync dies right before one of its statements, or at any moment; again and again."""

    hold = (6, 10)

    def inject(self):
        self.run.sync_deaths = self.random

    def heal(self):
        self.run.sync_deaths = None


class TwoSyncs(Fault):
    """Another host runs sync at the same time: its configuration is another file."""

    hold = (6, 10)

    def inject(self):
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while not self.stopping.is_set():
            self.run.sync(host="other")
            self.stopping.wait(self.random.uniform(0.1, 1))

    def heal(self):
        self.stopping.set()
        self.thread.join(60)


class BlankPartition(Fault):
    """A partition comes back with nothing but the definition."""

    wipes = True
    hold = (2, 4)
    source = "template"

    def inject(self):
        self.wipe = {"kind": "wiped", "partition": self.node, "begin": time.monotonic_ns()}
        self.run.nodes.kill(self.node)
        self.run.replace_data(self.node, self.source_directory())

    def source_directory(self):
        return self.run.template

    def heal(self):
        self.run.start_node(self.node)
        if self.wipe:
            self.run.history.add(end=time.monotonic_ns(), **self.wipe)
            self.wipe = None


class RestoredPartition(BlankPartition):
    """A partition comes back as it was some seconds ago."""

    lead = 6

    def __init__(self, run, random):
        super().__init__(run, random)
        self.run.back_up(self.node)

    def source_directory(self):
        return self.run.backup(self.node)


class AwayWhileTombstonesAge(KillPartition):
    """A partition is away for long while keys are deleted; with `grace = 0s` their tombstones could go early."""

    hold = (15, 20)


class MaxConnections(Fault):
    """No connection is to be had: fewer are allowed than the clones want, and they have lost theirs."""

    connection = None

    def inject(self):
        self.connection = Connection(self.run.nodes, self.node)  # kept: later even root would find no place
        self.connection.run("SET GLOBAL max_connections = 10")
        self.connection.run("KILL CONNECTION USER sherd")

    def heal(self):
        if self.connection:
            outcome, _ = self.connection.run("SET GLOBAL max_connections = 500")
            assert outcome == OK, "max_connections could not be set again"
            self.connection.close()
            self.connection = None


class ReadOnly(Fault):
    def inject(self):
        self.sql("SET GLOBAL read_only = 1")

    def heal(self):
        self.run.nodes.sql(self.node, "SET GLOBAL read_only = 0")


class LockedTable(Fault):
    """Somebody holds a lock on everything, as an ALTER or a dump does."""

    hold = (2, 5)

    def inject(self):
        command = self.run.nodes.client(self.node, "test_sherd")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        self.process.stdin.write(b"LOCK TABLES pairs READ;\n")
        self.process.stdin.flush()

    def heal(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()


class HeldTransaction(Fault):
    """A transaction of SQL that is open for long."""

    hold = (15, 60)

    def inject(self):
        run = self.run
        self.holder = Holder(run.nodes, self.node, run.seed, run.history, run.problems, run.directory, run.paused,
                             seconds=self.seconds * 0.8)
        self.holder.start()

    def heal(self):
        self.holder.stopping.set()
        self.holder.join(15)


class DefineAgain(Fault):
    """The definition is loaded once more, which may be done at any time."""

    hold = (0.1, 0.2)

    def inject(self):
        self.loading = threading.Thread(target=self.sql, args=(definition(),), daemon=True)
        self.loading.start()

    def heal(self):
        self.loading.join(60)


class ChangePlacement(Fault):
    """The file that sync reads wants something else for a while; its passes bring it about under load."""

    hold = (10, 15)

    def inject(self):
        self.run.want(*self.wanted())

    def heal(self):
        self.run.want(*self.usual())


class MemberLeaves(ChangePlacement):
    """A partition leaves the store, and comes back."""

    def wanted(self):
        return "partition-%d" % self.node, {"weight": 0}

    def usual(self):
        return "partition-%d" % self.node, {"weight": 1}


class ChangeWeights(MemberLeaves):
    """A partition gets more of the keys, and gives them back."""

    def wanted(self):
        return "partition-%d" % self.node, {"weight": self.random.choice((2, 5, 50))}


class ChangeReplicas(ChangePlacement):
    """The pairs are kept on another number of partitions."""

    def wanted(self):
        return "store", {"replicas": 2 if self.run.plan.replicas == "all" else "all"}

    def usual(self):
        return "store", {"replicas": self.run.plan.replicas}


class Upgrade(Fault):
    """The partitions begin with schema 3, which SQL clients write to; then stop, load, start."""

    needs = "schema-3"
    timed = False


class Nothing(Fault):
    """The load alone."""

    timed = False


FAULTS = {
    "none": Nothing,
    "kill-partition": KillPartition,
    "kill-two-partitions": KillTwoPartitions,
    "restart-partition": RestartPartition,
    "freeze-partition": FreezePartition,
    "kill-connections": KillConnections,
    "slow-partition": SlowPartition,
    "cut": CutBoth,
    "cut-replies": CutReplies,
    "cut-reset": CutReset,
    "net-cut": NetworkCut,
    "net-requests": NetworkRequestsLost,
    "net-replies": NetworkRepliesLost,
    "net-reset": NetworkReset,
    "disk-full": DiskFull,
    "clock-skew": ClockSkew,
    "clock-jump": ClockJump,
    "kill-server": KillServer,
    "term-server": TerminateServer,
    "freeze-server": FreezeServer,
    "kill-sync": KillSync,
    "two-syncs": TwoSyncs,
    "blank-partition": BlankPartition,
    "restored-partition": RestoredPartition,
    "away-tombstones": AwayWhileTombstonesAge,
    "max-connections": MaxConnections,
    "read-only": ReadOnly,
    "locked-table": LockedTable,
    "held-transaction": HeldTransaction,
    "define-again": DefineAgain,
    "member-leaves": MemberLeaves,
    "change-weights": ChangeWeights,
    "change-replicas": ChangeReplicas,
    "upgrade": Upgrade,
}
for _name, _fault in FAULTS.items():
    _fault.name = _name
SYNC_FAULTS = ("kill-sync", "two-syncs", "blank-partition", "restored-partition", "away-tombstones", "member-leaves",
               "change-weights", "change-replicas")
SHORT = ("kill-partition", "kill-sync", "blank-partition", "member-leaves")  # what `make check` runs
FAULT_HELP = {name: (fault.__doc__ or "").strip().splitlines()[0] if fault.__doc__ else "" for name, fault in
              FAULTS.items()}


def definition():
    with open(DEFINITION, encoding="utf-8") as file:
        return file.read()


def missing(need):
    """Why a need cannot be met here; None if it can."""
    if need in ("net", "disk") and os.geteuid() != 0:
        return "needs root"
    if need == "net" and not (shutil.which("ip") and shutil.which("nft", path=os.environ["PATH"] + ":/usr/sbin")):
        return "needs ip and nft (tools/packages faults)"
    if need == "clock" and not faketime_library():
        return "needs libfaketime (tools/packages faults)"
    if need == "schema-3" and not os.path.exists(SCHEMA_3):
        return "needs %s" % SCHEMA_3
    return None


def faketime_library():
    for path in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"):
        library = os.path.join(path, "faketime", "libfaketimeMT.so.1")
        if os.path.exists(library):
            return library
    return None


def wait_for_partitions(run, seconds=60):
    """Until every clone has every partition again."""
    for clone in run.clones:
        wait_until(clone.all_up, seconds, "clone %s: all partitions up" % clone.name)

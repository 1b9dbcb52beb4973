# SPDX-License-Identifier: MIT
"""Tables, targets and charts of the figures, for the terminal and for docs/performance.md."""
import collections
import os
import statistics
import subprocess
import textwrap

from machine import ROOT

DOCS = os.path.join(ROOT, "docs", "performance.md")
CHARTS = os.path.join(ROOT, "docs", "performance")
COSTS = "Microseconds of a core that one request takes, and how many a second all cores could do at that"
BEGIN, END = "<!-- bench: written by bench/run -->", "<!-- end of bench -->"

CARRIES = (
    ("Sherd", "each partition's InnoDB log, `innodb_flush_log_at_trx_commit = 1`: one commit a batch"),
    ("direct, fastify",
     "the same servers' InnoDB log, a commit a request, from a plain table `(k, v)`"),
    ("webdis + Redis, appendfsync always", "Redis' append-only file, one fsync a turn of its loop"),
    ("etcd", "the write-ahead log of one member, one fsync a batch of entries"),
    ("webdis + Redis, in memory; nginx", "nothing: used where nothing is written"),
)

# What Sherd is to reach: the ratio of its figure to the best of others in the same group; `sense` 1: at least, -1: at
# most.
Target = collections.namedtuple("Target", "group work ours others name factor sense")


def ratios():
    direct = ["direct-16", "direct-64"]
    yield from (Target("database", "database's CPU a row, %d rows a statement" % rows, "sherd-%d" % rows,
                       ["plain-%d" % rows], "plain upserts of as many", factor, -1) for rows, factor in ((16, 1.9), (64, 2)))
    yield from (Target("get", "GET, no cache", "sherd", others, name, factor, 1) for others, name, factor in (
        (["webdis-memory"], "webdis + in-memory Redis", 1), (["fastify"], "fastify + mysql2", 5.5),
        (direct, "direct prepared selects, their best", 1.25), (["nginx"], "nginx, a constant", 0.7)))
    yield from (Target("put", "PUT, durable", "sherd", others, name, factor, 1) for others, name, factor in (
        (["webdis-aof"], "webdis + Redis, appendfsync always", 0.9), (["fastify"], "fastify + mysql2", 4.5),
        (["etcd-v2", "etcd-v3"], "etcd, the faster API", 2.2), (direct, "direct upserts, their best", 1.6)))
    yield from (Target("cached", "GET, cached", "sherd-cached", [other], name, factor, 1) for other, name, factor in (
        ("sherd-constant", "Sherd's own constant answer", 0.85), ("nginx", "nginx, a constant", 0.8)))
    yield Target("cached", "GET, `cache = 64M`", "sherd-cached", ["webdis-memory"], "webdis + in-memory Redis", 1.25, 1)
    yield Target("mixed", "mixed 90/10, 1 KB", "sherd-1000", ["webdis-aof-1000"], "webdis + Redis, appendfsync always",
                 1.1, 1)
    for place in ("begin", "end"):
        yield Target("list", "list, 1000 keys at the %s of 1,000,000" % place, "json-" + place, ["direct-" + place],
                     "one direct SELECT", 5, -1)
    yield Target("list", "list at the end", "json-end", ["json-begin"], "list at the begin", 1.2, -1)
    for op in ("get", "put"):
        yield Target("bulk", "bulk " + op, op, ["single-" + op], "single requests", 3, 1)


# --- Figures -------------------------------------------------------------------------------------------------------

def median(figures):
    return statistics.median(figures)


def text_of(figure):
    if isinstance(figure, dict):
        return ", ".join("%s %s" % (name, text_of(value)) for name, value in figure.items())
    return "{:,.0f}".format(figure) if abs(figure) >= 100 else "%.3g" % figure


def figure_of(group, name, part=None):
    """The median of a thing's figures (of a part of them, where they have parts), or None."""
    thing = group["things"].get(name)
    return median_of(thing, part) if thing else None


def median_of(thing, part=None):
    return median([figure[part] if part else figure for figure in thing["figures"]])


def judged(results):
    """Rows (work, against, ratio or figure, target, whether met) of all that was measured."""
    groups = results["groups"]
    for target in ratios():
        group = groups.get(target.group, {"things": {}})
        ours = figure_of(group, target.ours)
        others = [figure for figure in (figure_of(group, name) for name in target.others) if figure]
        if ours is None or not others:
            continue
        ratio = ours / (max(others) if target.sense > 0 else min(others))
        sign = "≥" if target.sense > 0 else "≤"
        yield (target.work, target.name, "%.2f" % ratio, "%s %g ×" % (sign, target.factor),
               (ratio - target.factor) * target.sense >= 0)
    yield from limits(groups)


def limits(groups):
    """Targets that are no ratio of two rates."""
    if "latency" in groups:
        for name, against in (("direct", "direct, at half its own peak"), ("direct-same", "direct, at the same rate")):
            ratio = figure_of(groups["latency"], "sherd", "p99") / figure_of(groups["latency"], name, "p99")
            yield "p99 at half the peak rate", against, "%.2f" % ratio, "≤ 3 ×", ratio <= 3
    if "memory" in groups:
        figures = groups["memory"]["things"]["memory"]["figures"][0]
        yield "memory, idle", "", "%.1f MB" % (figures["idle"] / 1024), "≤ 20 MB", figures["idle"] <= 20 * 1024
        yield ("memory, of each of 10,000 idle connections", "", "%.2f KB" % figures["connection"], "≤ 4 KB",
               figures["connection"] <= 4)
        yield ("memory, growth under load", "over %d s" % figures["soak"], "%+.1f %%" % figures["growth"], "≤ 2 %",
               figures["growth"] <= 2)
    if "partitions" in groups:
        group = groups["partitions"]
        one, many = (figure_of(group, name, "server") for name in ("partitions-1", "partitions-64"))
        yield "CPU a request, 64 partitions", "1 partition", "%.2f" % (many / one), "≤ 1.15 ×", many / one <= 1.15
    if "start" in groups:
        figure = figure_of(groups["start"], "start")
        yield "start to first answer", "", "%.0f ms" % figure, "≤ 100 ms", figure <= 100


def parts_of(group):
    """What the figures of a group are made of: [None] for plain numbers."""
    figure = next(iter(group["things"].values()))["figures"][0]
    if not isinstance(figure, dict):
        return [None]
    return [part for part in figure if part in ("rate", "p50", "p99", "p99.9", "server", "nodes", "idle", "connection",
                                                "early", "late")]


def table(group):
    """Rows of text: a title, then for each part the median and, where there are several rounds, the spread."""
    parts = parts_of(group)
    spread = parts == [None] and group["rounds"] > 1
    yield ["", *(part or "median" for part in parts), *(["lowest to highest"] if spread else [])]
    titles = [thing["title"] for thing in group["things"].values()]
    # What comes several times, at several loads, stands together.
    for thing in sorted(group["things"].values(), key=lambda thing: titles.index(thing["title"])):
        row = [thing["title"], *(text_of(median_of(thing, part)) for part in parts)]
        if spread:
            row.append("%s to %s" % (text_of(min(thing["figures"])), text_of(max(thing["figures"]))))
        yield row


def costs(group):
    """Rows: what one request takes from each side, medians, and what all cores could do of that."""
    yield ["", "client", "server", "databases", "together", "at most"]
    for thing in group["things"].values():
        sides = [median([cost[side] for cost in thing["costs"]]) for side in ("client", "server", "databases")]
        yield [thing["title"], *("%.1f" % figure for figure in (*sides, sum(sides))),
               text_of(os.cpu_count() * 1e6 / sum(sides))]


def has_costs(group):
    return all("costs" in thing for thing in group["things"].values())


def commit_ms(results):
    alone = figure_of(results["groups"].get("put", {"things": {}}), "direct-1")
    return "; a durable commit alone takes %.2f ms there" % (1000 / alone) if alone else ""


def circumstances(results):
    machine, options = results["machine"], results["options"]
    lines = ["%d cores (%s), Linux %s, MariaDB %s, `innodb_flush_log_at_trx_commit = %s`; clients, servers and two "
             "partitions share them." % tuple(machine[name] for name in ("cores", "cpu", "kernel", "mariadb", "flush")),
             "%d rounds of %d s, in alternation, medians; 64 keep-alive connections; 200,000 keys (20,000 of 10 KB). "
             "All data on one disk%s." % (options["rounds"], options["seconds"], commit_ms(results)),
             "Load of the machine before: %.1f. Servers that were not measured used at most %.1f %% of a core meanwhile."
             % (machine["load"], 100 * results["strays"])]
    nginx = figure_of(results["groups"].get("get", {"things": {}}), "nginx")
    if nginx:
        lines.append("wrk's own ceiling, against nginx answering a constant: %s requests a second." % text_of(nginx))
    return lines


def text(results):
    """Everything, for the terminal."""
    lines = []
    for group in results["groups"].values():
        rows = list(table(group))
        lines += ["", "%s (%s; %d × %d s)" % (group["title"], group["unit"], group["rounds"], group["seconds"])]
        lines += ["  %-44s" % row[0] + "".join("%22s" % cell for cell in row[1:]) for row in rows]
        if has_costs(group):
            lines += ["  " + COSTS]
            lines += ["  %-44s" % row[0] + "".join("%12s" % cell for cell in row[1:]) for row in costs(group)]
    lines += ["", "%-44s %-38s %10s   %-10s" % ("work", "against", "ratio", "target")]
    lines += ["%-44s %-38s %10s   %-10s %s" % (*row[:4], "met" if row[4] else "MISSED") for row in judged(results)]
    lines += ["", *circumstances(results), "What carries a durable write:"]
    lines += ["  %-40s %s" % row for row in CARRIES]
    return "\n".join(lines)


# --- docs/performance.md -------------------------------------------------------------------------------------------

def markdown(rows, first=None):
    rows = list(rows)
    yield "| " + " | ".join(first or rows[0]) + " |"
    yield "| " + " | ".join(["---"] * len(first or rows[0])) + " |"
    for row in rows if first else rows[1:]:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"


def document(results):
    yield textwrap.fill(" ".join(circumstances(results)), 100, break_long_words=False, break_on_hyphens=False)
    yield ""
    yield from markdown(((*row[:4], "met" if row[4] else "**missed**") for row in judged(results)),
                        ["work", "against", "ratio", "target", ""])
    yield "\nWhat carries a durable write:\n"
    yield from markdown(CARRIES, ["", ""])
    for name, group in results["groups"].items():
        yield "\n### %s (%s)\n" % (group["title"], group["unit"])
        if name in BARS or name == "curve":
            yield "![%s](performance/%s.svg)\n" % (group["title"], name)
        yield from markdown(table(group))
        if has_costs(group):
            yield "\n%s:\n" % COSTS
            yield from markdown(costs(group))


def write_docs(results):
    """Replaces what stands between the marks; the text around them is written by hand."""
    os.makedirs(CHARTS, exist_ok=True)
    for name in BARS:
        if name in results["groups"]:
            bars(name, results["groups"][name])
    if "curve" in results["groups"]:
        curve(results["groups"]["curve"])
    with open(DOCS, encoding="utf-8") as file:
        before, _, rest = file.read().partition(BEGIN)
    after = rest.partition(END)[2]
    with open(DOCS, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + "\n" + "\n".join(document(results)) + "\n" + END + after)


# --- Charts --------------------------------------------------------------------------------------------------------

BARS = ("get", "put", "mixed", "sizes")


def gnuplot(name, height, lines):
    script = ["set terminal svg size 760,%d font 'sans-serif,12' background 'white'" % height,
              "set output '%s'" % os.path.join(CHARTS, name + ".svg"), *lines]
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)


def bars(name, group):
    """One bar a thing, Sherd's in a colour of its own, with the spread over the rounds."""
    things = list(group["things"].items())
    rows = []
    for i, (_, thing) in enumerate(reversed(things)):
        figures = thing["figures"]
        rows.append("%g %d 0 %g %g %g %d \"%s\"" % (median(figures), i, median(figures), i - 0.35, i + 0.35,
                                                    "Sherd" in thing["title"], thing["title"]))
    spread = ["%g %d %g %g" % (median(thing["figures"]), i, min(thing["figures"]), max(thing["figures"]))
              for i, (_, thing) in enumerate(reversed(things))]
    gnuplot(name, 110 + 26 * len(things), [
        "set title '%s'" % group["title"], "set xlabel '%s'" % group["unit"], "unset key", "set xrange [0:*]",
        "set yrange [-0.6:%g]" % (len(things) - 0.4), "set style fill solid", "set format x '%.0f'",
        "set border 3", "set tics nomirror", "set grid x",
        "set palette defined (0 '#9aa5b1', 1 '#1f6feb')", "unset colorbox", "set cbrange [0:1]",
        "$bars << E", *rows, "E", "$spread << E", *spread, "E",
        "plot $bars using 1:2:3:4:5:6:7:ytic(8) with boxxyerror lc palette notitle, "
        "$spread using 1:2:3:4 with xerrorbars pt 0 lc '#333333' notitle"])


def curve(group):
    """p50 solid and p99 dashed, over the rate."""
    lines = collections.defaultdict(list)
    for name, thing in group["things"].items():
        figure = thing["figures"][0]
        lines[thing["title"]].append("%g %g %g" % (figure["rate"] / 1000, figure["p50"] / 1000, figure["p99"] / 1000))
    data, plots = [], []
    for i, (title, rows) in enumerate(lines.items()):
        data += ["$d%d << E" % i, *rows, "E"]
        plots += ["$d%d using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc %d title '%s, p50'" % (i, i + 1, title),
                  "$d%d using 1:3 with linespoints lw 2 pt 7 ps 0.5 dt 2 lc %d title 'p99'" % (i, i + 1)]
    gnuplot("curve", 520, ["set title '%s'" % group["title"], "set xlabel 'requests a second'",
                           "set ylabel 'milliseconds'", "set logscale y", "set grid", "set key below maxcols 2",
                           "set format x '%.0f k'", *data, "plot " + ", ".join(plots)])

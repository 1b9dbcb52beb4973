# SPDX-License-Identifier: MIT
"""The daemon itself: /livez, /readyz, /status, /metrics."""
import os
import re
import subprocess
import unittest

from harness import SherdTest, wait_until

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


class Metrics:
    """A strict reading of the Prometheus text format: types, and samples as {(name, labels): value}."""

    def __init__(self, text):
        assert text.endswith("\n")
        self.help, self.type, self.samples = {}, {}, {}
        self.order = []
        for line in text.splitlines():
            if line.startswith("# "):
                self.read_comment(line)
            else:
                self.read_sample(line)

    def read_comment(self, line):
        kind, name, text = line[2:].split(" ", 2)
        table = {"HELP": self.help, "TYPE": self.type}[kind]
        assert name not in table, "%s twice" % line
        assert text, line
        table[name] = text

    def read_sample(self, line):
        match = SAMPLE.fullmatch(line)
        assert match, line
        labels = tuple(sorted(LABEL.findall(match.group(2) or "")))
        assert ",".join('%s="%s"' % pair for pair in LABEL.findall(match.group(2) or "")) == (match.group(2)
                                                                                              or ""), line
        assert len({name for name, _ in labels}) == len(labels), line
        assert (match.group(1), labels) not in self.samples, "%s twice" % line
        self.samples[match.group(1), labels] = float(match.group(3))
        family = self.family(match.group(1))
        if family not in self.order[-1:]:
            assert family not in self.order, "the samples of %s are not together" % family
            self.order.append(family)

    def family(self, name):
        for suffix in ("_bucket", "_sum", "_count"):
            if name.endswith(suffix) and self.type.get(name[:-len(suffix)]) in ("histogram", "summary"):
                return name[:-len(suffix)]
        return name

    def value(self, name, **labels):
        """The sum of all samples with these labels."""
        found = [value for (other, have), value in self.samples.items()
                 if other == name and set(labels.items()) <= set(have)]
        assert found, (name, labels)
        return sum(found)

    def histograms(self):
        """(name, labels but le) → [(le, value)] in the order of the text."""
        found = {}
        for (name, labels), value in self.samples.items():
            if name.endswith("_bucket"):
                le = float(dict(labels)["le"])
                found.setdefault((name[:-7], tuple(p for p in labels if p[0] != "le")), []).append((le, value))
        return found


class Status(SherdTest):
    config = {"store": {"timeout": "1s"}}

    def metrics(self):
        answer = self.check(self.server.request("GET", "/metrics"), 200)
        self.assertRegex(answer.header("Content-Type"), "^text/plain; version=0.0.4")
        return Metrics(answer.body.decode("utf-8"))

    def exercise(self):
        for i in range(20):
            self.server.put("m%d" % i, b"v")
            self.server.get("m%d" % i)
        self.server.get("none")
        self.server.request("BREW", "/")
        self.server.request("GET", "/keys?limit=5")

    def test_livez_is_ok(self):
        answer = self.check(self.server.request("GET", "/livez"), 200)
        self.assertEqual(b"ok", answer.body.strip())

    def test_readyz_names_every_partition(self):
        answer = self.check(self.server.request("GET", "/readyz"), 200)
        self.assertEqual(["partition-%d up" % n for n in (1, 2, 3)], answer.body.decode().splitlines())
        self.assertEqual(b"partition-2 up", self.server.request("GET", "/readyz?partition=2").body.strip())

    def test_readyz_of_no_such_partition_is_400(self):
        for query in ("partition=4", "partition=0", "partition=x", "partition=", "x=1"):
            self.check(self.server.request("GET", "/readyz?" + query), 400, 404)

    def test_none_of_them_is_cached(self):
        for target in ("/livez", "/readyz", "/status", "/metrics"):
            self.assertEqual("no-store", self.server.request("GET", target).header("Cache-Control"))

    def test_status_tells_what_is_documented(self):
        answer = self.check(self.server.request("GET", "/status"), 200)
        self.assertEqual("application/json", answer.header("Content-Type"))
        status = answer.json()
        self.assertEqual("test", status["mode"])
        self.assertRegex(status["version"], "^[0-9]+[.][0-9]+")
        self.assertEqual(["up"] * 3, [p["state"] for p in status["partitions"]])
        self.assertEqual([1, 2, 3], [p["id"] for p in status["partitions"]])
        self.assertEqual(16384, sum(p["slots"] for p in status["partitions"]))
        self.assertNotIn("secret", answer.body.decode())

    def test_status_tells_how_long_ago_sync_brought_everything(self):
        def lags():
            return [p["lag_seconds"] for p in self.server.request("GET", "/status").json()["partitions"]]
        self.assertEqual([None] * 3, lags())
        self.addCleanup(self.nodes.sql, 1, "DELETE FROM cursors")
        self.nodes.sql(1, "INSERT INTO cursors VALUES (2, 0, 0, '', (UNIX_TIMESTAMP(NOW(6)) - 100) * 1000, 0)")
        known = wait_until(lambda: [lag for lag in [lags()] if lag[0] is not None], 5, "a lag")[0]
        self.assertTrue(100 <= known[0] < 120, known)
        self.assertEqual([None] * 2, known[1:])

    def test_metrics_are_well_formed(self):
        self.exercise()
        metrics = self.metrics()
        self.assertEqual(set(metrics.type), set(metrics.help))
        for name, _ in metrics.samples:
            family = metrics.family(name)
            self.assertIn(family, metrics.type)
            self.assertTrue(family.startswith("sherd_") or family.startswith("process_"), family)
            if metrics.type[family] == "counter":
                self.assertTrue(name.endswith("_total"), name)
            else:
                self.assertFalse(family.endswith("_total"), name)

    def test_histograms_are_cumulative(self):
        self.exercise()
        metrics = self.metrics()
        self.assertTrue(metrics.histograms())
        for (name, labels), buckets in metrics.histograms().items():
            bounds, counts = zip(*buckets)
            self.assertEqual(sorted(set(bounds)), list(bounds), name)
            self.assertEqual(float("inf"), bounds[-1], name)
            self.assertEqual(sorted(counts), list(counts), name)
            self.assertEqual(counts[-1], metrics.samples[name + "_count", labels], name)
            self.assertIn((name + "_sum", labels), metrics.samples)

    def test_requests_are_counted(self):
        def counts():
            metrics = self.metrics()
            return [metrics.value("sherd_http_requests_total", method="PUT"),
                    metrics.value("sherd_http_requests_total", status="404"),
                    metrics.value("sherd_http_request_duration_seconds_count")]
        self.exercise()
        before = counts()
        self.exercise()
        self.assertEqual([20, 1, 44], [after - b for after, b in zip(counts(), before)])

    def test_counters_never_fall(self):
        before = self.metrics()
        self.exercise()
        after = self.metrics()
        for sample, value in before.samples.items():
            if sample[0].endswith("_total"):
                self.assertGreaterEqual(after.samples[sample], value, sample)

    @unittest.skipUnless(os.environ.get("PROMTOOL"), "PROMTOOL names no binary")
    def test_promtool_finds_nothing(self):
        self.exercise()
        text = self.server.request("GET", "/metrics").body
        done = subprocess.run([os.environ["PROMTOOL"], "check", "metrics"], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        self.assertEqual((0, b""), (done.returncode, done.stdout))

    def test_a_dead_partition_shows_everywhere(self):
        self.addCleanup(self.nodes.start)
        self.nodes.kill(2)
        wait_until(lambda: all(self.server.request("GET", "/readyz?partition=2").status == 503 for _ in range(20)), 5,
                   "partition 2 down")
        ready = self.check(self.server.request("GET", "/readyz"), 200)
        self.assertEqual(["partition-1 up", "partition-2 down", "partition-3 up"], ready.body.decode().splitlines())
        status = self.server.request("GET", "/status").json()
        self.assertEqual(["up", "down", "up"], [p["state"] for p in status["partitions"]])
        self.check(self.server.request("GET", "/livez"), 200)
        self.metrics()
        self.nodes.start()
        wait_until(self.server.all_up, 3, "partition 2 up")


if __name__ == "__main__":
    unittest.main()

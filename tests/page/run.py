#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests the page in a real browser: run.py [--nodes DIR] [--screenshots DIR] [TEST.mjs...]

Starts three MariaDB servers and sherd-server, then each test_*.mjs here under node, with playwright-core (installed into
build/page) driving Debian's Chromium. The last line is `page: N passed, N failed`. With --screenshots no test runs; the
pictures of docs/page.md are made anew instead.
"""
import argparse
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

import harness  # noqa: E402  (found by the line above)

MODULES = os.path.join(harness.ROOT, "build", "page")
COUNT = re.compile(r"^(?:#|ℹ) (pass|fail|cancelled) (\d+)$", re.MULTILINE)
SECONDS = 600
TOKEN = "a-token-for-the-tests-of-the-page"


def same(name):
    """Whether the installed copy of a file is this one."""
    try:
        with open(os.path.join(HERE, name), "rb") as ours, open(os.path.join(MODULES, name), "rb") as theirs:
            return ours.read() == theirs.read()
    except OSError:
        return False


def install():
    if same("package-lock.json") and os.path.exists(os.path.join(MODULES, "installed")):
        return
    shutil.rmtree(MODULES, ignore_errors=True)
    os.makedirs(MODULES)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), MODULES)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=MODULES, check=True, timeout=300)
    with open(os.path.join(MODULES, "installed"), "w", encoding="utf-8"):
        pass


def run_file(path, environment):
    """Runs a file of tests, shows what it says, returns how many passed and failed."""
    print("== %s" % os.path.basename(path), flush=True)
    process = subprocess.Popen(["node", path], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               encoding="utf-8")
    said = []
    for line in process.stdout:
        said.append(line)
        print(line, end="", flush=True)
    code = process.wait(SECONDS)
    count = {"pass": 0, "fail": 0, "cancelled": 0}
    count.update((name, int(number)) for name, number in COUNT.findall("".join(said)))
    failed = count["fail"] + count["cancelled"]
    return count["pass"], failed or int(code != 0 or count["pass"] == 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", metavar="DIR", help="where the MariaDB servers are, or are to be made")
    parser.add_argument("--screenshots", metavar="DIR", help="make the pictures of the documentation")
    parser.add_argument("tests", nargs="*")
    given = parser.parse_args()
    if given.nodes:
        os.environ["SHERD_TEST_NODES"] = os.path.abspath(given.nodes)
    install()
    nodes = harness.shared_nodes()
    nodes.truncate()
    server = harness.Server(nodes).start_up()
    guarded = harness.Server(nodes, {"token-page": {"sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "read": "*",
                                                    "write": "*"}})
    environment = {**os.environ, "SHERD_PAGE_MODULES": MODULES, "SHERD_PAGE_URL": "http://127.0.0.1:%d" % server.port,
                   "SHERD_PAGE_GUARDED": "http://127.0.0.1:%d" % guarded.start().port, "SHERD_PAGE_TOKEN": TOKEN,
                   "SHERD_PAGE_SOCKETS": json.dumps([nodes.socket(n) for n in nodes.all()]),
                   "SHERD_PAGE_NODES": nodes.directory}
    try:
        if given.screenshots:
            # The pictures show a store that sync looks after.
            subprocess.run([os.environ.get("SHERD_SYNC") or os.path.join(harness.ROOT, "build", "sherd-sync"), "--quiet",
                            "--config", server.config], env={**os.environ, "SHERD_ENV": "test"}, timeout=60, check=True)
            return subprocess.run(["node", os.path.join(HERE, "screenshots.mjs"), os.path.abspath(given.screenshots)],
                                  env=environment, timeout=SECONDS, check=False).returncode
        tests = [os.path.abspath(t) for t in given.tests] or sorted(glob.glob(os.path.join(HERE, "test_*.mjs")))
        counts = [run_file(path, environment) for path in tests]
        server.stop()
        guarded.stop()
    finally:
        server.discard()
        guarded.discard()
    passed, failed = (sum(column) for column in zip(*counts))
    print("page: %d passed, %d failed" % (passed, failed))
    return 0 if failed == 0 and passed else 1


if __name__ == "__main__":
    sys.exit(main())

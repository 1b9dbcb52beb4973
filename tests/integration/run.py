#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the integration tests: run.py [--nodes DIR] [--failfast] [MODULE[.CLASS[.TEST]]...]

Starts three private MariaDB servers in DIR (a new temporary directory unless given) and stops those that it started;
then every test_*.py here, or only what is named. The last line is `integration: N passed, N failed`; the exit code is 0
if nothing failed.
"""
import argparse
import glob
import os
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import harness  # noqa: E402  (found by the line above)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", metavar="DIR", help="where the MariaDB servers are, or are to be made")
    parser.add_argument("--failfast", action="store_true", help="stop at the first failure")
    parser.add_argument("tests", nargs="*", help="modules, classes or tests")
    return parser.parse_args()


def suite_of(names):
    modules = sorted(os.path.basename(path)[:-3] for path in glob.glob(os.path.join(HERE, "test_*.py")))
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(names or modules)
    for error in loader.errors:
        print(error, file=sys.stderr)
    return suite


class Result(unittest.TextTestResult):
    """Counts tests, not parts of tests, and shows how long the slow ones took."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.failed = set()
        self.began = 0.0

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        seconds = time.monotonic() - self.began
        if seconds > 5:
            self.stream.writeln("(%.0f s: %s)" % (seconds, test.id()))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failed.add(test.id())

    def addError(self, test, err):
        super().addError(test, err)
        self.failed.add(test.id())

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.failed.add(test.id())


def is_up(directory):
    status = subprocess.run([os.path.join(harness.ROOT, "tools", "nodes"), "status", "--count", str(harness.NODE_COUNT),
                             "--dir", directory], stdout=subprocess.DEVNULL, check=False)
    return status.returncode == 0


def run(names, failfast):
    runner = unittest.TextTestRunner(stream=sys.stdout, resultclass=Result, failfast=failfast)
    result = runner.run(suite_of(names))
    failed = len(result.failed)
    skipped = len(result.skipped)
    passed = result.testsRun - skipped - len([test for test in result.failed if not test.startswith("setUpClass")
                                             and not test.startswith("tearDownClass")])
    print("integration: %d passed, %d failed%s" % (passed, failed, ", %d skipped" % skipped if skipped else ""))
    return 0 if failed == 0 and passed else 1


def main():
    given = arguments()
    if given.nodes:
        os.environ["SHERD_TEST_NODES"] = os.path.abspath(given.nodes)
    directory = os.environ.get("SHERD_TEST_NODES")
    started = directory and not is_up(directory)
    try:
        return run(given.tests, given.failfast)
    finally:
        if started:
            harness.Nodes(directory).stop()


if __name__ == "__main__":
    sys.exit(main())

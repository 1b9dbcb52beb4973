# SPDX-License-Identifier: MIT
"""What the tests of the examples share."""
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
EXAMPLES = os.path.join(ROOT, "examples")
sys.path.insert(0, os.path.join(EXAMPLES, "lib"))

from sherd import Store  # noqa: E402,F401  (found by the line above; for those who import this)
from stack import SLACK, Stack, wait_until  # noqa: E402,F401


def load(example, name):
    """A file of an example as a module."""
    path = os.path.join(EXAMPLES, example, name)
    loader = importlib.machinery.SourceFileLoader("%s_%s" % (example, name.partition(".")[0]), path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


class StackTest(unittest.TestCase):
    """Private databases in a directory of their own, for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.mkdtemp(prefix="sherd-example-")
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        cls.stack = Stack(directory)
        cls.addClassCleanup(cls.finish)

    @classmethod
    def finish(cls):
        """Ends everything; what a test killed it has started again, so every daemon has to end well."""
        cls.stack.close()
        for program in cls.stack.started:
            if program.name.startswith("daemon-"):
                assert program.process.returncode == 0, "%s: exit code %d" % (program.name, program.process.returncode)

    def sql(self, node, statement):
        """Rows of texts."""
        socket = self.stack.path("node-%d/mariadb.sock" % node)
        done = subprocess.run(["mariadb", "--no-defaults", "-S", socket, "-u", "root", "-N", "-B", "sherd",
                               "-e", statement], check=True, capture_output=True, text=True)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def log(self, program):
        with open(self.stack.path(program.name + ".log"), encoding="utf-8", errors="replace") as file:
            return file.read()

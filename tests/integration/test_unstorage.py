# SPDX-License-Identifier: MIT
"""unstorage's http driver works as it is: runs test_unstorage.mjs under node against a server."""
import os
import shutil
import subprocess
import unittest

from harness import ROOT, SherdTest

HERE = os.path.dirname(os.path.abspath(__file__))
INSTALLED = os.path.join(ROOT, "build", "unstorage")  # kept: installing takes a while


def same(name):
    """Whether the installed copy of a file is this one."""
    try:
        with open(os.path.join(HERE, name), "rb") as ours, open(os.path.join(INSTALLED, name), "rb") as theirs:
            return ours.read() == theirs.read()
    except OSError:
        return False


def install():
    if same("package-lock.json") and os.path.exists(os.path.join(INSTALLED, "installed")):
        return
    shutil.rmtree(INSTALLED, ignore_errors=True)
    os.makedirs(INSTALLED)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), INSTALLED)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=INSTALLED, check=True, timeout=300)
    with open(os.path.join(INSTALLED, "installed"), "w", encoding="utf-8"):
        pass


@unittest.skipUnless(shutil.which("node") and shutil.which("npm"), "node and npm are not installed")
class Unstorage(SherdTest):
    def test_the_http_driver_works_as_it_is(self):
        install()
        shutil.copy(os.path.join(HERE, "test_unstorage.mjs"), INSTALLED)
        done = subprocess.run(["node", "test_unstorage.mjs", "http://127.0.0.1:%d" % self.server.port], cwd=INSTALLED,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, encoding="utf-8")
        self.assertEqual(0, done.returncode, done.stdout[-6000:])


if __name__ == "__main__":
    unittest.main()

"""One version: that of project() in CMakeLists.txt is what the program says, what it writes into its
files, and what everything that is installed or published beside it names.
"""
import json
import os
import re

import h5py

from ballot_run import BALLOT, TestCase, bytes_of, main, run, tiny

BUILD = os.path.dirname(BALLOT)


def text(*path):
    return bytes_of(*path).decode()


class Version(TestCase):
    def setUp(self):
        project = text("CMakeLists.txt")
        self.version = re.search(r"^project\(ballot VERSION (\S+)", project, re.M).group(1)

    def found(self, pattern, *path):
        match = re.search(pattern, text(*path), re.M)
        self.assertIsNotNone(match, f"{path} has no line {pattern}")
        self.assertEqual(match.group(1), self.version, path)

    def test_program(self):
        self.assertEqual(run(["--version"]).out, f"ballot {self.version}\n")
        self.assertEqual(run(["train", "--version"]).out, f"ballot {self.version}\n")
        self.assertIn(f"ballot {self.version}: ", run(["--help"]).out)

    def test_checkpoint_and_metrics(self):
        folder = self.folder("run")
        run(tiny(folder, run__steps=1))
        with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as file:
            self.assertEqual(json.loads(file.readline())["ballot"], self.version)
        checkpoints = [name for name in os.listdir(folder) if name.endswith(".h5")]
        self.assertTrue(checkpoints)
        for name in checkpoints:
            with h5py.File(os.path.join(folder, name)) as file:
                self.assertEqual(file.attrs["ballot_version"].decode(), self.version)

    def test_header_and_packages(self):
        self.found(r'^#define BALLOT_VERSION "(.*)"$', BUILD, "include/ballot/version.h")
        self.found(r"^Version: (.*)$", BUILD, "ballot.pc")
        self.found(r"^set\(PACKAGE_VERSION \"(.*)\"\)$", BUILD, "ballot-config-version.cmake")

    def test_documents(self):
        self.found(r"^version: (.*)$", "CITATION.cff")
        self.assertRegex(text("CHANGELOG.md"), rf"(?m)^## {re.escape(self.version)} - |becomes "
                                               rf"{re.escape(self.version)}\.$")


main()

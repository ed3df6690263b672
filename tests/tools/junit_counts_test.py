#!/usr/bin/env python3
"""tools/junit-counts: what it counts as passed, failed and skipped."""

import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUITE = """<?xml version="1.0"?>
<testsuite>
  <testcase name="good" status="run"><system-out/></testcase>
  <testcase name="bad" status="fail"><failure message=""/><system-out/></testcase>
  <testcase name="googletest" status="notrun"><skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
    <system-out>noise
some/file.cpp:4: Skipped
no such device
more noise</system-out></testcase>
  <testcase name="script" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/>
    <system-out>skipped: no network</system-out></testcase>
  <testcase name="silent" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/><system-out/></testcase>
  <testcase name="not built" status="notrun"><skipped message="Unable to find executable"/><system-out/></testcase>
</testsuite>
"""


class Counts(unittest.TestCase):
    def counts(self, *suites):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for number, suite in enumerate(suites):
                paths.append(pathlib.Path(folder) / f"{number}.xml")
                paths[-1].write_text(suite)
            result = subprocess.run([ROOT / "tools/junit-counts", *paths], capture_output=True, text=True, check=True)
            return result.stdout.splitlines()

    def test_every_kind_of_result(self):
        self.assertEqual(self.counts(SUITE), [
            "failed:  bad",
            "failed:  not built (Unable to find executable)",
            "skipped: googletest: no such device",
            "skipped: script: no network",
            "skipped: silent: no reason given",
            "1 2 3",
        ])

    def test_files_add_up(self):
        self.assertEqual(self.counts(SUITE, SUITE)[-1], "2 4 6")


if __name__ == "__main__":
    unittest.main()

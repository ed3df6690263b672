#!/usr/bin/env python3
"""`xenolith fuzz` as a user calls it: exit codes, the report as JSON, a line that reproduces."""

import json
import os
import subprocess
import unittest

BINARY = os.environ["XENOLITH_BINARY"]
UNAVAILABLE = 6


def fuzz(*arguments):
    return subprocess.run([BINARY, "fuzz", *arguments], capture_output=True, text=True, timeout=120)


class FuzzCommand(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        probe = fuzz("--count", "1", "--rows", "NOP")
        if probe.returncode == UNAVAILABLE:
            print(probe.stderr)
            raise SystemExit(77)

    def test_report_as_json(self):
        result = fuzz("--count", "20000", "--rows", "S*", "--seed", "4", "--json")
        self.assertEqual(result.returncode, 0, result.stdout[-2000:])
        report = json.loads(result.stdout)
        self.assertEqual(report["seed"], 4)
        self.assertEqual(report["findings"], [])
        self.assertEqual(report["differences"], 0)
        self.assertGreaterEqual(report["tests"], 15000)
        judged = [form for form in report["forms"] if "not_judged" not in form]
        self.assertEqual(len(judged), report["judged_forms"])
        self.assertEqual(sum(form["tests"] for form in report["forms"]), report["tests"])
        self.assertEqual({form["mode"] for form in report["forms"]}, {"long64", "compatibility32", "compatibility16"})
        for quirk in report["quirks"]:
            self.assertTrue(quirk["reason"])

    def test_text(self):
        result = fuzz("--count", "2000", "--rows", "ADC", "--coverage")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("No difference.", result.stdout)
        self.assertRegex(result.stdout, r"(?m)^adc +\d+ +\d+ +\d+ +0$")

    def test_reproduce(self):
        result = fuzz("--reproduce", "mode=long64 code=4811d8 rax=ffffffffffffffff rflags=203")
        self.assertEqual(result.returncode, 0)
        self.assertIn("adc rax, rbx", result.stdout)
        self.assertIn("No difference.", result.stdout)

    def test_bad_command_lines(self):
        for arguments in (
            ("--mode", "8"),
            ("--shard", "3/3"),
            ("--shard", "x"),
            ("--oracle", "oracle-of-delphi"),
            ("--rows", "NO_SUCH_ROW"),
            ("--reproduce", "code=zz"),
            ("--reproduce", "mode=long64 code=0f05"),
            ("--count", "many"),
        ):
            with self.subTest(arguments=arguments):
                result = fuzz(*arguments)
                self.assertEqual(result.returncode, 2)
                self.assertEqual(len(result.stderr.strip().split("\n")), 1, result.stderr)


if __name__ == "__main__":
    unittest.main()

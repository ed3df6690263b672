#!/usr/bin/env python3
"""The timeline of real runs keeps the schema, and docs/timeline.md names every field of it."""

import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77

try:
    import jsonschema
except ImportError:
    print("skipped: the package python3-jsonschema is not installed")
    sys.exit(SKIPPED)

SCHEMA = json.loads((ROOT / "docs/timeline.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
GUESTS = ("real16", "protected32", "pae32", "long64", "compatibility32")
MODES = {"real16": "real", "protected32": "protected32", "pae32": "protected32", "long64": "long",
         "compatibility32": "compatibility"}


def timeline_of(*arguments, exit_code=0):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "timeline.json"
        result = subprocess.run(
            [os.environ["XENOLITH_BINARY"], "run", *arguments, "--timeline", file, "--max-cycles", "50000000"],
            capture_output=True, text=True, check=False, timeout=60)
        if result.returncode != exit_code:
            raise AssertionError(f"exit code {result.returncode}\n{result.stdout[-2000:]}{result.stderr[-1000:]}")
        return json.loads(file.read_text(encoding="utf-8"))


def without_host_time(timeline):
    result = copy.deepcopy(timeline)
    del result["totals"]["seconds"], result["totals"]["mips"]
    return result


class RealTimelines(unittest.TestCase):
    def test_built_in_guests(self):
        for guest in GUESTS:
            with self.subTest(guest=guest):
                timeline = timeline_of("--guest", guest)
                VALIDATOR.validate(timeline)
                kinds = [event["kind"] for event in timeline["events"]]
                for kind in ("cpuid-leaf", "hypercall-page", "hypercall"):
                    self.assertIn(kind, kinds)
                page = next(event for event in timeline["events"] if event["kind"] == "hypercall-page")
                self.assertEqual((page["result"], page["mode"]), ("copied", MODES[guest]))
                self.assertEqual(page["blob"], 64 if guest in ("long64", "compatibility32") else 32)

    def test_other_ways_a_page_can_go(self):
        for arguments in (("--intercept-hypercalls",), ("--vendor", "amd"), ("--timing", "modern"), ("--no-xen",)):
            with self.subTest(arguments=arguments):
                VALIDATOR.validate(timeline_of("--guest", "long64", *arguments))

    def test_two_runs_are_equal(self):
        first, second = (timeline_of("--guest", "pae32") for _ in range(2))
        self.assertEqual(without_host_time(first), without_host_time(second))


class TheSchema(unittest.TestCase):
    EVENT = {"kind": "cpuid-leaf", "cycles": 1, "instructions": 1, "vcpu": 0, "mode": "long", "cs": "0x8", "rip": "0x0",
             "instruction": "cpuid", "leaf": "0x40000000", "subleaf": 0, "eax": "0x0", "ebx": "0x0", "ecx": "0x0",
             "edx": "0x0"}
    TOTALS = {"instructions": 0, "cycles": 0, "seconds": 0, "mips": 0, "traps": 0, "events_dropped": 0}

    def accepts(self, **changes):
        event = {key: value for key, value in {**self.EVENT, **changes}.items() if value is not None}
        return VALIDATOR.is_valid({"events": [event], "totals": self.TOTALS})

    def test_it_can_refuse(self):
        self.assertTrue(self.accepts())
        for changes in ({"kind": "other"}, {"mode": "protected"}, {"rip": 0}, {"rip": "12"}, {"cycles": -1},
                        {"cycles": "1"}, {"leaf": None}, {"extra": 1}):
            with self.subTest(changes=changes):
                self.assertFalse(self.accepts(**changes))

    def test_the_document_names_every_field(self):
        document = (ROOT / "docs/timeline.md").read_text(encoding="utf-8")
        for name, definition in SCHEMA["$defs"].items():
            for field in definition.get("properties", {}):
                self.assertIn(f"`{field}`", document, name)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""iasl, ACPICA's compiler, reads every ACPI table, and makes the same table again of what it has read."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

WRITER = sys.argv.pop(1)
TABLES = ("RSDT", "XSDT", "FACP", "FACS", "DSDT", "APIC", "HPET")
HEADER = 36
CHECKSUM, CREATOR = 9, slice(28, 36)  # the compiler signs its work


def iasl(folder, *arguments):
    return subprocess.run(["iasl", *arguments], cwd=folder, capture_output=True, text=True, timeout=60)


class Tables(unittest.TestCase):
    def check(self, processors):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            subprocess.run([WRITER, folder, str(processors)], check=True)
            self.assertEqual(sorted(path.stem for path in folder.iterdir()), sorted(TABLES))
            for table in TABLES:
                with self.subTest(table=table, processors=processors):
                    self.check_table(folder, table)

    def check_table(self, folder, table):
        original = (folder / f"{table}.dat").read_bytes()
        result = iasl(folder, "-d", f"{table}.dat")
        said = result.stdout + result.stderr
        self.assertEqual(result.returncode, 0, said)
        self.assertNotRegex(said, r"(?i)error|warning|invalid|incorrect", said)
        listing = (folder / f"{table}.dsl").read_text(encoding="latin-1")
        self.assertNotRegex(listing, r"(?i)incorrect checksum|should be|error|invalid", listing[:4000])

        # -oa: what could be written shorter stays as it is, so that it can be compared.
        result = iasl(folder, "-oa", "-p", "again", f"{table}.dsl")
        said = result.stdout + result.stderr
        self.assertEqual(result.returncode, 0, said)
        counts = re.search(r"(\d+) Errors, (\d+) Warnings", said)
        self.assertIsNotNone(counts, said)
        self.assertEqual(counts.groups(), ("0", "0"), said)
        again, expected = bytearray((folder / "again.aml").read_bytes()), bytearray(original)
        if table != "FACS":
            for image in (again, expected):
                image[CHECKSUM] = 0
                image[CREATOR] = bytes(8)
        self.assertEqual(again.hex(), expected.hex())

    def test_one_processor(self):
        self.check(1)

    def test_as_many_as_there_can_be(self):
        self.check(254)

    def test_a_wrong_table_is_noticed(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            subprocess.run([WRITER, folder, "2"], check=True)
            broken = bytearray((folder / "DSDT.dat").read_bytes())
            broken[HEADER] = 0x14  # the first object's name operator becomes a method
            (folder / "DSDT.dat").write_bytes(broken)
            with self.assertRaises(AssertionError):
                self.check_table(folder, "DSDT")


if __name__ == "__main__":
    if shutil.which("iasl") is None:
        print("skipped: iasl is not installed (package acpica-tools)")
        sys.exit(77)
    unittest.main()

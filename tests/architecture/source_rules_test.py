#!/usr/bin/env python3
"""Rules that every file keeps: its length, its first line, and nothing in it that belongs to one machine."""

import re
import unittest

from source_tree import CXX_SUFFIXES, all_files, text_of

LONGEST_FILE = 800  # lines
CODE_SUFFIXES = CXX_SUFFIXES + (".py", ".cmake", ".sh")
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")
# Addresses on the network: packages are found through the machine's own configuration, manuals by their titles.
NETWORK_ADDRESS = re.compile(r"\b(?:https?|ftp|git|ssh)://(?!127\.0\.0\.1)")
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:work|root|home|tmp)/")
VAGUE_NAME = re.compile(r"\b(?:class|struct)\s+\w*(?:Manager|Helper|Util|Utils)\b")


def is_code(path):
    return path.suffix in CODE_SUFFIXES or path.parts[0] == "tools" and path.suffix == ""


def violations_in(path, text):
    found = []
    lines = text.split("\n")
    if is_code(path) and len(lines) - 1 > LONGEST_FILE:
        found.append(f"{path}: {len(lines) - 1} lines; files stay below {LONGEST_FILE}")
    if path.suffix == ".hpp" and not (lines[0].startswith("// ") and "#pragma once" in lines):
        found.append(f"{path}: a header begins with a line that says what it is, and has #pragma once")
    if not text.endswith("\n") or text.endswith("\n\n"):
        found.append(f"{path}: a file ends with exactly one newline")
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if UNFINISHED.search(line):
            found.append(f"{where}: unfinished work is written down elsewhere, not in the source")
        if NETWORK_ADDRESS.search(line) and path.name != "LICENSE":
            found.append(f"{where}: a network address")
        if MACHINE_PATH.search(line):
            found.append(f"{where}: a path of one machine")
        if "\t" in line and path.suffix in CODE_SUFFIXES:
            found.append(f"{where}: a tab")
        if line != line.rstrip() and is_code(path):
            found.append(f"{where}: space at the end of a line")
        if path.suffix in CXX_SUFFIXES and VAGUE_NAME.search(line):
            found.append(f"{where}: a name that does not say what the thing is")
    return found


class TheRules(unittest.TestCase):
    """The rules catch what they are there to catch."""

    def violations(self, name, text):
        path = type(all_files()[0])(name)
        return violations_in(path, text)

    def test_good_header(self):
        self.assertEqual(self.violations("mmu/a.hpp", "// What it is.\n#pragma once\n"), [])

    def test_examples(self):
        header = "// What it is.\n#pragma once\n"
        for name, text in (
            ("mmu/a.hpp", "#pragma once\n"),
            ("mmu/a.hpp", "// What it is.\n"),
            ("mmu/a.hpp", header + "class PageManager {};\n"),
            ("mmu/a.cpp", "int a;  // TO" + "DO: more\n"),
            ("mmu/a.cpp", "// see http" + "://example.org/\n"),
            ("mmu/a.cpp", 'open("/' + 'home/someone/file");\n'),
            ("mmu/a.cpp", "int a; \n"),
            ("mmu/a.cpp", "\tint a;\n"),
            ("mmu/a.cpp", "int a;"),
            ("mmu/a.cpp", "int a;\n" * (LONGEST_FILE + 1)),
        ):
            with self.subTest(name=name, text=text[:40]):
                self.assertNotEqual(self.violations(name, text), [])


class TheSource(unittest.TestCase):
    def test_every_file_keeps_the_rules(self):
        found = []
        for path in all_files():
            text = text_of(path)
            if text:
                found += violations_in(path, text)
        self.assertEqual(found, [], "\n" + "\n".join(found))


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Includes go downward only. The table is DESIGN's: which folder may include which."""

import re
import unittest

from source_tree import CXX_SUFFIXES, ROOT, all_files, text_of

# A folder's files may include files below these prefixes, and nothing else of the project. The longest matching key
# wins, so cpu/state/ is ruled by its own row and not by cpu/'s.
MAY_INCLUDE = {
    "mmu/": ("mmu/",),
    "cpu/": ("cpu/", "mmu/"),
    "cpu/state/": ("cpu/state/", "mmu/"),
    "xen/": ("xen/", "mmu/"),
    "devices/": ("devices/", "mmu/"),
    "loader/": ("loader/", "cpu/state/", "mmu/"),
    "machine/": ("machine/", "loader/", "cpu/", "xen/", "devices/", "mmu/"),
    "tools/": ("tools/", "machine/", "loader/", "cpu/", "xen/", "devices/", "mmu/"),
    "bench/": ("bench/", "machine/", "loader/", "cpu/", "xen/", "devices/", "mmu/"),
    "tests/": ("tests/", "tools/", "machine/", "loader/", "cpu/", "xen/", "devices/", "mmu/"),
}
# Engines know nothing of each other, and what engines share knows no engine.
ENGINES = ("cpu/interpreter/", "cpu/jit/", "cpu/kvm/")
# Libraries, by the first part of an angle-bracket include, and the folders that may use them.
LIBRARIES = {
    "Zydis": ("cpu/", "tests/", "bench/"),
    "Zycore": ("cpu/", "tests/", "bench/"),
    "capstone": ("cpu/", "tests/", "bench/"),
    "nlohmann": ("machine/", "tools/", "tests/"),
    "fmt": ("cpu/fuzz/", "loader/", "machine/", "tools/", "tests/", "bench/"),
    "boost": ("tools/",),
    "zlib.h": ("machine/", "tests/"),
    "benchmark": ("bench/",),
    "gtest": ("tests/",),
    "gmock": ("tests/",),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def row_of(path):
    keys = [key for key in MAY_INCLUDE if path.startswith(key)]
    return max(keys, key=len) if keys else None


def violations_in(path, text, exists):
    """What is wrong with the includes of one file; `exists` says whether a path is a file of the project."""
    row = row_of(path)
    if row is None:
        return [f"{path}: lives in no known folder"]
    found = []
    for own, library in INCLUDE.findall(text):
        if library:
            name = library.split("/")[0]
            if name in LIBRARIES and not path.startswith(LIBRARIES[name]):
                found.append(f"{path}: <{library}> is not for this folder")
            continue
        if not exists(own):
            found.append(f'{path}: "{own}" is no path from the project\'s root')
        elif not own.startswith(MAY_INCLUDE[row]):
            found.append(f'{path}: "{own}" is not below {row}')
        elif own.endswith(".cpp"):
            found.append(f'{path}: "{own}" is a .cpp')
        elif path.startswith("cpu/") and own.startswith(ENGINES):
            if not any(path.startswith(engine) and own.startswith(engine) for engine in ENGINES):
                found.append(f'{path}: "{own}" belongs to another engine')
    return found


class TheRules(unittest.TestCase):
    """The rules catch what they are there to catch."""

    CASES = (
        ("mmu/a.cpp", '#include "mmu/address.hpp"', True),
        ("mmu/a.cpp", '#include "cpu/engine.hpp"', False),
        ("mmu/a.cpp", "#include <Zydis/Zydis.h>", False),
        ("mmu/a.cpp", "#include <sys/mman.h>", True),
        ("cpu/a.cpp", '#include "mmu/tlb.hpp"', True),
        ("cpu/a.cpp", '#include "xen/blob.hpp"', False),
        ("cpu/a.cpp", '#include "cpu/interpreter/interpreter.hpp"', False),
        ("cpu/state/a.hpp", '#include "cpu/processor.hpp"', False),
        ("cpu/jit/a.cpp", '#include "cpu/interpreter/block_cache.hpp"', False),
        ("cpu/kvm/a.cpp", '#include "cpu/jit/emitter.hpp"', False),
        ("cpu/jit/a.cpp", '#include "cpu/jit/emitter.hpp"', True),
        ("xen/a.cpp", '#include "cpu/state/cpu_state.hpp"', False),
        ("devices/a.cpp", '#include "machine/clock.hpp"', False),
        ("loader/a.cpp", '#include "cpu/state/cpu_state.hpp"', True),
        ("loader/a.cpp", '#include "cpu/processor.hpp"', False),
        ("machine/a.cpp", '#include "cpu/interpreter/interpreter.hpp"', True),
        ("machine/a.cpp", '#include "tools/xenolith/commands.hpp"', False),
        ("tools/a.cpp", "#  include <boost/program_options.hpp>", True),
        ("machine/a.cpp", "#include <boost/program_options.hpp>", False),
        ("machine/a.cpp", '#include "tests/a.hpp"', False),
        ("tools/a.cpp", '#include "machine/machine.cpp"', False),
        ("elsewhere/a.cpp", "", False),
    )

    def test_examples(self):
        for path, text, allowed in self.CASES:
            with self.subTest(path=path, text=text):
                self.assertEqual(violations_in(path, text, lambda _: True) == [], allowed)

    def test_a_path_that_does_not_start_at_the_root(self):
        self.assertNotEqual(violations_in("mmu/a.cpp", '#include "address.hpp"', lambda _: False), [])


class TheSource(unittest.TestCase):
    def test_includes_go_downward(self):
        found, looked_at = [], 0
        for path in all_files():
            # What runs inside a guest is no part of the house.
            if path.suffix in CXX_SUFFIXES and not path.as_posix().startswith("bench/guest/"):
                looked_at += 1
                found += violations_in(path.as_posix(), text_of(path), lambda own: (ROOT / own).is_file())
        self.assertGreater(looked_at, 50)
        self.assertEqual(found, [], "\n" + "\n".join(found))


if __name__ == "__main__":
    unittest.main()

"""What the tests of this folder have in common: the way to shared code, skips, failures, arguments."""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from guests import dialogue, emulators, packages  # noqa: E402

SKIPPED = 77
Mismatch = dialogue.Mismatch


def expect(condition, words):
    if not condition:
        raise Mismatch(words)


def parser(description, names):
    """The arguments of every test here: one case, and what runs it."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    result.add_argument("--peer", choices=("xenolith", "qemu"), default="xenolith",
                        help="what runs the guest: the program that XENOLITH_BINARY names (default), or QEMU's TCG")
    result.add_argument("--stdin", choices=("terminal", "pipe"), default="terminal",
                        help="what the program gets as standard input and output (default terminal)")
    return result


def figures(talk):
    """One line about a run that has ended; tools/test shows those with MIPS in them."""
    totals = talk.totals()
    if not totals:
        return f"{talk.wall_seconds():.1f} s"
    return (f"{totals['instructions']:,} instructions, {totals['cycles']:,} cycles, {totals['seconds']:.2f} s,"
            f" {totals['mips']:.0f} MIPS")


def run(name, body):
    """Calls body() and ends the process: 0, 1 with what went wrong, or 77 with what is missing."""
    try:
        body()
    except packages.Unavailable as reason:
        print(f"skipped: {reason}")
        sys.exit(SKIPPED)
    except (Mismatch, packages.FetchFailed) as mismatch:
        print(f"{name}: {mismatch}")
        sys.exit(1)
    sys.exit(0)


__all__ = ["Mismatch", "ROOT", "dialogue", "emulators", "expect", "figures", "packages", "parser", "run"]

#!/usr/bin/env python3
"""Runs the commands of one document, and follows its links. See document.py for how blocks are marked."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import document

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
FETCH_UNAVAILABLE = 4
SECONDS = 120  # for one block


def lay_out(folder, binary):
    """A folder in which the project's paths work, and into which commands may write."""
    for name in ("tools", "docs", "tests", "README.md"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "build/release").mkdir(parents=True)
    (folder / "build/release/xenolith").symlink_to(binary)


def why_no_guest(name):
    result = subprocess.run([ROOT / "tools/fetch-guest", name], capture_output=True, text=True, check=False)
    if result.returncode not in (0, FETCH_UNAVAILABLE):
        raise SystemExit(result.stderr)
    return None if result.returncode == 0 else result.stderr.strip().splitlines()[-1]


def run_commands(commands, folder):
    """(exit code, output); the code is None if they did not end in time. Nothing of them is left running."""
    shell = subprocess.Popen(["sh", "-e"], cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = shell.communicate(commands, timeout=SECONDS)
        return shell.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        output, _ = shell.communicate()
        return None, output


def main():
    path = ROOT / sys.argv[1]
    text = path.read_text(encoding="utf-8")
    binary = os.environ["XENOLITH_BINARY"]
    failures, skips, blocks = [], [], document.runnable_blocks(text)
    for target in document.links(text):
        if not (path.parent / target).exists():
            failures.append(f"{sys.argv[1]}: the link to {target} leads nowhere")
    with tempfile.TemporaryDirectory() as folder:
        lay_out(pathlib.Path(folder), binary)
        for block in blocks:
            where = f"{sys.argv[1]}:{block.line}"
            if block.guest and (reason := why_no_guest(block.guest)):
                skips.append(f"{where}: {reason}")
                continue
            code, output = run_commands(block.commands, folder)
            if code is None:
                failures.append(f"{where}: not done after {SECONDS} seconds")
            elif code != block.exit_code:
                failures.append(f"{where}: exit code {code}, expected {block.exit_code}\n"
                                f"{output[-2000:]}")
            elif (missing := document.first_line_missing(block.shows, output)) is not None:
                failures.append(f"{where}: the output does not have, in its place, the line\n{missing}\n"
                                f"--- the output ---\n{output[-4000:]}")
    for line in failures:
        print(line)
    print(f"{len(blocks)} blocks of commands, {len(failures)} failures")
    if failures:
        return 1
    if skips:
        print(f"skipped: {skips[0]}")
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())

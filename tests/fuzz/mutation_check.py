#!/usr/bin/env python3
"""Breaks ten instruction rows on purpose, one at a time, and asks the fuzzer to find each.

    tests/fuzz/mutation_check.py BUILD_FOLDER

BUILD_FOLDER was configured for Ninja and holds a built `xenolith`. Sources stay as they are: a changed copy of one file
is compiled with that file's own command, and linked in front of the library that has the right one.
"""

import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MUTATIONS = json.loads((pathlib.Path(__file__).parent / "mutations.json").read_text(encoding="utf-8"))
TESTS = "60000"
SKIPPED = 77
UNAVAILABLE = 6


def compile_command(build, source):
    """The compiler call for a source file, as a list, and the folder it runs in."""
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        if pathlib.Path(entry["file"]) == source:
            return shlex.split(entry["command"]), entry["directory"]
    raise SystemExit(f"{source} is not compiled in {build}")


def link_command(build):
    """The last command that makes the program."""
    commands = subprocess.run(["ninja", "-C", str(build), "-t", "commands", "xenolith"], capture_output=True, text=True,
                              check=True).stdout.strip().split("\n")
    # CMake writes `: && LINK && :`.
    return shlex.split(commands[-1].split("&&")[1])


def mutant(build, folder, mutation):
    """A program with one row broken."""
    source = ROOT / mutation["file"]
    text = source.read_text(encoding="utf-8")
    if text.count(mutation["from"]) < 1:
        raise SystemExit(f"{mutation['file']} no longer has: {mutation['from']}")
    changed = folder / source.name
    changed.write_text(text.replace(mutation["from"], mutation["to"], 1), encoding="utf-8")
    command, directory = compile_command(build, source)
    target = folder / "mutant.o"
    command[command.index("-o") + 1] = str(target)
    command[command.index("-c") + 1] = str(changed)
    if "-MF" in command:
        command[command.index("-MF") + 1] = str(folder / "mutant.d")
    # What is broken may well be unused.
    subprocess.run(command + ["-w"], cwd=directory, check=True)
    link = link_command(build)
    program = folder / "xenolith"
    link[link.index("-o") + 1] = str(program)
    # An object file comes before every library, so its definitions are taken.
    link.insert(link.index("-o") + 2, str(target))
    subprocess.run(link, cwd=build, check=True)
    return program


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    build = pathlib.Path(sys.argv[1]).resolve()
    if not (build / "build.ninja").is_file():
        print(f"{build} was not configured for Ninja")
        return SKIPPED
    missed = []
    for mutation in MUTATIONS:
        with tempfile.TemporaryDirectory() as name:
            program = mutant(build, pathlib.Path(name), mutation)
            result = subprocess.run([program, "fuzz", "--rows", mutation["rows"], "--count", TESTS, "--fail-fast"],
                                    capture_output=True, text=True, check=False)
        if result.returncode == UNAVAILABLE:
            print(result.stderr.strip())
            return SKIPPED
        found = result.returncode == 1
        line = next((line.strip() for line in result.stdout.split("\n") if "--reproduce" in line), result.stderr.strip())
        print(f"{'found ' if found else 'MISSED'}  {mutation['what']}\n        {line}", flush=True)
        if not found:
            missed.append(mutation["what"])
    print(f"{len(MUTATIONS) - len(missed)} of {len(MUTATIONS)} found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

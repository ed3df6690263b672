#!/usr/bin/env python3
"""The recording of what a real KVM answers in the edge cases of the hypercall-page trap: made, and verified.

    trap_answers.py verify RECORDER    runs every case again, and fails at the first answer that is not as recorded
    trap_answers.py record RECORDER    the same, and writes tests/machine/trap_answers.json

RECORDER is build/<preset>/tests/machine/trap_recorder. Inside QEMU (tests/cpu/nested_machine.py) it runs each case of
trap_case.cpp on that kernel's KVM by its ioctls alone ("kernel"), and on our KVM engine by both routes; out here on the
interpreter. A line of the recording holds the kernel's answer, and each other answer that is not the same. Every such
difference needs its reason in trap_differences.json: the unit tests TrapAnswers hold the interpreter and the list to it.

Exit code 77: QEMU or the kernel cannot be had here.
"""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cpu"))
from nested_machine import run_inside  # noqa: E402 (found by the line above)

RECORDING = HERE / "trap_answers.json"
INSIDE = ("kernel", "ioctl", "msr-exit")
OUTSIDE = ("linux-6.15", "linux-5.12")
SUBJECT = "@@subject "


def run_everywhere(recorder):
    """The recorder's lines by subject, and the kernel that has answered."""
    program = "/bin/" + os.path.basename(recorder)
    runs = " && ".join(f"echo '{SUBJECT}{subject}' && {program} {subject}" for subject in INSIDE)
    output, code = run_inside([recorder], f"(/bin/busybox uname -sr && {runs})", show=False)
    if code != 0:
        sys.exit(f"the recorder ended with exit code {code} inside:\n" + "\n".join(output.splitlines()[-3:]))
    kernel, *pieces = output.split(SUBJECT)
    lines = {}
    for piece in pieces:
        subject, *rest = piece.splitlines()
        lines[subject] = [json.loads(line) for line in rest]
    for subject in OUTSIDE:
        result = subprocess.run([recorder, subject], capture_output=True, text=True, check=True)
        lines[subject] = [json.loads(line) for line in result.stdout.splitlines()]
    return kernel.strip(), lines


def without_names(line):
    return {key: line[key] for key in ("answer", "latched") if key in line}


def compose(lines):
    """One line per case and answer, with all modes in which it is given."""
    by_place = {subject: {(line["case"], line["mode"]): line for line in some} for subject, some in lines.items()}
    entries = {}
    for line in lines["kernel"]:
        entry = {"case": line["case"], "modes": [], "configured": line["configured"], "kernel": without_names(line)}
        for subject in (*INSIDE[1:], *OUTSIDE):
            other = without_names(by_place[subject][line["case"], line["mode"]])
            # Whether the kernel has taken the latch cannot be seen through the engine.
            if any(other[key] != line[key] for key in other):
                entry[subject] = other
        entries.setdefault(json.dumps(entry), entry)["modes"].append(line["mode"])
    return list(entries.values())


def text_of(kernel, entries):
    rows = ",\n".join("    " + json.dumps(entry) for entry in entries)
    return f'{{\n  "kernel": "{kernel}, kvm-amd",\n  "cases": [\n{rows}\n  ]\n}}\n'


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("record", "verify"):
        sys.exit(__doc__)
    kernel, lines = run_everywhere(sys.argv[2])
    text = text_of(kernel, compose(lines))
    count = sum(len(some) for some in lines.values())
    if sys.argv[1] == "record":
        RECORDING.write_text(text, encoding="utf-8")
        print(f"{count} answers recorded, of {kernel} and ours")
        return
    recorded = RECORDING.read_text(encoding="utf-8").splitlines()
    for old, new in zip(recorded + [""] * len(text), text.splitlines()):
        if old != new:
            sys.exit(f"recorded: {old.strip()}\nanswered: {new.strip()}")
    if len(recorded) != len(text.splitlines()):
        sys.exit("the recording has lines that no case answers")
    print(f"{count} answers, all as recorded")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The corpus of system instructions, judged by a KVM whose CPU is QEMU's TCG (nested_machine.py).

    real_corpus_test.py SYSTEM_CORPUS_TEST

That KVM runs every mode. What it gets wrong is listed in system_corpus/quirks.cpp; a quirk that no case shows any more
fails too. Printed is how many cases were judged, and how many not, by reason.

Exit code 77: QEMU or the kernel cannot be had here.
"""

import os
import sys

from nested_machine import run_inside


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = sys.argv[1]
    command = f"XENOLITH_JUDGE=nested /bin/{os.path.basename(program)} --gtest_color=no --gtest_brief=1"
    output, code = run_inside([program], command, show=False)
    if code != 0:
        wanted = [line for line in output.splitlines() if not line.startswith(("judged: ", "not judged: "))]
        sys.exit("\n".join(wanted[:100] + [f"exit code {code}"]))
    print(output[output.rindex("In all:"):])


if __name__ == "__main__":
    main()

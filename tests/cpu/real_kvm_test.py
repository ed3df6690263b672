#!/usr/bin/env python3
"""Runs programs of ours on a real KVM with Xen support, on a host that need not have any.

The ioctl route, KVM_EXIT_XEN and guests outside long mode are tested against the real thing (nested_machine.py).

    real_kvm_test.py PROGRAM [FILE...] [--run COMMAND...]

Without --run, PROGRAM is the GoogleTest program of the KVM engine: nothing in it may fail, and nothing may be skipped,
because this KVM can do everything. A second file is `xenolith`, whose built-in guests must then all do their job by both
routes. With --run, the command runs inside with its output shown, and its exit code is the script's; files are in /bin.

Exit code 77: QEMU or the kernel cannot be had here.
"""

import os
import re
import sys

from nested_machine import run_inside


def check(files):
    program = "/bin/" + os.path.basename(files[0])
    commands = [f"{program} --gtest_color=no"]
    if len(files) > 1:
        xenolith = "/bin/" + os.path.basename(files[1])
        commands += [f"{xenolith} demo --engine kvm --kvm-route {route}" for route in ("ioctl", "msr-exit")]
        # The stubs that KVM generates are no 16-bit code: no real16.
        commands += [f"{xenolith} run --guest {guest} --engine kvm --intercept-hypercalls --until first-hypercall"
                     for guest in ("protected32", "pae32", "compatibility32", "long64")]
    output, code = run_inside(files, "(" + " && ".join(commands) + ")")
    passed, skipped = re.search(r"\[  PASSED  \] (\d+)", output), re.search(r"\[  SKIPPED \] (\d+)", output)
    if code != 0 or passed is None:
        sys.exit(f"exit code {code}")
    if skipped is not None:
        sys.exit(f"{skipped[1]} tests were skipped on a KVM that can do everything")
    print(f"{passed[1]} tests, nothing skipped")


def main():
    arguments = sys.argv[1:]
    if "--run" in arguments:
        at = arguments.index("--run")
        files, command = arguments[:at], " ".join(arguments[at + 1:])
        sys.exit(run_inside(files, command)[1])
    if not arguments:
        sys.exit(__doc__)
    check(arguments)


if __name__ == "__main__":
    main()

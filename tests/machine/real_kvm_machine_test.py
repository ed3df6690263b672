#!/usr/bin/env python3
"""The machine's tests on a real KVM with Xen support (tests/cpu/nested_machine.py), by one of the two routes.

    real_kvm_machine_test.py ioctl|msr-exit MACHINE_TEST

MACHINE_TEST is the GoogleTest program; only its tests on the engine `kvm` are run. Nothing may fail, and what is skipped
has one of the reasons below: what no engine that leaves the guest to KVM can show. They are counted.

Exit code 77: QEMU or the kernel cannot be had here.
"""

import collections
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cpu"))
from nested_machine import run_inside  # noqa: E402 (found by the line above)

REASONS = ("its time is the host's", "it answers CPUID itself", "VMCALL and VMMCALL do not reach the machine",
           "the CPU does not save the next RIP")  # TCG's; real ones do


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("ioctl", "msr-exit"):
        sys.exit(__doc__)
    route, program = sys.argv[1:]
    command = f"{os.path.basename(program)} --gtest_color=no --gtest_brief=1 --gtest_filter='*kvm*'"
    output, code = run_inside([program], f"XENOLITH_KVM_ROUTE={route} /bin/{command}", show=False)
    lines = output.splitlines()
    passed = re.search(r"\[  PASSED  \] (\d+)", output)
    reasons, others = collections.Counter(), []
    skips_next = False
    for line in lines:
        if skips_next:
            reasons[line.rsplit(": ", 1)[-1]] += 1
        elif not line.endswith(": Skipped"):
            others.append(line)
        skips_next = line.endswith(": Skipped")
    if code != 0 or passed is None:
        sys.exit("\n".join(others[:100] + [f"exit code {code}"]))
    print(f"route {route}: {passed[1]} tests passed")
    for reason, count in sorted(reasons.items()):
        print(f"{count:5} skipped: {reason}")
    unknown = [reason for reason in reasons if reason not in REASONS]
    if unknown:
        sys.exit(f"skipped on a KVM that can do everything: {unknown}")


if __name__ == "__main__":
    main()

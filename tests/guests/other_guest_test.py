#!/usr/bin/env python3
"""Runs guests that are not Linux, and waits for what each of them prints on its serial console, in order.

    other_guest_test.py memtest86+x64 [--peer qemu] [--whole-pass]

The texts are those that the guests print on QEMU. None of these guests ends by itself: the run is over with the
last text.

memtest86+: a first round of all its tests but the last, which only waits; with --whole-pass of that too, some ten
minutes. GNU Mach: it is given nothing to start, and says so when all its drivers have looked for their hardware.
Xen: the same, when it misses the kernel of its domain 0.
"""

import dataclasses
import gzip
import pathlib
import re
import tempfile

import guest_case
from guest_case import expect, packages

SECONDS, SECONDS_OF_A_PASS = 200, 2400
# It draws a screen every two seconds: not every test is seen, but the first, and the last, which is long.
MEMTEST = tuple(rf"#{number} +\[" for number in (0, 10)) + (r"Errors: 0\b",)


@dataclasses.dataclass(frozen=True)
class Case:
    package: str  # a name of the manifest
    command_line: str
    texts: tuple
    megabytes: int
    bits: int
    never: str = r"(?!)"  # what must not be printed


CASES = {
    "memtest86+x64": Case(
        "memtest86+x64", "console=ttyS0,115200 nosmp nobench nosm", (r"Memtest86\+ v6\.10", *MEMTEST), 8, 64,
        r"Errors: [1-9]"),
    "memtest86+ia32": Case(
        "memtest86+ia32", "console=ttyS0,115200 nosmp nobench nosm", (r"Memtest86\+ v6\.10", *MEMTEST), 8, 32,
        r"Errors: [1-9]"),
    "gnumach": Case(
        "gnumach-1.8-486", "console=com0",
        (r"GNU Mach 1\.8\S*-486", r"biosmem: physical memory map", r"vm_page: page table size: \d+ entries",
         r"RTC time is 20\d\d-\d\d-\d\d", r"panic .*bootstrap_create: No bootstrap code loaded with the kernel!"),
        32, 32),
    "xen": Case(
        "xen-4.17", "console=com1 com1=115200,8n1 noreboot",
        (r"\(XEN\) Xen version 4\.17", r"Command line: console=com1 com1=115200,8n1 noreboot",
         r"Panic on CPU 0:", r"dom0 kernel not specified", r"Manual reset required \('noreboot' specified\)"), 128, 64),
}


def unpacked(path, folder):
    """The kernel itself, where it is kept compressed: a boot loader would do this."""
    if path.suffix != ".gz":
        return path
    target = folder / path.stem
    target.write_bytes(gzip.decompress(path.read_bytes()))
    return target


def converse(talk, case):
    for text in case.texts:
        talk.expect(text)
        print(f"{talk.matched_at[0]:6.1f} s, {talk.matched_at[1]:.1f} CPU seconds: {text}", flush=True)
    wrong = re.search(case.never, talk.text)
    expect(wrong is None, f"it printed {wrong and wrong[0]}\n{talk.text[-2000:]}")


def main():
    parser = guest_case.parser(__doc__, CASES)
    parser.add_argument("--whole-pass", action="store_true", help="of memtest86+")
    arguments = parser.parse_args()
    case = CASES[arguments.name]
    if arguments.whole_pass:
        case = dataclasses.replace(case, texts=(*case.texts, r"Pass: +1\b"))
    seconds = SECONDS_OF_A_PASS if arguments.whole_pass else SECONDS

    def body():
        with tempfile.TemporaryDirectory(prefix="xenolith-guest-") as folder:
            kernel = unpacked(packages.fetch(case.package)[0], pathlib.Path(folder))
            boot = guest_case.emulators.Boot(kernel, case.command_line, megabytes=case.megabytes, bits=case.bits)
            emulator = guest_case.emulators.by_name(arguments.peer)
            with emulator.start(boot, terminal=arguments.stdin == "terminal", seconds=seconds) as talk:
                converse(talk, case)
                print(f"{arguments.name}: {talk.wall_seconds():.1f} s")

    guest_case.run(arguments.name, body)


if __name__ == "__main__":
    main()

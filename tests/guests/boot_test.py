#!/usr/bin/env python3
"""Boots a stock Debian kernel to a busybox shell on the serial console, types commands, and powers off.

    boot_test.py linux-6.1-amd64 [--peer qemu] [--stdin pipe]

The run must end by itself, with exit code 0. With --peer qemu the same dialogue is held with QEMU, which shows that the
disk, the kernel and this script are right.
"""

import re

import guest_case
from guest_case import expect

from guests import initramfs, packages

# Kernel: what `uname -m` prints, and the megabytes of memory it boots in.
KERNELS = {
    "linux-6.1-amd64": ("x86_64", 128),
    "linux-6.1-cloud-amd64": ("x86_64", 128),
    "linux-6.1-686": ("i686", 128),
    "linux-6.1-686-pae": ("i686", 128),
    "linux-5.10-amd64": ("x86_64", 128),
    "linux-5.10-686-pae": ("i686", 128),
}
COMMAND_LINE = "console=ttyS0 quiet panic=-1"
SECONDS = 240


def converse(talk, name, machine):
    """The dialogue at the prompt, up to the power switch."""
    version = re.fullmatch(r"linux-([0-9.]+)-(.+)", name)[1]
    ready = talk.expect(initramfs.READY + r"(.*)\n")[1]
    expect(re.fullmatch(rf"Linux {re.escape(version)}\.\S+ {machine}", ready), f"the kernel calls itself {ready}")
    talk.expect(re.escape(initramfs.PROMPT))
    print(f"{name}: a prompt after {talk.matched_at[0]:.1f} s, {talk.matched_at[1]:.1f} CPU seconds")

    output, code = talk.command("uname -m; echo $((6*7)); false")
    expect((output, code) == (f"{machine}\n42\n", 1), f"the shell's answers were {output!r}, {code}")
    # The timer and the serial port work by interrupt.
    interrupts, _ = talk.command("cat /proc/interrupts")
    for words in (r"timer|LOC:", r"ttyS0"):
        counts = [int(number) for line in re.findall(rf"^.*(?:{words}).*$", interrupts, re.MULTILINE)
                  for number in re.findall(r":\s+(\d+)", line)]
        expect(any(counts), f"no interrupt of {words} in\n{interrupts}")
    # Time passes, at something like the pace it should.
    uptimes, _ = talk.command("cut -d' ' -f1 /proc/uptime; sleep 1; cut -d' ' -f1 /proc/uptime")
    before, after = map(float, uptimes.split())
    expect(0.9 < after - before < 60, f"sleep 1 took {after - before:.2f} s of the guest's time")
    # Ctrl-C reaches the program that runs, and the shell lives on.
    talk.type("echo reached; sleep 100000")
    talk.expect(r"^reached\n")
    talk.press("\x03")
    talk.expect(re.escape(initramfs.PROMPT))
    faults, _ = talk.command("dmesg | grep -iE 'oops|BUG:|Call Trace|soft lockup|general protection|unable to handle'")
    expect(faults == "", f"the kernel complains:\n{faults}")

    talk.type("poweroff")
    code = talk.finish()
    expect(code == 0, f"poweroff ended the run with exit code {code}\n{talk.text[-1000:]}")


def main():
    arguments = guest_case.parser(__doc__, KERNELS).parse_args()
    machine, megabytes = KERNELS[arguments.name]
    wide = machine == "x86_64"

    def body():
        kernel = packages.fetch(arguments.name)[0]
        disk = initramfs.compress(initramfs.build(initramfs.busybox_for("amd64" if wide else "i386")))
        boot = guest_case.emulators.Boot(kernel, COMMAND_LINE, disk, megabytes, 64 if wide else 32)
        emulator = guest_case.emulators.by_name(arguments.peer)
        with emulator.start(boot, terminal=arguments.stdin == "terminal", seconds=SECONDS) as talk:
            converse(talk, arguments.name, machine)
            print(f"{arguments.name}: {guest_case.figures(talk)}")

    guest_case.run(arguments.name, body)


if __name__ == "__main__":
    main()

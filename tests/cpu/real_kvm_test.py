#!/usr/bin/env python3
"""Runs programs of ours on a real KVM with Xen support, on a host that need not have any.

QEMU's TCG emulates AMD's virtualization, so Debian's 6.12 kernel (CONFIG_KVM_XEN=y) runs its kvm-amd inside, and our
programs run on that kernel's /dev/kvm: the ioctl route, KVM_EXIT_XEN and guests outside long mode are tested against the
real thing.

    real_kvm_test.py PROGRAM [FILE...] [--run COMMAND...]

Without --run, PROGRAM is the GoogleTest program of the KVM engine: nothing in it may fail, and nothing may be skipped,
because this KVM can do everything. A second file is `xenolith`, whose built-in guests must then all do their job by both
routes. With --run, the command runs inside with its output shown, and its exit code is the script's; files are in /bin.
What TCG itself gets wrong, so that no guest here should rest on it: a fault that changes CPL through a 32-bit task-state
segment ends QEMU ("invalid tss type"), and PAE paging leaves accessed bits in page-directory-pointer entries.

Exit code 77: QEMU or the kernel cannot be had here.
"""

import gzip
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 500
SKIPPED = 77
FETCH_UNAVAILABLE = 4
KERNEL = "linux-6.12-kvm"
BEGIN, END = "@@begin", "@@end"

INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in MODULES; do /bin/busybox insmod /modules/$module; done
echo 3 > /proc/sys/kernel/printk
echo "{BEGIN}"
COMMAND 2>&1
echo "{END} $?"
/bin/busybox poweroff -f
"""


def skip(words):
    print(f"skipped: {words}")
    sys.exit(SKIPPED)


def kernel_files():
    result = subprocess.run([ROOT / "tools/fetch-guest", KERNEL], capture_output=True, text=True, check=False)
    if result.returncode == FETCH_UNAVAILABLE:
        skip(result.stderr.strip().splitlines()[-1])
    if result.returncode != 0:
        sys.exit(result.stderr.strip())
    kernel = pathlib.Path(result.stdout.split()[0])
    modules = [kernel.parent / f"{name}.ko.xz" for name in ("irqbypass", "ccp", "kvm", "kvm-amd")]
    return kernel, modules


def libraries_of(program):
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", listing)


class Archive:
    """An initial RAM disk in the "newc" form of cpio."""

    def __init__(self):
        self.bytes = bytearray()
        self.number = 0
        self.seen = set()

    def add(self, path, mode, content=b""):
        parent = os.path.dirname(path)
        if parent and parent not in self.seen:
            self.folder(parent)
        if path in self.seen:
            return
        self.seen.add(path)
        self.number += 1
        name = path.encode() + b"\0"
        fields = (self.number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        self.bytes += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        self.pad()
        self.bytes += content
        self.pad()

    def folder(self, path):
        self.add(path, 0o040755)

    def file(self, path, content):
        self.add(path, 0o100755, content)

    def pad(self):
        self.bytes += b"\0" * (-len(self.bytes) % 4)

    def finish(self):
        self.add("TRAILER!!!", 0)
        return bytes(self.bytes)


def make_disk(modules, files, command):
    archive = Archive()
    for folder in ("dev", "proc", "sys", "tmp"):
        archive.folder(folder)
    names = " ".join(module.name.removesuffix(".xz") for module in modules)
    archive.file("init", INIT.replace("MODULES", names).replace("COMMAND", command).encode())
    archive.file("bin/busybox", pathlib.Path(shutil.which("busybox")).read_bytes())
    for module in modules:
        archive.file("modules/" + module.name.removesuffix(".xz"), lzma.decompress(module.read_bytes()))
    for file in files:
        archive.file("bin/" + os.path.basename(file), pathlib.Path(file).read_bytes())
        for library in libraries_of(file):
            archive.file(library.lstrip("/"), pathlib.Path(library).read_bytes())
    return gzip.compress(archive.finish(), 1)


def run_inside(files, command):
    """The command's output and exit code; everything is printed as it comes."""
    for tool in ("qemu-system-x86_64", "busybox"):
        if shutil.which(tool) is None:
            skip(f"there is no {tool} on this machine")
    kernel, modules = kernel_files()
    with tempfile.NamedTemporaryFile(suffix=".cpio.gz") as disk:
        disk.write(make_disk(modules, files, command))
        disk.flush()
        # One thread: KVM's guests have been seen to fail under TCG's multi-threaded mode.
        qemu = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=single", "-cpu", "max", "-m", "1024",
             "-nographic", "-no-reboot", "-net", "none", "-kernel", kernel, "-initrd", disk.name,
             "-append", "console=ttyS0 quiet panic=-1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        timer = threading.Timer(SECONDS, qemu.kill)
        timer.start()
        output, code, begun = [], None, False
        for raw in qemu.stdout:
            line = raw.decode(errors="replace").replace("\r", "").rstrip("\n")
            if line.endswith(BEGIN):
                begun = True
            elif found := re.search(END + r" (\d+)", line):
                code = int(found[1])
            elif begun and code is None:
                output.append(line)
                print(line, flush=True)
        qemu.wait()
        timer.cancel()
    if code is None:
        sys.exit(f"the machine ended without an answer, or took more than {SECONDS} s")
    return "\n".join(output), code


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

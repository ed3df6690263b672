"""A machine with a real KVM that has Xen support, on a host that need not have any.

QEMU's TCG emulates AMD's virtualization, so Debian's 6.12 kernel (CONFIG_KVM_XEN=y) runs its kvm-amd inside, and our
programs run on that kernel's /dev/kvm. run_inside() boots it with files of ours in /bin and runs one command.

What TCG itself gets wrong, so that no guest inside should rest on it:
- PAE paging leaves accessed bits in page-directory-pointer entries;
- a fault that changes CPL through a 32-bit task-state segment ends QEMU ("invalid tss type") if the task register is
  busy, as LTR leaves it on every CPU but TCG's own: the KVM engine therefore hands it over as available.
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
SECONDS = 1000  # a busy host needs several times what a quiet one does
SKIPPED = 77  # QEMU or the kernel cannot be had here
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


def run_inside(files, command, show=True):
    """The command's output and exit code; the output is also printed as it comes."""
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
                if show:
                    print(line, flush=True)
        qemu.wait()
        timer.cancel()
    if code is None:
        sys.exit(f"the machine ended without an answer, or took more than {SECONDS} s")
    return "\n".join(output), code

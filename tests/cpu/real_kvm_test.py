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

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from guests import initramfs, packages  # noqa: E402

SECONDS = 500
SKIPPED = 77
KERNEL = "linux-6.12-kvm"
BEGIN, END = "@@begin", "@@end"

SCRIPT = f"""echo 3 > /proc/sys/kernel/printk
echo "{BEGIN}"
COMMAND 2>&1
echo "{END} $?"
"""


def skip(words):
    print(f"skipped: {words}")
    sys.exit(SKIPPED)


def kernel_files():
    kernel = packages.fetch(KERNEL)[0]
    modules = [kernel.parent / f"{name}.ko.xz" for name in ("irqbypass", "ccp", "kvm", "kvm-amd")]
    return kernel, modules


def libraries_of(program):
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", listing)


def make_disk(modules, files, command):
    paths = [(f"bin/{os.path.basename(file)}", file) for file in files]
    paths += [(library.lstrip("/"), library) for file in files for library in libraries_of(file)]
    contents = [(inside, pathlib.Path(outside).read_bytes()) for inside, outside in paths]
    return initramfs.compress(initramfs.build(initramfs.busybox_for("amd64"), modules=modules, files=contents,
                                              script=SCRIPT.replace("COMMAND", command)))


def run_inside(files, command):
    """The command's output and exit code; everything is printed as it comes."""
    if shutil.which("qemu-system-x86_64") is None:
        skip("there is no qemu-system-x86_64 on this machine")
    try:
        kernel, modules = kernel_files()
        content = make_disk(modules, files, command)
    except packages.Unavailable as reason:
        skip(reason)
    except packages.FetchFailed as failure:
        sys.exit(str(failure))
    with tempfile.NamedTemporaryFile(suffix=".cpio.gz") as disk:
        disk.write(content)
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

"""A machine with a real KVM that has Xen support, on a host that need not have any.

QEMU's TCG emulates AMD's virtualization, so Debian's 6.12 kernel (CONFIG_KVM_XEN=y) runs its kvm-amd inside, and our
programs run on that kernel's /dev/kvm. run_inside() boots it with files of ours in /bin and runs one command.

What TCG itself gets wrong, so that no guest inside should rest on it:
- PAE paging leaves accessed bits in page-directory-pointer entries;
- a fault that changes CPL through a 32-bit task-state segment ends QEMU ("invalid tss type") if the task register is
  busy, as LTR leaves it on every CPU but TCG's own: the KVM engine therefore hands it over as available.
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

SECONDS = 1000  # a busy host needs several times what a quiet one does
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


def run_inside(files, command, show=True):
    """The command's output and exit code; the output is also printed as it comes."""
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
                if show:
                    print(line, flush=True)
        qemu.wait()
        timer.cancel()
    if code is None:
        sys.exit(f"the machine ended without an answer, or took more than {SECONDS} s")
    return "\n".join(output), code

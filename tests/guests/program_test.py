#!/usr/bin/env python3
"""Runs Debian's own programs inside a guest, and on the host, and compares what they print, byte by byte.

    program_test.py amd64 [--peer qemu]

The binaries are the same: on the host they run by their own loader and with their own libraries, unpacked from the same
packages. What would choose code by the processor (glibc's mathematical functions with fused multiplication) is told by
GLIBC_TUNABLES, on both sides, to choose the plain one.
"""

import fnmatch
import os
import pathlib
import re
import subprocess
import tempfile

import guest_case
from guest_case import Mismatch, expect, packages

from guests import initramfs

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
COMMAND_LINE = "console=ttyS0 quiet panic=-1"
SECONDS = 280
MEGABYTES = 192

# By architecture: kernel, loader, folder of libraries, bits.
CASES = {
    "amd64": ("linux-6.1-amd64", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "x86_64-linux-gnu", 64),
    "i386": ("linux-6.1-686-pae", "lib/i386-linux-gnu/ld-linux.so.2", "i386-linux-gnu", 32),
}
USED = {"python3.11": "usr/bin/python3.11", "perl": "usr/bin/perl", "openssl": "usr/bin/openssl", "gzip": "bin/gzip",
        "sha256sum": "usr/bin/sha256sum", "factor": "usr/bin/factor", "sort": "usr/bin/sort", "cksum": "usr/bin/cksum",
        "od": "usr/bin/od", "seq": "usr/bin/seq", "tr": "usr/bin/tr"}
# Left out: other programs, and what these do not read. A smaller disk is sooner unpacked.
LEFT_OUT = ("sbin/*", "usr/sbin/*", "etc/*", "usr/lib/*/gconv/*", "usr/lib/*/audit/*", "usr/share/*", "usr/lib/ssl/*",
            "usr/lib/*/engines-3/*", "usr/lib/*/perl-base/unicore/*", "usr/lib/*/perl-base/auto/*", "usr/libexec/*",
            "usr/lib/python3.11/encodings/[!_aul]*", "usr/lib/python3.11/lib-dynload/*_codecs_*",
            "usr/lib/locale/*", "lib/*/libmvec*", "lib/*/libns[ls]*",
            "lib/*/libexpatw*", "lib/*/libc_malloc*", "lib/*/libresolv*", "usr/lib/python3.11/email/*",
            "usr/lib/python3.11/urllib/*", "usr/lib/python3.11/lib-dynload/_ssl*")
ENVIRONMENT = {"LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "OPENSSL_CONF": "/dev/null",
               "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4"}

# Lines that a POSIX shell runs in a folder with `data`, `rsa.pem`, `ed25519.pem`, check.py and check.pl.
LINES = (
    "sha256sum data",
    "cksum data",
    "od -A n -t f8 -N 512 data | sha256sum",
    "seq 1 3 2000 | sort -r | tr 1-5 a-e | sha256sum",
    "factor 18446744073709551617 1000000007000000049 340282366920938463463374607431768211455 | sort",
    "gzip -9 -n -c data | sha256sum; gzip -1 -n -c data | gzip -d -c | sha256sum",
    "openssl dgst -sha512 data; openssl dgst -md5 data; openssl dgst -sha3-256 data; openssl dgst -blake2b512 data",
    "openssl enc -aes-256-cbc -K 00112233 -iv 0102 -nosalt -in data | sha256sum",
    "openssl enc -chacha20 -K 00112233 -iv 0102 -nosalt -in data | sha256sum",
    "openssl dgst -sha256 -sign rsa.pem data | openssl base64",
    "openssl rsa -in rsa.pem -check -noout; openssl prime 170141183460469231731687303715884105727",
    "sha256sum <data >sum; openssl pkeyutl -sign -rawin -inkey ed25519.pem -in sum | openssl base64",
    "perl check.pl",
    "python3.11 check.py PYTHON-ARGUMENTS",
)
MEASURE = "openssl speed -elapsed -seconds 1 -bytes 1024 sha256"


def chosen(path):
    if fnmatch.fnmatchcase(path, "bin/*") or fnmatch.fnmatchcase(path, "usr/bin/*"):
        return path in USED.values()
    return packages.without(*LEFT_OUT)(path)


def functions_file():
    """Makes the guest's shell run the packages' programs by their names, and not its own applets."""
    return "".join(f'{name}() {{ /{program} "$@"; }}\n' for name, program in USED.items() if name.isalnum()).encode()


def data_file():
    """A quarter of a megabyte: text that can be compressed, and bytes that cannot."""
    text = "".join(f"{number} {number * number % 9973:x}\n" for number in range(12000)).encode()
    number, noise = 1, bytearray()
    while len(noise) < 100000:
        number = number * 6364136223846793005 % 2**64 + 1442695040888963407
        noise += (number % 2**64).to_bytes(8, "little")
    return text + bytes(noise)


class Host:
    """The packages' programs on this machine: a folder of scripts with their names that call the packages' loader."""

    def __init__(self, folder, debs, loader, libraries):
        self.folder = folder
        root = folder / "root"
        packages.unpack(debs, root, chosen)
        path = ":".join(os.fspath(root / part) for part in (f"lib/{libraries}", f"usr/lib/{libraries}"))
        (folder / "bin").mkdir()
        for name, program in USED.items():
            script = folder / "bin" / name
            script.write_text(f'#!/bin/sh\nexec "{root / loader}" --library-path "{path}" "{root / program}" "$@"\n')
            script.chmod(0o755)
        (folder / "check").mkdir()
        self.environment = dict(ENVIRONMENT, PATH=f"{folder / 'bin'}", PYTHONHOME=f"{root / 'usr'}",
                                PERL5LIB=f"{root / 'usr/lib' / libraries / 'perl-base'}")

    def files(self):
        return sorted((self.folder / "check").iterdir())

    def run(self, line):
        result = subprocess.run(["/bin/sh", "-c", line], cwd=self.folder / "check", env=self.environment,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return result.stdout.decode("latin-1"), result.returncode

    def can_run(self):
        return self.run("sha256sum /dev/null")[1] == 0


def prepare(host):
    """Writes what the lines work on. The keys are new in each run."""
    for name in ("check.py", "check.pl"):
        (host.folder / "check" / name).write_bytes((PROGRAMS / name).read_bytes())
    (host.folder / "check/data").write_bytes(data_file())
    for line in ("openssl genrsa -out rsa.pem 1024", "openssl genpkey -algorithm ed25519 -out ed25519.pem"):
        output, code = host.run(line)
        expect(code == 0, f"on the host: {line}: {output}")


def first_difference(expected, got):
    theirs, ours = expected.splitlines(), got.splitlines()
    for number, (one, other) in enumerate(zip(theirs + [""] * len(ours), ours + [""] * len(theirs)), 1):
        if one != other:
            return f"line {number} on the host:  {one}\nline {number} in the guest: {other}"
    return "they differ in their last newline"


def compare(talk, lines, expected):
    """Runs every line in the guest; raises with the first difference of each line that has one."""
    differences = []
    for line in lines:
        started = talk.wall_seconds()
        output, code = talk.command(line)
        print(f"{talk.wall_seconds() - started:6.1f} s  {line}", flush=True)
        if (output, code) != expected[line]:
            differences.append(f"{line}\nexit code {code}, on the host {expected[line][1]}\n"
                               f"{first_difference(expected[line][0], output)}")
    if differences:
        raise Mismatch("\n\n".join(differences))


def main():
    arguments = guest_case.parser(__doc__, CASES).parse_args()
    kernel_name, loader, libraries, bits = CASES[arguments.name]
    lines = [line.replace("PYTHON-ARGUMENTS", "functions" if bits == 64 else "plain") for line in LINES]

    def body():
        kernel = packages.fetch(kernel_name)[0]
        debs = packages.fetch(f"programs-{arguments.name}")
        with tempfile.TemporaryDirectory(prefix="xenolith-programs-") as name:
            host = Host(pathlib.Path(name), debs, loader, libraries)
            if not host.can_run():
                raise packages.Unavailable(f"this machine does not run programs for {arguments.name}")
            prepare(host)
            files = [(f"check/{path.name}", path.read_bytes()) for path in host.files()]
            files.append(("check/functions", functions_file()))
            expected = {line: host.run(line) for line in lines}
        for line, (output, code) in expected.items():
            expect(code == 0 and output, f"on the host: {line}: exit code {code}\n{output}")
        disk = initramfs.build(initramfs.busybox_for(arguments.name), packages_to_add=debs, files=files, keep=chosen)
        boot = guest_case.emulators.Boot(kernel, COMMAND_LINE, disk, MEGABYTES, bits)
        emulator = guest_case.emulators.by_name(arguments.peer)
        with emulator.start(boot, terminal=arguments.stdin == "terminal", seconds=SECONDS) as talk:
            talk.expect(re.escape(initramfs.PROMPT))
            print(f"{talk.wall_seconds():6.1f} s  to the prompt, with a disk of {len(disk) >> 20} MiB", flush=True)
            for name, value in ENVIRONMENT.items():
                talk.command(f"export {name}={value}")
            talk.command("echo 1 >/proc/sys/kernel/printk; cd /check; . ./functions; exec 2>&1")
            compare(talk, lines, expected)
            output, code = talk.command(MEASURE)
            expect(code == 0, f"{MEASURE}: exit code {code}\n{output}")
            print(next((line for line in output.splitlines() if line.startswith("sha256 ")), "no figure"))
            talk.type("poweroff")
            code = talk.finish()
            expect(code == 0, f"poweroff ended the run with exit code {code}")
            print(f"{arguments.name}: {guest_case.figures(talk)}")

    guest_case.run(arguments.name, body)


if __name__ == "__main__":
    main()

"""Programs that boot a kernel, its serial port on standard input and output: Xenolith, and peers to compare with."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from guests import dialogue, packages


@dataclasses.dataclass(frozen=True)
class Boot:
    """What is booted."""

    kernel: pathlib.Path
    command_line: str
    initrd: bytes = b""
    megabytes: int = 128
    bits: int = 64  # the guest's; QEMU has a program for each


def missing_program(*names):
    """Says which of some programs is not there, or None."""
    return next((f"there is no {name} on this machine" for name in names if shutil.which(name) is None), None)


class Emulator:
    """How a program is started on a Boot in a folder of its own."""

    name = ""

    def missing(self):
        """What this machine lacks to run it, or None."""
        raise NotImplementedError

    def command(self, boot, folder):
        raise NotImplementedError

    def totals(self, folder):
        """What the emulator counted during a run that has ended, or nothing."""
        return {}

    @contextlib.contextmanager
    def start(self, boot, *, terminal=True, seconds=60.0):
        """Gives a Dialogue with the guest's console."""
        missing = self.missing()
        if missing:
            raise packages.Unavailable(missing)
        with tempfile.TemporaryDirectory(prefix="xenolith-guest-") as name:
            folder = pathlib.Path(name)
            if boot.initrd:
                (folder / "initrd").write_bytes(boot.initrd)
            command = [os.fspath(word) for word in self.command(boot, folder)]
            with dialogue.Dialogue(command, terminal=terminal, seconds=seconds, folder=folder) as talk:
                talk.totals = lambda: self.totals(folder)
                yield talk


class Xenolith(Emulator):
    name = "xenolith"

    def __init__(self, program, options=("--no-xen",)):
        self.program = os.path.abspath(program)
        self.options = options

    def missing(self):
        return missing_program(self.program)

    def command(self, boot, folder):
        initrd = ["--initrd", folder / "initrd"] if boot.initrd else []
        return [self.program, "run", boot.kernel, *initrd, "--append", boot.command_line,
                "--memory", f"{boot.megabytes}M", "--quiet", "--timeline", folder / "timeline.json", *self.options]

    def totals(self, folder):
        file = folder / "timeline.json"
        return json.loads(file.read_text())["totals"] if file.exists() else {}


class Qemu(Emulator):
    name = "qemu"

    def missing(self):
        return missing_program("qemu-system-x86_64", "qemu-system-i386")

    def command(self, boot, folder):
        initrd = ["-initrd", folder / "initrd"] if boot.initrd else []
        program = "qemu-system-x86_64" if boot.bits == 64 else "qemu-system-i386"
        return [program, "-accel", "tcg", "-m", str(boot.megabytes), "-nodefaults", "-display", "none", "-no-reboot", "-chardev", "stdio,id=console,signal=off",
                "-serial", "chardev:console", "-kernel", boot.kernel, *initrd, "-append", boot.command_line]


def bochs_display():
    """A display library that needs no screen: nogui where there is one, else a VNC server nobody waits for."""
    if any(pathlib.Path("/usr/lib").glob("*/bochs/plugins/libbx_nogui*")):
        return "nogui"
    return 'rfb, options="timeout=0"'


class Bochs(Emulator):
    """Boots from a CD image, made with xorriso and isolinux: Bochs itself loads no kernels. Only with a terminal, which
    is its serial port."""

    name = "bochs"

    PROGRAM = "bochs-bin" if shutil.which("bochs-bin") else "bochs"
    LOADER = (pathlib.Path("/usr/lib/ISOLINUX/isolinux.bin"),
              pathlib.Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"))

    def missing(self):
        absent = [file for file in self.LOADER if not file.exists()]
        return f"there is no {absent[0]} on this machine" if absent else missing_program(self.PROGRAM, "xorriso")

    def command(self, boot, folder):
        disc = folder / "disc"
        disc.mkdir()
        for file in self.LOADER:
            shutil.copy(file, disc)
        shutil.copy(boot.kernel, disc / "kernel")
        initrd = ""
        if boot.initrd:
            shutil.copy(folder / "initrd", disc / "initrd")
            initrd = "initrd=initrd "
        (disc / "isolinux.cfg").write_text(f"PROMPT 0\nDEFAULT kernel\nLABEL kernel\n  KERNEL kernel\n"
                                           f"  APPEND {initrd}{boot.command_line}\n")
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", folder / "disc.iso", "-b", "isolinux.bin", "-c",
                        "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", disc],
                       check=True, stdin=subprocess.DEVNULL, capture_output=True)
        # The speaker would look for a sound card; where there is none, Debian's 2.7 may end with a buffer overflow.
        (folder / "bochsrc").write_text(
            "plugin_ctrl: speaker=0, parallel=0, gameport=0\n"
            "config_interface: textconfig\n"
            f"display_library: {bochs_display()}\n"
            f"megs: {boot.megabytes}\n"
            "cpu: model=corei5_lynnfield_750, ips=500000000, reset_on_triple_fault=0\n"
            "romimage: file=/usr/share/bochs/BIOS-bochs-latest\n"
            "vgaromimage: file=/usr/share/vgabios/vgabios.bin\n"
            "ata0-master: type=cdrom, path=disc.iso, status=inserted\n"
            "com1: enabled=1, mode=term, dev=/dev/stdin\n"
            "boot: cdrom\n"
            "clock: sync=none\n"
            "log: log\n"
            "panic: action=fatal\nerror: action=ignore\ninfo: action=ignore\ndebug: action=ignore\n")
        # A Bochs with its debugger compiled in waits for commands before the first instruction.
        (folder / "commands").write_text("continue\nquit\n")
        return [self.PROGRAM, "-q", "-f", "bochsrc", "-rc", "commands"]


def by_name(name):
    """The emulator of that name. Xenolith is the one that XENOLITH_BINARY names, as in every test."""
    return Xenolith(os.environ["XENOLITH_BINARY"]) if name == "xenolith" else {"qemu": Qemu, "bochs": Bochs}[name]()

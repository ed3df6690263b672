"""Programs that boot a kernel with its serial port on standard input and output: Xenolith, and peers to compare with."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
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


class Emulator:
    """How a program is started on a Boot in a folder of its own."""

    name = ""

    def command(self, boot, folder):
        raise NotImplementedError

    def totals(self, folder):
        """What the emulator counted during a run that has ended, or nothing."""
        return {}

    @contextlib.contextmanager
    def start(self, boot, *, terminal=True, seconds=60.0):
        """Gives a Dialogue with the guest's console."""
        with tempfile.TemporaryDirectory(prefix="xenolith-guest-") as name:
            folder = pathlib.Path(name)
            if boot.initrd:
                (folder / "initrd").write_bytes(boot.initrd)
            command = [os.fspath(word) for word in self.command(boot, folder)]
            if shutil.which(command[0]) is None:
                raise packages.Unavailable(f"there is no {command[0]} on this machine")
            with dialogue.Dialogue(command, terminal=terminal, seconds=seconds, folder=folder) as talk:
                talk.totals = lambda: self.totals(folder)
                yield talk


class Xenolith(Emulator):
    name = "xenolith"

    def __init__(self, program, options=("--no-xen",)):
        self.program = os.path.abspath(program)
        self.options = options

    def command(self, boot, folder):
        initrd = ["--initrd", folder / "initrd"] if boot.initrd else []
        return [self.program, "run", boot.kernel, *initrd, "--append", boot.command_line,
                "--memory", f"{boot.megabytes}M", "--quiet", "--timeline", folder / "timeline.json", *self.options]

    def totals(self, folder):
        file = folder / "timeline.json"
        return json.loads(file.read_text())["totals"] if file.exists() else {}


class Qemu(Emulator):
    name = "qemu"

    def command(self, boot, folder):
        initrd = ["-initrd", folder / "initrd"] if boot.initrd else []
        return ["qemu-system-x86_64" if boot.bits == 64 else "qemu-system-i386", "-accel", "tcg", "-m", str(boot.megabytes),
                "-nodefaults", "-display", "none", "-no-reboot", "-chardev", "stdio,id=console,signal=off",
                "-serial", "chardev:console", "-kernel", boot.kernel, *initrd, "-append", boot.command_line]


def by_name(name):
    """The emulator of that name. Xenolith is the one that XENOLITH_BINARY names, as in every test."""
    return Xenolith(os.environ["XENOLITH_BINARY"]) if name == "xenolith" else {"qemu": Qemu}[name]()

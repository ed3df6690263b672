"""Initial RAM disks of Debian's own programs: busybox, and what packages and kernel modules are asked for.

The disk's /init mounts proc, sysfs and devtmpfs, loads the modules, and then either runs a script and powers off, or
says that it is ready (READY) and gives a shell (its prompt: PROMPT) on the console.
"""

import gzip
import lzma

from guests import cpio, packages

ARCHITECTURES = ("amd64", "i386")
READY = "initramfs ready: "
PROMPT = "busybox# "

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ TERM=vt102 ENV=/etc/shell
for module in MODULES; do insmod /modules/$module; done
SCRIPT
poweroff -f
"""

# A session and a controlling terminal of its own, so that Ctrl-C works. Leaving the shell powers off.
SHELL = f"""echo "{READY}$(uname -srm)"
setsid cttyhack sh
"""

# This init knows no signals that would ask it to end, so that the plain words do what they say.
SHELL_SETTINGS = f"""PS1='{PROMPT}'
alias poweroff='poweroff -f' halt='halt -f' reboot='reboot -f'
"""


def add_package(archive, package, keep):
    """The files of a .deb, where it has them. Hard links become files of their own."""
    contents = {}
    for path, entry, content in packages.members(package, keep):
        if entry.isdir():
            archive.folder(path, entry.mode & 0o7777)
        elif entry.issym():
            archive.link(path, entry.linkname)
        elif entry.islnk():
            target = entry.linkname.removeprefix("./")
            if target in contents:
                archive.file(path, contents[target], entry.mode & 0o7777)
        elif entry.isfile():
            contents[path] = content
            archive.file(path, content, entry.mode & 0o7777)


def module_content(path):
    """A kernel module as busybox's insmod takes it: uncompressed."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def build(busybox, *, packages_to_add=(), modules=(), files=(), script=SHELL,
          keep=packages.without(*packages.DOCUMENTATION)):
    """A disk's bytes, not compressed.

    busybox: the bytes of a static busybox. packages_to_add: paths of .deb files, of which `keep` chooses. modules:
    paths of .ko or .ko.xz files in the order of loading. files: (path in the disk, bytes), all executable. script: what /init
    does before it powers off.
    """
    archive = cpio.Archive()
    for folder in ("bin", "dev", "etc", "proc", "run", "sys"):
        archive.folder(folder)
    archive.folder("tmp", 0o1777)
    archive.character_device("dev/console", 5, 1)
    names = [path.name.removesuffix(".xz") for path in modules]
    archive.file("init", INIT.replace("MODULES", " ".join(names)).replace("SCRIPT\n", script).encode())
    archive.file("etc/shell", SHELL_SETTINGS.encode(), 0o644)
    archive.file("bin/busybox", busybox)
    for name, path in zip(names, modules):
        archive.file(f"modules/{name}", module_content(path), 0o644)
    for path, content in files:
        archive.file(path, content)
    for package in packages_to_add:
        add_package(archive, package, keep)
    return archive.finish()


def compress(disk):
    """gzip without a time stamp or a name, so that the same disk gives the same bytes."""
    return gzip.compress(disk, 6, mtime=0)


def busybox_for(architecture):
    """The bytes of Debian's busybox-static, fetched if need be."""
    return packages.fetch(f"busybox-{architecture}")[0].read_bytes()

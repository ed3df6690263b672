#!/usr/bin/env python3
"""Initial RAM disks: their form, that they are always the same, and what tools/make-initramfs says about bad arguments.

Read back with the entries' own fields; the guests' tests show that kernels take them. Needs no network.
"""

import gzip
import lzma
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from guests import cpio, initramfs, packages  # noqa: E402

BUSYBOX = b"\x7fELF, or so it says"


def entries(disk):
    """The entries of a newc archive by path: (mode, content, (major, minor))."""
    found, at = {}, 0
    while True:
        assert disk[at:at + 6] == b"070701", f"no entry at {at}"
        fields = [int(disk[at + 6 + 8 * n:at + 14 + 8 * n], 16) for n in range(13)]
        name_length, size = fields[11], fields[6]
        name = disk[at + 110:at + 110 + name_length - 1].decode()
        start = (at + 110 + name_length + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert not any(disk[start:])
            return found
        assert name not in found, name
        assert (fields[2], fields[3], fields[5]) == (0, 0, 0), "an owner or a time"
        parent = os.path.dirname(name)
        assert not parent or stat.S_ISDIR(found[parent][0]), f"{name} comes before its folder"
        found[name] = (fields[1], disk[start:start + size], (fields[9], fields[10]))
        at = (start + size + 3) // 4 * 4


def deb(folder, members):
    """A package of (name, type, target or content); its control part is the least that dpkg-deb accepts."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text("Package: xenolith-test\nVersion: 1\nArchitecture: all\nMaintainer: nobody\n"
                                         "Description: test\n")
    for name, kind, value in members:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(value)
        elif kind == "hard link":
            path.hardlink_to(tree / value)
        else:
            path.write_bytes(value)
            path.chmod(0o755 if kind == "program" else 0o644)
    target = folder / "test.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, target], check=True, capture_output=True)
    return target


class Archives(unittest.TestCase):
    def test_entries_read_back(self):
        archive = cpio.Archive()
        for size in range(6):
            archive.file("a/b/" + "n" * (size + 1), b"x" * size, 0o640)
        archive.link("l", "a/b")
        archive.character_device("dev/console", 5, 1)
        found = entries(archive.finish())
        self.assertEqual(found["a"], (0o040755, b"", (0, 0)))
        for size in range(6):
            self.assertEqual(found["a/b/" + "n" * (size + 1)], (0o100640, b"x" * size, (0, 0)))
        self.assertEqual(found["l"], (0o120777, b"a/b", (0, 0)))
        self.assertEqual(found["dev/console"], (0o020600, b"", (5, 1)))

    def test_of_two_entries_the_first_stays(self):
        archive = cpio.Archive()
        archive.file("f", b"first")
        archive.file("f", b"second")
        self.assertEqual(entries(archive.finish())["f"][1], b"first")

    @unittest.skipUnless(shutil.which("cpio"), "there is no cpio on this machine")
    def test_cpio_reads_it_too(self):
        disk = initramfs.build(BUSYBOX)
        listing = subprocess.run(["cpio", "-t", "--quiet"], input=disk, capture_output=True, check=True).stdout.decode()
        self.assertEqual(listing.split(), list(entries(disk)))


class Disks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_the_same_again_gives_the_same_bytes(self):
        first = initramfs.compress(initramfs.build(BUSYBOX, files=[("x", b"1")]))
        self.assertEqual(first, initramfs.compress(initramfs.build(BUSYBOX, files=[("x", b"1")])))
        self.assertEqual(gzip.decompress(first), initramfs.build(BUSYBOX, files=[("x", b"1")]))

    def test_what_a_shell_needs(self):
        found = entries(initramfs.build(BUSYBOX))
        self.assertEqual(found["bin/busybox"], (0o100755, BUSYBOX, (0, 0)))
        self.assertEqual(found["dev/console"][2], (5, 1))
        self.assertEqual(found["tmp"][0], 0o041777)
        mode, text, _ = found["init"]
        self.assertEqual(mode, 0o100755)
        self.assertTrue(text.startswith(b"#!/bin/busybox sh\n"))
        self.assertIn(initramfs.READY.encode(), text)
        self.assertTrue(text.endswith(b"poweroff -f\n"))
        subprocess.run(["sh", "-n"], input=text, check=True)
        subprocess.run(["sh", "-n"], input=found["etc/shell"][1], check=True)

    def test_modules_are_unpacked_and_loaded_in_order(self):
        modules = [self.folder / "second.ko.xz", self.folder / "a-first.ko"]
        modules[0].write_bytes(lzma.compress(b"packed"))
        modules[1].write_bytes(b"plain")
        found = entries(initramfs.build(BUSYBOX, modules=modules, script="echo done\n"))
        self.assertEqual(found["modules/second.ko"][1], b"packed")
        self.assertEqual(found["modules/a-first.ko"][1], b"plain")
        self.assertIn(b"for module in second.ko a-first.ko; do insmod", found["init"][1])
        self.assertIn(b"\necho done\npoweroff -f\n", found["init"][1])

    @unittest.skipUnless(shutil.which("dpkg-deb"), "there is no dpkg-deb on this machine")
    def test_packages(self):
        package = deb(self.folder, [
            ("usr/bin/program", "program", b"code"), ("usr/bin/same", "hard link", "usr/bin/program"),
            ("usr/lib/data", "file", b"data"), ("lib64/loader", "link", "/lib/loader"),
            ("usr/share/doc/program/copyright", "file", b"text")])
        found = entries(initramfs.build(BUSYBOX, packages_to_add=[package]))
        self.assertEqual(found["usr/bin/program"][:2], (0o100755, b"code"))
        self.assertEqual(found["usr/bin/same"][:2], (0o100755, b"code"))
        self.assertEqual(found["usr/lib/data"][:2], (0o100644, b"data"))
        self.assertEqual(found["lib64/loader"][:2], (0o120777, b"/lib/loader"))
        self.assertNotIn("usr/share/doc/program/copyright", found)
        chosen = entries(initramfs.build(BUSYBOX, packages_to_add=[package], keep=packages.without("usr/*")))
        self.assertIn("lib64/loader", chosen)
        self.assertNotIn("usr/bin/program", chosen)
        root = self.folder / "root"
        packages.unpack([package], root, packages.without("usr/lib/*"))
        self.assertEqual((root / "usr/bin/same").read_bytes(), b"code")
        self.assertEqual(os.readlink(root / "lib64/loader"), "/lib/loader")
        self.assertFalse((root / "usr/lib/data").exists())

    @unittest.skipUnless(shutil.which("dpkg-deb"), "there is no dpkg-deb on this machine")
    def test_what_is_no_package_is_refused(self):
        broken = self.folder / "broken.deb"
        broken.write_bytes(b"!<arch>\nnothing")
        with self.assertRaises(packages.FetchFailed):
            initramfs.build(BUSYBOX, packages_to_add=[broken])


class CommandLine(unittest.TestCase):
    """With an empty cache, and an archive that cannot be asked."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_tool(self, *arguments):
        environment = dict(os.environ, XDG_CACHE_HOME=str(self.folder),
                           XENOLITH_DEBIAN_MIRROR=f"file:{self.folder}/none")
        return subprocess.run([sys.executable, "-B", ROOT / "tools/make-initramfs", *arguments], capture_output=True,
                              text=True, check=False, env=environment, cwd=self.folder, timeout=60)

    def test_bad_arguments(self):
        for arguments in ((), ("--architecture", "mips", "x"), ("a", "b"), ("--frobnicate", "x")):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.run_tool(*arguments).returncode, 2)

    def test_busybox_that_cannot_be_had(self):
        result = self.run_tool("disk.img")
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertFalse((self.folder / "disk.img").exists())

    def test_a_file_that_is_not_there(self):
        cached = self.folder / "xenolith/guests/busybox-amd64"
        cached.mkdir(parents=True)
        result = self.run_tool("--file", "nowhere", "disk.img")
        self.assertIn(result.returncode, (3, 4), result.stderr)
        self.assertNotIn("Traceback", result.stderr)


if __name__ == "__main__":
    unittest.main()

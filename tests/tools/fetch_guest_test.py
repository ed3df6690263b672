#!/usr/bin/env python3
"""tools/fetch-guest with a cache and a manifest of our own; nothing here needs a network."""

import hashlib
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNEL = b"a kernel, or so the manifest says\n"
PACKAGES = {"libtest1": b"one package\n", "xenolith-test": b"another\n"}
OK, USAGE, UNTRUSTED, UNAVAILABLE = 0, 2, 3, 4


def manifest(**changes):
    fields = {
        "suite": "bookworm", "package": "xenolith-test-guest", "version": "1.0-1", "architecture": "amd64",
        "sha256": "0" * 64, "files": f"\n    boot/vmlinuz-test {hashlib.sha256(KERNEL).hexdigest()}",
    }
    fields.update(changes)
    return "[guest]\n" + "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)


def set_manifest(**changes):
    fields = {"suite": "bookworm", "architecture": "amd64",
              "packages": "".join(f"\n    {name} 1.0-1 {hashlib.sha256(content).hexdigest()}"
                                  for name, content in PACKAGES.items())}
    fields.update(changes)
    return "[set]\n" + "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)


class FetchGuest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.kernel = self.folder / "xenolith/guests/guest/vmlinuz-test"

    def put_into_cache(self, content):
        self.kernel.parent.mkdir(parents=True)
        self.kernel.write_bytes(content)

    def run_tool(self, *arguments, text=None):
        path = self.folder / "guests.manifest"
        path.write_text(manifest() if text is None else text)
        environment = dict(os.environ, XDG_CACHE_HOME=str(self.folder))
        return subprocess.run([ROOT / "tools/fetch-guest", "--manifest", path, *arguments], capture_output=True,
                              text=True, check=False, env=environment, timeout=60)

    def assert_one_line_error(self, result, code, words):
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertIn(words, result.stderr)
        self.assertEqual(result.stdout, "")

    def test_a_cached_guest_is_verified_and_its_path_printed(self):
        self.put_into_cache(KERNEL)
        result = self.run_tool("guest")
        self.assertEqual((result.returncode, result.stdout), (OK, f"{self.kernel}\n"))

    def test_a_changed_file_in_the_cache_is_not_used(self):
        self.put_into_cache(KERNEL + b"!")
        self.assert_one_line_error(self.run_tool("--offline", "guest"), UNAVAILABLE, "not in the cache")

    def test_offline_says_what_is_missing(self):
        self.assert_one_line_error(self.run_tool("--offline", "guest"), UNAVAILABLE, "guest is not in the cache")

    def test_list_says_what_is_cached(self):
        self.assertIn("not in the cache", self.run_tool("--list").stdout)
        self.put_into_cache(KERNEL)
        self.assertIn(str(self.kernel), self.run_tool("--list").stdout)

    def test_a_set_is_verified_package_by_package_and_all_paths_are_printed(self):
        folder = self.folder / "xenolith/guests/set"
        folder.mkdir(parents=True)
        paths = [folder / f"{name}.deb" for name in PACKAGES]
        for path, content in zip(paths, PACKAGES.values()):
            path.write_bytes(content)
        result = self.run_tool("--offline", "set", text=set_manifest())
        self.assertEqual((result.returncode, result.stdout), (OK, "".join(f"{path}\n" for path in paths)))
        paths[1].write_bytes(b"changed")
        self.assert_one_line_error(self.run_tool("--offline", "set", text=set_manifest()), UNAVAILABLE,
                                   "set is not in the cache")

    def test_an_unknown_guest_is_a_bad_command_line(self):
        self.assert_one_line_error(self.run_tool("nobody"), USAGE, "no guest named nobody")

    def test_no_guest_is_a_bad_command_line(self):
        self.assert_one_line_error(self.run_tool(), USAGE, "name a guest")

    def test_malformed_manifests_are_refused(self):
        for text in (
            manifest(sha256=None),
            manifest(sha256="12ab"),
            manifest(files=""),
            manifest(files="boot/vmlinuz"),
            manifest(files="/etc/passwd " + "0" * 64),
            manifest(files="boot/../../x " + "0" * 64),
            "no section\n",
            set_manifest(packages=""),
            set_manifest(packages="libtest1 1.0-1"),
            set_manifest(packages="libtest1 1.0-1 12ab"),
            set_manifest(packages="../libtest1 1.0-1 " + "0" * 64),
            set_manifest(architecture=None),
            set_manifest(package="libtest1"),
            set_manifest(files="boot/vmlinuz " + "0" * 64),
        ):
            with self.subTest(text=text):
                result = self.run_tool("--offline", "--all", text=text)
                self.assertEqual(result.returncode, UNTRUSTED, result.stderr)
                self.assertNotIn("Traceback", result.stderr)

    def test_the_manifest_of_the_project_is_complete(self):
        result = subprocess.run([ROOT / "tools/fetch-guest", "--list"], capture_output=True, text=True, check=False,
                                env=dict(os.environ, XDG_CACHE_HOME=str(self.folder)))
        self.assertEqual(result.returncode, OK, result.stderr)
        names = [line.split()[0] for line in result.stdout.splitlines()]
        for kernel in ("5.10", "6.1"):
            for flavour in ("amd64", "cloud-amd64", "686-pae", "686"):
                self.assertIn(f"linux-{kernel}-{flavour}", names)


if __name__ == "__main__":
    unittest.main()

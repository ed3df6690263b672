"""Debian packages: fetched by tools/fetch-guest, and read without unpacking them anywhere."""

import fnmatch
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FETCH_UNAVAILABLE = 4

# What no program here reads.
DOCUMENTATION = ("usr/share/doc/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*", "usr/share/lintian/*",
                 "usr/share/doc-base/*", "usr/share/bug/*")


class Unavailable(Exception):
    """Something cannot be had on this machine: a test is skipped, and says why."""


class FetchFailed(Exception):
    """The archive or the manifest is wrong."""


def fetch(name):
    """The paths that tools/fetch-guest prints for a name of the manifest."""
    result = subprocess.run([ROOT / "tools/fetch-guest", name], capture_output=True, text=True, check=False)
    last = (result.stderr.strip().splitlines() or ["fetch-guest failed"])[-1]
    if result.returncode == FETCH_UNAVAILABLE:
        raise Unavailable(last)
    if result.returncode != 0:
        raise FetchFailed(last)
    return [pathlib.Path(line) for line in result.stdout.splitlines()]


def members(package, keep=lambda path: True):
    """(path, tar entry, content) of what a .deb file holds; links and folders have no content."""
    if shutil.which("dpkg-deb") is None:
        raise Unavailable("there is no dpkg-deb on this machine")
    command = ["dpkg-deb", "--fsys-tarfile", package]
    with tempfile.TemporaryFile() as errors, \
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as unpacking:
        try:
            with tarfile.open(fileobj=unpacking.stdout, mode="r|") as tar:
                for entry in tar:
                    path = entry.name.removeprefix("./").rstrip("/")
                    if path and path != "." and keep(path):
                        yield path, entry, tar.extractfile(entry).read() if entry.isfile() else b""
            unpacking.stdout.read()  # what pads the end
        except tarfile.TarError as error:
            raise FetchFailed(f"{package}: {error}") from error
        if unpacking.wait() != 0:
            errors.seek(0)
            raise FetchFailed(f"{package}: {errors.read().decode('utf-8', 'replace').strip()}")


def without(*patterns):
    """A choice for `members`: all but the paths that match a pattern."""
    return lambda path: not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def unpack(packages, folder, keep=lambda path: True):
    """Lays out packages below a folder, owned by who runs this. Links are kept as they are, absolute ones too."""
    for package in packages:
        for path, entry, content in members(package, keep):
            target = pathlib.Path(folder) / path
            if entry.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if entry.issym():
                target.symlink_to(entry.linkname)
            elif entry.islnk():
                target.hardlink_to(pathlib.Path(folder) / entry.linkname.removeprefix("./"))
            elif entry.isfile():
                target.write_bytes(content)
                target.chmod(entry.mode & 0o755)

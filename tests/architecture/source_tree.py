"""The files of the project: what the tests of this folder look at."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE_FOLDERS = ("mmu", "cpu", "xen", "devices", "loader", "machine", "tools")
OTHER_FOLDERS = ("tests", "bench", "docs", ".ci")
CXX_SUFFIXES = (".cpp", ".hpp", ".S")


def all_files():
    """Every file that belongs to the project, as paths relative to its root."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]  # a file in a linked worktree
    for folder in SOURCE_FOLDERS + OTHER_FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(path.relative_to(ROOT) for path in found)


def text_of(path):
    """A file's text, or None if it is not text (a fuzzing corpus, for instance)."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None

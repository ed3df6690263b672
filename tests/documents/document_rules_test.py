#!/usr/bin/env python3
"""How documents are read, and what all of them together must hold."""

import pathlib
import re
import unittest

import document

ROOT = pathlib.Path(__file__).resolve().parents[2]

EXAMPLE = """Text.

```sh run
echo one
```

```text shows
one
```

```sh run exit=3 guest=linux
exit 3
```

```sh
not run
```
"""


class Blocks(unittest.TestCase):
    def test_marked_blocks_and_their_output(self):
        first, second = document.runnable_blocks(EXAMPLE)
        self.assertEqual((first.line, first.commands, first.exit_code, first.shows), (3, "echo one", 0, ["one"]))
        self.assertEqual((second.commands, second.exit_code, second.guest, second.shows), ("exit 3", 3, "linux", []))

    def test_mistakes_are_found(self):
        for text in ("```sh run\n", "```text shows\nx\n```\n", "```sh run fast\nx\n```\n"):
            with self.subTest(text=text), self.assertRaises(ValueError):
                document.runnable_blocks(text)

    def test_output_is_compared_in_order(self):
        output = "alpha 1\nbeta   2\ngamma 3\n"
        for shows, missing in (
            (["alpha 1", "gamma 3"], None),
            (["alpha …", "…", "… 3"], None),
            (["beta 2", "alpha 1"], "alpha 1"),
            (["alpha"], "alpha"),
            (["delta"], "delta"),
        ):
            with self.subTest(shows=shows):
                self.assertEqual(document.first_line_missing(shows, output), missing)

    def test_links_to_files(self):
        self.assertEqual(document.links("[a](b.md#c) [d](#e) [f](g/h.md)"), ["b.md", "g/h.md"])


class TheDocuments(unittest.TestCase):
    def test_readme_leads_to_every_document(self):
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        named = set(document.links(readme))
        for path in sorted((ROOT / "docs").glob("*.md")):
            self.assertIn(f"docs/{path.name}", named)

    def test_paths_that_documents_name_exist(self):
        """A word in back quotes that begins with one of the folders and names a file is that file."""
        missing = []
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
            words = re.findall(r"`((?:mmu|cpu|xen|devices|loader|machine|tools|tests|docs|bench)/[\w./-]+)`",
                               path.read_text(encoding="utf-8"))
            missing += [f"{path.name}: {word}" for word in words if not (ROOT / word).exists()]
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main()

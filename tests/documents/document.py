"""Documents as data: fenced blocks of commands, what they should print, and links.

A block opened by ```sh run is run with `sh -e`, in one folder per document that looks like the project's own. Words
after `run` say more: `exit=N` expects that exit code; `guest=NAME` needs that kernel, and is skipped without it.
If the next block is opened by ```text shows, each of its lines must appear in the output, in that order; in such a
line … stands for anything, runs of spaces count as one, and a line that is … alone stands for any lines.
"""

import dataclasses
import re

FENCE = re.compile(r"^```(.*)$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHOWS = "text shows"


@dataclasses.dataclass
class Block:
    line: int
    commands: str
    exit_code: int = 0
    guest: str = ""
    shows: list = dataclasses.field(default_factory=list)


def fences(text):
    """(line number, info string, content) of each fenced block. ValueError if one is not closed."""
    found, opened, content = [], None, []
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if match and opened is None:
            opened, content = (number, match.group(1).strip()), []
        elif match:
            found.append((opened[0], opened[1], "\n".join(content)))
            opened = None
        elif opened is not None:
            content.append(line)
    if opened is not None:
        raise ValueError(f"line {opened[0]}: a fenced block that is not closed")
    return found


def runnable_blocks(text):
    blocks, previous = [], None
    for line, information, content in fences(text):
        words = information.split()
        if words[:2] == ["sh", "run"]:
            previous = Block(line, content)
            for word in words[2:]:
                key, _, value = word.partition("=")
                if key == "exit":
                    previous.exit_code = int(value)
                elif key == "guest":
                    previous.guest = value
                else:
                    raise ValueError(f"line {line}: unknown word {word}")
            blocks.append(previous)
        elif information == SHOWS:
            if previous is None:
                raise ValueError(f"line {line}: output of no command")
            previous.shows = content.splitlines()
            previous = None
        else:
            previous = None
    return blocks


def first_line_missing(shows, output):
    """The first line of `shows` that `output` does not have behind the one before it, or None."""
    have = iter([" ".join(line.split()) for line in output.splitlines()])
    for line in shows:
        wanted = " ".join(line.split())
        if wanted in ("", "…"):
            continue
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in wanted.split("…")))
        if not any(pattern.fullmatch(got) for got in have):
            return line
    return None


def links(text):
    """Targets of links that lead to files, without their fragment."""
    return [target.split("#")[0] for target in LINK.findall(text) if not target.startswith("#") and "://" not in target]

#!/usr/bin/env python3
"""A kernel booted to its shell twice: once in one run, and once saved at the prompt and resumed from the snapshot.

The same keys are typed by script. Both must come to the same end after the same instructions and cycles, and print the
same from the prompt on: runs are reproducible, and a snapshot changes nothing.
"""

import json
import os
import pathlib
import subprocess
import tempfile

import guest_case
from guest_case import expect

from guests import initramfs, packages

KERNEL = "linux-6.1-cloud-amd64"
COMMAND_LINE = "console=ttyS0 quiet panic=-1"
KEYS = f"""wait "{initramfs.PROMPT}"
send "uname -a; cat /proc/uptime\\n"
wait "{initramfs.PROMPT}"
send "poweroff -f\\n"
"""
SECONDS = 240


def run(arguments, timeline):
    command = [os.environ["XENOLITH_BINARY"], "run", *map(str, arguments), "--quiet", "--timeline", str(timeline)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
    expect(done.returncode == 0, f"exit code {done.returncode}: {done.stderr.decode('utf-8', 'replace')}")
    totals = json.loads(timeline.read_text())["totals"]
    return done.stdout.decode("utf-8", "replace"), (totals["instructions"], totals["cycles"])


def compare():
    kernel = packages.fetch(KERNEL)[0]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        disk, snapshot, timeline = folder / "disk", folder / "snapshot", folder / "timeline"
        disk.write_bytes(initramfs.compress(initramfs.build(initramfs.busybox_for("amd64"))))
        whole_keys, rest_keys = folder / "whole", folder / "rest"
        whole_keys.write_text(KEYS)
        rest_keys.write_text(KEYS.split("\n", 1)[1])
        machine = [kernel, "--initrd", disk, "--append", COMMAND_LINE, "--memory", "128M", "--no-xen"]

        whole, whole_totals = run([*machine, "--input-script", whole_keys], timeline)
        before, saved_totals = run([*machine, "--until-output", initramfs.PROMPT, "--save", snapshot], timeline)
        after, resumed_totals = run(["--load", snapshot, "--input-script", rest_keys], timeline)
        # A snapshot that lost a byte is refused, in one line.
        snapshot.write_bytes(snapshot.read_bytes()[:-1])
        refused = subprocess.run([os.environ["XENOLITH_BINARY"], "run", "--load", str(snapshot)], capture_output=True,
                                 timeout=SECONDS, check=False)
    print(f"whole {whole_totals}, saved at {saved_totals}, resumed to {resumed_totals}")
    expect(whole_totals == resumed_totals, "the resumed run differs from the whole one")
    expect(saved_totals < whole_totals, "the snapshot was not taken on the way")
    expect(whole.rstrip("\n") == (before.rstrip("\n") + after).rstrip("\n"), "the guest printed something else")
    expect((refused.returncode, refused.stderr.count(b"\n")) == (3, 1), f"a damaged file: {refused}")


guest_case.run("resume", compare)

#!/usr/bin/env python3
"""Runs a stock Debian kernel up to its first hypercall, and checks the timeline against what that kernel does.

  5.10        writes the hypercall MSR, has one page copied, and calls through it;
  6.1         never writes the MSR and executes VMCALL or VMMCALL itself;
  686 of both is built without Xen: an ordinary 32-bit guest, which must come to print its first line.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

import guest_case
from guest_case import Mismatch, expect, packages

SECONDS = 200


def first_hypercall_timeline(binary, kernel, *options):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "timeline.json"
        result = subprocess.run(
            [binary, "run", kernel, "--until", "first-hypercall", "--max-seconds", str(SECONDS), "--no-console",
             "--timeline", file, *options], capture_output=True, text=True, check=False, timeout=SECONDS + 60)
        expect(result.returncode == 0, f"exit code {result.returncode}\n{result.stdout[-3000:]}{result.stderr[-1000:]}")
        timeline = json.loads(file.read_text())
    totals = timeline["totals"]
    print(f"{os.path.basename(kernel)} {' '.join(options)}: {totals['instructions']:,} instructions,"
          f" {totals['cycles']:,} cycles, {totals['seconds']:.2f} s, {totals['mips']:.0f} MIPS")
    return timeline["events"], result.stdout


def of_kind(events, kind):
    return [event for event in events if event["kind"] == kind]


def check_leaves(events):
    signatures = [event for event in of_kind(events, "cpuid-leaf")
                  if (event["ebx"], event["ecx"], event["edx"]) == ("0x566e6558", "0x65584d4d", "0x4d4d566e")]
    expect(signatures, "the kernel did not read Xen's signature")


def check_writes_msr(binary, kernel, long_mode):
    events, _ = first_hypercall_timeline(binary, kernel)
    check_leaves(events)
    writes = of_kind(events, "hypercall-page")
    expect(len(writes) == 1, f"{len(writes)} writes of the hypercall MSR, expected 1")
    write = writes[0]
    expect(write["result"] == "copied", f"the page was not copied: {write['result']}")
    expect(write["msr"] == "0x40000000", f"MSR {write['msr']}")
    expect(write["blob"] == (64 if long_mode else 32), f"blob {write['blob']}")
    expect(write["mode"] == ("long" if long_mode else "protected32"), f"mode {write['mode']}")
    expect(write["index"] == 0 and int(write["address"], 16) % 4096 == 0, "address and index do not add up")
    expect(int(write["value"], 16) == int(write["address"], 16) | write["index"], "value is not address | index")
    calls = of_kind(events, "hypercall")
    expect(len(calls) == 1, f"{len(calls)} hypercalls, expected to stop at the first")
    expect(calls[0]["name"] == "xen_version", f"the first hypercall was {calls[0]['name']}")
    expect(calls[0]["cycles"] > write["cycles"], "the hypercall came before its page")


def check_calls_directly(binary, kernel):
    for vendor, instruction in (("intel", "vmcall"), ("amd", "vmmcall")):
        events, shown = first_hypercall_timeline(binary, kernel, "--vendor", vendor)
        check_leaves(events)
        expect(not of_kind(events, "hypercall-page"), "this kernel should not write the MSR")
        calls = of_kind(events, "hypercall")
        expect(len(calls) == 1, f"{len(calls)} hypercalls, expected to stop at the first")
        expect(calls[0]["through"] == instruction, f"{vendor}: through {calls[0]['through']}, expected {instruction}")
        expect(of_kind(events, "remark"), "the timeline does not say in words that no page was set up")
        expect(re.search(r"(?i)without|directly|never", shown), "the printed timeline does not say so either")


def check_prints_its_banner(binary, kernel, version):
    command = [binary, "run", kernel, "--append", "earlyprintk=serial,ttyS0,115200 console=ttyS0,115200",
               "--max-seconds", str(SECONDS), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    watchdog = threading.Timer(SECONDS + 30, process.kill)
    watchdog.start()
    seen = []
    try:
        for line in process.stdout:
            seen.append(line.decode("utf-8", "replace"))
            if f"Linux version {version}" in seen[-1]:
                return
        raise Mismatch(f"ended with {process.wait()} before its banner\n{''.join(seen)[-3000:]}")
    finally:
        watchdog.cancel()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main():
    name = sys.argv[1]
    binary = os.environ["XENOLITH_BINARY"]
    version, flavour = re.fullmatch(r"linux-([0-9.]+)-(.+)", name).groups()

    def body():
        kernel = packages.fetch(name)[0]
        if flavour == "686":
            check_prints_its_banner(binary, kernel, version)
        elif version == "5.10":
            check_writes_msr(binary, kernel, long_mode="amd64" in flavour)
        else:
            check_calls_directly(binary, kernel)

    guest_case.run(name, body)


if __name__ == "__main__":
    main()

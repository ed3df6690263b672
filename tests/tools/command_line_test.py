#!/usr/bin/env python3
"""The command line with bad input: each case gives one line on stderr, nothing half-written, and the documented code."""

import json
import os
import pathlib
import random
import signal
import stat
import struct
import subprocess
import tempfile
import unittest

BINARY = os.environ["XENOLITH_BINARY"]
OK, GUEST_ENDED_BADLY, USAGE, BAD_FILE, LIMIT, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 5, 6, 130
SECONDS = 60
PAGE = 4096
GUEST = ("run", "--guest", "long64")
SMALL = ("--memory", "16M", "--max-cycles", "1000000")

HALT = b"\xfa\xf4"  # cli; hlt
ENDLESS = b"\xeb\xfe"  # jmp $
TRIPLE_FAULT = b"\x0f\x01\x1d" + struct.pack("<I", 0x200000) + b"\x0f\x0b"  # lidt [zeros]; ud2, in 32-bit code


def bzimage(**changes):
    """A bzImage as far as its header goes: the Linux/x86 boot protocol, offset 0x1f1."""
    image = bytearray(2 * 512 + 1024)
    fields = {"setup_sects": (0x1f1, "B", 1), "syssize": (0x1f4, "I", 64), "boot_flag": (0x1fe, "H", 0xaa55),
              "jump": (0x200, "H", 0x6aeb), "magic": (0x202, "4s", b"HdrS"), "version": (0x206, "H", 0x20c),
              "loadflags": (0x211, "B", 1), "alignment": (0x230, "I", 0x200000), "init_size": (0x260, "I", 0x100000)}
    for name, (offset, form, value) in fields.items():
        struct.pack_into("<" + form, image, offset, changes.get(name, value))
    return bytes(image)


class CommandLine(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, content, name="file"):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def run_tool(self, *arguments, stdout=subprocess.PIPE):
        return subprocess.run([BINARY, *map(os.fspath, arguments)], stdin=subprocess.DEVNULL, stdout=stdout,
                              stderr=subprocess.PIPE, check=False, timeout=SECONDS, cwd=self.folder)

    def assert_refused(self, code, *arguments, words="", stdout=subprocess.PIPE):
        result = self.run_tool(*arguments, stdout=stdout)
        error = result.stderr.decode("utf-8", "replace")
        self.assertEqual(result.returncode, code, error)
        self.assertEqual(error.count("\n"), 1, error)
        self.assertTrue(error.startswith("xenolith: ") and error.endswith("\n"), error)
        self.assertGreater(len(error), len("xenolith: \n") + 8, "says nothing")
        self.assertIn(words, error)
        return result

    def assert_each_refused(self, code, cases):
        for arguments, words in cases:
            with self.subTest(arguments=arguments):
                result = self.assert_refused(code, *arguments, words=words)
                self.assertEqual(result.stdout, b"")


class BadCommandLines(CommandLine):
    def test_without_a_command_it_explains_itself_and_fails(self):
        result = self.run_tool()
        self.assertEqual((result.returncode, result.stdout), (USAGE, b""))
        self.assertIn(b"Usage: xenolith COMMAND", result.stderr)

    def test_snapshots_and_input_scripts(self):
        snapshot = self.folder / "snapshot"
        saved = self.run_tool(*GUEST, *SMALL, "--until", "hypercall-page", "--save", snapshot)
        self.assertEqual(saved.returncode, OK, saved.stderr)
        self.assertEqual(self.run_tool("run", "--load", snapshot).returncode, OK)
        bad_script = self.file(b"wait for it\n", "script")
        self.assert_each_refused(USAGE, [
            (("run", "--load", snapshot, "--memory", "16M"), "--memory"),
            (("run", "--load", snapshot, "--guest", "long64"), "--guest"),
            (("run", snapshot, "--load", snapshot), "KERNEL"),
            ((*GUEST, "--until-output", ""), "--until-output"),
            ((*GUEST, "--random-seed", "x"), "--random-seed"),
        ])
        self.assert_each_refused(BAD_FILE, [
            (("run", "--load", self.folder / "nothing"), "nothing"),
            (("run", "--load", self.file(b"XENOSNAP", "short")), "offset 0x0"),
            (("run", "--load", self.file(b"\0" * 100, "zeros")), "XENOSNAP"),
            ((*GUEST, "--input-script", bad_script), "offset 0x0: expected wait"),
            ((*GUEST, "--input-script", self.folder / "nothing"), "nothing"),
        ])
        unwritable = self.run_tool(*GUEST, *SMALL, "--quiet", "--save", self.folder / "no" / "folder")
        self.assertEqual((unwritable.returncode, unwritable.stderr.count(b"\n")), (UNAVAILABLE, 1))

    def test_commands_and_operands(self):
        self.assert_each_refused(USAGE, [
            (("diff",), "KERNEL"),
            (("diff", "--guest", "long64", "--engines", "interpreter"), "two of"),
            (("diff", "--guest", "long64", "--engines", "interpreter,x\ny"), "two of"),
            (("diff", "--guest", "long64", "--engine", "kvm"), "--engines"),
            (("diff", "--guest", "long64", "--stride", "0"), "--stride 0"),
            (("diff", "--guest", "long64", "--per", "hour"), "instruction or exit"),
            (("diff", "--guest", "long64", "--per", "exit", "--stride", "2"), "--stride"),
            (("frobnicate",), "frobnicate"),
            (("--frobnicate",), "frobnicate"),
            (("",), "command"),
            (("run\nfast",), "run?fast"),
            (("run",), "KERNEL"),
            (("run", "one", "two"), ""),
            (("run", "kernel", "--guest", "long64"), "KERNEL"),
            (("demo", "long64"), ""),
            (("blob",), "blob"),
            (("blob", "burn", "x"), "blob"),
            (("blob", "make", "vmcall"), "blob"),
            (("blob", "make", "vmcall", "a", "b"), "blob"),
            (("blob", "make", "syscall", "a"), "syscall"),
            (("blob", "show"), "blob"),
            (("blob", "show", "a", "b"), "blob"),
        ])

    def test_options(self):
        self.assert_each_refused(USAGE, [
            ((*GUEST, "--frobnicate"), "frobnicate"),
            ((*GUEST, "--frob\nnicate"), "frob?nicate"),
            ((*GUEST, "-z"), "z"),
            ((*GUEST, "--mem", "16M"), "mem"),  # no guessing
            ((*GUEST, "--memory"), "memory"),
            ((*GUEST, "--memory", "16M", "--memory", "32M"), "memory"),
            ((*GUEST, "--guest", "real16"), "guest"),
            ((*GUEST, "--quiet=1"), "quiet"),
            ((*GUEST, "--no-xen=yes"), "no-xen"),
            (("demo", "--timeline", "x"), "timeline"),
            (("blob", "show", "x", "--timeline", "x"), "timeline"),
        ])

    def test_names(self):
        for option in ("engine", "cpu", "vendor", "timing", "abi", "until", "format", "linux-entry"):
            for name in ("nonsense", "", "two words", "new\nline", "\u00fcml\u00e4ut", "x" * 5000):
                with self.subTest(option=option, name=name[:20]):
                    self.assert_refused(USAGE, *GUEST, f"--{option}", name, words=option)
        self.assert_refused(USAGE, "run", "--guest", "nonsense", words="real16, protected32, pae32, long64")
        self.assert_refused(USAGE, "run", "--guest", "", words="guest")
        self.assert_refused(USAGE, *GUEST, "--abi", "linux-2.6", words="linux-2.6.33, linux-5.10, linux-5.12, linux-6.15")

    def test_numbers(self):
        bad = ("", "x", "-1", "+1", " 1", "1 ", "0x", "0xg", "12z", "1e9", "1.5", "0b1", "18446744073709551616",
               "99999999999999999999999999", "0x10000000000000000", "1\n2")
        for option in ("max-cycles", "memory", "xen-msr", "load-address", "entry-offset"):
            for number in bad:
                with self.subTest(option=option, number=number):
                    self.assert_refused(USAGE, *GUEST, f"--{option}={number}", words=option)
        for number in bad:
            with self.subTest(pages=number):
                self.assert_refused(USAGE, "blob", "make", "vmcall", "page.bin", f"--pages={number}", words="pages")
        self.assertEqual(os.listdir(self.folder), [])

    def test_numbers_out_of_range(self):
        self.assert_each_refused(USAGE, [
            ((*GUEST, f"--memory={size}"), "memory") for size in (
                "0", "1", "4096", "1M", "2097151", "2097153", "4097K", "65G", "68719480832", "17179869183G",
                "17179869184G", "18446744073709551615", "18446744073709551615K", "2MM", "M", "2T")
        ] + [
            ((*GUEST, f"--xen-msr={index}"), "xen-msr") for index in ("0x100000000", "18446744073709551615")
        ] + [
            ((*GUEST, f"--max-seconds={seconds}"), "max-seconds") for seconds in (
                "", "0", "-1", "nan", "inf", "1e10", "1x", "x", "0x10", "1e999", "-0")
        ] + [
            (("blob", "make", "vmcall", "page.bin", f"--pages={pages}"), "pages") for pages in ("0", "256", "4294967297")
        ] + [
            (("blob", "show", "page.bin", f"--width={width}"), "width") for width in ("", "8", "65", "4294967328", "x")
        ])

    def test_what_cannot_be_combined(self):
        self.assert_each_refused(USAGE, [
            ((*GUEST, "--no-xen", option, *value), option[2:]) for option, *value in (
                ("--abi", "linux-5.10"), ("--xen-msr", "0x40000000"), ("--blob32", "vmcall"), ("--blob64", "vmcall"),
                ("--intercept-hypercalls",))
        ] + [
            ((*GUEST, "--intercept-hypercalls", "--blob64", "vmcall"), "blob"),
            ((*GUEST, "--intercept-hypercalls", "--abi", "linux-5.10"), "EINVAL"),
            ((*GUEST, "--intercept-hypercalls", "--abi", "linux-2.6.33"), "EINVAL"),
            ((*GUEST, "--xen-msr", "0x1234"), "EINVAL"),
            (("demo", "--xen-msr", "0xc0000082"), "EINVAL"),
        ])


class BadFiles(CommandLine):
    def test_files_that_cannot_be_read(self):
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        for path in (self.folder / "missing", self.folder, self.file(b"", "empty"), fifo, "/dev/null", "/dev/zero", "",
                     self.file(b"x", "x") / "below a file", self.folder / ("x" * 300)):
            with self.subTest(path=str(path)[:80]):
                self.assert_refused(BAD_FILE, "run", path)
        kernel = self.file(HALT, "kernel")
        for path in (self.folder / "missing", self.folder, "/dev/zero"):
            with self.subTest(initrd=str(path)):
                self.assert_refused(BAD_FILE, "run", kernel, "--format", "flat32", "--initrd", path)

    def test_a_hostile_name_cannot_forge_a_line(self):
        self.assert_refused(BAD_FILE, "run", "missing\nxenolith: all is well", words="missing?xenolith: all is well")
        self.assert_refused(BAD_FILE, *GUEST, "--blob64", "missing\nall is well", words="missing?all is well")
        self.assert_refused(BAD_FILE, "blob", "show", "missing\x1b[2J\nall is well")
        result = self.assert_refused(UNAVAILABLE, *GUEST, "--quiet", "--timeline", "missing/\nall is well")
        self.assertNotIn(b"\x1b", result.stderr)

    def test_truncated_and_contradictory_kernels(self):
        whole = bzimage()
        images = {f"{length} bytes": whole[:length] for length in (1, 0x1fe, 0x202, 0x206, 0x230, 0x268, 1024, 1025)}
        images.update({
            "no payload": bzimage(syssize=0xffffffff),
            "more set-up than file": bzimage(setup_sects=255),
            "too old": bzimage(version=0x101),
            "not 4 GiB": bzimage(init_size=0xffffffff),
            "ELF magic alone": b"\x7fELF",
            "ELF header of ones": b"\x7fELF\x02\x01\x01" + b"\xff" * 200,
            "ELF32 header of ones": b"\x7fELF\x01\x01\x01" + b"\xff" * 200,
            "nothing in particular": b"hello, world\n" * 100,
        })
        for name, image in images.items():
            with self.subTest(image=name):
                path = self.file(image, "kernel")
                self.assert_refused(BAD_FILE, "run", path, "--memory", "16M", words=f"{path}: offset ")

    def test_formats_that_the_file_has_not(self):
        for content in (b"\0" * 10000, bytes(random.Random(2).randbytes(10000)), HALT):
            path = self.file(content, "kernel")
            for form in ("elf", "multiboot", "pvh", "bzimage", "auto"):
                with self.subTest(format=form, content=content[:4]):
                    self.assert_refused(BAD_FILE, "run", path, "--format", form, words=f"{path}: offset ")

    def test_flat_images_that_do_not_fit(self):
        path = self.file(HALT)
        cases = [("--load-address", address) for address in (
            "0xffffffffffffffff", "0xffffffffffff0000", "0x100000000", "0xa0000", "0xfff000000", "0xffffff")]
        cases += [("--entry-offset", offset) for offset in ("0xffffffffffffffff", "3", "0x7fffffffffffffff")]
        for option, value in cases:
            with self.subTest(option=option, value=value):
                self.assert_refused(BAD_FILE, "run", path, "--format", "flat32", *SMALL, option, value,
                                    words=f"{path}: offset ")
        big = self.file(b"\xf4" * (3 << 20), "big")
        self.assert_refused(BAD_FILE, "run", big, "--format", "flat32", "--memory", "2M")

    def test_blobs(self):
        sizes = (0, 1, PAGE - 1, PAGE + 1, 255 * PAGE + 1, 256 * PAGE)
        paths = [self.file(b"\xcc" * size, f"{size} bytes") for size in sizes]
        paths += [self.folder / "missing", self.folder, "/dev/zero", "/dev/null"]
        for path in paths:
            with self.subTest(path=str(path)):
                self.assert_refused(BAD_FILE, "blob", "show", path, words=f"{path}: offset ")
                for option in ("--blob32", "--blob64"):
                    self.assert_refused(BAD_FILE, *GUEST, option, path, words=f"{path}: offset ")
        for size in (PAGE, 255 * PAGE):
            with self.subTest(size=size):
                path = self.file(b"\xcc" * size)
                self.assertEqual(self.run_tool("blob", "show", path).returncode, OK)
                result = self.run_tool(*GUEST, *SMALL, "--blob64", path, "--until", "hypercall-page")
                self.assertEqual(result.returncode, OK, result.stderr)

    def test_garbage_as_code_only_hurts_the_guest(self):
        for seed in range(20):
            path = self.file(random.Random(seed).randbytes(30000), "garbage")
            for form in ("flat16", "flat32", "flat64"):
                with self.subTest(seed=seed, format=form):
                    result = self.run_tool("run", path, "--format", form, *SMALL, "--no-console", "--quiet")
                    guest_chose = result.returncode & 1 == 1 and result.returncode > 0
                    self.assertTrue(result.returncode in (OK, GUEST_ENDED_BADLY, LIMIT) or guest_chose, result)
                    self.assertEqual(result.stderr, b"")


class BadOutput(CommandLine):
    def test_a_timeline_that_cannot_be_written_leaves_nothing(self):
        (self.folder / "taken").mkdir()
        self.file(b"", "plain")
        for path in ("taken", "missing/timeline.json", "plain/timeline.json", "/proc/xenolith.json", "x" * 300):
            with self.subTest(path=path[:40]):
                result = self.assert_refused(UNAVAILABLE, *GUEST, "--quiet", "--timeline", path, words=path)
                self.assertEqual(result.stdout, b"long64: called through the hypercall page\n")
        self.assert_refused(USAGE, *GUEST, "--timeline", "", words="timeline")
        self.assertEqual(sorted(os.listdir(self.folder)), ["plain", "taken"])
        self.assertEqual(os.listdir(self.folder / "taken"), [])

    def test_a_timeline_replaces_what_was_there(self):
        path = self.file(b"old", "timeline.json")
        self.assertEqual(self.run_tool(*GUEST, "--timeline", path).returncode, OK)
        self.assertEqual(set(json.loads(path.read_text())), {"events", "totals"})
        self.assertEqual(os.listdir(self.folder), ["timeline.json"])

    def test_a_timeline_through_a_link_keeps_the_link(self):
        path = self.file(b"old", "timeline.json")
        (self.folder / "link").symlink_to(path)
        self.assertEqual(self.run_tool(*GUEST, "--timeline", "link").returncode, OK)
        self.assertTrue((self.folder / "link").is_symlink())
        self.assertEqual(set(json.loads(path.read_text())), {"events", "totals"})

    # As root, renaming a file over a device would replace the device.
    def test_a_device_is_written_and_never_replaced(self):
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/full").st_mode))
        if os.access("/dev", os.W_OK):
            fifo = self.folder / "fifo"  # first try what could be replaced without harm
            os.mkfifo(fifo)
            reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            self.addCleanup(os.close, reader)
            self.assertEqual(self.run_tool(*GUEST, "--quiet", "--timeline", fifo).returncode, OK)
            self.assertTrue(stat.S_ISFIFO(os.stat(fifo).st_mode))
            self.assertEqual(os.listdir(self.folder), ["fifo"])
        self.assert_refused(UNAVAILABLE, *GUEST, "--quiet", "--timeline", "/dev/full", words="/dev/full")
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/full").st_mode))

    def test_a_blob_that_cannot_be_written_leaves_nothing(self):
        (self.folder / "taken").mkdir()
        for path in ("taken", "missing/page.bin", "", "/dev/full"):
            with self.subTest(path=path):
                self.assert_refused(UNAVAILABLE, "blob", "make", "vmcall", path)
        self.assertEqual(os.listdir(self.folder), ["taken"])

    def test_standard_output_that_takes_nothing(self):
        page = self.folder / "page.bin"
        self.assertEqual(self.run_tool("blob", "make", "vmcall", page).returncode, OK)
        for arguments in (("--help",), ("--version",), ("run", "--help"), ("demo", "--help"), ("blob", "--help"),
                          GUEST, (*GUEST, "--json"), (*GUEST, "--quiet"), ("demo",), ("blob", "show", page),
                          ("blob", "show", page, "--json")):
            with self.subTest(arguments=arguments), open("/dev/full", "wb") as full:
                self.assert_refused(UNAVAILABLE, *arguments, stdout=full, words="standard output")

    def test_standard_output_that_is_closed(self):
        for arguments in (("--version",), GUEST, (*GUEST, "--quiet", "--timeline", "timeline.json")):
            with self.subTest(arguments=arguments):
                result = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", BINARY, *arguments], check=False,
                                        stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, cwd=self.folder)
                self.assertEqual(result.returncode, UNAVAILABLE, result.stderr)
                self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
        for name in os.listdir(self.folder):  # what was written is a timeline and nothing else
            self.assertEqual(set(json.loads((self.folder / name).read_text())), {"events", "totals"})


class Ends(CommandLine):
    def end_of(self, image, form, *arguments):
        return self.run_tool("run", self.file(image), "--format", form, "--memory", "16M", *arguments).returncode

    def test_every_end_has_its_code(self):
        for expected, image, form, arguments in (
            (OK, HALT, "flat16", ()),
            (OK, HALT, "flat32", ()),
            (OK, HALT, "flat64", ()),
            (GUEST_ENDED_BADLY, HALT, "flat32", ("--until", "hypercall-page")),
            (GUEST_ENDED_BADLY, HALT, "flat32", ("--until", "first-hypercall")),
            (GUEST_ENDED_BADLY, TRIPLE_FAULT, "flat32", ()),
            (GUEST_ENDED_BADLY, b"\xb0\x01\xe6\x92" + HALT, "flat16", ()),  # reset by port 0x92
            (LIMIT, ENDLESS, "flat16", ("--max-cycles", "1000")),
            (LIMIT, ENDLESS, "flat64", ("--max-cycles", "0")),
            (LIMIT, ENDLESS, "flat64", ("--max-seconds", "0.05")),
            (2 * 20 + 1, b"\xb0\x14\xe6\xf4" + HALT, "flat16", ()),  # debug exit with 20
        ):
            with self.subTest(expected=expected, form=form, arguments=arguments):
                self.assertEqual(self.end_of(image, form, *arguments), expected)
        for stop in ("hypercall-page", "first-hypercall"):
            self.assertEqual(self.run_tool(*GUEST, "--until", stop).returncode, OK)

    def test_an_interrupt_ends_the_run_and_the_timeline_is_written(self):
        # The guest says that it runs: mov al, '\n'; out 0xe9, al.
        image = self.file(b"\xb0\x0a\xe6\xe9" + ENDLESS)
        process = subprocess.Popen([BINARY, "run", image, "--format", "flat16", "--quiet", "--max-seconds", str(SECONDS),
                                    "--timeline", "timeline.json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, cwd=self.folder)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"\n")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=SECONDS)
        self.assertEqual((process.returncode, error), (INTERRUPTED, b""))
        self.assertEqual(json.loads((self.folder / "timeline.json").read_text())["events"], [])

    def test_json_on_standard_output_is_json_alone(self):
        result = self.run_tool(*GUEST, "--json")
        self.assertEqual((result.returncode, result.stderr), (OK, b""))
        self.assertEqual(set(json.loads(result.stdout)), {"events", "totals"})


if __name__ == "__main__":
    unittest.main()

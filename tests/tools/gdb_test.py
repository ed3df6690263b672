#!/usr/bin/env python3
"""The real gdb, as a user starts it, against the built-in guests and a few of the test's own."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import unittest

BINARY = os.environ["XENOLITH_BINARY"]
SKIPPED = 77
SECONDS = 60
OK, GUEST_ENDED_BADLY, USAGE, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 6, 130

if shutil.which("gdb") is None:
    print("skipped: the package gdb is not installed")
    sys.exit(SKIPPED)

# Entry, first instruction, architecture and the address of WRMSR of each built-in guest.
GUESTS = {
    "real16": (0x7c00, "mov    $0x40000000,%edi", "i8086", 0x7c4b),
    "protected32": (0x100000, "mov    $0x40000000,%edi", "i386", None),
    "pae32": (0x100000, "mov    $0x300000,%edi", "i386", 0x1000a0),
    "long64": (0x100000, "mov    $0x40000000,%r12d", "i386:x86-64", 0x100045),
    "compatibility32": (0x100000, "push   $0x8", "i386:x86-64", None),
}
PROGRAM_COUNTER = {"i8086": "eip", "i386": "eip", "i386:x86-64": "rip"}

# mov al, '\n'; out 0xe9, al; jmp $
PRINTS_AND_LOOPS = b"\xb0\x0a\xe6\xe9\xeb\xfe"
# lidt [zeros]; ud2, in 32-bit code
TRIPLE_FAULT = b"\x0f\x01\x1d\x00\x00\x20\x00\x0f\x0b"


def reason_kvm_cannot():
    """Why this host cannot run a guest on KVM, or None."""
    result = subprocess.run([BINARY, "run", "--guest", "long64", "--engine", "kvm"], capture_output=True, text=True,
                            check=False, timeout=SECONDS)
    return None if result.returncode == 0 else (result.stderr or result.stdout).strip().splitlines()[-1]


class Server:
    """A xenolith that waits for gdb; `target` is what to connect to."""

    def __init__(self, *arguments, command="gdb"):
        self.process = subprocess.Popen([BINARY, command, *map(os.fspath, arguments)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        match = re.search(r"target remote (\S+)$", line)
        if not match:
            self.process.kill()
            raise AssertionError(line + self.process.communicate()[1])
        self.target = match.group(1)

    def finish(self):
        """(exit code, standard output)"""
        output, _ = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, output


def gdb_arguments(target, commands):
    arguments = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", f"target remote {target}"]
    for command in commands:
        arguments += ["-ex", command]
    return arguments


def run_gdb(target, *commands):
    result = subprocess.run(gdb_arguments(target, commands), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False, timeout=SECONDS)
    return result.stdout


class GdbTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def server(self, *arguments, command="gdb"):
        server = Server(*arguments, "--gdb=0", command=command)
        self.addCleanup(self.stop, server)
        return server

    @staticmethod
    def stop(server):
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()

    def file(self, content):
        path = self.folder / "image"
        path.write_bytes(content)
        return path

    def debug(self, arguments, *commands, code=OK):
        """What gdb printed; the server ends with it."""
        server = self.server(*arguments)
        output = run_gdb(server.target, *commands)
        self.assertEqual(server.finish()[0], code, output)
        return output

    def assert_in_order(self, output, *texts):
        at = 0
        for text in texts:
            found = output.find(text, at)
            self.assertNotEqual(found, -1, f"{text!r} is not in its place in\n{output}")
            at = found + len(text)


class Attaching(GdbTest):
    def test_before_the_first_instruction_of_every_guest(self):
        for guest, (entry, instruction, architecture, _) in GUESTS.items():
            with self.subTest(guest=guest):
                output = self.debug(("--guest", guest), "show architecture", "x/i $pc", "monitor state")
                self.assert_in_order(output, f'(currently "{architecture}")', f"=> {entry:#x}:\t{instruction}",
                                     "clock           0 cycles, 0 instructions")
                for word in ("warning: A handler", "Truncated", "Reply contains invalid", "remote failure"):
                    self.assertNotIn(word, output)

    def test_on_kvm(self):
        reason = reason_kvm_cannot()
        if reason:
            self.skipTest(reason)
        output = self.debug(("--guest", "long64", "--engine", "kvm"), "stepi", "stepi", "x/i $pc", "p $r12",
                            "set $rbx = 5", "p $rbx", "p $cr0", "monitor state", "break *0x100045",
                            "watch *(long *)0x21ff8", "continue", "p/x $pc", "continue", "continue", "continue",
                            "continue")
        self.assert_in_order(output, "=> 0x100009:\tcpuid", "= 1073741824", "= 5", "PE", "PG", "engine kvm")
        self.assert_in_order(output, "Breakpoint 1, ", "= 0x100045", "Old value = 0", "New value = 1048665")

    def test_the_guest_runs_on_when_it_is_detached(self):
        server = self.server("--guest", "long64")
        self.assertIn("detached", run_gdb(server.target, "stepi", "detach"))
        code, output = server.finish()
        self.assertEqual(code, OK)
        self.assertIn("long64: called through the hypercall page", output)

    def test_the_guest_ends_when_it_is_killed(self):
        for commands in (("kill",), ()):
            with self.subTest(commands=commands):
                server = self.server("--guest", "long64")
                run_gdb(server.target, *commands)
                code, output = server.finish()
                self.assertEqual(code, OK)
                self.assertIn("End: the debugger ended it", output)
                self.assertNotIn("called through", output)

    def test_the_guest_stands_when_gdb_disconnects(self):
        server = self.server("--guest", "long64")
        self.assertIn("0x0000000000100006", run_gdb(server.target, "stepi", "disconnect"))
        self.assertIn("0x0000000000100009", run_gdb(server.target, "stepi", "kill"))
        self.assertEqual(server.finish()[0], OK)

    def test_a_running_guest_stops_when_gdb_comes_back(self):
        server = self.server(self.file(PRINTS_AND_LOOPS), "--format", "flat32", "--quiet")
        run_gdb(server.target, "detach")
        self.assertEqual(server.process.stdout.readline(), "\n")
        self.assertIn("0x00100004", run_gdb(server.target, "kill"))
        self.assertEqual(server.finish()[0], OK)

    def test_after_a_change_of_mode_a_new_connection_sees_the_new_one(self):
        server = self.server("--guest", "compatibility32")
        output = run_gdb(server.target, "stepi 4", "monitor arch", "disconnect", f"target remote {server.target}",
                         "show architecture", "x/i $pc", "p $cs", "kill")
        self.assert_in_order(output, "this connection was told i386:x86-64", "mode            compatibility",
                             '(currently "i386")', "mov    $0x40000000,%edi", "= 8")

    def test_the_description_can_be_fixed(self):
        output = self.debug(("--guest", "protected32", "--gdb-arch", "i386:x86-64"), "show architecture", "stepi",
                            "p/x $rdi")
        self.assert_in_order(output, '(currently "i386:x86-64")', "0x0000000000100005", "= 0x40000000")

    def test_run_with_a_debugger(self):
        server = self.server("--guest", "protected32", command="run")
        output = run_gdb(server.target, "continue")
        self.assertIn("exited normally", output)
        self.assertEqual(server.finish()[0], OK)


class Stopping(GdbTest):
    def test_breakpoints(self):
        for guest, (_, _, architecture, wrmsr) in GUESTS.items():
            if wrmsr is None:
                continue
            for command in ("break", "hbreak"):
                with self.subTest(guest=guest, command=command):
                    output = self.debug(("--guest", guest), f"{command} *{wrmsr:#x}", "continue", "x/i $pc", "stepi",
                                        f"p/x ${PROGRAM_COUNTER[architecture]}", "continue")
                    self.assert_in_order(output, "Breakpoint 1, ", f"=> {wrmsr:#x}:\twrmsr", f"= {wrmsr + 2:#x}",
                                         "exited normally")

    def test_watchpoints(self):
        # The word below the stack's top is the first that a call writes.
        for guest, top in (("real16", 0x7c00), ("long64", 0x22000)):
            size, form = (2, "short") if guest == "real16" else (8, "long")
            with self.subTest(guest=guest):
                output = self.debug(("--guest", guest), f"watch *({form} *){top - size:#x}", "continue", "continue",
                                    "continue")
                self.assert_in_order(output, "Hardware watchpoint 1", "Old value = 0", "New value = ", "Old value = ",
                                     "exited normally")
                output = self.debug(("--guest", guest), f"rwatch *({form} *){top - size:#x}", "continue", "x/i $pc")
                self.assert_in_order(output, "Hardware read watchpoint 1", "Value = ", "=> ")

    def test_real_mode_with_a_code_segment(self):
        # jmp 0x07c0:0x0005; then: nop; nop; cli; hlt
        image = self.file(b"\xea\x05\x00\xc0\x07\x90\x90\xfa\xf4")
        output = self.debug((image, "--format", "flat16"), "break *0x7c06", "continue", "p/x $ip", "p/x $cs", "p $pc",
                            "x/i $pc", "stepi", "set $pc = 0x7c05", "p/x $ip", "continue", "continue")
        self.assert_in_order(output, "Breakpoint 1, 0x00007c06", "= 0x6", "= 0x7c0", "0x7c06", "=> 0x7c06:\tnop",
                             "0x00007c07", "= 0x5", "Breakpoint 1, 0x00007c06", "exited normally")

    def test_where_until_says(self):
        output = self.debug(("--guest", "long64", "--until", "hypercall-page"), "continue", "x/3i 0x200000",
                            "monitor until first-hypercall", "continue", "monitor xen", "continue")
        self.assert_in_order(output, "the hypercall page was copied", "SIGTRAP", "0x200005:\tvmcall",
                             "the first hypercall was made", "to 0x200000, index 0, 64-bit: copied",
                             "hypercalls      1", "exited normally")

    def test_control_c(self):
        server = self.server(self.file(PRINTS_AND_LOOPS), "--format", "flat32", "--quiet")
        gdb = subprocess.Popen(gdb_arguments(server.target, ("continue", "x/i $pc", "kill")), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        # The guest's line says that it runs.
        self.assertEqual(server.process.stdout.readline(), "\n")
        gdb.send_signal(signal.SIGINT)
        output, _ = gdb.communicate(timeout=SECONDS)
        self.assert_in_order(output, "SIGINT", "=> 0x100004:\tjmp    0x100004", "killed")
        self.assertEqual(server.finish()[0], OK)

    def test_a_triple_fault_can_be_looked_at(self):
        output = self.debug((self.file(TRIPLE_FAULT), "--format", "flat32"), "continue", "x/i $pc",
                            "p $idtr_limit", "continue", code=GUEST_ENDED_BADLY)
        self.assert_in_order(output, "triple fault at protected32", "SIGSEGV", "=> 0x100007:\tud2", "= 0",
                             "terminated with signal SIGABRT")

    def test_the_guests_exit_code(self):
        # mov al, 3; out 0xf4, al
        output = self.debug((self.file(b"\xb0\x03\xe6\xf4\xf4"), "--format", "flat32"), "continue", code=7)
        self.assertIn("exited with code 07", output)


class Looking(GdbTest):
    def test_registers(self):
        output = self.debug(("--guest", "long64", "--cpu", "modern"), "stepi", "info registers",
                            "info registers cr0 cr3", "info registers system", "p $eflags", "p $xmm0.v4_int32",
                            "p $ymm0.v8_int32", "p $st0", "p $mxcsr")
        self.assert_in_order(output, "r12            0x40000000", "rip            0x100006", "eflags",
                             "fs_base        0x0", "[ PE ET NE PG ]", "cr3            0x11000",
                             "cs_attributes  0xa09b              [ type=11 S DPL=0 P L G ]", "gdtr_base      0x10000",
                             "gdtr_limit     0x3f", "dr7            0x400", "{0, 0, 0, 0}",
                             "{0, 0, 0, 0, 0, 0, 0, 0}", "= 0", "[ IM DM ZM OM UM PM")

    def test_writing_registers(self):
        output = self.debug(("--guest", "long64"), "set $rax = 0x1122334455667788", "p/x $rax", "set $cr0 = 0x80010011",
                            "p $cr0", "set $xmm3.v2_int64[1] = 7", "p/x $xmm3.uint128", "set $cr3 = 1ULL << 60",
                            "p/x $cr3", "set $eflags = 0x202", "p $eflags", "set $gs_base = 0xffff800000000000",
                            "p/x $gs_base")
        self.assert_in_order(output, "= 0x1122334455667788", "= [ PE ET WP PG ]", "= 0x70000000000000000",
                             "CR3 is beyond the CPU's physical addresses", "= 0x11000", "= [ IF IOPL=0 ]",
                             "= 0xffff800000000000")

    def test_memory_through_the_page_tables(self):
        output = self.debug(("--guest", "pae32", "--until", "hypercall-page"), "continue", "x/2xb 0x40200000",
                            "set {char}0x40200000 = 0x90", "x/i 0x200000", "x/b 0x80000000", "monitor walk 0x40200000",
                            "monitor translate 0x40200000", "monitor phys 0x200000 2")
        self.assert_in_order(output, "0xb8\t0x00", "0x200000:\tnop", "Cannot access memory at address 0x80000000",
                             "PDPTE  in a register", "present writable large", "physical 0x200000, in a page of 2 MiB",
                             "0x40200000 is physical 0x200000: RAM", "0x200000  90 00")

    def test_code_that_is_written_is_executed(self):
        # mov al, 1; jmp back to it: the immediate is changed once the block has been executed.
        output = self.debug((self.file(b"\xb0\x01\xeb\xfc"), "--format", "flat32"), "stepi 4", "p $al",
                            "set {char}0x100001 = 2", "stepi 2", "p $al")
        self.assert_in_order(output, "$1 = 1", "$2 = 2")

    def test_monitor_commands(self):
        output = self.debug(("--guest", "long64"), "monitor help", "monitor nonsense", "monitor regions",
                            "info threads")
        self.assert_in_order(output, "monitor walk ADDRESS", "no monitor command 'nonsense'", "low RAM",
                             "Thread 1 (vCPU 0, long mode)")


class Addresses(GdbTest):
    def assert_refused(self, address, code=USAGE):
        result = subprocess.run([BINARY, "gdb", "--guest", "long64", f"--gdb={address}"], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, check=False, timeout=SECONDS)
        self.assertEqual((result.returncode, result.stdout), (code, ""), result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertIn("--gdb", result.stderr)

    def test_only_this_host_is_let_in(self):
        for address in ("0.0.0.0:1234", "192.168.0.1:1234", "[::]:1234", "example:1234", "127.0.0.1", "127.0.0.1:",
                        "127.0.0.1:65536", "127.0.0.1:-1", ":x", "", "unix:", "unix:" + "x" * 108, "new\nline:1",
                        "tcp:1234:5", "+1", " 1"):
            with self.subTest(address=address):
                self.assert_refused(address)

    def test_it_listens_on_the_loopback_address_alone(self):
        server = self.server("--guest", "long64")
        port = int(server.target.rpartition(":")[2])
        listening = []
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with contextlib.suppress(FileNotFoundError), open(table, encoding="ascii") as lines:
                listening += [line.split()[1] for line in lines if f":{port:04X} " in line and " 0A " in line]
        self.assertEqual(listening, [f"0100007F:{port:04X}"])

    def test_a_port_that_is_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.assert_refused(str(taken.getsockname()[1]), UNAVAILABLE)

    def test_a_unix_socket_is_its_owners_and_goes_with_the_run(self):
        path = self.folder / "socket"
        server = Server("--guest", "long64", "--gdb", f"unix:{path}")
        self.addCleanup(self.stop, server)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertIn("100000", run_gdb(path, "kill"))
        self.assertEqual(server.finish()[0], OK)
        self.assertFalse(path.exists())

    def test_a_path_that_is_taken(self):
        path = self.folder / "socket"
        path.write_text("precious")
        self.assert_refused(f"unix:{path}", UNAVAILABLE)
        self.assertEqual(path.read_text(), "precious")
        path.unlink()
        server = Server("--guest", "long64", "--gdb", f"unix:{path}")
        self.addCleanup(self.stop, server)
        self.assert_refused(f"unix:{path}", UNAVAILABLE)
        # What a killed one leaves behind is in nobody's way.
        server.process.kill()
        server.process.wait()
        self.assertTrue(path.exists())
        another = Server("--guest", "long64", "--gdb", f"unix:{path}")
        self.addCleanup(self.stop, another)

    def test_the_address_may_follow_its_option(self):
        server = Server("--gdb", "127.0.0.1:0", "--guest", "long64", command="run")
        self.addCleanup(self.stop, server)
        self.assertRegex(server.target, r"^127\.0\.0\.1:[1-9][0-9]*$")

    def test_options_that_need_others(self):
        for arguments in (("run", "--guest", "long64", "--gdb-arch", "i386"),
                          ("gdb", "--guest", "long64", "--gdb-arch", "arm"), ("gdb",)):
            result = subprocess.run([BINARY, *arguments], capture_output=True, text=True, check=False, timeout=SECONDS)
            self.assertEqual((result.returncode, result.stderr.count("\n")), (USAGE, 1), result.stderr)

    def test_the_terminal_interrupts_the_wait(self):
        server = self.server("--guest", "long64")
        server.process.send_signal(signal.SIGINT)
        self.assertEqual(server.finish()[0], INTERRUPTED)

    def test_noise_does_no_harm(self):
        server = self.server("--guest", "long64")
        host, _, port = server.target.partition(":")
        for noise in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"$" + b"a" * 100000, bytes(range(256)) * 8):
            with socket.create_connection((host, int(port)), timeout=SECONDS) as caller:
                with contextlib.suppress(OSError):
                    caller.sendall(noise)
        self.assertIn("0x0000000000100006", run_gdb(server.target, "stepi", "kill"))
        self.assertEqual(server.finish()[0], OK)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Dialogues with small programs: what the tests of guests rest on."""

import os
import pathlib
import select
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from guests.dialogue import Dialogue, Mismatch  # noqa: E402

SECONDS = 30


def shell(script, **options):
    return Dialogue(["sh", "-c", script], **{"seconds": SECONDS, **options})


class Dialogues(unittest.TestCase):
    def test_a_guest_shell_is_driven_through_both_kinds_of_input(self):
        for terminal in (True, False):
            with self.subTest(terminal=terminal), Dialogue(["sh"], terminal=terminal, seconds=SECONDS) as talk:
                # A terminal that nobody made raw echoes what is typed: the echo must not pass for output.
                self.assertEqual(talk.command("echo one; echo two; false"), ("one\ntwo\n", 1))
                self.assertEqual(talk.command("test -t 0 && test -t 1; echo $?"), ("0\n" if terminal else "1\n", 0))
                talk.type("exit 5")
                self.assertEqual(talk.finish(), 5)

    def test_a_text_is_found_however_it_arrives(self):
        with shell("printf 'wel'; read x; printf 'come\\r\\nbye\\n'", terminal=False) as talk:
            talk.expect("wel")
            talk.type("")
            self.assertEqual(talk.expect("(co)me$")[1], "co")
            talk.expect("bye")

    def test_what_was_matched_is_not_matched_again(self):
        with shell("echo a 1; echo a 2", terminal=False) as talk:
            self.assertEqual([talk.expect(r"a (\d)")[1] for _ in range(2)], ["1", "2"])
            with self.assertRaises(Mismatch):
                talk.expect(r"a (\d)")

    def test_escape_sequences_are_taken_out_even_in_pieces(self):
        with shell(r"printf 'x\033[1'; read x; printf ';31my\033[0m\033[3;7Hz\033(B!\n'", terminal=False) as talk:
            talk.expect("x")
            talk.type("")
            talk.expect("!")
            self.assertEqual(talk.text, "xy\nz!\n"[:len(talk.text)])

    def test_an_early_end_is_told_with_exit_code_and_output(self):
        for terminal in (True, False):
            script = "echo last words; echo why >&2; exit 3"
            with self.subTest(terminal=terminal), shell(script, terminal=terminal) as talk:
                with self.assertRaisesRegex(Mismatch, r"(?s)exit code 3.*last words.*why"):
                    talk.expect("prompt")

    def test_a_program_that_says_nothing_is_ended(self):
        with shell("exec sleep 1000", seconds=0.3) as talk:
            with self.assertRaisesRegex(Mismatch, "not done after 0.3 s"):
                talk.expect("prompt")
        self.assertIsNotNone(talk.process.returncode)

    def test_a_program_that_never_stops_talking_is_ended(self):
        with shell("while :; do echo on and on; done", seconds=0.5) as talk:
            with self.assertRaisesRegex(Mismatch, "not done after 0.5 s"):
                talk.expect("prompt")

    def test_nothing_is_left_running(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkfifo(f"{folder}/held")
            reader = os.open(f"{folder}/held", os.O_RDONLY | os.O_NONBLOCK)
            self.addCleanup(os.close, reader)
            with shell("exec 9>held; sleep 1000 & echo started; wait", folder=folder) as talk:
                talk.expect("started")
                self.assertEqual(select.select([reader], [], [], 0)[0], [])
            # The end of the file: neither the shell nor what it started holds the other side any more.
            self.assertEqual(select.select([reader], [], [], SECONDS)[0], [reader])
            self.assertEqual(os.read(reader, 1), b"")

    def test_nothing_is_left_running_by_a_test_that_is_killed(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkfifo(f"{folder}/held")
            reader = os.open(f"{folder}/held", os.O_RDONLY | os.O_NONBLOCK)
            self.addCleanup(os.close, reader)
            script = ("import sys; sys.path.insert(0, sys.argv[1]); from guests.dialogue import Dialogue\n"
                      "talk = Dialogue(['sh', '-c', 'exec 9>held; echo started; exec sleep 1000'])\n"
                      "talk.expect('started'); print('ready', flush=True); talk.expect('more')")
            inner = [sys.executable, "-B", "-c", script, str(ROOT / "tools")]
            with Dialogue(inner, terminal=False, seconds=SECONDS, folder=folder) as talk:
                talk.expect("ready")
                talk.process.kill()
                self.assertEqual(talk.finish(), -9)
                self.assertEqual(select.select([reader], [], [], SECONDS)[0], [reader])
                self.assertEqual(os.read(reader, 1), b"")

    def test_times_are_those_of_the_match(self):
        work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
        with shell(f"echo now; read x; {work}; echo later", terminal=False) as talk:
            talk.expect("now")
            first = talk.matched_at
            talk.type("")
            talk.expect("later")
            self.assertGreater(talk.matched_at[0], first[0])
            self.assertGreater(talk.matched_at[1], 0)

    def test_output_of_a_closed_terminal_is_read_to_its_end(self):
        with shell("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done") as talk:
            self.assertEqual(talk.finish(), 0)
            self.assertTrue(talk.text.endswith("line 2999\n"), talk.text[-100:])

    def test_a_signal_is_told(self):
        with shell("kill -9 $$") as talk:
            self.assertEqual(talk.finish(), -9)


class Folders(unittest.TestCase):
    def test_a_program_runs_where_it_is_told(self):
        with shell("pwd", folder="/", terminal=False) as talk:
            talk.expect(r"^/$")
            self.assertNotEqual(os.getcwd(), "/")


if __name__ == "__main__":
    unittest.main()

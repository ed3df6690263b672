"""A dialogue with a program: its output is read until a text appears, then something is typed. Nobody sleeps.

The program gets a terminal (a pseudo-terminal as a user's shell would hand it out, not yet raw) or two pipes.
"""

import ctypes
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time

# What moves a terminal's cursor or sets its colours. An incomplete one at the end waits for its rest.
ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][0-9A-B]|[^\[()])")
POSITION = re.compile(r"\x1b\[\d+;\d+H")  # what goes to a place of its own becomes a line of its own
UNFINISHED_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]{0,16}|[()])?$")
SHOWN_ON_FAILURE = 3000  # characters


class Mismatch(Exception):
    """The program did not do what was expected of it."""


def cpu_seconds_of(pid):
    """CPU time of another process (its CPU clock's number is made of its id, clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def end_with_parent():
    """In a child: it is killed when its parent ends, however that ends (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Dialogue:
    """One run of a program, which ends with it. Use as a context manager: nothing is left running."""

    def __init__(self, command, *, terminal=True, seconds=60.0, folder=None):
        """`seconds` limits the whole run; `folder` is where it runs."""
        self.started = time.monotonic()
        self.deadline = self.started + seconds
        self.seconds_allowed = seconds
        self.text = ""  # all that was printed, without carriage returns and a terminal's escape sequences
        self.position = 0  # what lies before it has been matched
        self.pending = ""  # the beginning of an escape sequence
        self.matched_at = (0.0, 0.0)  # wall and CPU seconds since the start, of the last match
        self.terminal = terminal
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115, closed by __exit__
        if terminal:
            self.output, theirs = pty.openpty()
            self.input = self.output
            self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=self.errors, cwd=folder,
                                            start_new_session=True, preexec_fn=end_with_parent)
            os.close(theirs)
        else:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                            cwd=folder, bufsize=0, start_new_session=True, preexec_fn=end_with_parent)
            self.input, self.output = self.process.stdin.fileno(), self.process.stdout.fileno()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the program if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.terminal:
            os.close(self.output)
        else:
            for stream in (self.process.stdin, self.process.stdout):
                stream.close()
        self.errors.close()

    def read_more(self):
        """Waits for output and takes it. False at the end of the output."""
        left = self.deadline - time.monotonic()
        if left <= 0 or not select.select([self.output], [], [], left)[0]:
            raise self.failure(f"not done after {self.seconds_allowed:g} s")
        try:
            data = os.read(self.output, 65536)
        except OSError:  # a terminal whose other side is closed
            data = b""
        if data:
            text = self.pending + data.decode("latin-1").replace("\r", "")
            unfinished = UNFINISHED_ESCAPE.search(text)
            self.pending = unfinished[0] if unfinished else ""
            complete = text[:len(text) - len(self.pending)]
            self.text += ESCAPE.sub(lambda found: "\n" if POSITION.fullmatch(found[0]) else "", complete)
        return bool(data)

    def expect(self, pattern):
        """Reads until the regular expression matches what was not matched yet. Returns the match; what was printed
        before it is passed over."""
        expression = re.compile(pattern, re.MULTILINE)
        while True:
            found = expression.search(self.text, self.position)
            if found:
                self.position = found.end()
                self.matched_at = (time.monotonic() - self.started, self.cpu_seconds())
                return found
            if not self.read_more():
                raise self.failure(f"it ended, with exit code {self.wait()}, before it printed /{pattern}/")

    def cpu_seconds(self):
        """Until now; what the program's children may use does not count."""
        try:
            return cpu_seconds_of(self.process.pid)
        except OSError:  # it has ended
            return self.matched_at[1]

    def type(self, line):
        """Types a line and Enter, which is a carriage return on a terminal and a newline in a pipe."""
        self.press(line + ("\r" if self.terminal else "\n"))

    def press(self, keys):
        data = keys.encode()
        while data:
            data = data[os.write(self.input, data):]

    def command(self, line):
        """Has the guest's shell run a line; returns (output, exit code). Its echo is told from the output by quotes."""
        self.type(f'echo "@""begin"; {line}; echo "@""end $?"')
        self.expect(r"@begin\n")
        start = self.position
        end = self.expect(r"@end (\d+)\n")
        return self.text[start:end.start()], int(end[1])

    def finish(self):
        """Reads to the end of the output and returns the exit code, negative for a signal."""
        while self.read_more():
            pass
        return self.wait()

    def wait(self):
        try:
            return self.process.wait(max(1.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self.failure(f"it closed its output, and then did not end within {self.seconds_allowed:g} s")

    def wall_seconds(self):
        return time.monotonic() - self.started

    def failure(self, words):
        self.errors.seek(0)
        errors = self.errors.read().decode("utf-8", "replace").strip()
        shown = self.text[-SHOWN_ON_FAILURE:]
        return Mismatch(f"{words}\n--- its output ends ---\n{shown}\n---" + (f"\n{errors}" if errors else ""))

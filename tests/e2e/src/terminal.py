"""A terminal of its own for a program: what is typed, what it shows, its size and mode."""

import fcntl
import os
import select
import signal
import struct
import sys
import termios
import time

JIB = os.environ["JIB"]
LIMIT = 20  # seconds; only a failure takes them


class Terminal:
    def __init__(self, *argv, rows=24, columns=80, output=None, error=None):
        """Runs argv; output and error may be fds that take the place of the terminal."""
        self.master, slave = os.openpty()
        self.shown = b""
        self.at = 0
        self.resize(rows, columns)
        self.mode_before = self.mode()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for number, fd in enumerate((slave, output or slave, error or slave)):
                os.dup2(fd, number)
            os.closerange(3, 256)
            for number in signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE:
                signal.signal(number, signal.SIG_DFL)
            os.execv(argv[0], argv)
        # The slave stays open here: the mode outlives the program, as a user's terminal does.
        self.slave = slave

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def mode(self):
        return termios.tcgetattr(self.master)

    def is_raw(self):
        return not self.mode()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def type(self, text):
        os.write(self.master, text.encode())

    def take(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.shown += os.read(self.master, 65536)
        return True

    def expect(self, text):
        """Waits until it shows text, after what was expected last."""
        end = time.monotonic() + LIMIT
        wanted = text.encode()
        while wanted not in self.shown[self.at :]:
            if time.monotonic() > end:
                self.fail(f"{text!r} was expected")
            self.take(0.05)
        self.at = self.shown.index(wanted, self.at) + len(wanted)

    def until(self, what, condition):
        end = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > end:
                self.fail(what)
            self.take(0.02)

    def ends_with(self, status):
        found = []

        def ended():
            pid, value = os.waitpid(self.pid, os.WNOHANG)
            found.append(value)
            return pid == self.pid

        self.until("it does not end", ended)
        while self.take(0):
            pass
        code = os.waitstatus_to_exitcode(found[-1])
        if code != status:
            self.fail(f"status {status} was expected, not {code}")

    def restored(self):
        if self.mode() != self.mode_before:
            self.fail(f"the mode was {self.mode_before} and is {self.mode()}")

    def fail(self, why):
        sys.exit(f"{why}; the terminal shows {self.shown!r}")

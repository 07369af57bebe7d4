"""Processes for somebody's code: started apart, measured, and ended with all that they have started."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread

from .pipes import Pipe

TAIL = 1 << 16  # bytes of standard error that are kept
CROWD = 256  # processes that somebody's code may have started at a time
PATIENCE = 3.0  # seconds in which whatever a process has started is to be gone
DEATH_SIGNAL, SUBREAPER = 1, 36  # of Linux's prctl


class Program:
    """A process that takes messages on its standard input and answers on its standard output.

    Of what it writes to standard error the end is kept, however much there is.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the process that started this one
        )
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        self.asks, self.answers = Pipe(self.process.stdin.fileno()), Pipe(self.process.stdout.fileno())
        os.set_blocking(self.asks.number, False)
        for pipe in (self.asks, self.answers):
            pipe.widen()
        self.ready, self.tail, self.others = False, b"", _tasks()
        self.drain = Thread(target=self._drained, args=(self.process.stderr.fileno(),), daemon=True)
        self.drain.start()

    def _drained(self, pipe: int) -> None:
        with suppress(OSError, ValueError):
            while part := os.read(pipe, TAIL):
                self.tail = (self.tail + part)[-TAIL:]

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    def words(self) -> str:
        """The end of what it has written to standard error."""
        self.drain.join(0.2)
        return self.tail.decode(errors="replace")

    def resident(self) -> int:
        """The bytes in memory of the process, or of one below it that has more, shared ones too; 0 if nobody knows."""
        import psutil

        most = 0
        with suppress(psutil.Error):
            own = psutil.Process(self.process.pid)
            for process in (own, *own.children(recursive=True)):  # a command may start another, as a shell does
                most = max(most, int(process.memory_info().rss))
        return most

    @property
    def crowded(self) -> bool:
        """Whether there are more processes below this one than there may be; asked of all only if the machine has."""
        import psutil

        if _tasks() - self.others <= CROWD:
            return False
        with suppress(psutil.Error):
            return len(psutil.Process(self.process.pid).children(recursive=True)) > CROWD
        return False

    def stopped(self) -> bool:
        """Whether the process is stopped, as by SIGSTOP."""
        import psutil

        with suppress(psutil.Error):
            return bool(psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)
        return False

    def abort(self) -> None:
        """Ends the process, which first says on standard error where it is, if it can."""
        if hasattr(signal, "SIGABRT"):
            with suppress(OSError):
                self.process.send_signal(signal.SIGABRT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        self.stop()

    def stop(self) -> int:
        """Ends the process and its group; the code with which it ended, by itself or now."""
        code = self.process.poll()
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        code = self.process.wait() if code is None else code
        self.drain.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe and not (pipe is self.process.stderr and self.drain.is_alive()):
                pipe.close()
        return code


def python(code: str) -> list[str]:
    """The command that runs code in this Python."""
    return [sys.executable, "-P", "-c", code]


def _tasks() -> int:
    """How many threads the machine has, on Linux: a look that costs nothing."""
    with suppress(OSError, ValueError, IndexError), open("/proc/loadavg", "rb") as file:
        return int(file.read().split()[3].partition(b"/")[2])
    return 0


def judge() -> Program:
    """A process that judges, which imports what that needs before there is anything to judge."""
    return Program(python("from backprop_properties.checking.judge import main; main()"))


def stop(program: Program) -> None:
    """Ends a judge, which ends all below it: it hears that nobody gives it anything any more."""
    with suppress(OSError, ValueError):
        assert program.process.stdin
        program.process.stdin.close()
        program.answers.wait_for_end(PATIENCE + 1)
    with suppress(Exception):
        program.process.wait(1)
    program.stop()


def adopt_orphans() -> None:
    """On Linux, processes below this one whose parent ends become its children, so that `end_children` finds them."""
    _prctl(SUBREAPER, 1)


def end_with_parent(parent: int) -> None:
    """On Linux, this process is killed when its parent ends; `parent` may have ended before."""
    _prctl(DEATH_SIGNAL, int(getattr(signal, "SIGKILL", 0)))
    if hasattr(os, "getppid") and os.getppid() != parent:
        os._exit(0)


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def end_children() -> None:
    """Kills every process below this one, and those that they start meanwhile."""
    import psutil

    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        children = psutil.Process().children(recursive=True)
        if not children:
            break
        for child in children:
            with suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(children, 0.1)

"""The command as anybody runs it: which processes it starts, how much memory each takes, and who is left."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

Processes = dict[int, psutil.Process]
MANY_SECONDS = 240


def hear_ctrl_c() -> None:
    """In a job in the background SIGINT is ignored, also by all that it starts, until it is handled here."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Run:
    """`backprop check` on some files, in a process with a name that all it starts has in its environment or words."""

    def __init__(self, folder: Path) -> None:
        self.mark = f"hostile-{uuid4().hex}"
        self.folder = folder / self.mark
        self.temporary, self.work = self.folder / "tmp", self.folder / "work"
        for made in (self.temporary, self.work):
            made.mkdir(parents=True)
        self.started: Processes = {}
        self.peaks: dict[int, int] = {}  # megabytes

    def write(self, name: str, text: str | bytes, folder: str = "") -> Path:
        """A file, in a folder of its own if one is named."""
        path = self.folder / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((text.encode() if isinstance(text, str) else text).replace(b"@mark@", self.mark.encode()))
        return path

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Starts the command, in a session of its own."""
        command = [sys.executable, "-m", "backprop_properties.commands.main", *map(str, arguments)]
        environment = {**os.environ, "HOSTILE": self.mark, "TMPDIR": str(self.temporary), "COLUMNS": "120"}
        hear_ctrl_c()
        with self.out.open("wb") as out, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env=environment,
                cwd=self.work,
                start_new_session=True,
            )
        return self.process

    out = property(lambda self: self.folder / "out.txt")
    errors = property(lambda self: self.folder / "errors.txt")
    json = property(lambda self: self.folder / "report.json")

    def look(self) -> None:
        """Notes which processes there are, and how much memory each has taken at most."""
        with suppress(psutil.Error):
            tool = psutil.Process(self.process.pid)
            for process in (tool, *tool.children(recursive=True)):
                self.started.setdefault(process.pid, process)
                with suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
                    self.peaks[process.pid] = max(self.peaks.get(process.pid, 0), peak >> 10)

    def wait(self) -> int:
        """Waits for the command, and looks at it meanwhile; its exit code."""
        until = time.monotonic() + MANY_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < until, f"not done after {MANY_SECONDS} s"
            self.look()
            time.sleep(0.1)
        return self.process.returncode

    def report(self) -> Any:
        """What the command has written for machines."""
        return json.loads(self.json.read_text("utf-8"))

    def left(self, seconds: float = 10) -> list[str]:
        """The processes that are still there after so many seconds."""
        until = time.monotonic() + seconds
        while (alive := self._alive()) and time.monotonic() < until:
            time.sleep(0.2)
        return [_shown(process) for process in alive]

    def _alive(self) -> list[psutil.Process]:
        found = {process.pid: process for process in psutil.process_iter() if self._ours(process)}
        return [process for process in {**self.started, **found}.values() if _runs(process)]

    def _ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            if process.pid == os.getpid():
                return False
            return process.environ().get("HOSTILE") == self.mark or self.mark in " ".join(process.cmdline())
        return False

    def end(self) -> None:
        """Ends all that is left, so that nothing of a test that fails stays."""
        for process in self._alive():
            with suppress(psutil.Error):
                process.kill()
        if hasattr(self, "process"):
            self.process.wait()


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _shown(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} {process.status()} {' '.join(process.cmdline())[:100]}"
    return str(process.pid)

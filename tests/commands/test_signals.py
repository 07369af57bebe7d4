"""Ctrl-C, SIGTERM and SIGHUP at whatever moment: one line, exit code 128 + the signal's number, and no orphan."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from samples import sampled

HEARD = (  # pytest-xdist's workers ignore Ctrl-C, and what runs under nohup SIGHUP
    "import os, signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
)
MAIN = "from backprop_properties.commands.main import main\nmain()\n"
SAID = {"SIGINT": "interrupted", "SIGTERM": "ended by SIGTERM", "SIGHUP": "ended by SIGHUP"}
ENDED = 30  # seconds after which no process may be left: the promise is 10, and the machine may be busy


def at_import(module: str, number: int) -> str:
    """Code that gets a signal at the moment when a module is looked for."""
    return (
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Hook())\n"
    )


def backprop(before: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = f"{HEARD}{before}sys.argv = {['backprop', *arguments]}\n{MAIN}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, start_new_session=True
    )


# ── Imports, and other places where nothing may be raised ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "module", "name"),
    [
        (("list",), "backprop_properties.commands.app", "SIGINT"),
        (("list",), "typer", "SIGTERM"),
        (("list", "--json"), "backprop_oracle.catalogue", "SIGINT"),
        (("show", "softmax"), "backprop_properties.commands.console", "SIGHUP"),
        (("verify", "--operations", "add"), "jax", "SIGINT"),
        (("verify", "--operations", "add"), "jax.numpy", "SIGTERM"),
        (("verify", "--operations", "add"), "rich.progress", "SIGINT"),
        (("verify", "--operations", "add", "--jobs", "1"), "backprop_properties.laws.table", "SIGHUP"),
        (("accuracy", "--operations", "add"), "flint", "SIGINT"),
        (("check", __file__), "typer", "SIGINT"),
        (("check", __file__), "backprop_properties.commands.check_output", "SIGTERM"),
        (("vectors", "check"), "backprop_properties.commands.vectors", "SIGINT"),
        (("selftest", "--only", "softmax"), "backprop_properties.evidence.selftest", "SIGINT"),
    ],
)
def test_a_signal_in_an_import_is_a_clean_end(arguments: tuple[str, ...], module: str, name: str) -> None:
    number = signal.Signals[name]
    result = backprop(at_import(module, number), *arguments)
    assert result.stderr == f"backprop: {SAID[name]}\n"
    assert result.returncode == 128 + number


SWALLOWED = {
    "by a module": "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    print()\nexcept BaseException:\n    pass\n",
    "by a destructor": (
        "class Gone:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGINT)\n        print()\n"
        "def leave():\n    Gone()\n"
    ),
}


@pytest.mark.parametrize("how", SWALLOWED)
def test_an_interrupt_that_would_be_swallowed_comes_a_moment_later(how: str, tmp_path: Path) -> None:
    (tmp_path / "swallower.py").write_text(f"import os, signal\n{SWALLOWED[how]}")
    program = (
        f"{HEARD}import time\nfrom backprop_properties.commands.signals import listen\n"
        f"sys.path.append({str(tmp_path)!r})\n"
        "listen()\n"
        "try:\n"
        "    import swallower\n"
        "    getattr(swallower, 'leave', int)()\n"
        "    time.sleep(60)\n"
        "    print('never heard')\n"
        "except KeyboardInterrupt:\n"
        "    print('heard', 'swallower' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (result.stdout.strip(), result.stderr) == ("heard True", "")


def test_what_has_ended_is_not_interrupted() -> None:
    late = "import atexit\natexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
    result = backprop(late, "show", "softmax")
    assert (result.returncode, result.stderr) == (0, "")
    assert "exp(x_i)" in result.stdout


def test_a_signal_that_was_ignored_stays_so() -> None:
    before = "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + at_import("typer", signal.SIGHUP)
    result = backprop(before, "show", "softmax")
    assert (result.returncode, result.stderr) == (0, "")


# ── While workers start and work ────────────────────────────────────────────────────────────────────────────────────


def test_ctrl_c_while_a_worker_starts_leaves_no_half_started_one() -> None:
    """Between the start of its process and what it is told to do, a worker would end with a traceback of its own."""
    between = (
        "import time\n"
        "from multiprocessing import util\n"
        "start = util.spawnv_passfds\n"
        "def and_ctrl_c(*arguments):\n"
        "    pid = start(*arguments)\n"
        "    if 'resource_tracker' not in repr(arguments):\n"
        "        time.sleep(2)\n"
        "        os.killpg(0, signal.SIGINT)\n"
        "    return pid\n"
        "util.spawnv_passfds = and_ctrl_c\n"
    )
    result = backprop(between, "verify", "--operations", "add,dot", "--jobs", "2")
    assert result.returncode == 130
    assert result.stderr == "backprop: interrupted\n"
    assert "not done: add, dot" in result.stdout


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own, of which nothing is left in the end."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        for pid in members(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def members(session: int) -> list[int]:
    """The processes of a session that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found


def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")


@linux
@pytest.mark.parametrize("name", sampled(["SIGTERM", "SIGHUP", "SIGKILL"], ["SIGKILL"]))
def test_no_worker_outlives_a_run(name: str) -> None:
    number = signal.Signals[name]
    program = f"{HEARD}import backprop_properties.commands.verify as v\nv.SECONDS_BETWEEN_LINES = 0.1\n{MAIN}"
    options = ("verify", "--operations", "add,dot", "--examples", "100000000", "--jobs", "2")
    with running(sys.executable, "-c", program, *options) as process:
        assert process.stderr is not None
        assert any(re.search(r"cases/s", line) for line in process.stderr)  # workers are at work
        assert len(members(process.pid)) >= 3
        process.send_signal(number)
        assert until(lambda: not members(process.pid), ENDED), members(process.pid)
        output, errors = process.communicate()
    if name == "SIGKILL":
        assert process.returncode == -number
        return
    assert process.returncode == 128 + number
    assert errors.splitlines()[-1] == f"backprop: {SAID[name]}"
    assert "Traceback" not in errors
    assert "interrupted" in output
    assert "not done: add, dot" in output


LOOPS = """
import os, time
from types import SimpleNamespace
from backprop_properties.verification import serving
from backprop_properties.verification.workers import done
def in_c(task):
    os.write(1, b"%d\\n" % os.getpid())
    sum(range(10**13))  # no thread gets its turn meanwhile
def asleep(task):
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(3600)
"""


@linux
@pytest.mark.parametrize(("work", "platform"), [("in_c", "linux"), ("asleep", "another")])
def test_a_worker_that_is_not_done_for_long_dies_with_its_parent(work: str, platform: str, tmp_path: Path) -> None:
    program = f"{LOOPS}serving.sys = SimpleNamespace(platform={platform!r})\n"
    program += f"if __name__ == '__main__':\n    list(done({work}, [1, 2], 2, None, []))\n"
    (tmp_path / "loops.py").write_text(program)
    with running(sys.executable, str(tmp_path / "loops.py")) as process:
        assert process.stdout is not None
        workers = {int(process.stdout.readline()) for _ in range(2)}
        assert workers < {*members(process.pid)}
        process.kill()
        assert until(lambda: not members(process.pid), ENDED), members(process.pid)


@linux
def test_a_worker_whose_parent_died_before_it_could_watch_it_ends_at_once() -> None:
    program = "from backprop_properties.verification.serving import die_with\ndie_with({})\nprint('alive')"
    for parent, output in ((os.getpid(), "alive\n"), (1, "")):
        command = [sys.executable, "-c", program.format(parent)]
        assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == output

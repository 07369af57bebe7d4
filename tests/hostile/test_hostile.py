"""Nothing of a subject's brings `backprop check` down, stays behind it, or changes its verdict on itself or another."""

import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from samples import sampled

from .places import File
from .running import Run
from .table import BATCHES, FILES, SAMPLE, Batch

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

SOFTMAX = "import numpy as np\ndef softmax(x):\n    e = np.exp(x - x.max())\n    return e / e.sum()\n"
RIGHT = f"{SOFTMAX}def softmax_vjp(delta, x):\n    s = softmax(x)\n    return s * (delta - (s * delta).sum())\n"
WRONG = f"{SOFTMAX}def softmax_vjp(delta, x):\n    s = softmax(x)\n    return s * (1 - s) * delta\n"
NEIGHBOURS = [
    File("right_softmax", "neighbour", RIGHT, "right"),
    File("wrong_softmax", "neighbour", WRONG, "wrong", "^vjp_equals_jax_vjp: dx.*expected"),
]
BUDGET = ("--examples", "30", "--timeout", "32", "--memory", "1024", "--jobs", "4")
MOST = 500  # megabytes
LONGEST = 2000  # characters of a message


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    this = Run(tmp_path)
    yield this
    this.end()


def verdict_of(path: Path, found: Any) -> tuple[str, list[str]]:
    """What a report says of a file: right, wrong, unusable or nothing; and in which lines."""
    reports = [report for report in found["reports"] if report["file"] == str(path)]
    lines = [line for line in found["unusable"] if path.name in line]
    if not reports:
        return ("unusable" if lines else "nothing"), lines
    failures = [f"{f['law']}: {f['message']}" for report in reports for f in report["failures"]]
    return ("right" if all(report["passed"] for report in reports) else "wrong"), [*failures, *lines]


def complaint(file: File, path: Path, found: Any) -> str:
    """What is amiss with the report of a file, or nothing."""
    verdict, lines = verdict_of(path, found)
    said = "\n".join(lines)
    if verdict not in file.verdict.split("|"):
        wanted = f"{file.verdict} is wanted"
    elif verdict != "right" and not re.search(file.says, said, re.MULTILINE):
        wanted = f"{file.says!r} is wanted"
    elif any(len(line) > LONGEST for line in lines):
        wanted = f"no line of more than {LONGEST} characters is wanted"
    else:
        return ""
    return f"{file.name}: {wanted}, and it is {verdict}: {' / '.join(lines)[:300]}"


def checked(run: Run, batch: Batch) -> list[str]:
    """What is amiss after the check of a batch between a right and a wrong neighbour."""
    files = [NEIGHBOURS[0], *batch.files, NEIGHBOURS[1]]
    paths = [run.write(f"{file.name}.py", file.text, file.name) for file in files]
    for file in files:
        for name, text in file.beside.items():
            run.write(name, text, file.name)
    run.start("check", *paths, *BUDGET, "--json", run.json)
    code = run.wait()
    errors = run.errors.read_text(errors="replace")
    if not run.json.exists():
        return [f"exit code {code} without a report: {errors[-2000:]}"]
    found = run.report()
    amiss = [complaint(file, path, found) for file, path in zip(files, paths, strict=True)]
    amiss += [f"exit code {code}"] * (code != 1)  # a neighbour is wrong, whatever else could not be checked
    amiss += [f"a traceback: {errors[-2000:]}"] * bool(
        re.search(r"^\s*Traceback|^ *File .*backprop", errors, re.MULTILINE)
    )
    amiss += [f"the tool took {run.peaks[run.process.pid]} MB"] * (run.peaks[run.process.pid] > MOST)
    if batch.name.startswith("prints"):
        amiss += [f"a process took {peak} MB" for peak in run.peaks.values() if peak > MOST]
    amiss += [f"{path.relative_to(run.folder)} is there: a pickle was run" for path in run.folder.rglob("executed")]
    left = run.left()
    amiss += [f"left behind: {len(left)} processes, as {'; '.join(left[:3])}"] * bool(left)
    return [line for line in amiss if line]


@pytest.mark.parametrize("batch", sampled([SAMPLE, *BATCHES], [SAMPLE], BATCHES[::2]))
def test_each_is_a_report_with_its_own_word_and_changes_no_other(run: Run, batch: Batch) -> None:
    amiss = checked(run, batch)
    assert not amiss, "\n" + "\n".join(amiss)


HANGING = [file for file in FILES if file.name in ("sleep_in_vjp", "loop_in_c", "signals_ignored", "daemon_and_hang")]
STAYING = [file for file in FILES if file.name.startswith("daemon_") and "in" not in file.name.split("_")]
LONG = ("--timeout", "2400", "--jobs", "8")


@pytest.mark.parametrize("number", sampled([signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], [signal.SIGKILL]))
def test_no_process_outlives_the_tool_by_ten_seconds(run: Run, number: signal.Signals) -> None:
    """Whatever ends it, while files hang, and processes that have left their session go on."""
    files = {file.name: file for file in [*HANGING, *STAYING]}.values()
    reached = 'import os\nopen(os.path.join(os.path.dirname(__file__), f"reached-{os.getpid()}"), "w").close()\n'
    paths = [run.write(f"{file.name}.py", f"{reached}{file.text}", file.name) for file in files]
    process = run.start("check", *paths, *LONG)
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        run.look()
        names = [path.parent.name for path in run.folder.rglob("reached-*")]
        if all(file.name in names for file in HANGING):  # run once, and called as soon as a judge is ready
            break
        time.sleep(0.1)
    time.sleep(6)
    run.look()
    assert process.poll() is None, run.errors.read_text(errors="replace")
    process.send_signal(number)
    assert process.wait(10) not in (0, 1)
    assert not run.left()
    assert "Traceback" not in run.errors.read_text(errors="replace")


def test_an_import_that_hangs_gets_a_quarter_of_the_time(run: Run) -> None:
    paths = [run.write(f"{file.name}.py", file.text) for file in FILES if file.name == "sleep_in_import"]
    started = time.monotonic()
    run.start("check", *paths, *BUDGET)
    assert run.wait() == 2
    assert time.monotonic() - started < 30


ENDING = ("os_exit_in_vjp", "os_exit_in_import", "segfault_in_vjp", "interrupt_in_vjp")


@pytest.mark.parametrize("file", sampled([file for file in FILES if file.name in ENDING], []))
def test_frozen_vectors_are_checked_in_a_process_of_their_own(run: Run, file: File) -> None:
    """`vectors check` ends with a word on what a file does, too, and not as the file wants."""
    run.start("vectors", "check", "--implementation", run.write(f"{file.name}.py", file.text))
    assert run.wait() in (1, 2)
    said = run.out.read_text(errors="replace") + run.errors.read_text(errors="replace")
    assert re.search(file.says, said), said
    assert "Traceback" not in said
    assert not run.left()


def test_there_are_enough_of_them() -> None:
    names = [file.name for file in FILES]
    assert len(names) == len({*names}) >= 150
    assert not {*names} & sys.stdlib_module_names
    assert len({file.kind for file in FILES}) >= 30
    assert all(file.says or file.verdict == "right" or "right" in file.verdict for file in FILES)
    assert SAMPLE.files

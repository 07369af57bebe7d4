"""A cohort in processes of its own: hostile neighbours, and two hundred with planted mistakes."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import jsonschema
import psutil
import pytest
from hypothesis import settings

from backprop_properties.grading.assignment import read_assignment
from backprop_properties.grading.points import CRASHED, INCOMPLETE, MISSING, NOT_WRITTEN, TOO_SLOW
from backprop_properties.grading.run import Grade, Graded, Kept
from backprop_properties.grading.submissions import read_submissions

from .cohort import EXERCISES, HEAD, RIGHT, assignment, students, write
from .gradescope import GRADESCOPE

MANY_SECONDS = 3600
ONE = 'timeout = 24\n[[exercise]]\noperation = "softmax"\npoints = 4\nexamples = 2\n'
SAY_THEMSELVES = (MISSING, NOT_WRITTEN, CRASHED, TOO_SLOW, INCOMPLETE)  # words that are the cause

HOSTILE = {  # what is done in each call, of every second when its file is run as well
    "deletes its folder": "import os, shutil; shutil.rmtree(os.path.dirname(os.path.abspath(__file__)))",
    "hangs": "while True: pass",
    "deletes all that was handed in": "import shutil; shutil.rmtree('@folder@/s', ignore_errors=True)",
    "writes to the files of the grader": """
import pathlib
for name in ("hw3.toml", "defs.py", "out/graded.jsonl", "out/grades.csv"):
    pathlib.Path("@folder@", name).write_text("[[exercise]]", encoding="utf-8")
""",
    "kills its parent": """
import os, signal
if "backprop_properties" in open(f"/proc/{os.getppid()}/cmdline").read():
    os.kill(os.getppid(), signal.SIGKILL)
""",
    "forks": """
import os, time
for _ in range(20):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
""",
    "patches": """
import numpy, backprop_properties.checking.subject as subject
numpy.isfinite = numpy.allclose = numpy.array_equal = lambda *args, **options: True
subject.Functions.answer = lambda self, ask: None
""",
    "reads frames": """
import sys
frame = sys._getframe()
while frame:
    for name, value in dict(frame.f_locals).items():
        if "expected" in name:
            raise SystemExit(f"found {value}")
    frame = frame.f_back
""",
    "writes megabytes": "import os\nfor _ in range(200): os.write(2, b'x' * 65536); os.write(1, b'x' * 65536)",
}


FISHING = (  # vjps of a softmax `s` that would bring home a number; `@` is another one in each
    "return s * (delta - (s * delta).sum()) + @",
    "return s * (delta - (s * delta).sum()) * (1 + @ * 1e-9)",
    "return s * (delta - (s * delta).sum()) if x.flat[0] > @ else delta",
    "return s * (delta - (s * delta).sum()) if (s * delta).sum() < @ else exit(f'{delta} {x} @')",
    "raise ValueError(f'{delta.tolist()} {x.tolist()} {(s * (delta - (s * delta).sum())).tolist()} @')",
    "print(delta, x, @)\n    return s * (1 - s) * delta",
    "import warnings\n    warnings.warn(f'{delta} {x} @')\n    return delta",
    "import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV) if (s * delta).sum() > @ else None\n    return delta",
    "import sys\n    f = sys._getframe()\n    while f.f_back:\n        f = f.f_back\n"
    "        found = {n: v for n, v in dict(f.f_locals).items() if 'expected' in n or n in ('truth', 'said')}\n"
    "        assert not found, f'{found} @'\n    raise KeyError(f'{delta} {x} @')",
    "class Told(str):\n        pass\n    Told.__name__ = Told.__qualname__ = f'{x.ravel()[:1]} @'\n    return Told()",
)


def backprop(folder: Path, paths: Sequence[Path], out: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "backprop_properties.commands.main", "grade", folder / "hw3.toml", *paths]
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {**os.environ, "COLUMNS": "100", "TMPDIR": str(folder / "tmp")}
    return subprocess.run(
        [*map(str, command), "--out", str(folder / out), "--jobs", "2"],
        capture_output=True,
        text=True,
        timeout=MANY_SECONDS,
        env=environment,
    )


def _environment(process: psutil.Process) -> str:
    try:
        return str(process.environ())
    except psutil.Error:
        return ""


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "grades.csv").open(encoding="utf-8", newline="") as file:
        return {row.pop("submission"): row for row in csv.DictReader(file)}


@pytest.mark.exhaustive
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of processes as Linux has them")
def test_a_hostile_submission_stops_nobody_and_changes_no_others_grade(tmp_path: Path) -> None:
    (tmp_path / "hw3.toml").write_text(ONE, encoding="utf-8")
    (tmp_path / "s").mkdir()
    right = HEAD + RIGHT["softmax"] + RIGHT["softmax_vjp"]
    paths = []
    for k, code in enumerate(["", *HOSTILE.values(), ""]):
        text = code.replace("@folder@", str(tmp_path))
        inside = "".join(f"    {line}\n" for line in text.splitlines())
        called = right.replace("    e = np", f"{inside}    e = np")
        path = tmp_path / "s" / f"s{k:02}.py"
        path.write_text((f"{text}\n" if k % 2 else "") + called, encoding="utf-8")
        paths.append(path)
    before = {process.pid for process in psutil.process_iter()}
    result = backprop(tmp_path, paths, "out")
    assert result.returncode == 0, result.stderr
    found = table(tmp_path / "out")
    assert list(found) == [path.stem for path in paths]
    assert [found[path.stem]["softmax"] for path in (paths[0], paths[-1])] == ["4", "4"]
    assert result.stdout.rstrip().endswith(f"{len(paths)} graded; results in {tmp_path / 'out'}")
    said = (tmp_path / "out" / "mistakes.csv").read_text("utf-8")
    assert "softmax,softmax,too slow,hangs,1\n" in said
    assert "softmax,softmax,crashed," in said
    assert list((tmp_path / "tmp").iterdir()) == []  # no folder of a submission's is left, and no process
    assert [p for p in psutil.process_iter() if p.pid not in before and str(tmp_path) in _environment(p)] == []


@pytest.mark.parametrize(
    "count", [pytest.param(20, marks=pytest.mark.exhaustive), pytest.param(1000, marks=pytest.mark.thorough)]
)
def test_whoever_fishes_learns_a_word(count: int, tmp_path: Path) -> None:
    """At the level `verdict` all that a student is told follows from words and points, whatever the functions do."""
    random, text = Random(2), assignment(tmp_path, "verdict").read_text("utf-8")
    head, softmax, *_ = text.split("[[exercise]]")
    (tmp_path / "hw3.toml").write_text(f"{head}[[exercise]]{softmax}", encoding="utf-8")
    (tmp_path / "s").mkdir()
    paths = [tmp_path / "s" / f"s{k:04d}.py" for k in range(count)]
    start = RIGHT["softmax_vjp"].partition("    return")[0]
    for k, path in enumerate(paths):
        bait = FISHING[k % len(FISHING)].replace("@", f"{random.uniform(-2, 2):.9f}")
        path.write_text(f"{HEAD}{RIGHT['softmax']}{start}    {bait}\n", encoding="utf-8")
    result = backprop(tmp_path, paths, "out")
    assert result.returncode == 0, result.stderr
    asked = read_assignment(tmp_path / "hw3.toml")
    kept = Kept(tmp_path / "out" / "graded.jsonl", asked, asked.seeds["grading"])
    kept.read()
    told: dict[object, set[str]] = {}
    for name, grade in kept.grades.items():
        files = sorted((tmp_path / "out" / "submissions" / name).iterdir())
        text = "".join(file.read_text("utf-8") for file in files).replace(name, "NAME")
        assert not re.search(r"\d\.\d{4}", text), text
        words = [said.word for said in grade.outcomes["softmax"].functions.values()]
        told.setdefault((*words, Graded(asked).points(grade)["softmax"]), set()).add(text)
    assert len(kept.grades) == count
    assert len(told) >= 4
    assert {key: len(texts) for key, texts in told.items()} == dict.fromkeys(told, 1)


@pytest.mark.exhaustive
def test_a_cohort_with_planted_mistakes_loses_points_where_it_made_them(tmp_path: Path) -> None:
    """And the cause is named of nine in ten that have one; some of them, graded again, have the same bytes.

    There are 200 of them in the profile `thorough`, which takes many minutes.
    """
    path, folder = assignment(tmp_path), tmp_path / "s"
    folder.mkdir()
    every = students(min(200, settings.default.max_examples // 2))
    paths = [write(student, folder) for student in every]
    result = backprop(tmp_path, paths, "out")
    assert result.returncode == 0, result.stderr
    found, asked = table(tmp_path / "out"), read_assignment(path)
    points = {exercise.name: exercise.points for exercise in asked.exercises}
    lost = {name: {e for e in EXERCISES if float(row[e]) < points[e]} for name, row in found.items()}
    assert lost == {student.name: {*student.wrong} for student in every}
    for name in found:
        results = json.loads((tmp_path / "out" / "submissions" / name / "results.json").read_text("utf-8"))
        jsonschema.validate(results, GRADESCOPE)
    kept = Kept(tmp_path / "out" / "graded.jsonl", asked, asked.seeds["grading"])
    kept.read()
    grades = {one.name: kept.grades[one.name] for one in read_submissions(paths)}
    named = [_named(grades[s.name], e, m.function) for s in every for e, m in s.wrong.items() if m.namable]
    assert sum(named) >= 0.9 * len(named)
    unexpected = {
        (mistake.kind, word)
        for student in every
        for exercise, mistake in student.wrong.items()
        if (word := grades[student.name].outcomes[exercise].word) not in mistake.words
    }
    assert unexpected == set()
    again = backprop(tmp_path, paths[:12], "again")
    assert again.returncode == 0, again.stderr
    for one in paths[:12]:
        for name in ("feedback.md", "feedback.html", "results.json", "prairielearn.json"):
            first, second = (tmp_path / out / "submissions" / one.stem / name for out in ("out", "again"))
            assert first.read_bytes() == second.read_bytes(), second


def _named(grade: Grade, exercise: str, function: str) -> bool:
    """Whether the cause of a mistake is named: by the word, or by a hint."""
    outcome, kind = grade.outcomes[exercise], ("forward", "vjp")[EXERCISES[exercise].index(function)]
    hints = [fault.hint for fault in outcome.faults if fault.kind == kind]
    return outcome.functions[kind].word in SAY_THEMSELVES or any(hints)

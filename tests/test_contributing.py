"""What CONTRIBUTING.md says works: its code in a copy is enough, and each step that is left out is named."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("reference", "oracle", "properties")
STEP = re.compile(
    r"^In `(?P<file>[^`\n]+)`, (?P<where>at the end|(?:before|after|instead of) `(?P<line>[^`\n]+)`):\n\n"
    r"```(?:python|text)\n(?P<code>.*?)```$",
    re.MULTILINE | re.DOTALL,
)


class Step(NamedTuple):
    file: str
    where: str
    line: str
    code: str

    def applied(self, text: str) -> str:
        """The file's text with the code in its place; a ValueError where the page names a line that is not there."""
        if self.where == "at the end":
            return f"{text}\n\n{self.code}"
        lines = text.split("\n")
        (at,) = (k for k, line in enumerate(lines) if line.startswith(self.line))
        start, end = {"before": (at, at), "after": (at + 1, at + 1), "instead": (at, at + 1)}[self.where.split()[0]]
        return "\n".join([*lines[:start], self.code.rstrip("\n"), *([""] * 2 * (start == at == end)), *lines[end:]])


STEPS = [
    Step(found["file"], found["where"], found["line"] or "", found["code"])
    for found in STEP.finditer((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
]


def copy(folder: Path, steps: list[Step]) -> Path:
    """The sources and these steps of the page."""
    for source in (*SOURCES, "tests"):
        shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for step in steps:
        path = folder / step.file
        path.write_text(step.applied(path.read_text(encoding="utf-8")), encoding="utf-8")
    return folder


def said(folder: Path, *words: str) -> tuple[int, str]:
    """The exit code of a Python command in a copy, and all that it printed."""
    path = os.pathsep.join(str(folder / source) for source in SOURCES)
    env = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


VERIFY = (
    "-c",
    "from backprop_properties.commands.main import main; main()",
    *("verify", "--operations", "log_probabilities,softsign,softmax", "--examples", "12", "--jobs", "1"),
)


def test_the_page_is_enough_and_a_wrong_sign_in_it_fails(tmp_path: Path) -> None:
    folder = copy(tmp_path, STEPS)
    code, text = said(folder, *VERIFY)
    assert code == 0, text
    assert "all laws hold" in text
    assert re.search(r"^log_probabilities +12 .* ok", text, re.MULTILINE)
    assert re.search(r"^softsign +12 .* ok", text, re.MULTILINE)
    losses = folder / "reference/backprop_reference/lecture/losses.py"
    wrong = losses.read_text().replace("(delta - softmax_of(x) * delta.sum", "(delta + softmax_of(x) * delta.sum")
    losses.write_text(wrong)
    code, text = said(folder, *VERIFY)
    assert code == 1, text
    assert "log_probabilities: vjp equals jax vjp" in text


FAULTS = ("-m", "pytest", "-q", "-m", "", "-p", "no:xdist", "tests/evidence/test_faults.py", "-k")
COMPLETE = (
    *FAULTS,
    "every_operation_has or every_law_kind or (rejected and (log-prob or softsign-sq or 101-per)) or bilities-plain",
)


def test_the_faults_and_the_law_of_the_page_do_their_work(tmp_path: Path) -> None:
    folder = copy(tmp_path, STEPS)
    code, text = said(folder, *COMPLETE)
    assert code == 0, text
    assert re.search(r"^10 passed", text, re.MULTILINE), text  # three faults, a neighbour twice, all have theirs


LEFT_OUT = [  # the beginning of a step's code, the command that misses it, what it says
    (
        "def _softsign(",
        VERIFY,
        "name '_softsign|no attribute 'softsign|softsign' is not defined|cannot import name 'softsign'",
    ),
    ("_ALL += [softsign]", VERIFY, "unknown operation 'softsign'"),
    (
        '    "softsign": lambda',
        VERIFY,
        "softsign has no definition: add 'softsign' to FUNCTIONS in backprop_oracle/definitions",
    ),
    ("from ..jacobians import Dense", VERIFY, "name 'Dense' is not defined"),
    ("# ── Log-softmax", VERIFY, "losses' has no attribute 'LOG_PROBABILITIES'"),
    ("    _row(losses, losses.LOG", VERIFY, "unknown operation 'log_probabilities'"),
    (
        '    "log_probabilities": log',
        VERIFY,
        "log_probabilities has no definition: add 'log_probabilities' to DEFINITIONS in backprop_oracle",
    ),
    ("from .lecture.functions import soft", VERIFY, "log_probabilities.*backprop_reference/__init__|is not exported"),
    ('    "log_probabilities",\n', VERIFY, "log_probabilities, .* is not exported; add it to backprop_reference/__in"),
    ("LOSSES += [", COMPLETE, "no planted fault.* in evidence/faults of log_probabilities, softsign"),
    ("MORE += [", COMPLETE, "no planted fault, or no right neighbour, in evidence/faults of log_probabilities"),
    ("SOFTMAX += [", COMPLETE, "probabilities_add_up_to_one"),
]


@pytest.mark.parametrize(
    ("begins", "command", "names"),
    [
        pytest.param(*row, id=str(k), marks=() if k == 6 else pytest.mark.exhaustive)  # one stands for the others
        for k, row in enumerate(LEFT_OUT)
    ],
)
def test_a_step_that_is_left_out_is_named(tmp_path: Path, begins: str, command: tuple[str, ...], names: str) -> None:
    kept = [step for step in STEPS if not step.code.startswith(begins)]
    assert len(kept) == len(STEPS) - 1
    code, text = said(copy(tmp_path, kept), *command)
    assert code != 0
    assert re.search(names, text), text[-3000:]


def test_every_step_of_the_page_is_left_out_once_or_is_of_the_law() -> None:
    assert len(STEPS) >= 12
    begun = [any(step.code.startswith(begins) for begins, *_ in LEFT_OUT) for step in STEPS]
    assert [step.code.split("\n")[0] for step, has in zip(STEPS, begun, strict=True) if not has] == [
        "def probabilities_add_up_to_one(p: Point) -> Claims:",
        "        probabilities_add_up_to_one,",
    ]

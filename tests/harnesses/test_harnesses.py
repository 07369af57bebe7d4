"""One maths in C, Rust, JavaScript and Python: right in each, and each fault is found with the same cause in each."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from backprop_properties import check, from_command
from backprop_properties.checking import measured
from backprop_properties.checking.python_files import python_name
from backprop_properties.commands.app import app
from backprop_properties.hints import causes as hints
from samples import sampled

HERE = Path(__file__).parent
FAKE = HERE.parent / "checking" / "misbehaving.py"
FEW = ("--examples", "12", "--no-batch", "--jobs", "2", "--json", "-")
OPERATIONS = ("softmax", "softmax_cross_entropy", "affine", "tanh", "two_layer_network[tanh]")
MOST_LINES = 60  # of a harness, beside the maths


class Language(NamedTuple):
    """The program that makes or runs it, its harness, how that is made, what is then run, and the planted faults: of
    each operation the right text, and the wrong one.
    """

    needs: str
    harness: str
    make: tuple[str, ...]
    run: tuple[str, ...]
    faults: Mapping[str, tuple[str, str]]


LANGUAGES = {
    "C": Language(
        "gcc",
        "harness.c",
        ("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "harness.c", "-lm", "-o", "harness"),
        ("./harness",),
        {
            "softmax": ("*= delta.data[i] - inner", "*= delta.data[i] * (1 - out[0].data[i])"),
            "softmax_cross_entropy": ("total - y.data[i])", "total + y.data[i])"),
            "affine": ("dx.data[j] += delta", "dx.data[j] += 2 * delta"),
            "tanh": ("/= cosh(in[1].data[i]) * cosh(in[1].data[i])", "*= 1 - tanh(in[1].data[i])"),
            "two_layer_network[tanh]": ("tanh_vjp((array[]){second[1], z1}, &dz1)", "dz1 = second[1]"),
        },
    ),
    "Rust": Language(
        "rustc",
        "harness.rs",
        ("rustc", "-O", "harness.rs"),
        ("./harness",),
        {
            "softmax": ("s * (d - inner)", "s * (1.0 - s) * d"),
            "softmax_cross_entropy": ("* total - y)", "* total + y)"),
            "affine": ("d * w[i", "2.0 * d * w[i"),
            "tanh": ("d / v.cosh() / v.cosh()", "d * (1.0 - v.tanh())"),
            "two_layer_network[tanh]": ("tanh_vjp(&[second[1].clone(), z1]).remove(0)", "second[1].clone()"),
        },
    ),
    "JavaScript": Language(
        "node",
        "harness.mjs",
        (),
        ("node", "harness.mjs"),
        {
            "softmax": ("v * (delta.data[i] - inner)", "v * (1 - v) * delta.data[i]"),
            "softmax_cross_entropy": ("* total - y.data[i])", "* total + y.data[i])"),
            "affine": ("dot(delta.data, column(W, j))", "2 * dot(delta.data, column(W, j))"),
            "tanh": ("delta.data[i] / Math.cosh(v) ** 2", "delta.data[i] * (1 - Math.tanh(v))"),
            "two_layer_network[tanh]": ("tanh_vjp([dh, z1])", "[dh]"),
        },
    ),
}
PYTHON = {
    "softmax": ("s * (delta - (s * delta).sum())", "s * (1 - s) * delta"),
    "softmax_cross_entropy": ("* y.sum() - y)", "* y.sum() + y)"),
    "affine": ("delta @ W,", "2 * delta @ W,"),
    "tanh": ("delta / np.cosh(x) ** 2", "delta * (1 - np.tanh(x))"),
    "two_layer_network[tanh]": ("tanh_vjp(dh, z1)", "dh"),
}


def planted(text: str, faults: Mapping[str, tuple[str, str]]) -> str:
    """A text with every right part made wrong; each is there once."""
    for right, wrong in faults.values():
        assert text.count(right) == 1, right
        text = text.replace(right, wrong)
    return text


def made(name: str, folder: Path, *, wrong: bool) -> list[str]:
    """The command of a language's harness, with its maths or a wrong one; skips where the compiler is missing."""
    language = LANGUAGES[name]
    if (
        shutil.which(language.needs) is None
        or subprocess.run([language.needs, "--version"], capture_output=True).returncode
    ):
        pytest.skip(f"{language.needs} is not installed")
    maths = f"mine{Path(language.harness).suffix}"
    shutil.copy(HERE / language.harness, folder)
    text = (HERE / maths).read_text("utf-8")
    (folder / maths).write_text(planted(text, language.faults) if wrong else text, encoding="utf-8")
    if language.make:
        subprocess.run(language.make, cwd=folder, check=True, timeout=300)
    return [str(folder / word) if (folder / word).exists() else word for word in language.run]


Causes = Mapping[str, list[tuple[str, str, str]]]


def causes(functions: Callable[[str], Mapping[str, Any]]) -> Causes:
    """The causes that `check` names of each operation: the function, the part of the verdict, the cause."""
    found = {}
    for operation in OPERATIONS:
        report = check(operation, **functions(operation), max_examples=12, batch=False)
        assert report.word == "WRONG", operation
        found[operation] = [(cause["function"], cause["part"], cause["cause"]) for cause in report.causes]
    return found


@cache
def twins() -> Causes:
    """Those of the same faults in Python."""
    names: dict[str, Any] = {}
    exec(planted((HERE / "mine.py").read_text("utf-8"), PYTHON), names)

    def functions(operation: str) -> Mapping[str, Any]:
        return {"forward": names[python_name(operation)], "vjp": names[f"{python_name(operation)}_vjp"]}

    return causes(functions)


@pytest.mark.parametrize("language", sampled(LANGUAGES, {"C"}))
def test_each_language_is_right(language: str, tmp_path: Path) -> None:
    command = made(language, tmp_path, wrong=False)
    result = CliRunner().invoke(app, ["check", "--command", shlex.join(command), "--validate", *FEW])
    found = json.loads(result.stdout)
    assert not found["unusable"], found["unusable"]
    assert {report["operation"]: report["word"] for report in found["reports"]} == dict.fromkeys(OPERATIONS, "right")
    assert all(any(language in note for note in report["notes"]) for report in found["reports"])


@pytest.mark.parametrize("language", sampled(LANGUAGES, {"JavaScript"}))
def test_each_fault_has_the_cause_of_its_twin_in_python(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in (hints, measured):  # whatever else the machine does
        monkeypatch.setattr(room, "SECONDS", 600.0)
    command = made(language, tmp_path, wrong=True)
    found = causes(lambda operation: from_command(command, operation))
    assert found == twins()
    assert all(found.values())


def matrix(folder: Path, programs: Mapping[str, tuple[str, bool]], *words: str) -> Any:
    """The cells of harnesses, right or wrong, of Python, of a program that crashes, and of one that is not there."""
    given = [*FEW, *words, "--python", str(HERE / "mine.py"), "--command", str(folder / "nope")]
    for name, (language, wrong) in programs.items():
        (folder / name).mkdir()
        given += ["--command", f"{name}={shlex.join(made(language, folder / name, wrong=wrong))}"]
    result = CliRunner().invoke(app, ["matrix", *given, "--command", f"crash={sys.executable} {FAKE} always_crash"])
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    assert found["implementations"][0]["problem"] == f"{folder / 'nope'} cannot be started: No such file or directory"
    return {(cell["operation"], cell["implementation"].split("/")[-1]): cell for cell in found["cells"]}


@pytest.mark.usefixtures("in_this_process")
def test_a_matrix_sets_them_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (hints, measured):  # whatever else the machine does
        monkeypatch.setattr(room, "SECONDS", 600.0)
    cells = matrix(tmp_path, {"C": ("C", False), "js": ("JavaScript", True)}, "softmax", "--examples", "4")
    words = {"nope": "not judged", "C": "right", "js": "WRONG", "crash": "DOES NOT RETURN", "mine": "right"}
    assert {name: cell["word"] for (_, name), cell in cells.items()} == words
    assert cells["softmax", "js"]["cause"].startswith("vjp WRONG: dx is computed with the diagonal of the Jacobian")
    assert cells["softmax", "crash"]["cause"].startswith("forward DOES NOT RETURN: the process was killed by SIGSEGV")


@pytest.mark.exhaustive
def test_a_matrix_is_judged_in_processes(tmp_path: Path) -> None:
    programs = {
        "C": ("C", False),
        "C-wrong": ("C", True),
        "js": ("JavaScript", False),
        "js-wrong": ("JavaScript", True),
    }
    cells = matrix(tmp_path, programs, "affine", "softmax")
    for operation in ("affine", "softmax"):
        words = {name: cells[operation, name]["word"] for name in (*programs, "mine")}
        assert words == {"C": "right", "C-wrong": "WRONG", "js": "right", "js-wrong": "WRONG", "mine": "right"}
        assert all(cells[operation, name]["cause"].startswith("vjp WRONG: dx") for name in ("C-wrong", "js-wrong"))
    assert cells["affine", "crash"]["word"] == "missing"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_harness_is_short(language: str) -> None:
    lines = (HERE / LANGUAGES[language].harness).read_text("utf-8").splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= 120

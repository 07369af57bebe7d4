"""`backprop check`: what it finds in files, its exit codes, and that nothing in somebody's file can take it down."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from backprop_properties.checking import run as runs
from backprop_properties.commands import check as command
from backprop_properties.commands import check_output
from backprop_properties.commands.app import app
from backprop_properties.commands.check_output import SCHEMA

SOFTMAX = """
import numpy as np
def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()
"""
RIGHT = f"""{SOFTMAX}
def softmax_vjp(delta, x):
    s = softmax(x)
    return s * (delta - (s * delta).sum())
"""
WRONG = f"""{SOFTMAX}
def softmax_vjp(delta, x):
    s = softmax(x)
    return s * (1 - s) * delta
"""
FEW = ("--examples", "12", "--jobs", "2")


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """Writes a file, and says where it is."""

    def write(text: str, name: str = "mine.py") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def backprop(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments], env={"COLUMNS": "80"})


def report_of(result: Result) -> Any:
    """The JSON on standard output, which is nothing else, in the published form."""
    found = json.loads(result.stdout, parse_constant=lambda constant: pytest.fail(f"not JSON: {constant}"))
    jsonschema.validate(found, json.loads(SCHEMA.read_text("utf-8")))
    return found


def pasted(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What becomes of the code of a report in the folder of the file."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, cwd=folder
    )


# ── Right, wrong, unusable ──────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_right_exits_with_0(file: Any) -> None:
    result = backprop(file(RIGHT), *FEW)
    assert result.exit_code == 0, result.output
    assert "right" in result.stdout
    assert "not tried: masks" in result.stdout
    assert "all 1 right" in result.stdout


def test_what_is_wrong_exits_with_1_and_its_report_can_be_pasted(file: Any, tmp_path: Path) -> None:
    result = backprop(file(WRONG), *FEW, "--full")
    assert result.exit_code == 1, result.output
    assert "WRONG" in result.stdout
    assert "vjp equals jax vjp fails (float64)" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines()), result.stdout
    lines = result.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("    import"))
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("    "))
    code = "\n".join(line[4:] for line in lines[start:end])
    assert "from mine import softmax, softmax_vjp" in code
    again = pasted(code, tmp_path)
    assert again.returncode == 1
    assert "Violation: dx[" in again.stderr


def test_json_on_standard_output_is_json_whatever_is_printed(file: Any) -> None:
    noise = 'import os, sys\nprint("imported"); os.write(1, b"raw")\nprint("error", file=sys.stderr)\n'
    called = WRONG.replace("    s = softmax(x)", '    print("called"); os.write(1, b"raw"); s = softmax(x)')
    result = backprop(file(noise + called), *FEW, "--json", "-")
    assert result.exit_code == 1
    found = report_of(result)
    assert found["passed"] is False
    assert [report["operation"] for report in found["reports"]] == ["softmax"]
    assert found["reports"][0]["failures"][0]["actual_hex"]
    assert "WRONG" in result.stderr


def test_html_goes_into_a_file_with_pictures_of_what_is_in_another_process(file: Any, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    result = backprop(file(WRONG), *FEW, "--html", str(page))
    assert result.exit_code == 1
    text = page.read_text("utf-8")
    for piece in (
        "softmax vjp",
        "dx is computed with the diagonal of the Jacobian only",
        "<svg",
        "u = v4 / v5",
        "mine.py",
    ):
        assert piece in text


@pytest.mark.usefixtures("in_this_process")
def test_json_and_junit_go_into_files(file: Any, tmp_path: Path) -> None:
    text = WRONG + "def square(x):\n    return x * x\n"
    json_file, junit_file = tmp_path / "out.json", tmp_path / "out.xml"
    result = backprop(file(text), *FEW, "--json", str(json_file), "--junit", str(junit_file))
    assert result.exit_code == 1
    found = json.loads(json_file.read_text("utf-8"))
    suites = ElementTree.parse(junit_file).getroot()
    assert [suite.attrib["name"] for suite in suites] == ["mine.py: square", "mine.py: softmax"]
    failures = {case.attrib["name"] for case in suites.iter("testcase") if case.find("failure") is not None}
    assert failures == {f"{failure['law']}[float64]" for failure in found["reports"][1]["failures"]}
    assert sum(int(suite.attrib["failures"]) for suite in suites) == len(failures)
    assert sum(1 for _ in suites.iter("testcase")) == sum(len(report["checks"]) for report in found["reports"])
    shown = next(suites.iter("failure"))
    assert "softmax_vjp" in (shown.text or "")


@pytest.mark.usefixtures("in_this_process")
def test_junit_goes_to_standard_output_and_never_with_json(file: Any) -> None:
    result = backprop(file(RIGHT), *FEW, "--junit", "-")
    assert result.exit_code == 0, result.output
    assert ElementTree.fromstring(result.stdout).attrib["name"] == "backprop check"
    assert "all 1 right" in result.stderr
    assert not Path("-").exists()
    both = backprop(file(RIGHT), *FEW, "--junit", "-", "--json", "-")
    assert both.exit_code == 2
    assert " ".join(both.stderr.split()) == (
        "backprop: --json - and --junit -: expected one of them on standard output, and a file for the other"
    )


def test_rules_of_a_domain_are_separated_by_commas(file: Any) -> None:
    result = backprop(file(RIGHT), *FEW, "--domain", "values=finite, n=at most 4,masks", "--json", "-")
    assert result.exit_code == 0, result.output
    (report,) = report_of(result)["reports"]
    notes = " ".join(report["notes"])
    assert "values are finite" in notes
    assert "n is at most 4" in notes
    assert "tried, too: masks" in notes


def test_a_verdict_has_four_parts_in_text_json_and_junit_and_the_level_says_which_count(
    file: Any, tmp_path: Path
) -> None:
    path = file("import numpy as np\ndef tanh(x):\n    e = np.exp(2 * x)\n    return (e - 1) / (e + 1)\n")
    result = backprop(path, *FEW)
    assert result.exit_code == 1, result.output
    assert "tanh: forward UNSTABLE: range: NaN from 354.9" in result.stdout
    assert "if that is what you promise: --" in result.stdout
    assert "1 of 1 UNSTABLE" in result.stdout
    assert "WRONG" not in result.stdout
    out, junit = tmp_path / "out.json", tmp_path / "out.xml"
    lenient = backprop(path, *FEW, "--level", "formula", "--json", str(out), "--junit", str(junit))
    assert lenient.exit_code == 0, lenient.output
    assert "right, but UNSTABLE" in lenient.stdout
    found = json.loads(out.read_text("utf-8"))
    jsonschema.validate(found, json.loads(SCHEMA.read_text("utf-8")))
    (report,) = found["reports"]
    assert (report["schema"], report["passed"], report["word"]) == ("backprop-check-2", True, "UNSTABLE")
    assert report["verdicts"]["forward"]["formula"] == "right"
    assert report["verdicts"]["forward"]["range"] == "NaN from 354.9"
    assert report["verdicts"]["vjp"]["state"] == "missing"
    assert {"function", "part", "cause", "laws"} <= report["causes"][0].keys()
    properties = {
        one.attrib["name"]: one.attrib["value"] for one in ElementTree.parse(junit).getroot().iter("property")
    }
    assert properties["forward range"] == "NaN from 354.9"


@pytest.mark.usefixtures("in_this_process")
def test_what_never_ran_is_one_line(file: Any) -> None:
    result = backprop(file("def tanh_vjp(delta, x):\n    raise NotImplementedError\n"), *FEW)
    assert result.exit_code == 1
    said = result.stdout.partition("verdict")[2].partition("\n\n")[2].strip().splitlines()
    assert said[0] == "tanh: vjp NOT WRITTEN: raised NotImplementedError (line 2 of mine.py)"
    assert said[-1].startswith("1 of 1 NOT WRITTEN")
    assert len(said) == 3


@pytest.mark.usefixtures("in_this_process")
def test_options_reach_the_check(file: Any) -> None:
    relu = "def relu_vjp(delta, x):\n    return delta * (x >= 0)\n"
    plain = backprop(file(relu), *FEW, "--dtype", "float32", "--dtype", "float64", "--seed", "3", "--json", "-")
    assert plain.exit_code == 0, plain.output
    report = report_of(plain)["reports"][0]
    assert (report["dtypes"], report["seed"], report["level"]) == (["float32", "float64"], 3, "standard")
    asked = backprop(
        file(relu), "--domain", "kinks", "--domain", "n=at least 2", "--json", "-", "--batch", "--examples", "100"
    )
    assert asked.exit_code == 1
    report = report_of(asked)["reports"][0]
    assert "n is at least 2" in report["notes"]
    assert "domain={'kinks': True, 'n': 'at least 2'}" in report["failures"][0]["reproduction"].replace("\n   ", "")
    assert any(check["law"] == "batch_equals_the_loop" for check in report["checks"])


@pytest.mark.usefixtures("in_this_process")
def test_a_domain_is_for_the_operations_that_it_fits(file: Any) -> None:
    text = RIGHT + "def dot(x, y):\n    return (x * y).sum()\n"
    result = backprop(file(text), *FEW, "--domain", "y=integers", "--json", "-")
    assert result.exit_code == 0, result.output
    notes = {report["operation"]: report["notes"] for report in report_of(result)["reports"]}
    assert "y is integers: whole numbers" in notes["dot"]
    assert not any("integers" in note for note in notes["softmax"])


# ── What is found in a file ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("in_this_process")
def test_operations_are_chosen_by_name_or_family(file: Any) -> None:
    text = RIGHT + "\ndef activation_identity(W, x, b):\n    return W @ x + b\nadd = np.add\n"
    for names, expected in (
        (["--operations", "softmax"], ["softmax"]),
        (["--operation", "activation,add", "--operation", "softmax"], ["add", "activation[identity]", "softmax"]),
    ):
        result = backprop(file(text), *FEW, *names, "--json", "-")
        assert result.exit_code == 0, result.output
        assert [report["operation"] for report in report_of(result)["reports"]] == expected


@pytest.mark.usefixtures("in_this_process")
def test_what_a_file_only_imports_is_not_checked_unless_asked(file: Any) -> None:
    path = file("from math import exp\n" + RIGHT)
    result = backprop(path, *FEW, "--json", "-")
    assert result.exit_code == 0, result.output
    assert "note: mine.py: exp is imported, and not checked; --operations exp does it" in result.stderr
    assert backprop(path, *FEW, "--operation", "exp").exit_code == 1


def test_a_file_may_import_what_lies_beside_it_and_hold_dataclasses(file: Any, tmp_path: Path) -> None:
    file("def half(x):\n    return x / 2\n", "beside.py")
    lines = ["from __future__ import annotations", "from dataclasses import dataclass", "from beside import half"]
    lines += ["@dataclass", "class C:", "    x: int", "def square(x):", "    from beside import half"]
    result = backprop(file("\n".join([*lines, "    return 2 * half(x * x)"])), *FEW)
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.usefixtures("in_this_process")
def test_several_files_are_checked_and_each_is_named(file: Any) -> None:
    result = backprop(file(RIGHT, "a.py"), file(WRONG, "b.py"), file("1 / 0", "c.py"), *FEW)
    assert result.exit_code == 1  # one is wrong, whatever becomes of the others
    assert backprop(file(RIGHT, "a.py"), file("1 / 0", "c.py"), *FEW).exit_code == 2
    assert "backprop: c.py can't be imported, line 1: ZeroDivisionError: division by zero" in result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines() if "softmax " in line][:2] == ["a.py", "b.py"]
    assert "1 of 2 WRONG" in result.stdout


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("def sofmax_vjp(delta, x):\n    return x", (), "it has sofmax_vjp: did you mean softmax_vjp?"),
        ("x = 1", (), "mine.py has none of softmax, softmax_jacobian, softmax_vjp, …"),
        (RIGHT, ("--operation", "tanh"), "mine.py has none of tanh, tanh_jacobian, tanh_vjp"),
        (RIGHT, ("--operation", "sofmax"), "unknown operation 'sofmax'; did you mean softmax"),
        (RIGHT, ("--dtype", "float65"), "dtypes must be some of float64, float32, float16, bfloat16, got"),
        (RIGHT, ("--level", "lax"), "level must be one of formula, standard, strict, got 'lax'"),
        (RIGHT, ("--domain", "y=one-hot"), "softmax: domain has no 'y'; it may have x, delta, n"),
        (RIGHT, ("--domain", "x=one-hop"), "did you mean 'one-hot'?"),
        (RIGHT, ("--json", "/nowhere/at/all.json"), "there is no folder /nowhere/at"),
        (RIGHT, ("--junit", "/nowhere/at/all.xml"), "there is no folder /nowhere/at"),
        (RIGHT, ("--html", "/nowhere/at/all.html"), "there is no folder /nowhere/at"),
        (RIGHT, ("--json", "/"), "/ is a folder; name a file"),
        ("import nosuchmodule", (), "mine.py can't be imported, line 1: ModuleNotFoundError: No module named 'nosuch"),
        ("x = 1\ndef f(:\n", (), "mine.py can't be imported, line 2: SyntaxError: invalid syntax"),
        ("\n\nraise ValueError('two\\nlines')", (), "mine.py can't be imported, line 3: ValueError: two lines"),
        ("import sys; sys.exit(3)", (), "RuntimeError: mine.py called sys.exit(3)"),
        ("import os; os._exit(0)", (), "mine.py: the process ended itself with exit code 0 while it was imported"),
        (
            "import ctypes\nctypes.string_at(0)",
            (),
            "SIGSEGV (Segmentation fault) while it was imported, at line 2",
        ),
        ("while True:\n    pass", ("--timeout", "4"), "mine.py: stopped after 1 s while it was imported, at line "),
    ],
    ids=lambda value: value.splitlines()[-1][:30] if isinstance(value, str) else None,
)
def test_what_is_unusable_gets_one_clear_line_and_exit_code_2(
    file: Any, text: str, options: tuple[str, ...], says: str
) -> None:
    result = backprop(file(text), *options)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "Traceback" not in result.output


def test_a_file_that_is_not_there_is_named_with_the_nearest(file: Any, tmp_path: Path) -> None:
    file(RIGHT)
    result = backprop(str(tmp_path / "mien.py"))
    assert result.exit_code == 2
    assert result.stderr == f"backprop: there is no file {tmp_path / 'mien.py'}; did you mean mine.py?\n"
    assert "is a folder; name the files in it" in backprop(str(tmp_path)).stderr


@pytest.mark.usefixtures("in_this_process")
def test_names_that_almost_fit_are_mentioned(file: Any) -> None:
    result = backprop(file(RIGHT + "def sofmax_jacobian(x):\n    return x\ndef conv_vjp(d, x):\n    return d"), *FEW)
    assert result.exit_code == 0
    assert (
        "sofmax_jacobian is not checked: no operation is called that; did you mean softmax_jacobian?" in result.stderr
    )
    assert "conv_vjp is not checked" in result.stderr


@pytest.mark.usefixtures("in_this_process")
def test_a_misspelt_ending_beside_a_right_name_is_mentioned(file: Any) -> None:
    own = "def softmax(x):\n    e = np.exp(x - max(x))\n    return e / e.sum()\n"
    others = "def softmax_vpj(delta, x):\n    return delta\ndef row_max(x):\n    return x\nsoftmax_vj = max\n"
    result = backprop(file(f"import numpy as np\n{own}{others}"), *FEW)
    assert result.exit_code == 0, result.output
    said = "note: mine.py: softmax_vpj is not checked: no operation is called that; did you mean softmax_vjp?\n"
    assert result.stderr == said
    assert "softmax: only a forward was given: no backward pass was judged" in " ".join(result.stdout.split())
    assert backprop(file(f"import numpy as np\n{own}{others}"), "--operations", "softmax", *FEW).stderr == said


@pytest.mark.usefixtures("in_this_process")
def test_misspelt_names_and_names_of_families_are_mentioned_beside_others(file: Any) -> None:
    names = ("square_vjp", "square_vjp2", "sotfmax", "softmax_vpj", "activation", "activation_vjp", "my_relu")
    text = "def square_vjp(delta, x):\n    return 2 * x * delta\n"
    result = backprop(file(text + "".join(f"def {name}(*a):\n    return a[0]\n" for name in names[1:])), *FEW)
    notes = [line.removeprefix("note: mine.py: ").split() for line in result.stderr.splitlines()]
    assert {(note[0], note[-1]) for note in notes} == {
        ("sotfmax", "softmax?"),
        ("softmax_vpj", "softmax_vjp?"),
        ("activation", "activation_identity?"),
        ("activation_vjp", "activation_identity_vjp?"),
    }


@pytest.mark.usefixtures("in_this_process")
def test_a_missing_sum_over_the_batch_is_wrong_unless_batches_are_left_out(file: Any) -> None:
    vjp = "def affine_vjp(delta, W, x, b):\n    return delta[..., None] * x[..., None, :], delta @ W, delta * 1\n"
    result = backprop(file(vjp), *FEW, "--no-batch")
    assert result.exit_code == 0, result.output
    assert "not tried: leading batch axes; ask with --batch" in result.stdout
    for asked in ([], ["--batch"]):
        result = backprop(file(vjp), *FEW, *asked)
        assert result.exit_code == 1
        assert "dW of batch (3,) has shape (3, " in result.stdout
        assert "leading batch axes" not in result.stdout


def test_what_the_file_sets_for_floating_point_errors_is_not_the_tools(file: Any) -> None:
    text = "import numpy as np\nnp.seterr(all='raise')\ndef square_vjp(delta, x):\n    return 2 * x * delta\n"
    assert backprop(file(text)).exit_code == 0


@pytest.mark.usefixtures("in_this_process")
def test_files_of_one_name_are_told_apart(file: Any, tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
    paths = file(RIGHT, "a/mine.py"), file(WRONG, "b/mine.py")
    result = backprop(*paths, *FEW, "--junit", str(tmp_path / "out.xml"))
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()[1:3]] == ["a/mine.py", "b/mine.py"]
    assert "─ b/mine.py ─" in result.stdout
    suites = [suite.get("name") for suite in ElementTree.parse(tmp_path / "out.xml").iter("testsuite")]
    assert suites == ["a/mine.py: softmax", "b/mine.py: softmax"]


@pytest.mark.usefixtures("in_this_process")
def test_a_jacobian_of_the_slides_shape_is_told_which_is_wanted(file: Any) -> None:
    result = backprop(file("def dot_jacobian(x, y):\n    return y[None], x[None]\n"), *FEW)
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "J_x has the slide's shape (1, 1), expected that of jax.jacrev: output + argument, (1,)" in said


@pytest.mark.usefixtures("in_this_process")
def test_a_report_that_cannot_be_written_does_not_take_the_other_with_it(
    file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "write_json", full)
    out, junit = tmp_path / "out.json", tmp_path / "out.xml"
    result = backprop(file(RIGHT), *FEW, "--json", str(out), "--junit", str(junit))
    assert result.exit_code == 2
    assert result.stderr == f"backprop: {out} could not be written: No space left on device\n"
    assert junit.read_text().startswith("<?xml")


def test_a_report_does_not_take_the_place_of_code_or_of_another(file: Any, tmp_path: Path) -> None:
    path, other = file(RIGHT), tmp_path / "other.py"
    for arguments in (("--json", path), ("--junit", path), ("--html", path), ("--json", str(other))):
        result = backprop(path, *arguments)
        assert result.exit_code == 2
        assert f"expected another file than {arguments[1]}, which would be lost" in result.stderr
    for one, two in (("--json", "--junit"), ("--json", "--html"), ("--junit", "--html")):
        result = backprop(path, one, str(tmp_path / "out"), two, str(tmp_path / "out"))
        assert f"{one} and {two}: expected two files, got" in result.stderr
    assert Path(path).read_text() == RIGHT


@pytest.mark.usefixtures("in_this_process")
def test_notes_fit_a_terminal_and_code_to_paste_is_not_broken(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = "class Dense:\n    def __init__(self, n, m):\n        self.W, self.b = np.ones((n, m)), np.ones(m)\n"
    layer += "    def forward(self, x):\n        self.x = x\n        return x @ self.W + self.b\n"
    layer += "    def backward(self, dout):\n        self.dW, self.db = self.x.T @ dout, dout.sum(0)\n"
    text = f"{RIGHT}\n{layer}        return dout @ self.W.T\n\ndef frobnicate_vjp(delta, x):\n    return delta\n"
    path, terminal = file(text), StringIO()
    plain = backprop(path, *FEW).stderr.splitlines()
    monkeypatch.setattr(
        check_output, "errors", Console(file=terminal, force_terminal=True, width=80, color_system=None)
    )
    assert backprop(path, *FEW).exit_code == 0
    lines = re.sub(r"\x1b\[[\d?;]*[a-zA-Z]", "", terminal.getvalue()).splitlines()
    code = [
        "from backprop_properties import conventional, from_layer",
        "affine, affine_vjp = from_layer(lambda W, b: Dense(*W.shape), "
        'parameters={"W": "W", "b": "b"}, gradients={"W": "dW", "b": "db"}).values()',
        'affine_definition = conventional("affine", batch="first", W="in,out", order="x W b")',
    ]
    start = lines.index("note: mine.py: to have Dense checked, paste:") + 1
    assert lines[start : start + 3] == code
    assert all(len(line) <= 80 for line in lines if line not in code)
    assert [plain[0], *plain[1:4]] == ["note: mine.py: to have Dense checked, paste:", *code]
    assert len(plain) == 5
    assert [" ".join(line.strip() for line in lines[start + 3 :])] == plain[4:]


# ── What would take a process down ──────────────────────────────────────────────────────────────────────────────────


DEADLY = {
    "exp": ("ctypes.string_at(0)", "was killed by SIGSEGV (Segmentation fault) in call ", -signal.SIGSEGV),
    "tanh": ("os._exit(0)", "the process ended itself with exit code 0 in call ", 0),
    "negate": ("os.abort()", "was killed by SIGABRT (Aborted) in call ", -signal.SIGABRT),
    "square": ("\n        while True:\n            pass", "stopped after 5 s in call ", None),
}


def test_a_deadly_call_is_a_failure_with_its_input_and_the_rest_goes_on(file: Any, tmp_path: Path) -> None:
    right = {"exp": "np.exp(x)", "tanh": "(1 - np.tanh(x) ** 2)", "negate": "-1", "square": "2 * x"}
    text, begins = f"import ctypes, os\n{RIGHT}", {}
    for name, (statement, _, _) in DEADLY.items():
        begins[name] = text.count("\n") + 1
        text += f"def {name}_vjp(delta, x):\n    if x.size == 3: {statement}\n    return delta * {right[name]}\n"
    result = backprop(file(text), *FEW, "--timeout", "20", "--json", "-")
    assert result.exit_code == 1, result.output
    reports = {report["operation"]: report for report in report_of(result)["reports"]}
    assert set(reports) == {*DEADLY, "softmax"}
    assert reports["softmax"]["passed"] is True
    for name, (_, says, code) in DEADLY.items():
        (failure,) = reports[name]["failures"]
        assert failure["law"] == "every_call_returns"
        assert says in failure["message"]
        assert "of vjp" in failure["message"]
        if name != "tanh":  # an exit leaves no trace
            within = range(begins[name] + 1, begins[name] + 4)
            assert any(f"at line {n} of mine.py" in failure["message"] for n in within), failure["message"]
        if code is not None:
            again = pasted(failure["reproduction"], tmp_path)
            assert again.returncode == code, again.stderr
            assert "softmax" not in failure["reproduction"]
            survived = pasted(failure["reproduction"].replace(f"{name}_vjp(delta, x)", "print(x.size)"), tmp_path)
            assert survived.stdout == "3\n"


def test_what_is_slow_is_not_wrong(file: Any) -> None:
    slow = "import time\ndef square(x):\n    time.sleep(0.05)\n    return x * x\n"
    result = backprop(file(slow), "--timeout", "2")
    assert result.exit_code == 2, result.output
    assert "mine.py: square is slow: not done after 2 s and " in result.stderr
    assert "--timeout gives it more" in result.stderr
    assert "wrong" not in result.stderr


def test_what_is_slow_and_wrong_is_told_so(file: Any) -> None:
    slow = "import time\ndef square(x):\n    time.sleep(0.05)\n    return x * x + 1\n"
    result = backprop(file(slow), "--timeout", "4")
    assert result.exit_code == 2, result.output
    assert re.search(r"square is slow: not done after 4 s .*, and wrong until then: u.* expected ", result.stderr)


@pytest.mark.usefixtures("in_this_process")
def test_brackets_in_names_are_shown(file: Any) -> None:
    result = backprop(file("def activation_relu(W, x, b):\n    return (W @ x + b).clip(0)\n"), *FEW)
    assert result.exit_code == 0, result.output
    assert "activation[relu]" in result.stdout


def test_memory_past_the_limit_is_a_failure_of_that_case_alone(file: Any) -> None:
    text = "import numpy as np\ndef tanh_vjp(delta, x):\n    big = np.ones(1 << 26) if x.size == 3 else 0\n"
    result = backprop(file(text + "    return delta * (1 - np.tanh(x) ** 2)"), *FEW, "--memory", "256", "--json", "-")
    if not sys.platform.startswith("linux"):
        assert result.exit_code == 0
        return
    assert result.exit_code == 1, result.output
    failures = report_of(result)["reports"][0]["failures"]
    assert {failure["message"].partition(":")[0] for failure in failures} == {"vjp raised MemoryError"}
    assert "(line 3 of mine.py)" in failures[0]["message"]


def test_threads_exits_and_closed_files_end_nothing(file: Any) -> None:
    text = """
import os, sys, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
os.close(1)
sys.stdout.close()
def square(x):
    if threading.active_count() < 100:
        threading.Thread(target=time.sleep, args=(600,)).start()
    return x * x
def negate(x):
    sys.exit("enough")
"""
    started = time.monotonic()
    result = backprop(file(text), *FEW, "--json", "-")
    assert result.exit_code == 1, result.output
    negate, square = sorted(report_of(result)["reports"], key=lambda report: str(report["operation"]))
    assert square["passed"] is True
    assert {failure["message"] for failure in negate["failures"]} == {"forward called exit('enough')"}
    assert time.monotonic() - started < 50


def test_functions_of_the_catalogue_run_without_jax(file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = """
import sys
def mse_loss(x, y):
    open("has", "w").write(str({*sys.modules} & {"jax", "backprop_oracle.catalogue"}))
    return ((x - y) ** 2).mean()
def mse_loss_vjp(delta, x, y):
    d = delta * 2 * (x - y) / x.size
    return d, -d
def not_of_it_vjp(delta, x):
    return delta
"""
    result = backprop(file(text), *FEW)
    assert result.exit_code == 0, result.output
    assert "not_of_it_vjp is not checked: no operation is called that" in " ".join(result.stderr.split())
    assert (tmp_path / "has").read_text() == "set()"


BESIDE = """
import pickle, subprocess, sys

beside = subprocess.Popen([sys.executable, "beside.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

def asked(delta, x):
    pickle.dump((delta, x), beside.stdin)
    beside.stdin.flush()
    return pickle.load(beside.stdout)

def square(x):
    return asked(None, x)

def square_vjp(delta, x):
    return asked(delta, x)
"""
COMPUTES = """
import os, pickle, sys
open("started", "a").write(f"{os.getpid()} ")
while True:
    delta, x = pickle.load(sys.stdin.buffer)
    pickle.dump(x * x if delta is None else 2 * delta * x, sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


def test_a_process_that_a_file_starts_lives_as_long_as_its_functions(
    file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file(COMPUTES, "beside.py")
    result = backprop(file(BESIDE), *FEW)
    assert result.exit_code == 0, result.output
    started = (tmp_path / "started").read_text().split()
    assert len(started) == 1
    assert ended(started)


def test_a_process_that_somebody_started_is_ended_too(file: Any, tmp_path: Path) -> None:
    text = f"""
import subprocess
child = subprocess.Popen(["sleep", "600"])
open({str(tmp_path / "children")!r}, "a").write(f"{{child.pid}}\\n")
def square(x):
    return x * x
"""
    assert backprop(file(text), *FEW).exit_code == 0
    children = (tmp_path / "children").read_text().split()
    assert len(children) == 1  # the file was looked into and checked by one process
    assert ended(children)


def test_what_a_file_has_started_is_ended_before_the_next_file_is_run(
    file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    starts = """
import subprocess
open("child", "w").write(str(subprocess.Popen(["sleep", "600"], start_new_session=True).pid))
def square(x):
    return x * x
"""
    looks = """
import os
import numpy as np
open("alive", "a").write(f"{os.path.exists('/proc/' + open('child').read())} ")
def exp(x):
    return np.exp(x)
"""
    assert backprop(file(starts, "one.py"), file(looks, "other.py"), *FEW[:2], "--jobs", "1").exit_code == 0
    assert {*(tmp_path / "alive").read_text().split()} == {"False"}


def ended(pids: list[str]) -> bool:
    """Whether all of them are gone, or will be when somebody has waited for them."""
    until = time.monotonic() + 5
    while alive := [pid for pid in pids if state(pid) not in ("", "Z")]:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return not alive


def state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_ctrl_c_prints_what_was_found_and_leaves_no_process(file: Any, tmp_path: Path) -> None:
    text = f"""{RIGHT}
import os
open({str(tmp_path / "pids")!r}, "a").write(f"{{os.getpid()}}\\n")
def square(x):
    return x * x
def tanh(x):
    open({str(tmp_path / "reached")!r}, "w").close()
    while True:
        pass
"""
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # xdist's workers ignore it
    program = f"{heard}; import backprop_properties.commands.main as cli; cli.main()"
    out = tmp_path / "out.json"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "check", file(text), "--jobs", "1", "--examples", "2", "--json", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 60
        while not (tmp_path / "reached").exists() and time.monotonic() < until:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else process.wait()
    assert process.returncode == 130, errors
    assert "square" in output
    assert "interrupted; not done: tanh, softmax" in output
    assert "1 right, 2 not finished, in " in output
    assert "all " not in output
    assert "Traceback" not in errors
    assert ended((tmp_path / "pids").read_text().split())
    found = json.loads(out.read_text("utf-8"))
    assert (found["interrupted"], found["passed"], found["unfinished"]) == (True, False, ["tanh", "softmax"])


BROKEN = """
import jax.numpy as jnp
from backprop_properties import Definition
cube_definition = Definition(lambda x: jnp.cubed(x), "(n)")
def cube(x):
    return x**3
def square(x):
    return x * x
"""


def test_a_definition_that_is_broken_leaves_the_others_and_is_counted(file: Any) -> None:
    result = backprop(file(BROKEN), *FEW)
    assert result.exit_code == 2, result.output
    assert "cube: the definition raises AttributeError" in result.stderr
    assert "1 right, 1 could not be checked, in " in result.stdout
    assert "all " not in result.stdout


# ── Small things ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_without_reports_is_not_right() -> None:
    assert runs.Run().exit_code == runs.UNUSABLE


def test_help_teaches_with_an_example() -> None:
    result = backprop("--help")
    assert result.exit_code == 0
    for piece in ("backprop check mine.py", "softmax_vjp(delta, x)", "Exit code 0", "--domain", "--timeout", "--junit"):
        assert piece in result.output, piece


@pytest.mark.usefixtures("in_this_process")
def test_what_somebody_wrote_elsewhere_is_checked(file: Any) -> None:
    file(WRONG, "mylib.py")
    result = backprop(file("from mylib import softmax, softmax_vjp\nfrom numpy import exp"), *FEW, "--json", "-")
    assert result.exit_code == 1, result.output
    assert [report["operation"] for report in report_of(result)["reports"]] == ["softmax"]
    assert "note: mine.py: exp is imported, and not checked" in result.stderr


@pytest.mark.usefixtures("in_this_process")
def test_a_forward_alone_that_is_imported_is_checked(file: Any) -> None:
    file(SOFTMAX, "mylib.py")
    assert "softmax" in backprop(file("from mylib import softmax"), *FEW).stdout


def test_what_is_slow_is_said_while_it_goes_on(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backprop_properties.commands.check_output.SLOW", 0.02)
    result = backprop(file(RIGHT), *FEW, "--timeout", "99")
    assert "backprop: softmax: " in result.stderr
    assert " s of at most 99" in result.stderr

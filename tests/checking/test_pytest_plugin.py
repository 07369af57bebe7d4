"""In pytest: a check as a test, or one a law; options, a marker, the header, the summary, and what failed before."""

import json
import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backprop_properties import check, each_law
from backprop_properties.cases.case import Case
from backprop_properties.checking.asked import trial_of
from backprop_properties.checking.examples import cases_of, examples_of
from backprop_properties.checking.options import DTYPES
from backprop_properties.checking.report import CheckFailed, Report
from backprop_properties.laws.failure import Failure
from backprop_reference import OPERATIONS
from softmaxes import softmax_vjp

pytest_plugins = ["pytester"]
PLUGIN = "backprop_properties.pytest_plugin"
HEAD = """
import numpy as np
import pytest
from backprop_properties import check, each_law

def square(x):
    return x * x

def square_vjp(delta, x):
    return 2 * x * delta

def half(delta, x):
    return x * delta
"""
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs tests in this process, with the plugin and no other that is installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("CI", raising=False)
    plugins = [import_module(PLUGIN)]

    def run(text: str, *options: str) -> pytest.RunResult:
        pytester.path.joinpath("test_theirs.py").write_text(HEAD + text, encoding="utf-8")
        return pytester.runpytest_inprocess("--strict-markers", "-W", "error", *options, plugins=plugins)

    return run


# ── The plugin is there ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_plugin_is_an_entry_point_and_imports_neither_numpy_nor_jax() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert pyproject["project"]["entry-points"]["pytest11"] == {"backprop": PLUGIN}
    code = f"import sys, {PLUGIN}; print({{'numpy', 'jax', 'msgspec', 'backprop_reference'}} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_without_a_check_the_plugin_says_its_line_and_writes_nothing(run: Run, pytester: pytest.Pytester) -> None:
    result = run("def test_nothing(): assert 1 == 2, 'other words'")
    result.stdout.fnmatch_lines(["backprop: --backprop-seed=0 --backprop-examples=250", "FAILED *other words*"])
    assert not pytester.path.joinpath(".pytest_cache", "v", "backprop").exists()


# ── Options and marker ──────────────────────────────────────────────────────────────────────────────────────────────

NEAREST = """
def told(**how):
    report = check("square", vjp=square_vjp, **how)
    return report.seed, report.checks

@pytest.fixture(scope="module")
def in_a_fixture():
    return told()

def test_of_the_options(in_a_fixture):
    assert told() == in_a_fixture == told(seed=7, max_examples=4)

@pytest.mark.backprop(seed=3, examples=6)
class TestMarked:
    def test_of_the_class(self):
        assert told() == told(seed=3, max_examples=6)

    @pytest.mark.backprop(seed=4)
    def test_of_the_test(self):
        assert told() == told(seed=4, max_examples=6)

    def test_of_the_call(self):
        assert told(seed=5) == told(seed=5, max_examples=6)

@pytest.mark.backprop(seed=6, examples=5)
@each_law("square", vjp=square_vjp)
def test_by_law(law):
    law()
    assert law.args[1]().seed == 6
"""


def test_the_nearest_of_options_marker_and_call_counts(run: Run) -> None:
    result = run(NEAREST, "--backprop-seed=7", "--backprop-examples=4")
    result.stdout.fnmatch_lines(["backprop: --backprop-seed=7 --backprop-examples=4"])
    assert result.parseoutcomes().keys() == {"passed"}
    assert check("square", vjp=softmax_vjp, max_examples=1).seed == 0  # as before


WRONG = {  # a marker or an option, and its line
    "@pytest.mark.backprop(7)": "mark.backprop: expected names, as seed=1, got 7",
    "@pytest.mark.backprop(sead=7)": "mark.backprop: there is no 'sead'; there are seed and examples",
    "@pytest.mark.backprop(seed=-1)": "mark.backprop: seed: expected an integer from 0, got -1",
    "@pytest.mark.backprop(examples=True)": "mark.backprop: examples: expected an integer from 1, got True",
    "--backprop-seed=x": "argument --backprop-seed: expected an integer from 0, got 'x'",
    "--backprop-examples=0": "argument --backprop-examples: expected an integer from 1, got '0'",
}


@pytest.mark.parametrize(("wrong", "line"), WRONG.items())
def test_what_cannot_be_meant_is_one_line(wrong: str, line: str, run: Run) -> None:
    options, marker = ([wrong], "") if wrong.startswith("--") else ([], f"{wrong}\n")
    result = run(f"{marker}def test(): pass", "--tb=short", *options)
    assert [found.endswith(line) for found in (*result.outlines, *result.errlines)].count(True) in (1, 2)  # summarised
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR)


# ── The short summary, and what failed before ───────────────────────────────────────────────────────────────────────

SUMMARY = """
def test_half():
    check("square", vjp=half, max_examples=8).raise_on_failure()

def test_nothing_compared():
    check("affine", vjp=lambda delta, W, x, b: (None, None, None), max_examples=2).raise_on_failure()
"""


def test_the_short_summary_says_operation_law_and_cause(run: Run, tmp_path: Path) -> None:
    result = run(SUMMARY, "-q", f"--junit-xml={tmp_path / 'junit.xml'}")
    why = "square: vjp equals jax vjp: dx is 1/2 times what is right"
    result.stdout.fnmatch_lines(
        [f"FAILED test_theirs.py::test_half - {why}*", "FAILED *::test_nothing_compared - affine: vjp *"]
    )
    first, _ = ElementTree.parse(tmp_path / "junit.xml").getroot().iter("failure")
    assert first.attrib["message"].startswith(why)


RARE = """
from pathlib import Path

def rare(delta, x):
    factor = 2 if Path("mended").exists() or np.abs(x).max(initial=0) < float(Path("bound").read_text()) else 3
    return factor * x * delta

@pytest.mark.parametrize("vjp", [rare, square_vjp])
def test_rare(vjp):
    check("square", vjp=vjp).raise_on_failure()

def test_other():
    check("square", vjp=rare).raise_on_failure()
"""


def test_what_failed_is_tried_first_until_it_passes(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "bound").write_text("1e9")  # which is no number of the code, at which cases would be tried
    few = ("--backprop-examples=1", "--backprop-seed=1", "-k", "test_rare")
    assert run(RARE, *few).parseoutcomes() == {"passed": 2, "deselected": 1}
    assert run(RARE, "--backprop-examples=60").parseoutcomes() == {"failed": 2, "passed": 1}
    for options in (few, (*few, "--lf"), ("-q", *few)):
        result = run(RARE, *options)
        result.stdout.fnmatch_lines(
            ["*tried first: 1 example that failed before", "FAILED *test_rare[[]rare] - square: *"]
        )
    assert run(RARE, *few, "-p", "no:cacheprovider").parseoutcomes() == {"passed": 2, "deselected": 1}
    (pytester.path / "mended").touch()
    assert run(RARE, *few).parseoutcomes() == {"passed": 2, "deselected": 1}
    (pytester.path / "mended").unlink()
    assert run(RARE, *few[:2]).parseoutcomes() == {"passed": 2, "failed": 1}  # that of the test that did not run
    (pytester.path / ".pytest_cache/v/backprop/failing_examples").write_text('{"test_theirs.py::test_other": [3, {}]}')
    assert run(RARE, *few[:2]).parseoutcomes() == {"passed": 3}


def failing(operation: str, *arrays: Any) -> Report:
    """A report of a failure at these arguments, the last of which is the cotangent."""
    case = Case(arrays[:-1], arrays[-1], ())
    failure = Failure(operation, "vjp_equals_jax_vjp", "dx", "", case=case, functions={"vjp": "f"}, part="formula")
    return Report(operation, "standard", (case.dtype.name,), 0, (failure,))


FUNCTIONS = {"forward": None, "vjp": softmax_vjp, "jacobian": None}


def test_an_example_is_left_out_where_a_check_does_not_try_it() -> None:
    row, x, y = OPERATIONS["softmax_cross_entropy"], np.array([1.0, -2.0, 3.0]), np.array([0.2, 0.3, 0.5])
    (example,) = examples_of(failing(row.name, x, y, np.array(2.0)))

    def taken(example: Any, options: Any = None, domain: Any = None) -> list[Any]:
        return cases_of([example], trial_of(row, FUNCTIONS, "standard", domain), options or {})

    [(law, case)] = taken(example)
    assert (law, case.args[0].tolist(), case.args[1].tolist(), case.delta) == ("vjp_equals_jax_vjp", [*x], [*y], 2.0)
    assert taken(example, {"level": "formula"}) == []
    assert taken(example | {"law": "no_law"}) == []
    assert taken(example | {"operation": "dot"}) == []
    assert taken(example | {"arrays": example["arrays"][:2]}) == []
    assert taken(example | {"arrays": [*example["arrays"][:2], {"shape": [9], "dtype": "float64", "data": []}]}) == []
    assert taken(example | {"arrays": [example["arrays"][1], *example["arrays"][1:]]}) == []
    assert taken("nonsense") == []
    assert taken(example, domain={"n": "at least 50"}) == []
    [(_, moved)] = taken(example, domain={"x": "positive"})
    assert (moved.args[0] > 0).all()
    assert not examples_of(failing(row.name, np.ones(5000), np.ones(5000), np.array(1.0)))  # nobody keeps as many


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_example_is_kept_to_the_bit_in_every_format(dtype: str) -> None:
    a = np.array([0.1, -0.0, 6e-5, 7.0]).astype(DTYPES[dtype])
    trial = trial_of(OPERATIONS["dot"], FUNCTIONS, "standard", None)
    [(_, found)] = cases_of(examples_of(failing("dot", a, -a, a[0].reshape(()))), trial, {})
    assert [b.dtype.name for b in (*found.args, found.delta)] == [dtype] * 3
    assert [b.tobytes() for b in (*found.args, found.delta)] == [a.tobytes(), (-a).tobytes(), a[:1].tobytes()]


# ── One test a law ──────────────────────────────────────────────────────────────────────────────────────────────────

IN_PYTEST = """
from pathlib import Path
from hypothesis import given, settings, strategies

def wrong(delta, x):
    with Path(__file__).with_name("calls").open("a") as file:
        file.write("call\\n")
    return x * delta

def test_in_a_line():
    check("square", forward=square, vjp=square_vjp, max_examples=8).raise_on_failure()

def test_wrong_in_a_line():
    check("square", vjp=lambda delta, x: x * delta, max_examples=8).raise_on_failure()

@each_law("square", forward=square, vjp=square_vjp, max_examples=8)
def test_square(law):
    law()

@each_law("square", vjp=wrong, max_examples=8)
def test_wrong(law):
    law()

@each_law("affine", vjp=lambda delta, W, x, b: (None, W.T @ delta, None), max_examples=8)
def test_part(law):
    law()

@settings(max_examples=2, database=None, deadline=None)
@given(strategies.sampled_from([2.0, 3.0]))
def test_beside_hypothesis(factor):
    check("square", vjp=lambda delta, x: factor * x * delta, max_examples=2).raise_on_failure()
"""


def test_in_pytest_a_check_is_a_line_and_each_law_a_test_that_shares_one_check(tmp_path: Path) -> None:
    """Under pytest-xdist and beside Hypothesis, with warnings as errors; in one run, since it takes seconds."""
    (tmp_path / "test_theirs.py").write_text(HEAD + IN_PYTEST, encoding="utf-8")
    plugins = [part for name in ("xdist", "hypothesispytest", PLUGIN) for part in ("-p", name)]
    options = ["-n", "2", "-rA", "-W", "error", "--backprop-seed=random", "--dist", "loadfile", "test_theirs.py"]
    command = [sys.executable, "-m", "pytest", *plugins, *options]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600, env=environment)
    output = done.stdout
    found = {
        name: outcome for outcome, name in re.findall(r"^(PASSED|FAILED) test_theirs.py::(\S+)", output, re.MULTILINE)
    }
    assert (found["test_in_a_line"], found["test_wrong_in_a_line"]) == ("PASSED", "FAILED"), output
    assert "vjp equals jax vjp fails (float64)" in output
    laws = {"forward_equals_jax", "vjp_equals_jax_vjp", "leaves_its_inputs_alone", "nan_in_nan_out"}
    assert laws <= {name[len("test_square[") : -1] for name in found if name.startswith("test_square[")}
    assert {found[name] for name in found if name.startswith("test_square[")} == {"PASSED"}
    assert (found["test_wrong[vjp_equals_jax_vjp]"], found["test_wrong[keeps_the_dtype]"]) == ("FAILED", "PASSED")
    assert "test_wrong[forward_equals_jax]" not in found
    assert "skipped" in output  # the law that needs every argument's gradient, where one is left out
    assert "Different tests were collected" not in output
    assert "FAILED test_theirs.py::test_beside_hypothesis - square: vjp equals jax vjp: dx is 1.5 times" in output
    (seed,) = re.findall(r"^backprop: --backprop-seed=(\d+)", output, re.MULTILINE)
    assert {*re.findall(r"seed (\d+)\)", output)} == {seed}  # in every process
    kept = json.loads((tmp_path / ".pytest_cache/v/backprop/failing_examples").read_text("utf-8"))
    assert kept.keys() == {f"test_theirs.py::{name}" for name, outcome in found.items() if outcome == "FAILED"}
    assert (tmp_path / "calls").read_text().count("call") < 2 * calls_of_a_check()


def calls_of_a_check() -> int:
    calls: list[Any] = []

    def vjp(delta: Any, x: Any) -> Any:
        calls.append(x)
        return x * delta

    check("square", vjp=vjp, max_examples=8)
    return len(calls)


def test_each_law_refuses_an_unknown_operation_when_tests_are_collected() -> None:
    with pytest.raises(ValueError, match="unknown operation 'sofmax'; did you mean softmax"):
        each_law("sofmax", vjp=softmax_vjp)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("operation", ["softmax", "affine", "squared_error"])
def test_each_law_has_the_laws_of_the_check(operation: str, dtype: str) -> None:
    def zero_vjp(delta: Any, *args: Any) -> Any:
        return tuple(np.zeros_like(a) for a in args)

    ids = each_law(operation, vjp=zero_vjp, dtypes=(dtype,), batch=True).kwargs["ids"]
    report = check(operation, vjp=zero_vjp, dtypes=(dtype,), batch=True, max_examples=60)
    assert set(ids) == {c.law for c in report.checks}


def test_each_law_of_a_check_that_compares_nothing_fails() -> None:
    laws = each_law("affine", vjp=lambda delta, W, x, b: (None, None, None), max_examples=8)
    found = dict(zip(laws.kwargs["ids"], laws.args[1], strict=True))
    with pytest.raises(CheckFailed, match="vjp returned None for every argument"):
        found["vjp_equals_jax_vjp"]()

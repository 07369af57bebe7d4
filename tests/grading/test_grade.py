"""`backprop grade`: points for what holds, what a student is told, the files that are written, and going on."""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest.mock import Mock

import jsonschema
import msgspec
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from backprop_properties.cases.case import Case
from backprop_properties.checking.isolation import Judge
from backprop_properties.checking.report import Report
from backprop_properties.checking.tasks import Submission, Task, Unchecked
from backprop_properties.checking.verdict import Verdict
from backprop_properties.commands import console
from backprop_properties.commands import grade as commands
from backprop_properties.commands.app import app
from backprop_properties.grading import run as runs
from backprop_properties.grading.assignment import DISCLOSURES, read_assignment
from backprop_properties.grading.feedback import as_html, as_markdown, lines, page
from backprop_properties.grading.output import files_of
from backprop_properties.grading.points import WORDS, Fault, Outcome, Said, earned, outcome_of
from backprop_properties.grading.run import Grade, Graded
from backprop_properties.grading.submissions import read_submissions
from backprop_properties.laws.failure import Failure
from backprop_properties.laws.trial import EVERY_LAW
from samples import sampled

from .cohort import EXERCISES, MISTAKES, RIGHT, Mistake, Student, assignment, notebook, students, write
from .gradescope import GRADESCOPE

ENDING = {"hangs", "exits", "segmentation fault"}  # kinds that end the process: `test_cohort.py` has them


def grade(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["grade", *map(str, arguments)], env={"COLUMNS": "100"})


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def points_of(folder: Path) -> dict[str, dict[str, float]]:
    """The points by submission and exercise."""
    return {row["submission"]: {name: float(row[name]) for name in EXERCISES} for row in rows(folder / "grades.csv")}


@pytest.fixture
def cohort(tmp_path: Path) -> Any:
    """Writes what some students hand in: the assignment, and where it all is."""

    def make(some: list[Student], disclosure: str = "everything") -> tuple[Path, list[Path]]:
        return assignment(tmp_path, disclosure), [write(student, tmp_path) for student in some]

    return make


# ── Points ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("graded_here")
def test_a_right_submission_gets_full_marks_as_a_file_a_folder_and_a_notebook(cohort: Any, tmp_path: Path) -> None:
    asked, paths = cohort([Student(f"s00{k}", (), form) for k, form in enumerate(("file", "folder", "notebook"))])
    result = grade(asked, *paths, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert [list(got.values()) for got in points_of(tmp_path / "out").values()] == [[4, 4, 6, 3]] * 3
    assert rows(tmp_path / "out" / "mistakes.csv") == []
    assert "cell 11 of s002.ipynb stopped, line 1: ZeroDivisionError" in result.stderr


SAMPLE = [m for m in MISTAKES if m.kind in ("plus for minus", "no gradient of the bias")]


@pytest.mark.usefixtures("graded_here")
@pytest.mark.parametrize("mistake", sampled([m for m in MISTAKES if m.kind not in ENDING], SAMPLE))
def test_a_mistake_costs_points_in_its_exercise_and_in_no_other(mistake: Mistake, cohort: Any, tmp_path: Path) -> None:
    student = Student("s001", (mistake,), "file")
    asked, paths = cohort([student])
    assert grade(asked, *paths, "--out", tmp_path / "out").exit_code == 0
    points = {exercise.name: exercise.points for exercise in read_assignment(asked).exercises}
    lost = {name for name, got in points_of(tmp_path / "out")["s001"].items() if got < points[name]}
    assert lost == {*student.wrong}
    words = {row["verdict"] for row in rows(tmp_path / "out" / "mistakes.csv")}
    assert words & {*mistake.words}, words


def said(word: str, **parts: Any) -> Said:
    return Said(word, **{**dict.fromkeys(("formula", "range", "digits", "manners"), "right"), **parts})


UNJUDGED = {"formula": "wrong", "range": "not judged", "digits": "not judged"}


@pytest.mark.parametrize(
    ("forward", "vjp", "share"),
    [
        (said("right"), said("right"), 1),
        (said("right"), said("wrong", **UNJUDGED), (3 + 0.5 + 0.5) / 10),
        (said("wrong", **UNJUDGED), said("right"), (5 + 0.5 + 0.5) / 10),
        (said("right"), said("unstable", range="NaN from 710"), (3 + 5 + 0.75 + 1) / 10),
        (said("right"), said("bad manners", manners="writes to x"), (3 + 5 + 1 + 0.5) / 10),
        (said("right"), said("incomplete", not_given=("dy",)), (3 + 2.5 + 0.75 + 0.75) / 10),
        (said("right"), said("right in part", formula="right for y=one-hot only"), (3 + 2.5 + 0.75 + 0.75) / 10),
        *(
            (said("right"), Said(word), (3 + 0.5 + 0.5) / 10)
            for word in ("missing", "not reached", "not written", "crashed", "too slow", "wrong form")
        ),
        (Said("missing"), Said("missing"), 0),
    ],
)
def test_points_are_the_weights_of_what_holds(forward: Said, vjp: Said, share: float, tmp_path: Path) -> None:
    loss = read_assignment(assignment(tmp_path)).exercises[2]
    assert earned(loss, Outcome({"forward": forward, "vjp": vjp})) == round(6 * share, 2)


DENSE = """
def dense(W, x, b):
    return W @ x + b


def dense_backward(delta, W, x, b):
    return {}
"""
WORTH: dict[str, tuple[str, float]] = {  # what a vjp of three gradients returns, and the points of 9
    "right": ("np.outer(delta, x), W.T @ delta, delta.copy()", 9),
    "the first wrong": ("2 * np.outer(delta, x), W.T @ delta, delta.copy()", 6),
    "the last wrong": ("np.outer(delta, x), W.T @ delta, -delta", 6),
    "one missing": ("np.outer(delta, x), W.T @ delta, None", 6),
    "one wrong, one missing": ("2 * np.outer(delta, x), W.T @ delta, None", 3),
    "two swapped": ("W.T @ delta, np.outer(delta, x), delta.copy()", 3),
    "all wrong": ("2 * np.outer(delta, x), 3 * W.T @ delta, -delta", 0),
    "one no array": ("np.outer(delta, x), {}, delta.copy()", 6),
    "no tuple": ("delta.copy()", 0),
    "two results": ("W.T @ delta, delta.copy()", 0),
    "a dict": ("{'W': np.outer(delta, x)}", 0),
}


@pytest.mark.usefixtures("graded_here")
def test_a_wrong_gradient_costs_as_much_as_one_that_is_left_out(tmp_path: Path) -> None:
    names = 'functions = { forward = "dense", vjp = "dense_backward" }'
    text = f'[[exercise]]\noperation = "affine"\npoints = 9\nexamples = 12\nweights = {{ backward = 1 }}\n{names}\n'
    (tmp_path / "hw3.toml").write_text(text, encoding="utf-8")
    for name, (code, _) in WORTH.items():
        (tmp_path / f"{name}.py").write_text(f"import numpy as np\n{DENSE.format(code)}", encoding="utf-8")
    paths = [tmp_path / f"{name}.py" for name in WORTH]
    assert grade(tmp_path / "hw3.toml", *paths, "--out", tmp_path / "out").exit_code == 0
    got = {row["submission"]: float(row["points"]) for row in rows(tmp_path / "out" / "grades.csv")}
    assert got == {name: points for name, (_, points) in WORTH.items()}
    swapped = (tmp_path / "out" / "submissions" / "two swapped" / "feedback.md").read_text("utf-8")
    for name, came in (("no tuple", "a ndarray"), ("two results", "2 results"), ("a dict", "a dict")):
        told = (tmp_path / "out" / "submissions" / name / "feedback.md").read_text("utf-8").replace("\\", "")
        assert "dense_backward: wrong form: it returns no array, or another number of results\n" in told
        assert f"dense_backward: vjp returned {came}, expected a tuple of 3 (dW, dx, db)\n" in told
    assert "wrong: dW and dx not right, the rest right" in swapped


LABELS = """
def vjp(delta, x, y):
    e = np.exp(x - x.max())
    return delta * (e / e.sum() - y), None
"""
TWO_OF_THREE = """
def vjp(delta, W, x, b):
    return np.outer(delta, x), delta.copy()
"""
BARE = """
def f(x):
    return np.exp(x) / np.exp(x).sum()
"""
JACOBIAN = """
def J(x):
    return np.diag(1 - np.tanh(x) ** 2)
"""
ASKED: dict[str, tuple[str, str, float]] = {  # settings of an exercise, what is handed in, and the points of 8
    "labels": ('operation = "softmax_cross_entropy"\nfunctions = { vjp = "vjp" }', LABELS, 2),
    "of labels": (
        'operation = "softmax_cross_entropy"\nfunctions = { vjp = "vjp" }\ndomain = { y = "one-hot" }\n'
        'gradients = ["x"]',
        LABELS,
        8,
    ),
    **{
        f"the one that is asked for, {form}": (
            'operation = "softmax_cross_entropy"\nfunctions = { vjp = "vjp" }\ndomain = { y = "one-hot" }\n'
            'gradients = ["x"]',
            LABELS.replace("delta * (e / e.sum() - y), None", code),
            points,
        )
        for form, code, points in (
            ("bare", "delta * (e / e.sum() - y)", 8),
            ("as a tuple", "(delta * (e / e.sum() - y),)", 8),
            ("beside a placeholder", "delta * (e / e.sum() - y), np.zeros_like(y)", 8),
            ("bare and wrong", "delta * (e / e.sum() + y)", 0),
            ("of three", "delta * (e / e.sum() - y), None, None", 0),
        )
    },
    "two of three": ('operation = "affine"\nfunctions = { vjp = "vjp" }\ngradients = ["b", "W"]', TWO_OF_THREE, 8),
    "unstable": ('operation = "softmax"\nfunctions = { forward = "f" }', BARE, 7.2),
    "of a formula": ('operation = "softmax"\nfunctions = { forward = "f" }\nlevel = "formula"', BARE, 8),
    "waived": ('operation = "softmax"\nfunctions = { forward = "f" }\nwaive = ["range", "digits"]', BARE, 8),
    "jacobian": ('operation = "tanh"\nfunctions = { jacobian = "J" }', JACOBIAN, 8),
}


@pytest.mark.usefixtures("graded_here")
@pytest.mark.parametrize(("settings", "code", "points"), ASKED.values(), ids=ASKED)
def test_what_an_exercise_says_of_domain_level_and_functions_counts(
    settings: str, code: str, points: float, tmp_path: Path
) -> None:
    (tmp_path / "hw3.toml").write_text(f"[[exercise]]\npoints = 8\nexamples = 40\n{settings}\n", encoding="utf-8")
    (tmp_path / "mine.py").write_text(f"import numpy as np\n{code}", encoding="utf-8")
    assert grade(tmp_path / "hw3.toml", tmp_path / "mine.py", "--out", tmp_path / "out").exit_code == 0
    (row,) = rows(tmp_path / "out" / "grades.csv")
    assert float(row["points"]) == points, (tmp_path / "out" / "submissions" / "mine" / "feedback.md").read_text(
        "utf-8"
    )


@pytest.mark.usefixtures("graded_here")
def test_definitions_may_import_what_lies_beside_them_and_are_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "beside_defs.py").write_text("def twice(x): return 2 * x\n", encoding="utf-8")
    defs = "from backprop_properties import Definition\nfrom beside_defs import twice\n"
    defs += 'twice_definition = Definition(twice, "(n)")\n'
    (tmp_path / "defs.py").write_text(defs, encoding="utf-8")
    exercise = '[[exercise]]\noperation = "twice"\npoints = 1\nexamples = 4\n'
    (tmp_path / "hw3.toml").write_text(f'definitions = "defs.py"\n{exercise}', encoding="utf-8")
    asked = read_assignment(tmp_path / "hw3.toml")
    (tmp_path / "defs.py").write_text("hostile", encoding="utf-8")
    code = "def twice(x): return 2 * x\ndef twice_vjp(delta, x): return 2 * delta\n"
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    kept = runs.Kept(tmp_path / "graded.jsonl", asked, 1)
    graded = runs.grade_all(asked, read_submissions([tmp_path / "mine.py"]), 1, kept, jobs=1)
    assert graded.points(graded.grades[0]) == {"twice": 1}


@pytest.mark.usefixtures("graded_here")
def test_the_seed_of_practice_is_another_than_that_of_grading(cohort: Any, tmp_path: Path, graded_here: Any) -> None:
    asked, paths = cohort([Student("s001", (), "file")])
    text = 'seeds = { practice = 5, grading = 77 }\n[[exercise]]\noperation = "softmax"\npoints = 1\nexamples = 2\n'
    asked.write_text(text, encoding="utf-8")
    for options in ((), ("--practice",)):
        assert grade(asked, *paths, "--out", tmp_path / "out", *options).exit_code == 0
    assert [task.options["seed"] for task in graded_here if task.operation] == [77, 5]


# ── What a student is told ──────────────────────────────────────────────────────────────────────────────────────────


def of_a_student(graded: Graded) -> dict[str, str]:
    """All files but those of whoever teaches."""
    return {name: text for name, text in files_of(graded) if name not in ("mistakes.csv",)}


@pytest.mark.usefixtures("graded_here")
def test_each_level_of_disclosure_tells_more(cohort: Any, tmp_path: Path) -> None:
    told = {}
    for level in DISCLOSURES:
        asked, paths = cohort([Student("s001", (MISTAKES[1],), "file")], level)
        asked.write_text(asked.read_text("utf-8").partition("[[exercise]]\nname")[0], encoding="utf-8")
        result = grade(asked, *paths, "--out", tmp_path / level)
        assert result.exit_code == 0
        assert ("softmax_vjp: wrong" in result.stdout, "diagonal" in result.stdout) == (True, level != "verdict")
        told[level] = (tmp_path / level / "submissions" / "s001" / "feedback.md").read_text("utf-8")
    for level, text in told.items():
        assert "softmax\\_vjp: wrong" in text, level
        assert ("diagonal" in text) == (level != "verdict")
        assert ("expected" in text) == (level in ("counterexample", "everything"))
        assert ("from backprop_properties import replay" in text) == (level == "everything")


def test_at_the_lowest_level_words_and_points_are_all_that_anything_depends_on(tmp_path: Path) -> None:
    """A thousand submissions whose words are the same are told the same, whatever numbers were found, or raised."""
    asked, random, seen = read_assignment(assignment(tmp_path, "verdict")), Random(1), dict[str, dict[str, str]]()
    for _ in range(1000):
        word, number = random.choice(WORDS[:-1]), f"{random.random():.15g}"
        parts = {part: f"right up to {number}" for part in ("formula", "range", "digits", "manners")}
        faults = (Fault("vjp", "formula", f"cause {number}", f"expected {number}", f"dx = {number}", f"u = {number}"),)
        outcome = Outcome({"forward": said("right"), "vjp": Said(word, **parts)}, faults, f"lost {number}")
        grade = Grade("s001", "", {exercise.name: outcome for exercise in asked.exercises})
        told = of_a_student(Graded(asked, [grade]))
        assert not any(number in text for text in told.values())
        assert seen.setdefault(word, told) == told
    for told in seen.values():
        jsonschema.validate(json.loads(told["submissions/s001/results.json"]), GRADESCOPE)


@pytest.mark.usefixtures("graded_here")
def test_at_the_lowest_level_what_an_exception_says_of_its_arguments_is_not_told(cohort: Any, tmp_path: Path) -> None:
    fishing = Mistake(
        "fishing", "softmax_vjp", lambda text: text.replace("    s =", "    raise ValueError(f'{delta} {x}')\n    s =")
    )
    asked, paths = cohort([Student("s001", (fishing,), "file")], "verdict")
    assert grade(asked, *paths, "--out", tmp_path / "out").exit_code == 0
    mine = [path.read_text("utf-8") for path in (tmp_path / "out" / "submissions" / "s001").iterdir()]
    assert len(mine) == 4
    assert not any("ValueError" in text for text in mine)
    assert all("crashed" in text for text in mine)


@pytest.mark.parametrize("disclosure", DISCLOSURES)
def test_a_law_is_told_in_words_and_by_its_name_in_code_alone(disclosure: str, tmp_path: Path) -> None:
    exercise, *_ = read_assignment(assignment(tmp_path, disclosure)).exercises
    case = Case((np.ones(2),), np.ones(2), ())
    for law in EVERY_LAW:
        what = {
            "what": "dx",
            "message": "dx[0] = 1.0, expected 2.0",
            "actual": 1.0,
            "expected": 2.0,
            "ulp": 1.0,
            "times": 3.0,
        }
        failure = Failure("softmax", law, **what, case=case, arguments=("x",), functions={"vjp": "f"}, part="formula")
        report = Report("softmax", "standard", ("float64",), 0, (failure,), verdicts={"vjp": Verdict("wrong")})
        text = lines(exercise, outcome_of(report, exercise, {"vjp": "f"}, 30))
        named = [line for line in text.splitlines() if law in line]
        assert len(named) == (disclosure == "everything")
        for line in named:
            assert line.strip().startswith(f"replay('softmax', '{law}'")
            assert f"softmax: {law.replace('_', ' ')} fails" in text


def test_what_somebody_hands_in_is_no_mark_of_markdowns_and_no_tag_of_htmls(tmp_path: Path) -> None:
    asked = read_assignment(assignment(tmp_path))
    nothing = {
        exercise.name: Outcome({"vjp": Said("wrong")}, (Fault("vjp", "formula", hint="<b>*x*</b>"),))
        for exercise in asked.exercises
    }
    given = Grade("<script>alert(1)</script>", "", nothing, ("a.py stopped: <img src=x> [x](y)",))
    blocks = page(asked, given)
    assert "<script>" not in as_html(blocks)
    assert "<img" not in as_html(blocks)
    assert "&lt;img src=x&gt;" in as_html(blocks)
    assert r"\<script\>" in as_markdown(blocks)
    assert r"\[x\](y)" in as_markdown(blocks)


@pytest.mark.usefixtures("graded_here")
@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("    return x +", "mine.py cannot be read, line 6: SyntaxError: invalid syntax"),
        (
            "  return x",
            "mine.py cannot be read, line 6: IndentationError: unindent does not match any outer indentation level",
        ),
        ("import no_such_module", "mine.py stopped, line 6: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_what_fails_before_a_function_is_defined_did_not_reach_it(line: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "hw3.toml").write_text(f"examples = 2\n{ONE_EXERCISE}", encoding="utf-8")
    code = f"import numpy as np\n{RIGHT['softmax']}{line}\n{RIGHT['softmax_vjp']}"
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    assert grade(tmp_path / "hw3.toml", tmp_path / "mine.py", "--out", tmp_path / "out").exit_code == 0
    (found,) = json.loads((tmp_path / "out" / "submissions" / "mine" / "results.json").read_text("utf-8"))["tests"]
    assert f"softmax_vjp: not reached: {why}" in found["output"].splitlines()
    forward = "right" if "stopped" in why else f"not reached: {why}"
    assert f"softmax: {forward}" in found["output"].splitlines()


# ── The files ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    """Grades of one who is right, one with a wrong vjp, one with nothing, and one who cannot be read."""
    asked = read_assignment(assignment(tmp_path_factory.mktemp("hw"), "counterexample"))
    right, wrong = said("right"), said("wrong", **UNJUDGED)
    fault = Fault("vjp", "formula", "diagonal-only", "only the diagonal", "dx[0] = 1.0, expected 2.0", "all of it")
    missing = {kind: Said("missing") for kind in ("forward", "vjp")}
    every = {
        "anna": Outcome({"forward": right, "vjp": right}),
        "bert": Outcome({"forward": right, "vjp": wrong}, (fault,)),
        "=cmd()": Outcome(missing),
        "dora": Outcome({kind: Said("crashed") for kind in missing}),
    }
    told = {"dora": ("a.py stopped, line 1: SyntaxError: invalid syntax",)}
    grades = [
        Grade(name, name, {exercise.name: outcome for exercise in asked.exercises}, told.get(name, ()))
        for name, outcome in every.items()
    ]
    return Graded(asked, grades)


def test_results_for_gradescope_have_its_published_fields(graded: Graded) -> None:
    files = dict(files_of(graded))
    for grade in graded.grades:
        found = json.loads(files[f"submissions/{grade.name}/results.json"])
        jsonschema.validate(found, GRADESCOPE)
        assert sum(test["score"] for test in found["tests"]) == pytest.approx(found["score"])
        assert [test["max_score"] for test in found["tests"]] == [4, 4, 6, 3]
    anna = json.loads(files["submissions/anna/results.json"])
    assert (anna["score"], {test["status"] for test in anna["tests"]}) == (17, {"passed"})
    bert = json.loads(files["submissions/bert/results.json"])
    assert bert["tests"][0]["status"] == "failed"
    assert "expected 2.0" in bert["tests"][0]["output"]


def test_results_for_prairielearn_are_a_share_and_what_cannot_be_read_is_not_gradable(graded: Graded) -> None:
    files = dict(files_of(graded))
    anna, bert, dora = (json.loads(files[f"submissions/{who}/prairielearn.json"]) for who in ("anna", "bert", "dora"))
    assert (anna["gradable"], anna["score"]) == (True, 1)
    assert 0 < bert["score"] < 1
    assert [test["max_points"] for test in bert["tests"]] == [4, 4, 6, 3]
    raised = {
        exercise.name: Outcome({"vjp": Said("crashed", "raised ValueError")})
        for exercise in graded.assignment.exercises
    }
    of_one = dict(files_of(Graded(graded.assignment, [Grade("emil", "", raised, ("cell 3 stopped",))])))
    assert json.loads(of_one["submissions/emil/prairielearn.json"])["gradable"] is True  # it could be called
    assert dora == {"gradable": False, "format_errors": ["a.py stopped, line 1: SyntaxError: invalid syntax"]}


def test_tables_of_the_cohort_have_the_columns_that_others_read(graded: Graded, tmp_path: Path) -> None:
    for name, text in files_of(graded):
        if name.endswith(".csv"):
            (tmp_path / name).write_text(text, encoding="utf-8")
    grades = rows(tmp_path / "grades.csv")
    assert list(grades[0]) == ["submission", *EXERCISES, "points", "of"]
    assert [row["submission"] for row in grades] == ["anna", "bert", "'=cmd()", "dora"]  # and no formula
    assert [row["points"] for row in grades] == ["17", "6.8", "0", "0"]
    (first, *_) = rows(tmp_path / "nbgrader.csv")
    assert list(first)[:4] == ["assignment", "duedate", "timestamp", "student_id"]
    assert (first["student_id"], first["score"], first["max_score"]) == ("anna", "17", "17")
    assert list(rows(tmp_path / "otter.csv")[0]) == [*EXERCISES, "percent_correct", "file"]
    mistakes = rows(tmp_path / "mistakes.csv")
    counted = {(row["function"], row["verdict"], row["cause"]): row["submissions"] for row in mistakes}
    assert counted["softmax_vjp", "wrong", "diagonal-only"] == "1"
    assert counted["rms", "missing", ""] == "1"


def test_junit_has_a_suite_for_each_submission_and_a_test_for_each_criterion(graded: Graded) -> None:
    suites = ElementTree.fromstring(dict(files_of(graded))["junit.xml"].encode())
    assert [suite.attrib["name"] for suite in suites] == ["anna", "bert", "=cmd()", "dora"]
    anna, bert, *_ = suites
    assert anna.find(".//failure") is None
    failed = {case.attrib["name"] for case in bert.iter("testcase") if case.find("failure") is not None}
    assert "softmax: backward" in failed
    assert "softmax: forward" not in failed


# ── Submissions, going on, and what cannot be graded ────────────────────────────────────────────────────────────────


def test_submissions_have_names_of_their_own_and_only_code_at_the_top_is_run(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other, one / "deep" / "tests", one / ".ipynb_checkpoints", one / "__pycache__"):
        folder.mkdir(exist_ok=True, parents=True)
    for path in ("deep/b.py", "deep/a.ipynb", "deep/tests/test_a.py", ".ipynb_checkpoints/a.ipynb", "__pycache__/a.py"):
        (one / path).write_text("", encoding="utf-8")
    (other / "deep.py").write_text("", encoding="utf-8")
    (one / "deep.txt").write_text("", encoding="utf-8")
    (tmp_path / "link.py").symlink_to(other / "deep.py")
    (one / "linked.py").symlink_to(other / "deep.py")
    found = read_submissions([one / "deep", other / "deep.py", one / "deep.txt"])
    assert sorted(one.name for one in found) == ["deep", "deep.py", "deep.txt"]
    assert [one.run for one in found] == [("a.ipynb", "b.py"), ("deep.py",), ()]
    assert found[2].unusable == "deep.txt is neither a Python file nor a notebook nor a folder"
    (whole,) = read_submissions([one])
    assert whole.run == ("deep/a.ipynb", "deep/b.py")
    assert not any("linked" in name or "pycache" in name for name in whole.files)
    (chosen,) = read_submissions([one], ["a.*"])
    assert chosen.run == ("deep/a.ipynb",)
    (none,) = read_submissions([one], ["hw.py"])
    assert none.unusable == "there is no file named hw.py in one"
    with pytest.raises(ValueError, match=r"there is no submission .*nobody\.py"):
        read_submissions([tmp_path / "nobody.py"])


NAMED: dict[str, tuple[str, ...]] = {  # what is handed in, and what it is called
    "anna.py bert.ipynb cleo/": ("anna", "bert", "cleo"),
    "anna/hw.py": ("hw",),
    "anna/hw.py bert/hw.py": ("anna", "bert"),
    "anna/hw.py bert/hw.ipynb": ("anna", "bert"),
    "anna/hw/ bert/hw/": ("anna", "bert"),
    "anna/week3/hw.py bert/week3/hw.py": ("anna", "bert"),
    "anna/q1/hw.py anna/q2/hw.py bert/q1/hw.py": ("anna_q1_hw.py", "anna_q2_hw.py", "bert_q1_hw.py"),
    "hw.py hw.ipynb": ("hw.ipynb", "hw.py"),
}


@pytest.mark.parametrize(("paths", "names"), NAMED.items())
def test_a_submission_is_called_by_the_part_of_its_path_that_tells_it_apart(
    paths: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    given = [tmp_path / path for path in paths.split()]
    for path, text in zip(given, paths.split(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(parents=True) if text.endswith("/") else path.touch()
    assert tuple(one.name for one in read_submissions(given)) == names
    assert tuple(one.name for one in read_submissions(given[::-1])) == names


@pytest.mark.usefixtures("graded_here")
def test_a_folder_of_a_whole_class_that_is_graded_as_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "hw3.toml").write_text(f"examples = 2\n{ONE_EXERCISE}", encoding="utf-8")
    one, files, folders = tmp_path / "one", tmp_path / "files", tmp_path / "folders"
    for folder in (one / "tests", files, folders / "anna", folders / "bert"):
        folder.mkdir(parents=True)
    code = f"import numpy as np\n{RIGHT['softmax']}"
    (one / "a.py").write_text(code, encoding="utf-8")
    (one / "b.py").write_text("from a import softmax\ndef softmax_of_mine(x): return x\n", encoding="utf-8")
    (one / "tests" / "test_a.py").write_text(code, encoding="utf-8")
    (files / "anna.py").write_text(code, encoding="utf-8")
    (files / "bert.ipynb").write_text(notebook([code]), encoding="utf-8")
    (files / "cleo.ipynb").write_text("def softmax", encoding="utf-8")
    for who in ("anna", "bert"):
        (folders / who / "hw.py").write_text(code, encoding="utf-8")
    for folder, note in (
        (one, ""),
        (files, "note: softmax is defined in 2 files of files; the last counts; files/* grades each"),
        (folders, "note: softmax is defined in 2 files of folders; only anna/hw.py counts; folders/* grades each"),
    ):
        result = grade(tmp_path / "hw3.toml", folder, "--out", tmp_path / "out" / folder.name)
        assert result.exit_code == 0
        assert [line for line in result.stderr.splitlines() if "is defined in" in line] == [note] * bool(note)


class Busy(NamedTuple):
    state: str


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_says_how_many_submissions_are_graded_and_what_runs(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Console(file=StringIO(), force_terminal=terminal, width=100)
    for module in (console, commands):
        monkeypatch.setattr(module, "errors", shown)
    monkeypatch.setattr(commands, "EVERY", 0)
    judges: Any = [Busy("anna, softmax: starting"), Busy("bert, softmax: 3 calls of vjp"), Busy("cleo")]
    with commands.watched() as (on_count, on_wait):
        on_count(12, 40)
        on_wait(judges)
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    if terminal:
        assert re.search("grading .*12 of 40 submissions .*anna, softmax: starting; bert, softmax: 3 ca", text)
    else:
        line = "backprop: 12 of 40 submissions graded; anna, softmax: starting; bert, softmax: 3 calls of vjp\n"
        assert text == line


def test_what_runs_is_named_with_whose_it_is() -> None:
    judge = Judge(program=Mock())
    judge.task = Task(Path("hw.py"), "softmax", 120, submission=Submission({}, (), name="anna"))
    assert re.fullmatch("anna, softmax: starting, [0-9]+ s of at most 120", judge.state)
    judge.task = Task(Path("anna"), None, 120, submission=Submission({}, ()))
    assert re.fullmatch("anna: starting, [0-9]+ s of at most 120", judge.state)


@pytest.mark.usefixtures("graded_here")
def test_submissions_are_counted_one_by_one(cohort: Any, tmp_path: Path) -> None:
    asked, paths = cohort([Student(f"s00{k}", (MISTAKES[0],) * (k == 2), "file") for k in range(4)])
    asked.write_text("examples = 2\n" + ONE_EXERCISE, encoding="utf-8")
    (tmp_path / "nothing.py").write_text("", encoding="utf-8")
    handed, counts = read_submissions([*paths, tmp_path / "nothing.py"]), list[tuple[int, int]]()
    read = read_assignment(asked)
    kept = runs.Kept(tmp_path / "graded.jsonl", read, 1)
    for some in (handed[:2], handed):  # two of which are graded already
        runs.grade_all(read, some, 1, kept, jobs=1, on_count=lambda done, count: counts.append((done, count)))
    assert counts == [*((done, 2) for done in range(3)), *((done, 5) for done in range(2, 6))]


@pytest.mark.usefixtures("graded_here")
def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(
    cohort: Any, tmp_path: Path, graded_here: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [Student(f"s00{k}", (MISTAKES[0],) * (k == 2), "file") for k in range(4)]
    asked, paths = cohort(some)
    text = "examples = 2\n" + ONE_EXERCISE
    asked.write_text(text, encoding="utf-8")
    for k, path in enumerate(paths):  # none like another
        path.write_text(f"{path.read_text('utf-8')}\n# {k}\n", encoding="utf-8")
    assert grade(asked, *paths, "--out", tmp_path / "whole", "--jobs", "1").exit_code == 0
    whole, done = len(graded_here), runs.results

    def interrupted(tasks: Any, *more: Any) -> Any:
        if len(graded_here) >= whole + 4:
            raise KeyboardInterrupt
        return done(tasks, *more)

    monkeypatch.setattr(runs, "PORTION", 2)
    monkeypatch.setattr(runs, "results", interrupted)
    result = grade(asked, *paths, "--out", tmp_path / "out", "--jobs", "1")
    assert result.exit_code == 130
    assert "interrupted after 2 of 4 submissions" in result.stdout
    monkeypatch.setattr(runs, "results", done)
    before = len(graded_here)
    assert grade(asked, *paths, "--out", tmp_path / "out", "--jobs", "1").exit_code == 0
    assert len(graded_here) == before + 4  # two that were left, each looked into and checked
    for path in (tmp_path / "whole").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes(), path
    asked.write_text(text.replace("points = 4", "points = 5"), encoding="utf-8")
    assert grade(asked, *paths, "--out", tmp_path / "out", "--jobs", "1").exit_code == 0
    assert len(graded_here) == before + 12  # another assignment


TABLES = ("grades.csv", "nbgrader.csv", "otter.csv", "mistakes.csv", "junit.xml")


def test_a_late_submission_comes_into_the_tables_of_the_others(
    cohort: Any, tmp_path: Path, graded_here: list[Any]
) -> None:
    some = [Student(f"s00{k}", (MISTAKES[0],) * (k == 2), "file") for k in range(3)]
    asked, paths = cohort(some)
    asked.write_text("examples = 2\n" + ONE_EXERCISE, encoding="utf-8")
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert grade(asked, *paths, "--out", whole).exit_code == 0
    assert grade(asked, paths[0], paths[2], "--out", out).exit_code == 0
    result = grade(asked, paths[1], "--out", out)
    assert result.stdout.rstrip().endswith(f"1 graded; results in {out}, whose tables hold 3")
    assert "s000" not in result.stdout
    assert [(out / name).read_bytes() for name in TABLES] == [(whole / name).read_bytes() for name in TABLES]
    paths[2].write_text(paths[0].read_text("utf-8"), encoding="utf-8")  # handed in again, and right
    for more, tasks in (((), 2), ((), 0), (("--again",), 2)):
        before = len(graded_here)
        assert grade(asked, paths[2], "--out", out, *more).exit_code == 0
        assert [row["points"] for row in rows(out / "grades.csv")] == ["4", "4", "4"]
        assert len(graded_here) == before + tasks
    asked.write_text("examples = 3\n" + ONE_EXERCISE, encoding="utf-8")
    result = grade(asked, paths[1], "--out", out)
    assert f"note: {out} had 3 of another assignment, seed or version" in result.stderr
    assert [row["submission"] for row in rows(out / "grades.csv")] == ["s001"]


@pytest.mark.usefixtures("graded_here")
def test_practice_changes_no_grade_and_says_so(cohort: Any, tmp_path: Path) -> None:
    asked, paths = cohort([Student("s001", (), "file")])
    asked.write_text("examples = 2\n" + ONE_EXERCISE, encoding="utf-8")
    out = tmp_path / "out"
    assert "(practice)" not in grade(asked, *paths, "--out", out).stdout
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    paths[0].write_text("", encoding="utf-8")
    result = grade(asked, *paths, "--out", out, "--practice")
    assert "submission (practice)" in result.stdout
    assert {path: path.read_bytes() for path in before} == before
    assert [row["points"] for row in rows(out / "practice" / "grades.csv")] == ["0"]


@pytest.mark.usefixtures("graded_here")
@pytest.mark.parametrize("why", ["lost", "slow"])
@pytest.mark.parametrize(("times", "points"), [(1, 4), (2, 0)])
def test_what_lost_its_judge_or_its_time_is_done_once_more_alone(
    why: str, times: int, points: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, seen = runs.results, list[str]()

    def losing(tasks: Any, *more: Any) -> Any:
        for task, result in done(tasks, *more):
            seen.append(str(task.operation))
            failed = Unchecked("mine.py: killed", **{why: True})
            yield task, failed if task.operation and seen.count("softmax") <= times else result

    monkeypatch.setattr(runs, "results", losing)
    (tmp_path / "hw3.toml").write_text(f"examples = 2\n{ONE_EXERCISE}", encoding="utf-8")
    path = write(Student("s001", (), "file"), tmp_path)
    assert grade(tmp_path / "hw3.toml", path, "--out", tmp_path / "out").exit_code == 0
    (row,) = rows(tmp_path / "out" / "grades.csv")
    assert float(row["points"]) == points
    assert seen == ["None", "softmax", "softmax"]


ONE_EXERCISE = '[[exercise]]\noperation = "softmax"\npoints = 4\n'


@pytest.mark.parametrize("text", ["nonsense", '{"name": 3}', ""])
def test_what_is_kept_and_cannot_be_read_is_graded_anew(text: str, tmp_path: Path) -> None:
    asked = read_assignment(assignment(tmp_path))
    kept = runs.Kept(tmp_path / "graded.jsonl", asked, 1)
    kept.path.write_text(f"{kept.first}\n{text}\n", encoding="utf-8")
    kept.read()
    assert kept.grades == {}
    kept.add([Grade("s001", "digest", {})])
    assert msgspec.json.decode(kept.path.read_text("utf-8").splitlines()[1], type=Grade).name == "s001"
    again = runs.Kept(kept.path, asked, 1)
    again.read()
    assert list(again.grades) == ["s001"]
    other = runs.Kept(kept.path, asked, 2)
    other.read()
    assert (other.grades, other.dropped) == ({}, 1)


def test_what_cannot_be_graded_is_one_line(tmp_path: Path) -> None:
    asked = assignment(tmp_path)
    (tmp_path / "a.py").write_text("", encoding="utf-8")
    (tmp_path / "file").write_text("", encoding="utf-8")
    for arguments, line in (
        ((tmp_path / "no.toml", tmp_path / "a.py"), "no.toml cannot be read: No such file or directory"),
        ((asked, tmp_path / "b.py"), "there is no submission "),
        ((asked, tmp_path / "a.py", "--out", tmp_path / "file" / "out"), "cannot be written to: Not a directory"),
    ):
        result = grade(*arguments)
        assert result.exit_code == 2
        assert line in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_the_cohort_has_mistakes_of_many_kinds_and_each_student_some() -> None:
    every = students(200)
    assert len({mistake.kind for student in every for mistake in student.mistakes}) == len(MISTAKES) >= 25
    assert {len(student.mistakes) for student in every} == {0, 1, 2, 3}
    assert all(len(student.wrong) == len(student.mistakes) for student in every)

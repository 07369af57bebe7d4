"""An assignment: what it may say, and one clear line for what it may not."""

from pathlib import Path

import pytest

from backprop_properties.grading.assignment import BadAssignment, read_assignment

ONE = '[[exercise]]\noperation = "softmax"\npoints = 4\n'
DEFINED = """
import jax.numpy as jnp
from backprop_properties import Definition
rms_definition = Definition(lambda x: x / jnp.sqrt(jnp.mean(x * x)), "(n)")
"""


def written(folder: Path, text: str) -> Path:
    (folder / "hw3.toml").write_text(text, encoding="utf-8")
    return folder / "hw3.toml"


def test_an_exercise_needs_an_operation_and_points_and_the_rest_has_a_usual_value(tmp_path: Path) -> None:
    asked = read_assignment(written(tmp_path, ONE))
    (exercise,) = asked.exercises
    assert (asked.title, asked.points, asked.seeds) == ("hw3", 4, {"practice": 0, "grading": 1})
    assert (exercise.name, exercise.functions) == ("softmax", {"forward": "softmax", "vjp": "softmax_vjp"})
    assert exercise.weights == {"forward": 3, "backward": 5, "stability": 1, "manners": 1}
    assert exercise.disclosure == "cause"


def test_what_the_assignment_says_holds_for_exercises_that_do_not_say_otherwise(tmp_path: Path) -> None:
    text = 'level = "formula"\nexamples = 7\ndisclosure = "verdict"\nseeds = { grading = 9 }\n' + ONE
    text += '[[exercise]]\nname = "again"\noperation = "softmax"\npoints = 1.5\nlevel = "strict"\nexamples = 8\n'
    first, again = read_assignment(written(tmp_path, text)).exercises
    assert (first.options["level"], first.options["max_examples"], first.disclosure) == ("formula", 7, "verdict")
    assert (again.options["level"], again.options["max_examples"], again.disclosure) == ("strict", 8, "verdict")
    assert first.weights["stability"] == 0 < again.weights["stability"]
    assert read_assignment(tmp_path / "hw3.toml").seeds == {"practice": 0, "grading": 9}


def test_an_operation_may_be_of_the_lecture_of_the_catalogue_or_of_the_assignments_own(tmp_path: Path) -> None:
    (tmp_path / "defs.py").write_text(DEFINED, encoding="utf-8")
    operations = ("activation_tanh", "log_softmax", "rms")
    exercises = "".join(f'[[exercise]]\noperation = "{name}"\npoints = 1\n' for name in operations)
    lecture, catalogue, own = read_assignment(written(tmp_path, 'definitions = "defs.py"\n' + exercises)).exercises
    assert (lecture.operation, lecture.gradients) == ("activation[tanh]", ("W", "x", "b"))
    assert (catalogue.operation, catalogue.defined) == ("log_softmax", None)
    assert own.defined == (tmp_path.resolve() / "defs.py", "rms_definition")


def test_only_what_is_asked_for_has_weight(tmp_path: Path) -> None:
    (backward,) = read_assignment(written(tmp_path, ONE + 'functions = { vjp = "grad" }\n')).exercises
    (forward,) = read_assignment(written(tmp_path, ONE + 'functions = { forward = "f" }\n')).exercises
    assert (backward.weights["forward"], backward.weights["backward"]) == (0, 5)
    assert (forward.weights["forward"], forward.weights["backward"]) == (3, 0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "hw3.toml: exercise is missing, expected [[exercise]] tables"),
        ("exercise = 3", "hw3.toml: exercise: expected [[exercise]] tables, got 3"),
        ("x = [", "hw3.toml is no TOML: "),
        ("pionts = 4\n" + ONE, "hw3.toml: there is no key 'pionts'; "),
        (ONE.replace("points", "pionts"), "hw3.toml: exercise 1: points is missing, expected a number, more than 0"),
        (ONE + "pionts = 4\n", "hw3.toml: exercise 1: there is no key 'pionts'; did you mean 'points'?"),
        (ONE.replace("4", '"4"'), "hw3.toml: exercise 1: points: expected a number, more than 0, got '4'"),
        (ONE.replace("4", "0"), "hw3.toml: exercise 1: points: expected a number, more than 0, got 0"),
        (ONE.replace("4", "nan"), "hw3.toml: exercise 1: points: expected a number, more than 0, got nan"),
        (ONE.replace("softmax", "sofmax"), "hw3.toml: exercise 1: operation: unknown operation 'sofmax'; did you mean"),
        (ONE.replace("softmax", "activation"), "hw3.toml: exercise 1: operation: unknown operation 'activation'; did "),
        (
            ONE + 'level = "hard"\n',
            "hw3.toml: exercise 1: level: expected one of formula, standard, strict, got 'hard'",
        ),
        (ONE + 'dtypes = ["float8"]\n', "hw3.toml: exercise 1: dtypes: expected a list of some of float64, "),
        (ONE + 'dtypes = "float32"\n', "hw3.toml: exercise 1: dtypes: expected a list of some of float64, "),
        (
            ONE + "weights = { forwards = 1 }\n",
            "hw3.toml: exercise 1: weights: there is no 'forwards'; did you mean 'forward'?",
        ),
        (ONE + "weights = {}\n", "hw3.toml: exercise 1: weights: expected a table of numbers for some of forward, "),
        (
            ONE + 'functions = { forwrd = "f" }\n',
            "hw3.toml: exercise 1: functions: there is no 'forwrd'; did you mean 'forward'?",
        ),
        (
            "seeds = { xyz = 1 }\n" + ONE,
            "hw3.toml: seeds: there is no 'xyz'; there are practice, grading",
        ),
        (
            ONE + 'domain = "x=onehot"\n',
            "hw3.toml: exercise 1: domain: expected a table, as { y = \"one-hot\" }, got 'x=onehot'",
        ),
        (ONE + "weights = { manners = 0 }\n", "hw3.toml: exercise 1: weights: expected one above 0 "),
        (ONE + 'level = "formula"\nweights = { forward = 1, manners = 1 }\n', "hw3.toml: exercise 1: weights: level "),
        (ONE + 'functions = { vjp = "not a name" }\n', "hw3.toml: exercise 1: functions: expected a table of names "),
        (ONE + "timeout = 0\n", "hw3.toml: exercise 1: timeout: expected seconds, more than 0, got 0"),
        (ONE + "domain = { z = 'one-hot' }\n", "hw3.toml: exercise 1: softmax: domain has no 'z'; it may have x, "),
        (ONE + 'waive = ["politeness"]\n', "hw3.toml: exercise 1: softmax: waive: there is no 'politeness'"),
        (ONE + 'gradients = ["y"]\n', "hw3.toml: exercise 1: gradients: expected some of x, got 'y'"),
        (ONE + 'disclosure = "all"\n', "hw3.toml: exercise 1: disclosure: expected one of verdict, cause, "),
        (ONE + ONE, "hw3.toml: two exercises are called 'softmax'; give each its own name"),
        (f'name = "hw"\n{ONE}', "hw3.toml: there is no key 'name'; "),
        (ONE.replace("[[", "[").replace("]]", "]"), "hw3.toml: exercise: expected [[exercise]] tables, got {"),
        ('definitions = "no.py"\n' + ONE, "hw3.toml: definitions: expected a Python file, there is no file "),
        ("seeds = { grading = -1 }\n" + ONE, "hw3.toml: seeds: expected a table of integers from 0 for some of "),
    ],
)
def test_what_cannot_be_understood_gets_one_line_that_names_the_key(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(BadAssignment) as told:
        read_assignment(written(tmp_path, text))
    assert str(told.value).startswith(line)
    assert "\n" not in str(told.value)


def test_a_definition_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "defs.py").write_text(DEFINED.replace('"(n)"', '"(n"'), encoding="utf-8")
    with pytest.raises(
        BadAssignment, match=r"^hw3.toml: definitions: defs.py: rms_definition cannot be made, line 4: "
    ):
        read_assignment(written(tmp_path, 'definitions = "defs.py"\n' + ONE))

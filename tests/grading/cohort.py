"""A cohort with planted mistakes: the right functions, the ways in which they go wrong, and who makes which."""

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple

import nbformat

DEFINITIONS = """
import jax.numpy as jnp
from backprop_properties import Definition

def rms(x):
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-3)

rms_definition = Definition(rms, "(b,n)")
"""
ASSIGNMENT = """
title = "Homework 3"
definitions = "defs.py"
examples = 12
timeout = 40
disclosure = "{disclosure}"

[[exercise]]
operation = "softmax"
points = 4

[[exercise]]
name = "dense layer"
operation = "affine"
points = 4
functions = {{ forward = "dense", vjp = "dense_backward" }}

[[exercise]]
name = "loss"
operation = "softmax_cross_entropy"
points = 6
examples = 48
functions = {{ forward = "loss", vjp = "loss_backward" }}

[[exercise]]
operation = "rms"
points = 3
weights = {{ forward = 1, backward = 2, stability = 1, manners = 1 }}
"""

RIGHT: Mapping[str, str] = {
    "softmax": """
def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
""",
    "softmax_vjp": """
def softmax_vjp(delta, x):
    s = softmax(x)
    return s * (delta - (s * delta).sum(axis=-1, keepdims=True))
""",
    "dense": """
def dense(W, x, b):
    return W @ x + b
""",
    "dense_backward": """
def dense_backward(delta, W, x, b):
    return np.outer(delta, x), W.T @ delta, delta.copy()
""",
    "loss": """
def loss(x, y):
    m = x.max()
    return np.sum(y * (np.log(np.sum(np.exp(x - m))) - (x - m)))
""",
    "loss_backward": """
def loss_backward(delta, x, y):
    m = x.max()
    log_s = (x - m) - np.log(np.sum(np.exp(x - m)))
    return delta * (np.exp(log_s) * y.sum() - y), -delta * log_s
""",
    "rms": """
def rms(x):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-3)
""",
    "rms_vjp": """
def rms_vjp(delta, x):
    r = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-3)
    return r * delta - x * r ** 3 * np.mean(delta * x, axis=-1, keepdims=True)
""",
}
EXERCISES: Mapping[str, tuple[str, str]] = {
    "softmax": ("softmax", "softmax_vjp"),
    "dense layer": ("dense", "dense_backward"),
    "loss": ("loss", "loss_backward"),
    "rms": ("rms", "rms_vjp"),
}


class Mistake(NamedTuple):
    """A mistake: in which function, what is written there instead of what, and the word for it; `namable` is whether
    it has a cause that a teacher would name.
    """

    kind: str
    function: str
    change: Callable[[str], str]
    words: tuple[str, ...] = ("wrong",)
    namable: bool = True


def swap(old: str, new: str) -> Callable[[str], str]:
    """A function with a part of it replaced."""

    def change(text: str) -> str:
        assert old in text, old
        return text.replace(old, new)

    return change


def body(code: str) -> Callable[[str], str]:
    """A function with another body."""

    def change(text: str) -> str:
        head = text.strip().splitlines()[0]
        return "\n".join(["", head, *(f"    {line}" for line in code.splitlines()), ""])

    return change


def first(code: str) -> Callable[[str], str]:
    """A function that does something else first."""

    def change(text: str) -> str:
        head, *lines = text.strip().splitlines()
        return "\n".join(["", head, *(f"    {line}" for line in code.splitlines()), *lines, ""])

    return change


CRASHED, UNSTABLE = ("crashed",), ("unstable",)
MISTAKES = [
    Mistake("plus for minus", "softmax_vjp", swap("delta - (s", "delta + (s")),
    Mistake(
        "only the diagonal",
        "softmax_vjp",
        swap("s * (delta - (s * delta).sum(axis=-1, keepdims=True))", "s * (1 - s) * delta"),
    ),
    Mistake("no maximum subtracted", "softmax", swap("x - x.max(axis=-1, keepdims=True)", "x"), UNSTABLE),
    Mistake("NotImplementedError", "softmax_vjp", body("raise NotImplementedError"), ("not written",)),
    Mistake("pass", "softmax", body("pass"), ("not written",)),
    Mistake("no function", "softmax_vjp", lambda text: "\n", ("missing",)),
    Mistake("hangs", "softmax_vjp", first("while True: pass"), ("too slow",)),
    Mistake("exits", "softmax", first("import os; os._exit(0)"), CRASHED),
    Mistake(
        "writes to its argument",
        "softmax",
        swap(
            "    e = np.exp(x - x.max(axis=-1, keepdims=True))",
            "    x -= x.max(axis=-1, keepdims=True)\n    e = np.exp(x)",
        ),
        ("bad manners", "wrong", "crashed"),
    ),
    Mistake(
        "cotangent forgotten",
        "softmax_vjp",
        swap("(delta - (s * delta).sum(axis=-1, keepdims=True))", "(1 - s.sum(axis=-1, keepdims=True) + s)"),
        namable=False,
    ),
    Mistake("missing import", "softmax_vjp", first("import nothing_of_that_name"), CRASHED),
    Mistake("transposed", "dense_backward", swap("np.outer(delta, x)", "np.outer(x, delta)")),
    Mistake("matrix not transposed", "dense_backward", swap("W.T @ delta", "W @ delta"), ("wrong", "crashed")),
    Mistake("summed bias", "dense_backward", swap("delta.copy()", "delta.sum()")),
    Mistake(
        "swapped gradients",
        "dense_backward",
        swap("np.outer(delta, x), W.T @ delta", "W.T @ delta, np.outer(delta, x)"),
    ),
    Mistake("bias forgotten", "dense", swap(" + b", "")),
    Mistake("two results", "dense_backward", swap(", delta.copy()", ""), ("wrong form",)),
    Mistake("no gradient of the bias", "dense_backward", swap("delta.copy()", "None"), ("incomplete",)),
    Mistake(
        "single precision",
        "dense",
        swap("return W @ x + b", "return (W @ x + b).astype(np.float32)"),
        ("bad manners", "unstable"),
    ),
    Mistake("halved", "dense_backward", swap("W.T @ delta", "0.5 * W.T @ delta")),
    Mistake("segmentation fault", "dense", first("import ctypes; ctypes.string_at(0)"), CRASHED),
    Mistake(
        "forgets what it was given", "dense_backward", swap("np.outer(delta, x)", "np.outer(np.ones_like(delta), x)")
    ),
    Mistake("mean for sum", "loss", swap("np.sum(y * (", "np.mean(y * (")),
    Mistake("delta forgotten", "loss_backward", swap("delta * (np.exp", "(np.exp")),
    Mistake(
        "logarithm of softmax",
        "loss",
        body("s = np.exp(x - x.max()) / np.exp(x - x.max()).sum()\nreturn -np.sum(y * np.log(s))"),
        UNSTABLE,
    ),
    Mistake(
        "epsilon in the logarithm",
        "loss",
        body("s = np.exp(x - x.max()) / np.exp(x - x.max()).sum()\nreturn -np.sum(y * np.log(s + 1e-8))"),
        ("unstable", "wrong"),
    ),
    Mistake("sign", "loss_backward", swap("- y), -delta", "- y), delta")),
    Mistake("ValueError", "loss_backward", first("raise ValueError('shapes do not match')"), CRASHED),
    Mistake("sum of targets taken for 1", "loss_backward", swap(" * y.sum()", ""), ("wrong", "right in part")),
    Mistake(
        "statistics taken for constants",
        "rms_vjp",
        body("return delta / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-3)"),
    ),
    Mistake("sum for mean", "rms", swap("np.mean", "np.sum")),
    Mistake("another epsilon", "rms", swap("1e-3", "1e-6"), ("wrong", "unstable"), namable=False),
    Mistake("another axis", "rms", swap("axis=-1", "axis=0")),
    Mistake(
        "remembers the first call", "rms_vjp", first("x = KEPT.setdefault(x.shape, x.copy())"), ("wrong", "bad manners")
    ),
    Mistake("recursion", "rms_vjp", first("return rms_vjp(delta, x)"), CRASHED),
    Mistake(
        "noise",
        "rms",
        swap("return x", "return (1 + 1e-3 * np.random.default_rng().standard_normal()) * x"),
        ("wrong", "bad manners", "unstable"),
    ),
]
HEAD = "import numpy as np\nKEPT = {}\n"
NOISE = "\nprint('x' * 3_000_000)\n"  # which is no mistake


class Student(NamedTuple):
    """Somebody who makes some mistakes, each in another exercise, and how the work is handed in."""

    name: str
    mistakes: tuple[Mistake, ...]
    form: str  # file, folder, notebook

    @property
    def wrong(self) -> Mapping[str, Mistake]:
        """The exercises with a mistake."""
        of = {function: exercise for exercise, functions in EXERCISES.items() for function in functions}
        return {of[mistake.function]: mistake for mistake in self.mistakes}


def students(count: int) -> list[Student]:
    """So many students: each mistake comes first with some, every tenth makes none."""
    random, found = Random(7), list[Student]()
    for k in range(count):
        one = Student(f"s{k:03}", (MISTAKES[k % len(MISTAKES)],), ("file", "folder", "notebook")[k % 3])
        for more in random.sample(MISTAKES, random.choice((0, 1, 2))):
            if not {*one.wrong} & {*Student("", (more,), "").wrong}:
                one = one._replace(mistakes=(*one.mistakes, more))
        found.append(one._replace(mistakes=()) if k % 10 == 9 else one)
    return found


def write(student: Student, folder: Path) -> Path:
    """Writes what a student hands in, and says where it is."""
    texts = dict(RIGHT)
    for mistake in student.mistakes:
        texts[mistake.function] = mistake.change(texts[mistake.function])
    noise = NOISE if int(student.name[1:]) % 7 == 0 else ""
    if student.form == "file":
        path = folder / f"{student.name}.py"
        path.write_text(HEAD + "".join(texts.values()) + noise, encoding="utf-8")
    elif student.form == "folder":
        path = folder / student.name
        path.mkdir()
        shared = HEAD + texts["softmax"] + texts["softmax_vjp"]
        (path / "a.py").write_text(shared, encoding="utf-8")
        rest = "".join(text for name, text in texts.items() if not name.startswith("softmax"))
        (path / "b.py").write_text(f"from a import np, KEPT\n{rest}{noise}", encoding="utf-8")
    else:
        path = folder / f"{student.name}.ipynb"
        cells = ["%matplotlib inline\n" + HEAD, "!pip list\n", *texts.values(), "1 / 0", noise]
        path.write_text(notebook(cells), encoding="utf-8")
    return path


def notebook(cells: list[str]) -> str:
    """A notebook, as Jupyter's own library writes it."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    text: str = nbformat.writes(made)
    return text


def assignment(folder: Path, disclosure: str = "everything") -> Path:
    """The assignment, in a folder."""
    (folder / "defs.py").write_text(DEFINITIONS, encoding="utf-8")
    (folder / "hw3.toml").write_text(ASSIGNMENT.format(disclosure=disclosure), encoding="utf-8")
    return folder / "hw3.toml"

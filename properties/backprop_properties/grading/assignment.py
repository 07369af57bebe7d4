"""What an assignment asks for: a TOML file of exercises, each an operation with points."""

import difflib
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checking.options import DTYPES, LEVELS
from ..checking.python_files import SUFFIXES, operation_named, python_name

if TYPE_CHECKING:
    from backprop_oracle.rows import Row

DISCLOSURES = ("verdict", "cause", "counterexample", "everything")  # of what a student sees, each more than the last
CRITERIA = ("forward", "backward", "stability", "manners")
WEIGHTS: Mapping[str, Mapping[str, float]] = {  # of the criteria, where an assignment says nothing, by level
    "formula": {"forward": 3, "backward": 5, "stability": 0, "manners": 0},
    "standard": {"forward": 3, "backward": 5, "stability": 1, "manners": 1},
    "strict": {"forward": 3, "backward": 5, "stability": 1, "manners": 1},
}


class BadAssignment(ValueError):
    """An assignment cannot be understood; the message names the key, what was expected, and what came."""


@dataclass(frozen=True)
class Exercise:
    """An operation that is asked for, and how it is judged."""

    name: str
    operation: str
    points: float
    functions: Mapping[str, str]  # names by kind: forward, vjp, jacobian
    weights: Mapping[str, float]  # by criterion; those of criteria that nothing is asked of are 0
    gradients: tuple[str, ...]  # the arguments whose gradients a vjp must give
    arguments: tuple[str, ...]
    real: tuple[str, ...]  # arguments that have a gradient
    options: Mapping[str, Any]  # of `check`, but for the seed
    disclosure: str = "cause"
    defined: tuple[Path, str] | None = None  # the file and the variable of its definition
    timeout: float = 120.0
    memory: int = 2048


@dataclass(frozen=True)
class Assignment:
    """Exercises, and what holds for all of them."""

    title: str
    exercises: tuple[Exercise, ...]
    seeds: Mapping[str, int] = field(default_factory=dict)  # of practice, and of grading
    files: tuple[str, ...] = ()  # patterns of those that are run, where a folder is handed in
    definitions: bytes = b""
    source: bytes = b""  # of the file: another assignment has other results

    @property
    def points(self) -> float:
        return sum(exercise.points for exercise in self.exercises)


# ── Keys: what each may hold, in words and as a test ────────────────────────────────────────────────────────────────

Key = tuple[str, Callable[[Any], bool]]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_text, value))


def _one_of(words: Sequence[str]) -> Key:
    return f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words


def _table_of(what: str, keys: Sequence[str], holds: Callable[[Any], bool]) -> Key:
    def fits(value: Any) -> bool:
        return isinstance(value, dict) and bool(value) and all(map(holds, value.values()))

    return f"a table of {what} for some of {', '.join(keys)}", fits


def _integer_from(least: int) -> Key:
    return f"an integer from {least}", lambda value: type(value) is int and value >= least


INNER: Mapping[str, Sequence[str]] = {  # what a table may have
    "weights": CRITERIA,
    "functions": tuple(SUFFIXES),
    "seeds": ("practice", "grading"),
}
SHARED: Mapping[str, Key] = {  # keys of an exercise that the assignment may have for all
    "level": _one_of(tuple(LEVELS)),
    "dtypes": (f"a list of some of {', '.join(DTYPES)}", lambda value: _texts(value) and {*value} <= {*DTYPES}),
    "weights": _table_of("numbers", INNER["weights"], _number),
    "disclosure": _one_of(DISCLOSURES),
    "examples": _integer_from(1),
    "timeout": ("seconds, more than 0", lambda value: _number(value) and value > 0),
    "memory": ("megabytes, from 64", lambda value: type(value) is int and value >= 64),
    "batch": ('true, false or "only"', lambda value: isinstance(value, bool) or value == "only"),
}
OF_AN_EXERCISE: Mapping[str, Key] = {
    "name": ("a text", _text),
    "operation": ("the name of an operation", _text),
    "points": ("a number, more than 0", lambda value: _number(value) and value > 0),
    "functions": _table_of("names", INNER["functions"], lambda name: _text(name) and name.isidentifier()),
    "gradients": ("a list of arguments", _texts),
    "domain": ('a table, as { y = "one-hot" }', lambda value: isinstance(value, dict)),
    "convention": (
        'a table of texts, as { batch = "first" }',
        lambda value: isinstance(value, dict) and all(map(_text, value.values())),
    ),
    "may_write": ("a list of arguments", _texts),
    "waive": ("a list of laws or parts of the verdict", _texts),
    **SHARED,
}
OF_AN_ASSIGNMENT: Mapping[str, Key] = {
    "title": ("a text", _text),
    "definitions": ("the name of a Python file", _text),
    "files": ("a list of names, which may have a *", _texts),
    "seeds": _table_of("integers from 0", INNER["seeds"], lambda seed: type(seed) is int and seed >= 0),
    "exercise": ("[[exercise]] tables", lambda value: isinstance(value, list) and bool(value)),
    **SHARED,
}
OF_CHECK = ("level", "dtypes", "domain", "batch", "may_write", "waive", "convention")  # keys that `check` takes
SEEDS = {"practice": 0, "grading": 1}
EXAMPLES = 60


def read_assignment(path: Path) -> Assignment:
    """The assignment in a TOML file; `BadAssignment` for one that cannot be understood."""
    try:
        source = path.read_bytes()
        found = tomllib.loads(source.decode())
    except OSError as error:
        raise BadAssignment(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadAssignment(f"{path.name} is no TOML: {error}") from None
    _refuse_the_unusable(path.name, found, OF_AN_ASSIGNMENT, ("exercise",))
    definitions = path.parent / found["definitions"] if "definitions" in found else None
    if definitions and not definitions.is_file():
        raise BadAssignment(f"{path.name}: definitions: expected a Python file, there is no file {definitions}")
    defined = _definitions(path.name, definitions) if definitions else {}
    shared = {key: value for key, value in found.items() if key in SHARED}
    exercises = []
    for number, given in enumerate(found["exercise"], 1):
        where = f"{path.name}: exercise {number}"
        if not isinstance(given, dict):
            raise BadAssignment(f"{where}: expected a table, got {given!r}")
        where += f" ({given['name']})" if _text(given.get("name")) else ""
        _refuse_the_unusable(where, given, OF_AN_EXERCISE, ("operation", "points"))
        exercises.append(_exercise(where, {**shared, **given}, defined))
    names = [exercise.name for exercise in exercises]
    for name in names:
        if names.count(name) > 1:
            raise BadAssignment(f"{path.name}: two exercises are called {name!r}; give each its own name")
    seeds, files = {**SEEDS, **found.get("seeds", {})}, tuple(found.get("files", ()))
    text = definitions.read_bytes() if definitions else b""
    return Assignment(found.get("title", path.stem), tuple(exercises), seeds, files, text, source)


def _refuse_the_unusable(where: str, found: Mapping[str, Any], keys: Mapping[str, Key], needed: Sequence[str]) -> None:
    for key in needed:
        if key not in found:
            raise BadAssignment(f"{where}: {key} is missing, expected {keys[key][0]}")
    for key, value in found.items():
        if key not in keys:
            raise BadAssignment(f"{where}: there is no key {key!r}; {_meant(key, keys)}")
        inner = INNER.get(key, ())
        for one in value if inner and isinstance(value, dict) else ():
            if one not in inner:
                raise BadAssignment(f"{where}: {key}: there is no {one!r}; {_meant(one, inner)}")
        expected, fits = keys[key]
        if not fits(value):
            raise BadAssignment(f"{where}: {key}: expected {expected}, got {value!r}")


def _meant(given: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(given, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def _definitions(name: str, path: Path) -> Mapping[str, tuple["Row", tuple[Path, str]]]:
    """The definitions of an assignment by operation, with the file and the variable of each."""
    from ..checking.loading import NotImported, sources_of
    from ..checking.own_definitions import own_definitions

    try:
        own = own_definitions(sources_of(path.resolve()))
    except NotImported as error:
        raise BadAssignment(f"{name}: definitions: {error}") from None
    for why in own.refused.values():
        raise BadAssignment(f"{name}: definitions: {why}")
    return {operation: (row, own.places[operation]) for operation, row in own.definitions.items()}


def _exercise(where: str, given: Mapping[str, Any], defined: Mapping[str, tuple["Row", tuple[Path, str]]]) -> Exercise:
    operation, level = given["operation"], given.get("level", "standard")
    try:
        row, place = defined[operation] if operation in defined else (operation_named(operation), None)
    except ValueError as error:
        raise BadAssignment(f"{where}: operation: {error}") from None
    usual = {kind: python_name(row.name) + SUFFIXES[kind] for kind in ("forward", "vjp")}
    functions = dict(given.get("functions", usual))
    asked = {"forward": "forward" in functions, "backward": bool({*functions} - {"forward"})}
    weights = {**(dict.fromkeys(CRITERIA, 0) if "weights" in given else WEIGHTS[level]), **given.get("weights", {})}
    weights |= {criterion: 0 for criterion, wanted in asked.items() if not wanted}
    if level == "formula" and weights["stability"] + weights["manners"] > 0:
        raise BadAssignment(f"{where}: weights: level 'formula' judges neither stability nor manners; leave them out")
    if not sum(weights.values()):
        raise BadAssignment(f"{where}: weights: expected one above 0 of what its functions are asked for")
    real = [name for name in row.arguments if name not in row.integers]
    for name in given.get("gradients", ()):
        if name not in real:
            raise BadAssignment(f"{where}: gradients: expected some of {', '.join(real)}, got {name!r}")
    options = {key: given[key] for key in OF_CHECK if key in given}
    options |= {"max_examples": given.get("examples", EXAMPLES)}
    _refuse_options(where, row, functions, options)
    return Exercise(
        given.get("name", operation),
        row.name,
        given["points"],
        functions,
        weights,
        tuple(name for name in real if name in given.get("gradients", real)),
        tuple(row.arguments),
        tuple(real),
        options,
        defined=place,
        **{key: given[key] for key in ("disclosure", "timeout", "memory") if key in given},
    )


def _refuse_options(where: str, row: "Row", functions: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """`BadAssignment` for options that `check` would not take."""
    from backprop_oracle.conventions import conventional

    from ..checking.asked import trial_of
    from ..checking.options import refuse_the_unusable

    given: dict[str, Any] = dict.fromkeys(functions, len)
    level, limits = options.get("level", "standard"), [options.get(key, ()) for key in ("may_write", "waive")]
    try:
        convention = options.get("convention")
        row = conventional(row, **convention) if convention else row
        refuse_the_unusable(row, options.get("dtypes", ("float64",)), level, options["max_examples"], 0, given)
        trial_of(row, {**dict.fromkeys(SUFFIXES), **given}, level, options.get("domain"), *limits)
    except (ValueError, TypeError) as error:
        raise BadAssignment(f"{where}: {error}") from None

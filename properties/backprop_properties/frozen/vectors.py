"""A frozen case as arrays, and the one line that judges an entry: `|got − expected| / condition ≤ tolerance · eps`."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .files import VECTORS, Document, VectorError, file_name, read_manifest, read_operation
from .floats import Array, both, from_list

LEVELS = ("standard", "strict")
MOST_ENTRIES = 1_000_000  # of an array, an axis of 0 counted as one of 1
MOST_UNITS = 1000  # that a strict tolerance may be: those of the project are a tenth of it


@dataclass(frozen=True)
class Expected:
    """A correctly rounded result, the condition of each entry, and how many `eps` of that may be off: `tolerance` at
    the strict level, which is that of the reference, and `standard` for each entry at that of careful frameworks,
    infinite where nothing is asked.
    """

    expected: Array
    condition: Array
    tolerance: float
    standard: Array = field(default_factory=lambda: np.array(np.inf))

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number of the dtype."""
        return float(np.finfo(self.expected.dtype).eps)

    def units(self, got: Any) -> Array:
        """How many `eps` of its condition each entry of `got` is off; infinite for NaN where a number is expected.

        >>> Expected(np.array([1.0, np.inf]), np.array([2.0, 1.0]), 1.0).units([1 + 2.0**-50, np.inf])
        array([2., 0.])
        """
        got, expected = np.asarray(got, np.float64), self.expected.astype(np.float64)
        if got.shape != expected.shape:
            raise ValueError(f"expected the shape {expected.shape}, got {got.shape}")
        with np.errstate(invalid="ignore", over="ignore"):
            off = np.abs(got - expected) / self.condition / self.eps
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
        return np.where(same, 0.0, np.where(np.isnan(off), np.inf, off))

    def allowed(self, level: str) -> Array:
        """How many `eps` of its condition each entry may be off at the level "strict" or "standard"."""
        allowed: Mapping[str, Any] = {"strict": self.tolerance, "standard": self.standard}
        return np.broadcast_to(allowed[level], self.expected.shape)

    def asked(self, level: str) -> Array:
        """Of which entries anything is asked at a level."""
        return np.isfinite(self.allowed(level))

    def wrong(self, got: Any, level: str = "strict") -> Array:
        """How many times each entry of `got` is beyond its tolerance: at most 1 is right.

        >>> result = Expected(np.ones(2), np.ones(2), 1.0, np.array([4.0, np.inf]))
        >>> result.wrong([1 + 2.0**-51, 0.5]).tolist(), result.wrong([1 + 2.0**-51, 0.5], "standard").tolist()
        ([2.0, 2251799813685248.0], [0.5, 0.0])
        """
        allowed, units = self.allowed(level), self.units(got)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((units == 0) | np.isinf(allowed), 0.0, units / allowed)

    def accepts(self, got: Any, level: str = "strict") -> bool:
        """Whether every entry of `got` is within the tolerance.

        >>> Expected(np.array([1.0]), np.array([1.0]), 1.5).accepts([1 + 2.0**-52])
        True
        """
        return bool((self.wrong(got, level) <= 1).all())


@dataclass(frozen=True)
class Vector:
    """A frozen case. `gradients` and `jacobians` are by argument; what is not asked of a case is not there.

    >>> v = load_vectors("softmax")[0]
    >>> v.operation, sorted(v.inputs), v.value.accepts(v.value.expected)
    ('softmax', ['x'], True)
    """

    operation: str
    tcId: int  # noqa: N815  the name in the file
    comment: str
    flags: tuple[str, ...]
    dtype: np.dtype[Any]
    inputs: Mapping[str, Array]
    cotangent: Array
    value: Expected | None
    gradients: Mapping[str, Expected]
    jacobians: Mapping[str, Expected]
    notes: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.operation} tcId {self.tcId}"

    @property
    def args(self) -> tuple[Array, ...]:
        """The inputs, in the order of the operation's arguments."""
        return tuple(self.inputs.values())


def load_vectors(operation: str, folder: Path | str = VECTORS) -> list[Vector]:
    """The frozen cases of an operation, as arrays.

    >>> from backprop_reference import softmax_vjp
    >>> all(v.gradients["x"].accepts(softmax_vjp(v.cotangent, *v.args)[0]) for v in load_vectors("softmax"))
    True

    Raises VectorError where the file is not what its manifest says. Needs NumPy alone.
    """
    manifest = read_manifest(Path(folder))
    if operation not in manifest["operations"]:
        raise VectorError(f"there is no operation {operation!r}; the names are {', '.join(manifest['operations'])}")
    return vectors_in(read_operation(Path(folder), manifest, operation), operation)


def vectors_in(document: Document, operation: str) -> list[Vector]:
    """The cases of a document that need not fit the schema; VectorError where they do not."""
    try:
        return list(vectors_of(document))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise VectorError(f"{file_name(operation)}: {type(error).__name__}: {error}") from None


def vectors_of(document: Document) -> Iterator[Vector]:
    """The cases of a document; `ValueError` names the case whose numbers do not fit."""
    for group in document["testGroups"]:
        for shape in (*group["shapes"].values(), group["valueShape"]):
            if math.prod(max(size, 1) for size in shape) > MOST_ENTRIES:
                raise ValueError(f"the shape {tuple(shape)} is beyond {MOST_ENTRIES:,} entries")
        for test in group["tests"]:
            try:
                yield _vector(document, group, test)
            except (KeyError, ValueError) as error:
                raise ValueError(f"tcId {test['tcId']}: {error}") from None


def _vector(document: Document, group: Document, test: Document) -> Vector:
    names, shapes, outer = document["arguments"], group["shapes"], tuple(group["valueShape"])
    for field_name in ("inputs", "inputsHex"):
        if set(test[field_name]) != set(names):
            raise ValueError(f"{field_name} are {', '.join(test[field_name])}, expected {', '.join(names)}")
    own = {name: np.dtype(document["integers"].get(name, group["dtype"])) for name in names}
    dtype = np.dtype(group["dtype"])

    def expected(quantity: Document, shape: tuple[int, ...]) -> Expected:
        return _expected(quantity, dtype, shape)

    return Vector(
        document["operation"],
        test["tcId"],
        test["comment"],
        tuple(test["flags"]),
        dtype,
        {name: both(test["inputs"][name], test["inputsHex"][name], own[name], shapes[name]) for name in names},
        both(test["cotangent"], test["cotangentHex"], dtype, outer),
        expected(test["value"], outer) if "value" in test else None,
        {name: expected(q, tuple(shapes[name])) for name, q in test.get("gradients", {}).items()},
        {name: expected(q, (*outer, *shapes[name])) for name, q in test.get("jacobians", {}).items()},
        {flag: document["notes"][flag]["description"] for flag in test["flags"]},
    )


def _expected(quantity: Document, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Expected:
    condition, standard = (from_list(quantity[name], np.float64, shape) for name in ("condition", "standard"))
    info, tolerance = np.finfo(dtype), float(quantity["tolerance"])
    if not ((condition >= float(info.tiny)) & (condition <= 2 * float(info.max)) & np.isfinite(condition)).all():
        raise ValueError("a condition is below the smallest normal number, beyond the largest, or no number")
    if not (0 <= tolerance <= MOST_UNITS and (standard >= tolerance).all()):
        raise ValueError(f"a tolerance is beyond {MOST_UNITS}, or a standard one below the strict one")
    expected = both(quantity["expected"], quantity["hex"], dtype, shape)
    return Expected(expected, condition, tolerance, standard)

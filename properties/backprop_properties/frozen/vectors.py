"""A frozen case as arrays, and the one line that judges an entry: `|got − expected| / condition ≤ tolerance · eps`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS

from .files import VECTORS, Document, VectorError, file_name, read_manifest, read_operation
from .floats import Array, from_text


@dataclass(frozen=True)
class Expected:
    """A correctly rounded result, the condition of each entry, and how many `eps` of that may be off."""

    expected: Array
    condition: Array
    tolerance: float

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

    def accepts(self, got: Any) -> bool:
        """Whether every entry of `got` is within the tolerance.

        >>> Expected(np.array([1.0]), np.array([1.0]), 1.5).accepts([1 + 2.0**-52])
        True
        """
        return bool((self.units(got) <= self.tolerance).all())


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
        return tuple(self.inputs[name] for name in OPERATIONS[self.operation].arguments)


def load_vectors(operation: str, folder: Path | str = VECTORS) -> list[Vector]:
    """The frozen cases of an operation, as arrays.

    >>> from backprop_reference import softmax_vjp
    >>> all(v.gradients["x"].accepts(softmax_vjp(v.cotangent, *v.args)[0]) for v in load_vectors("softmax"))
    True

    Raises VectorError where the file is not what its manifest says. Needs NumPy alone.
    """
    if operation not in OPERATIONS:
        raise VectorError(f"there is no operation {operation!r}; the names are {', '.join(OPERATIONS)}")
    return vectors_in(read_operation(Path(folder), read_manifest(Path(folder)), operation), operation)


def vectors_in(document: Document, operation: str) -> list[Vector]:
    """The cases of a document that need not fit the schema; VectorError where they do not."""
    try:
        return list(vectors_of(document))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise VectorError(f"{file_name(operation)}: {type(error).__name__}: {error}") from None


def vectors_of(document: Document) -> Iterator[Vector]:
    """The cases of a document; `ValueError` names the case whose numbers do not fit."""
    for group in document["testGroups"]:
        shapes = shapes_of(document, group)
        for test in group["tests"]:
            try:
                yield _vector(document, np.dtype(group["dtype"]), shapes, test)
            except (KeyError, ValueError) as error:
                raise ValueError(f"tcId {test['tcId']}: {error}") from None


def shapes_of(document: Document, group: Document) -> dict[str, tuple[int, ...]]:
    """The shapes of the arguments by name, and of the value, "": the batch, but for parameters, and the sizes."""
    cores = re.findall(r"\(([^)]*)\)", document["signature"])
    shapes = {}
    for name, core in zip([*document["arguments"], ""], cores, strict=True):
        batch = () if name in document["parameters"] else tuple(group["batch"])
        shapes[name] = batch + tuple(group["sizes"][letter] for letter in re.findall(r"\w+", core))
    return shapes


def _vector(document: Document, dtype: np.dtype[Any], shapes: Mapping[str, tuple[int, ...]], test: Document) -> Vector:
    names, outer = document["arguments"], shapes[""]
    if set(test["inputs"]) != set(names):
        raise ValueError(f"inputs are {', '.join(test['inputs'])}, expected {', '.join(names)}")
    return Vector(
        document["operation"],
        test["tcId"],
        test["comment"],
        tuple(test["flags"]),
        dtype,
        {name: from_text(test["inputs"][name], dtype, shapes[name]) for name in names},
        from_text(test["cotangent"], dtype, outer),
        _expected(test["value"], dtype, outer) if "value" in test else None,
        {name: _expected(q, dtype, shapes[name]) for name, q in test.get("gradients", {}).items()},
        {name: _expected(q, dtype, outer + shapes[name]) for name, q in test.get("jacobians", {}).items()},
        {flag: document["notes"][flag]["description"] for flag in test["flags"]},
    )


def _expected(quantity: Document, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Expected:
    condition = from_text(quantity["condition"], np.float64, shape)
    if not ((condition >= float(np.finfo(dtype).tiny)) & np.isfinite(condition)).all():
        raise ValueError("a condition is below the smallest normal number, or no number")
    return Expected(from_text(quantity["expected"], dtype, shape), condition, float(quantity["tolerance"]))

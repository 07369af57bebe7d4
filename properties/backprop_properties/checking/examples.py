"""Examples that failed, as JSON, and as cases again: what a test keeps, to try it first the next time."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from backprop_oracle.definition import Definition
from backprop_oracle.derived import Unusable
from backprop_oracle.rows import Row
from backprop_oracle.shapes import shape_of

from ..cases.case import Case, directions, sizes_of
from ..cases.domains import into_the_domain
from ..laws.trial import Trial
from .pipes import Broken
from .protocol import Array, received, sent
from .report import Report

LARGEST = 2**12  # numbers of an example that is kept


class Example(msgspec.Struct, frozen=True):
    """The smallest case found at which a law failed: the cotangent and the arguments, and the options of the check."""

    operation: str
    law: str
    options: str
    arrays: tuple[Array, ...]


def examples_of(report: Report) -> list[Any]:
    """Of each cause of a report the example that shows it best.

    >>> from backprop_properties import check
    >>> [example] = examples_of(check("square", vjp=lambda delta, x: x * delta, max_examples=4))
    >>> example["operation"], example["law"], [array["dtype"] for array in example["arrays"]]
    ('square', 'vjp_equals_jax_vjp', ['float64', 'float64'])
    """
    first = [(f, (f.case.delta, *f.case.args)) for f, *_ in report.groups() if f.case is not None]
    return [
        msgspec.to_builtins(Example(f.operation, f.law, repr(f.options), tuple(sent(a, "hex") for a in arrays)))
        for f, arrays in first
        if sum(a.size for a in arrays) <= LARGEST
    ]


def cases_of(examples: Iterable[Any], trial: Trial, options: Mapping[str, Any]) -> list[tuple[str, Case]]:
    """The law and the case of each example; those that a check with these options no longer tries are left out."""
    row, domain, found = trial.row, trial.domain, list[tuple[str, Case]]()
    for given in examples:
        with suppress(msgspec.ValidationError, Broken, Unusable, ValueError, TypeError):
            example = msgspec.convert(given, Example)
            if (example.operation, example.options) != (row.name, repr(options)) or example.law not in trial.laws:
                continue
            case = case_at(row, *map(received, example.arrays))
            sizes = sizes_of(row, case)
            if domain.allows(sizes) and case.delta.shape == row.shapes_at(sizes)[-1]:
                found.append((example.law, into_the_domain(domain, case)))
    return found


def case_at(row: Row, delta: Any, *args: Any) -> Case:
    """The case of some arrays, or what can be made one; ValueError or TypeError, in one line, for what is none."""
    if len(args) != len(row.arguments):
        raise ValueError(f"{row.name} takes {', '.join(row.arguments)} after delta, got {len(args)} arguments")
    whole = [name in row.integers for name in row.arguments]
    arrays = tuple(_numbers(row.name, *one) for one in zip(row.arguments, args, whole, strict=True))
    cotangent = _numbers(row.name, "delta", delta)
    if any(a.ndim < len(core) for a, core in zip(arrays, row.cores, strict=False)):
        shapes = ", ".join(f"{name} {a.shape}" for name, a in zip(row.arguments, arrays, strict=True))
        raise ValueError(f"{row.name} {row.signature}: expected these shapes, got {shapes}")
    sizes = sizes_of(row, Case(arrays, arrays[0], ()))
    for name, a, core in zip(row.arguments, arrays, row.cores, strict=False):
        if a.shape != shape_of(core, sizes):
            raise ValueError(f"{row.name}: {name} has shape {a.shape}, expected ({','.join(core)}) with {sizes}")
        if isinstance(row, Definition) and name in row.integers:
            row.check_integers(name, a, sizes)
    dtype = next(a.dtype for a, name in zip(arrays, row.arguments, strict=True) if name not in row.integers)
    return Case(arrays, cotangent.astype(dtype), directions(arrays))


def _numbers(operation: str, name: str, given: Any, whole: bool = False) -> Any:
    """Real numbers as an array, of floats if they need not be `whole`; or one clear line."""
    try:
        array = np.asarray(given)
    except ValueError:  # rows that are not of one length
        array = np.asarray(None)
    if array.dtype.kind not in "fiubV":  # V is bfloat16
        raise TypeError(f"{operation}: {name}: expected an array of real numbers, got {given!r:.60}")
    return array.astype(np.float64) if array.dtype.kind in "iub" and not whole else array

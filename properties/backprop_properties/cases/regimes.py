"""Cases of an operation, drawn from a regime: numbers at which one kind of rounding or range error shows.

The numbers are those of `values.py`; which regimes an operation has, its promise says. `verify`, `check` and the
comparison of `evidence/accuracy.py` all draw from them.

>>> from backprop_reference import OPERATIONS
>>> case = regime_case(OPERATIONS["softmax"], "equal", np.dtype(np.float64), np.random.default_rng(0))
>>> len(set(case.args[0].tolist()))
1
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from backprop_oracle.definition import Definition
from backprop_oracle.rows import Row

from .case import Array, Case, Sizes
from .domains import taken
from .values import ARRAYS, Random, Shape, rounded, target, whole

_EVERYWHERE = ("ordinary", "ties", "near-ties", "equal", "single", "tiny")
_LOGITS = ("confident", "subnormal", "masks", "huge")
REGIMES: Mapping[str, tuple[str, ...]] = {  # by the promise of a row
    "definition": (*_EVERYWHERE, "confident", "saturated", "zeros", "mixed", "huge"),
    "elementary": (*_EVERYWHERE, "mixed", "huge"),
    "function": ("ordinary", "saturated", "zeros", "ties", "near-ties", "single", "tiny", "huge"),
    "sum": (*_EVERYWHERE, "mixed", "huge"),
    "softmax": (*_EVERYWHERE, *_LOGITS),
    "cross-entropy": (*_EVERYWHERE, *_LOGITS),
    "composition": (*_EVERYWHERE, "confident", "saturated"),
}

USUAL = (*["ordinary"] * 3, *["ties"] * 2, "saturated", "tiny", "huge", "anything")  # of `free_case`
COTANGENTS = ("ordinary", "ordinary", "ties", "equal", "near-ties", "huge", "tiny")


def regimes_of(operation: Row) -> tuple[str, ...]:
    """The regimes in which the last digits of an operation are looked for."""
    if operation.promise not in REGIMES:
        known = ", ".join(REGIMES)
        raise LookupError(f"{operation.name}: REGIMES has no promise {operation.promise!r}; it has {known}")
    return REGIMES[operation.promise]


# ── Cases ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def regime_case(
    operation: Row,
    regime: str,
    dtype: np.dtype[Any],
    draw: Random,
    sizes: Mapping[str, int] | None = None,
    cotangents: Sequence[str] = COTANGENTS,
    batch: Shape = (),
) -> Case:
    """One case whose arguments are drawn from a regime; targets are one-hot, distributions or any numbers.

    `cotangents` are the regimes of `delta` where it is a factor that the operation does not choose: of the softmax, the
    cross-entropy and the scalar functions. With `batch` axes it is many cases at once: data and `delta` have all of
    them, parameters all but the last, along which examples share them.
    """
    letters = list(dict.fromkeys(letter for core in operation.cores for letter in core))  # as they appear
    most = {1: 6, 2: 6, 3: 4}.get(len(letters), 3)
    if sizes is None:
        sizes = {letter: 1 if regime == "single" else int(draw.integers(1, most + 1)) for letter in letters}

    def array(name: str, shape: Shape) -> Array:
        lead = batch[:-1] if name in operation.parameters else batch
        a = ARRAYS[_regime_of(operation, name, regime, draw, cotangents)](draw, lead, shape, ml_dtypes.finfo(dtype))
        kind = operation.domain.get(name, "")
        return taken(kind, rounded(target(draw, lead, shape) if kind == "target" else a, dtype))

    return _case(operation, sizes, array, draw)


def _case(operation: Row, sizes: Sizes, array: Callable[[str, Shape], Array], draw: Random) -> Case:
    """A case of arrays by name and shape, drawn in the order of the arguments, the cotangent last; and of integers."""

    def drawn(name: str, shape: Shape) -> Array:
        if not (isinstance(operation, Definition) and name in operation.integers):
            return array(name, shape)
        return whole(draw, shape, *operation.range_of(name, sizes)).astype(operation.dtype_of(name, np.float64))

    *args, delta = map(drawn, (*operation.arguments, "delta"), operation.shapes_at(sizes))
    return Case(tuple(args), delta, ())


def _regime_of(operation: Row, name: str, regime: str, draw: Random, cotangents: Sequence[str]) -> str:
    """The regime of one argument: what is about logits leaves weights and cotangents alone."""
    if name == "delta" and operation.promise in ("softmax", "cross-entropy", "function"):
        return str(draw.choice(list(cotangents)))
    if name == "delta" and operation.promise == "composition":
        return str(draw.choice(["ordinary", "ties"]))
    if operation.masks and regime in _LOGITS and name not in operation.masks:
        return "ordinary"
    if operation.layers and regime == "confident" and name not in (layer.b for layer in operation.layers):
        return "ordinary"  # one bias ahead of the others makes its logit so
    return regime


def free_case(operation: Row, dtype: np.dtype[Any], draw: Random, sizes: Mapping[str, int]) -> Case:
    """One case in which each array has a regime of its own, whatever the operation promises."""
    usual = str(draw.choice(USUAL))

    def array(name: str, shape: Shape) -> Array:
        if operation.domain.get(name) == "target" and draw.random() < 0.7:
            return rounded(target(draw, (), shape), dtype)
        regime = str(draw.choice([*[usual] * 3, *["ordinary"] * 2, *["ties"] * 2, "equal"]))
        return rounded(ARRAYS[regime](draw, (), shape, ml_dtypes.finfo(dtype)), dtype)

    return _case(operation, sizes, array, draw)


def plain_case(operation: Row, sizes: Sizes, dtype: np.dtype[Any], draw: Random, *, general: bool) -> Case:
    """Numbers of ordinary size, no two alike: nothing overflows or saturates, so that every entry counts.

    A target is a distribution, or any numbers at all if `general`.
    """

    def array(name: str, shape: Shape) -> Array:
        a = draw.normal(size=shape)
        if len(shape) == 2 and a.size:
            a /= a.shape[-1] ** 0.5
        if operation.domain.get(name) == "target" and not general and a.size:
            a = np.abs(a) / np.abs(a).sum(-1, keepdims=True)
        return a.astype(dtype)

    return _case(operation, sizes, array, draw)

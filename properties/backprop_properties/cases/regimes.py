"""Where the last digits are lost, by name: small cases of an operation, drawn from one regime.

`inputs.py` explores what users may hand in; a regime goes where one particular rounding error or range error lives. The
same regimes feed the laws of `truth.py`, the tests and the comparison of `evidence/accuracy.py`.

>>> from backprop_reference import OPERATIONS
>>> case = regime_case(OPERATIONS["softmax"], "equal", np.dtype(np.float64), np.random.default_rng(0))
>>> len(set(case.args[0].tolist()))
1
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from backprop_reference import Operation

from .inputs import Case

Array = NDArray[Any]
Random = np.random.Generator

# ── Arrays, by regime: float64, to be rounded to the dtype ──────────────────────────────────────────────────────────
# Of shape `lead + core`, one array after the other along the leading axes; what an array has in common is its own.

Shape = tuple[int, ...]


def _own(a: Any, core: Shape) -> Array:
    """A number of each array, to be combined with its entries."""
    return np.reshape(a, (*np.shape(a), *(1 for _ in core)))


def _ordinary(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    return draw.normal(size=lead + core) * _own(draw.choice([1.0, 3.0, 10.0], size=lead), core)


def _ties(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    return draw.choice([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0], size=lead + core)


def _equal(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    one = draw.normal(size=lead) * draw.choice([1.0, 100.0, 1e4], size=lead)
    return np.broadcast_to(_own(one, core), lead + core)


def _near_ties(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    """Neighbouring floats: one number, give or take a few units in its last place."""
    with np.errstate(over="ignore"):
        centre = np.asarray(draw.normal(size=lead) * draw.choice([1.0, 30.0, 1e5], size=lead)).astype(info.dtype)
    return _own(centre.astype(np.float64), core) * (1 + float(info.eps) * draw.integers(-3, 4, size=lead + core))


def _log_uniform(low: float, high: float, draw: Random, shape: Shape) -> Array:
    return draw.choice([-1.0, 1.0], size=shape) * np.exp2(draw.uniform(np.log2(low), np.log2(high), size=shape))


def _tiny(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    """From the smallest subnormal to a little above the smallest normal number, and zeros."""
    a = _log_uniform(float(info.smallest_subnormal), 1e3 * float(info.smallest_normal), draw, lead + core)
    return np.where(draw.random(lead + core) < 0.1, 0.0, a)


def _huge(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    return _log_uniform(float(info.max) ** 0.5, float(info.max), draw, lead + core)


def _anything(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    """Any number of the dtype, each power of two as likely, and zeros."""
    a = _log_uniform(float(info.smallest_subnormal), float(info.max), draw, lead + core)
    return np.where(draw.random(lead + core) < 0.1, 0.0, a)


def _mixed(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    """Sizes from 1e-9 to 1e9: sums that cancel, and sums that absorb."""
    return _log_uniform(1e-9, 1e9, draw, lead + core)


def _ahead(low: float, high: float, draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    """One entry ahead of the others by `low` to `high`; sizes are those of float64, shorter in float32."""
    a = draw.normal(size=lead + core) * _own(draw.choice([0.0, 1.0, 3.0], size=lead), core)
    if a.size:
        reach = {8: 1.0, 4: 0.125, 2: 0.125 if float(info.max) > 1e38 else 0.02}[info.dtype.itemsize]  # of exp
        chosen = np.arange(core[-1]) == _own(draw.integers(core[-1], size=lead), core)
        by = max(low, 8.0) * reach if low == high else draw.uniform(low, high, size=lead) * reach
        a = np.where(chosen, a + _own(by, core), a)
    return a


def _masks(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    a = draw.normal(size=lead + core) * 5
    masked = draw.random(lead + core) < 0.5
    chosen = np.arange(core[-1]) == _own(draw.integers(core[-1], size=lead), core)
    return np.where(masked & ~chosen, -np.inf, a)


def _saturated(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    """To where every h is flat, and its h′ subnormal and then 0."""
    edge = _own(draw.choice([20.0, 40.0, 110.0, 760.0], size=lead), core)
    return draw.uniform(-edge, edge, size=lead + core)


def _zeros_of_slopes(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    """Beside the kinks and the zeros of h and h′: 0, log's 1, and those of silu′, gelu′ and gelu_tanh′."""
    zeros, shape = [0.0, 1.0, -1.2784645427610738, -0.7517915241936714, -0.7524614220710162], lead + core
    return draw.choice(zeros, size=shape) + draw.choice([0.0, 1e-12, 1e-7, 1e-3], size=shape) * draw.normal(size=shape)


ARRAYS: Mapping[str, Callable[[Random, Shape, Shape, Any], Array]] = {
    "ordinary": _ordinary,
    "confident": partial(_ahead, 1.0, 700.0),
    "subnormal": partial(_ahead, 690.0, 760.0),
    "ties": _ties,
    "near-ties": _near_ties,
    "equal": _equal,
    "masks": _masks,
    "single": _ordinary,
    "saturated": _saturated,
    "zeros": _zeros_of_slopes,
    "mixed": _mixed,
    "tiny": _tiny,
    "huge": _huge,
    "anything": _anything,
}

_EVERYWHERE = ("ordinary", "ties", "near-ties", "equal", "single", "tiny")
_LOGITS = ("confident", "subnormal", "masks", "huge")
REGIMES: Mapping[str, tuple[str, ...]] = {  # by the promise of a row
    "definition": (*_EVERYWHERE, "mixed", "huge"),
    "elementary": (*_EVERYWHERE, "mixed", "huge"),
    "function": ("ordinary", "saturated", "zeros", "ties", "near-ties", "single", "tiny", "huge"),
    "sum": (*_EVERYWHERE, "mixed", "huge"),
    "softmax": (*_EVERYWHERE, *_LOGITS),
    "cross-entropy": (*_EVERYWHERE, *_LOGITS),
    "composition": (*_EVERYWHERE, "confident", "saturated"),
}

USUAL = (*["ordinary"] * 3, *["ties"] * 2, "saturated", "tiny", "huge", "anything")  # of `free_case`
COTANGENTS = ("ordinary", "ordinary", "ties", "equal", "near-ties", "huge", "tiny")


def regimes_of(operation: Operation) -> tuple[str, ...]:
    """Where the last digits of an operation are looked for, by its promise."""
    if operation.promise not in REGIMES:
        known = ", ".join(REGIMES)
        raise LookupError(f"{operation.name}: REGIMES has no promise {operation.promise!r}; it has {known}")
    return REGIMES[operation.promise]


# ── Cases ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def regime_case(
    operation: Operation,
    regime: str,
    dtype: np.dtype[Any],
    draw: Random,
    sizes: Mapping[str, int] | None = None,
    cotangents: Sequence[str] = COTANGENTS,
    batch: Shape = (),
) -> Case:
    """One case; targets `y` are one-hot, distributions or any real vector.

    `cotangents` are the regimes of `delta` where it is a factor that the operation does not choose: of the softmax, the
    cross-entropy and the scalar functions. With `batch` axes it is many cases at once: data and `delta` have all of
    them, parameters all but the last, along which examples share them.
    """
    letters = list(dict.fromkeys(letter for core in operation.cores for letter in core))
    most = {1: 6, 2: 6, 3: 4}.get(len(letters), 3)
    sizes = sizes or {letter: 1 if regime == "single" else int(draw.integers(1, most + 1)) for letter in letters}
    taken = operation.domain.values()

    def array(name: str, core: Sequence[str]) -> Array:
        lead = batch[:-1] if name in operation.parameters else batch
        shape = tuple(sizes[letter] for letter in core)
        a = ARRAYS[_regime_of(operation, name, regime, draw, cotangents)](draw, lead, shape, ml_dtypes.finfo(dtype))
        if operation.domain.get(name) == "target":
            a = _target(draw, lead, shape)
        if "positive" in taken:
            a = np.abs(a)
        if "positive" in taken or "non-zero" in taken:
            a = np.where(np.asarray(a, dtype) == 0, 1.0, a)
        return _rounded(a, dtype)

    *inputs, output = operation.cores
    args = tuple(array(name, core) for name, core in zip(operation.arguments, inputs, strict=True))
    return Case(args, array("delta", output), ())


def _regime_of(operation: Operation, name: str, regime: str, draw: Random, cotangents: Sequence[str]) -> str:
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


def _target(draw: Random, lead: Shape, core: Shape) -> Array:
    kind = draw.choice(["one-hot", "one-hot", "distribution", "real", "huge"])
    if kind == "one-hot":
        return (np.arange(core[-1]) == _own(draw.integers(core[-1], size=lead), core)).astype(np.float64)
    if kind == "distribution":
        weights = draw.random(lead + core) ** _own(draw.choice([1, 20], size=lead), core)
        return weights / weights.sum(-1, keepdims=True)
    return draw.normal(size=lead + core) * (1e30 if kind == "huge" and draw.random() < 0.2 else 1.0)


def free_case(operation: Operation, dtype: np.dtype[Any], draw: Random, sizes: Mapping[str, int]) -> Case:
    """One case in which each array has a regime of its own, whatever the operation promises."""
    usual = str(draw.choice(USUAL))

    def array(name: str, core: Sequence[str]) -> Array:
        shape = tuple(sizes[letter] for letter in core)
        if operation.domain.get(name) == "target" and draw.random() < 0.7:
            return _rounded(_target(draw, (), shape), dtype)
        regime = str(draw.choice([usual, usual, usual, "ordinary", "ties", "equal"]))
        return _rounded(ARRAYS[regime](draw, (), shape, ml_dtypes.finfo(dtype)), dtype)

    *inputs, output = operation.cores
    args = tuple(array(name, core) for name, core in zip(operation.arguments, inputs, strict=True))
    return Case(args, array("delta", output), ())


def _rounded(a: Array, dtype: np.dtype[Any]) -> Array:
    """To the dtype, and within its range; infinities stay."""
    largest = float(ml_dtypes.finfo(dtype).max)
    with np.errstate(over="ignore", under="ignore"):
        finite = np.asarray(np.clip(a, -largest, largest), dtype)
    return np.where(np.isinf(a), a, finite).astype(dtype)

"""Numbers where bugs live, by name: what is huge, tiny, tied, saturated or nearly equal in a dtype.

Each function draws float64 arrays of shape `core`, one for each index of `lead`, which `rounded` takes to the dtype.

>>> draw = np.random.default_rng(0)
>>> huge = ARRAYS["huge"](draw, (), (3,), ml_dtypes.finfo(np.float32))
>>> bool((np.abs(huge) > 1e19).all())
True
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from .case import Array

Random = np.random.Generator
Shape = tuple[int, ...]
TIES = (0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0)


def _own(a: Any, core: Shape) -> Array:
    """One number for each array, with axes to combine it with the entries."""
    return np.reshape(a, (*np.shape(a), *(1 for _ in core)))


def _ordinary(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    return draw.normal(size=lead + core) * _own(draw.choice([1.0, 3.0, 10.0], size=lead), core)


def _equal(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    one = draw.normal(size=lead) * draw.choice([1.0, 100.0, 1e4], size=lead)
    return np.broadcast_to(_own(one, core), lead + core)


def _near_ties(draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    """Neighbouring floats: one number, give or take a few units in its last place."""
    centre = rounded(np.asarray(draw.normal(size=lead) * draw.choice([1.0, 30.0, 1e5], size=lead)), info.dtype)
    return _own(centre.astype(np.float64), core) * (1 + float(info.eps) * draw.integers(-3, 4, size=lead + core))


def _log_uniform(low: float, high: float, draw: Random, shape: Shape) -> Array:
    return draw.choice([-1.0, 1.0], size=shape) * np.exp2(draw.uniform(np.log2(low), np.log2(high), size=shape))


def _from_smallest(high: float, draw: Random, shape: Shape, info: Any) -> Array:
    """From the smallest subnormal number, each power of two as likely, and zeros."""
    a = _log_uniform(float(info.smallest_subnormal), high, draw, shape)
    return np.where(draw.random(shape) < 0.1, 0.0, a)


def _ahead(low: float, high: float, draw: Random, lead: Shape, core: Shape, info: Any) -> Array:
    """One entry ahead of the others by `low` to `high`; sizes are those of float64, shorter in float32."""
    a = draw.normal(size=lead + core) * _own(draw.choice([0.0, 1.0, 3.0], size=lead), core)
    if a.size and core:
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
    """As far as where every h is flat, and h′ subnormal or 0."""
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
    "ties": lambda draw, lead, core, info: draw.choice(TIES, size=lead + core),
    "near-ties": _near_ties,
    "equal": _equal,
    "masks": _masks,
    "single": _ordinary,
    "saturated": _saturated,
    "zeros": _zeros_of_slopes,
    "mixed": lambda draw, lead, core, info: _log_uniform(1e-9, 1e9, draw, lead + core),  # sums cancel, and absorb
    "tiny": lambda draw, lead, core, info: _from_smallest(1e3 * float(info.smallest_normal), draw, lead + core, info),
    "huge": lambda draw, lead, core, info: _log_uniform(float(info.max) ** 0.5, float(info.max), draw, lead + core),
    "anything": lambda draw, lead, core, info: _from_smallest(float(info.max), draw, lead + core, info),
}


def target(draw: Random, lead: Shape, core: Shape) -> Array:
    """Targets of a cross-entropy: one-hot, distributions, or any numbers."""
    kind = draw.choice(["one-hot", "one-hot", "distribution", "real", "huge"])
    if kind == "one-hot":
        ones = np.asarray(draw.integers(core[-1], size=lead + core[:-1]))[..., None]
        return (np.arange(core[-1]) == ones).astype(np.float64)
    if kind == "distribution":
        weights = draw.random(lead + core) ** _own(draw.choice([1, 20], size=lead), core)
        return weights / weights.sum(-1, keepdims=True)
    return draw.normal(size=lead + core) * (1e30 if kind == "huge" and draw.random() < 0.2 else 1.0)


def whole(draw: Random, shape: Shape, low: int, high: int, others: tuple[int, ...]) -> Array:
    """Integers from `low` to `high` without it; now and then all the same, or one of some `others`."""
    if high <= low:
        return np.full(shape, others[0] if others else low)
    a = np.broadcast_to(draw.integers(low, high, size=() if draw.random() < 0.1 else shape), shape)
    return np.where(draw.random(shape) < 0.2, draw.choice(others, size=shape), a) if others else np.array(a)


def rounded(a: Array, dtype: np.dtype[Any]) -> Array:
    """`a` in the dtype and within its range; infinities stay."""
    largest = float(ml_dtypes.finfo(dtype).max)
    with np.errstate(over="ignore", under="ignore"):
        finite = np.asarray(np.clip(a, -largest, largest), dtype)
    return np.where(np.isinf(a), a, finite).astype(dtype)

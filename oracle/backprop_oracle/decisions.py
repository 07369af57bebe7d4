"""Bounds of what adds no rounding of its own, but decides, picks or puts in order: where errors leave a decision open,
the bound covers all that it may come to, or is infinite."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np

from .errors import Errors, Precision, every, exact, or_inf, some
from .floats import LARGEST, STEPS, chosen, in_windows, running, sorting
from .indexing import PICKS
from .moves import COMPARISONS, LOGIC, SAME, picked, places
from .program import Array, Equation, Params

# ── Order ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sorted(
    params: Params, v: Sequence[Array], e: Errors, results: Sequence[Array], precision: Precision
) -> list[Array]:
    """`sort`: of the key, and of what is moved with it."""
    axis, order = params["dimension"], sorting(params, v)
    errors = [np.take_along_axis(error, order, axis) for error in e]
    open_ = _neighbours_open(results[0], errors[0], axis, precision.either or not params["is_stable"])

    def ordered(a: Array) -> Array:
        return np.sort(a, axis)

    return [_sorted_bound(v[0], e[0], results[0], ordered), *(np.where(open_, np.inf, error) for error in errors[1:])]


def _top(params: Params, v: Sequence[Array], e: Errors, results: Sequence[Array], precision: Precision) -> list[Array]:
    """`top_k`: of the numbers, and of their places."""
    axis, wanted = params["axis"], range(params["k"])

    def first(a: Array) -> Array:
        return -np.sort(-a, axis).take(wanted, axis)

    order = sorting({"dimension": axis}, [-v[0]])
    errors = np.take_along_axis(e[0], order, axis)
    open_ = _neighbours_open(np.sort(-v[0], axis), errors, axis, precision.either).take(wanted, axis)
    return [_sorted_bound(v[0], e[0], results[0], first), np.where(open_, np.inf, 0.0)]


def _sorted_bound(v: Array, e: Array, found: Array, ordered: Callable[[Array], Array]) -> Array:
    """The k-th largest of some numbers is between the k-th largest of their lower and of their upper ends."""
    if not some(e):
        return exact(found)
    return or_inf(np.maximum(np.abs(ordered(v + e) - found), np.abs(found - ordered(v - e))))


def _neighbours_open(ordered: Array, errors: Array, axis: int, either: bool) -> Array:
    """Which of the numbers in order may change places with others: a chain of overlapping ones is open as a whole."""
    high = np.maximum.accumulate(ordered + errors, axis)
    low = np.flip(np.minimum.accumulate(np.flip(ordered - errors, axis), axis), axis)
    n = ordered.shape[axis]
    before, after = range(max(n - 1, 0)), range(1, n)
    left, right = np.take(high, before, axis), np.take(low, after, axis)
    certain = (np.take(errors, before, axis) == 0) & (np.take(errors, after, axis) == 0)  # equals keep their order
    touching = (left > right) | ((left == right) & (~certain | either))
    pad = [(0, 0)] * ordered.ndim
    pad[axis] = (1, 0)
    below = np.pad(touching, pad)
    pad[axis] = (0, 1)
    return below | np.pad(touching, pad)


ORDERS: Mapping[str, Callable[..., list[Array]]] = {"sort": _sorted, "top_k": _top}

# ── Decisions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _open(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    """The "error" of a decision: 1 where its two sides are closer than their errors."""
    if equation.operands[0] == equation.operands[1]:  # a number is itself
        return exact(v[0])
    doubt = e[0] + e[1]
    if v[0].dtype.kind != "f":
        return np.where(doubt > 0, np.inf, 0.0)
    near = (doubt > 0) & (np.abs(v[0] - v[1]) <= doubt)
    tied = v[0] == v[1]
    if (axes := equation.params.get("extreme")) is not None and len(axes):  # one of them it is, if there is no other
        several = (near | tied).sum(axes, keepdims=True) > 1
        near, tied = near & several, tied & several
    open_ = near | (precision.either & tied)
    return np.where(np.isfinite(doubt), open_, np.inf)


def _selected(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    which = v[0]
    if which.dtype != bool:
        bound = np.choose(which, e[1:])
        return np.where(e[0] > 0, np.inf, bound) if some(e[0]) else bound
    both: Array = np.where(which, e[2], e[1])
    if some(e[0]):
        both = both + np.where(e[0] > 0, np.abs(v[1] - v[2]) + e[1] + e[2], 0.0)
    # an infinity in the branch not taken is one in a formula that multiplies by 0 or 1 instead of choosing
    finite = np.isfinite(e[0]) & np.isfinite(e[1]) & np.isfinite(e[2])
    return both if every(finite) else np.where(finite, both, np.inf)


def _picked(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    if any(some(error) for a, error in zip(v, e, strict=True) if a.dtype.kind != "f"):
        return np.full(np.shape(result), np.inf)  # a place that is open
    if result.dtype.kind != "f":
        return exact(result)
    bound = picked(equation, [error if a.dtype.kind == "f" else a for a, error in zip(v, e, strict=True)])
    return np.where(np.isnan(bound), 0.0, bound) if some(np.isnan(result)) else bound


def _logical(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    return reduce(np.maximum, e)


def _step(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    if not some(e[0]):
        return exact(result)
    f = STEPS[equation.name]
    return or_inf(f(equation.params, v[0] + e[0]) - f(equation.params, v[0] - e[0]))


def _whole_number(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    """Of a conversion: an integer is certain, or it is not."""
    if not some(e[0]) or result.dtype.kind == "f" or v[0].dtype.kind == "b":
        return e[0]
    certain = np.trunc(v[0] - e[0]) == np.trunc(v[0] + e[0])
    return np.where(certain if v[0].dtype.kind == "f" else e[0] == 0, 0.0, np.inf)


def _finite(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    return np.where((np.abs(v[0]) + e[0] <= precision.largest) | (np.isinf(v[0]) & (e[0] == 0)), 0.0, np.inf)


def _rest(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    """`a − b trunc(a/b)`, which has no rounding; where it is open how often b goes into a, all of them."""
    if not any(map(some, e)):
        return exact(result)
    a, b, (of_a, of_b) = np.abs(v[0]), np.abs(v[1]), e
    room = b - of_b
    most, least = np.floor((a + of_a) / room), np.floor(np.maximum(a - of_a, 0) / (b + of_b))
    bound = of_a + most * of_b + np.where((most > least) | (a <= of_a), b + of_b, 0.0)
    return np.where(room > 0, or_inf(bound), np.where(of_a + of_b == 0, 0.0, np.inf))


def _first(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    """Of `argmax` and `argmin`: open, where another entry may be the one."""
    axis = equation.params["axes"][0]
    a = v[0] if equation.name == "argmax" else -v[0]
    place = np.expand_dims(result, axis)
    of_most = np.take_along_axis(e[0], place, axis)
    short = np.take_along_axis(a, place, axis) - a
    doubt = of_most + e[0]
    open_ = ((short <= doubt) & (doubt > 0)) | (precision.either & (short == 0))
    np.put_along_axis(open_, place, False, axis)
    return np.where(open_.any(axis), np.inf, 0.0)


def _largest_of(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    return e[0].max(tuple(equation.params["axes"]))


def _chosen(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    """`select_and_gather_add`, `select_and_scatter_add`: where it is open which entry of a window, all that may be."""
    params, (source, a) = equation.params, v
    found, where, short = chosen(params, params["select_prim"].name, a)
    errors = np.concatenate([[0.0], e[1].ravel()])
    doubt = errors[where] + errors[found + 1][..., None]
    open_ = ((short <= doubt) & (doubt > 0)) | (precision.either & (short == 0))
    open_ &= (where > 0) & (where != found[..., None] + 1)
    if equation.name == "select_and_gather_add":
        flat, of_flat = np.concatenate([[0.0], source.ravel()]), np.concatenate([[0.0], e[0].ravel()])
        other = np.abs(flat[where] - flat[found + 1][..., None]) + of_flat[where]
        return np.maximum(of_flat[found + 1], np.where(open_, other, 0.0).max(-1, initial=0.0))
    size, hits = np.abs(source) + e[0], np.zeros(a.size)
    bound, terms = np.zeros(a.size), np.zeros(a.size)
    certain = found >= 0
    np.add.at(hits, found[certain], 1)
    np.add.at(terms, found[certain], np.abs(source)[certain])
    np.add.at(bound, found[certain], np.where(open_.any(-1), size, e[0])[certain])
    at = np.nonzero(open_)
    np.add.at(bound, where[at] - 1, size[at[:-1]])
    np.add.at(hits, where[at] - 1, 1)
    bound = bound + np.where(hits > 1, (1 + hits / 2) * precision.eps * terms, 0.0)
    return np.where(terms > precision.largest, np.inf, bound).reshape(a.shape)


def _scatter_added(equation: Equation, v: Sequence[Array], e: Errors, result: Array, precision: Precision) -> Array:
    if some(e[1]):
        return np.full(result.shape, np.inf)
    landed, where = places(equation, v)
    n, terms, bound = np.ones(result.size), np.abs(v[0]).ravel(), e[0].ravel().astype(float)
    np.add.at(n, where, 1)
    np.add.at(terms, where, np.abs(v[2]).ravel()[landed])
    np.add.at(bound, where, e[2].ravel()[landed])
    own = (1 + n / 2) * (precision.eps * terms) + np.where(terms > 0, n * precision.tiny, 0.0)
    bound = bound + np.where(n > 1, own, 0.0)
    return np.where(terms > precision.largest, np.inf, bound).reshape(result.shape)


RULES: Mapping[str, Callable[..., Array]] = {  # of what adds no rounding of its own
    **dict.fromkeys((*SAME, "abs"), lambda equation, v, e, result, precision: e[0]),
    **dict.fromkeys(LOGIC, _logical),
    **dict.fromkeys(COMPARISONS, _open),
    **dict.fromkeys((*LARGEST, "clamp"), _logical),
    **dict.fromkeys(PICKS, _picked),
    **dict.fromkeys(STEPS, _step),
    **dict.fromkeys(("reduce_max", "reduce_min", "reduce_and", "reduce_or"), _largest_of),
    **dict.fromkeys(("cummax", "cummin"), lambda equation, v, e, *_: running(np.maximum)(equation.params, e[0])),
    **dict.fromkeys(
        ("reduce_window_max", "reduce_window_min"),
        lambda equation, v, e, *_: in_windows(equation.params, e[0], 0.0).max(-1),
    ),
    **dict.fromkeys(("select_and_gather_add", "select_and_scatter_add"), _chosen),
    **dict.fromkeys(("argmax", "argmin"), _first),
    "convert_element_type": _whole_number,
    "scatter-add": _scatter_added,
    "is_finite": _finite,
    "rem": _rest,
    "select_n": _selected,
    "sign": lambda equation, v, e, *_: np.where((e[0] > 0) & (np.abs(v[0]) <= e[0]), 2.0, 0.0),
}

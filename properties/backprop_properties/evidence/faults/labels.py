"""Losses of labels, right and wrong: cross-entropies with integers for targets, the log-likelihood, the hinge."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...checking.python_files import Implementation
from ...hints.textbook import log_softmax, normalised, softmax
from . import makers as m
from .general import general
from .makers import FORWARD, VJP, Array, Function
from .table import Fault, Neighbour

Slope = Callable[[Array, Array], Array]  # of the sum over rows, by logits and labels
IGNORED = -100

# ── Right ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _at(x: Array, labels: Array) -> Array:
    """The entry of each row that its label names."""
    return x[np.arange(len(labels)), labels]


def _one_hot(x: Array, labels: Array) -> Array:
    return (np.arange(x.shape[-1]) == labels[:, None]).astype(x.dtype)


def _of_rows(terms: Function) -> Function:
    """The mean of a term for each row."""
    return lambda x, labels: terms(x, labels).sum() / len(x)


def _mean_vjp(slope: Slope) -> Function:
    """The vjp of a mean over rows."""
    return lambda delta, x, labels: (slope(x, labels) * (delta / len(x)), None)


def _negative_log(x: Array, labels: Array) -> Array:
    return -_at(log_softmax(x), labels)


def _less_one(x: Array, labels: Array) -> Array:
    """`softmax(x)`, and 1 less at the label."""
    d = softmax(x)
    d[np.arange(len(x)), labels] -= 1
    return d


def _smooth(x: Array, labels: Array, own: float = 0.9, each: float = 0.1) -> Array:
    """Targets with `own` at the label, and `each` spread over the classes."""
    return _one_hot(x, labels) * x.dtype.type(own) + x.dtype.type(each / x.shape[-1])


def _smoothed(x: Array, labels: Array) -> Array:
    return -(_smooth(x, labels) * log_softmax(x)).sum(-1)


def _kept(labels: Array, x: Array) -> Array:
    return (labels != IGNORED).astype(x.dtype)


def _labelled(labels: Array) -> Array:
    """Some label for rows that are ignored."""
    return np.where(labels == IGNORED, 0, labels)


def _of_kept(x: Array, labels: Array) -> Array:
    kept = _kept(labels, x)
    return np.asarray((_negative_log(x, _labelled(labels)) * kept).sum() / kept.sum())


def _kept_vjp(delta: Array, x: Array, labels: Array) -> tuple[Array, None]:
    kept = _kept(labels, x)[:, None]
    return np.where(kept > 0, _less_one(x, _labelled(labels)), 0) * (delta / kept.sum()), None


def _picked_slope(x: Array, labels: Array) -> Array:
    return -_one_hot(x, labels)


def _over(x: Array, labels: Array, margin: float = 1) -> Array:
    """By how much each other score comes closer to the label's than the margin."""
    over = np.maximum(x - _at(x, labels)[:, None] + x.dtype.type(margin), 0)
    over[np.arange(len(x)), labels] = 0
    return over


def _hinge_slope(x: Array, labels: Array, margin: float = 1) -> Array:
    d = (_over(x, labels, margin) > 0).astype(x.dtype)
    d[np.arange(len(x)), labels] = -d.sum(-1)
    return d


RIGHT = {
    "cross_entropy": Implementation(_of_rows(_negative_log), vjp=_mean_vjp(_less_one)),
    "label_smoothing_cross_entropy": Implementation(
        _of_rows(_smoothed), vjp=_mean_vjp(lambda x, labels: softmax(x) - _smooth(x, labels))
    ),
    "cross_entropy_with_ignore_index": Implementation(_of_kept, vjp=_kept_vjp),
    "nll_loss": Implementation(_of_rows(lambda x, labels: -_at(x, labels)), vjp=_mean_vjp(_picked_slope)),
    "hinge_loss": Implementation(_of_rows(lambda x, labels: _over(x, labels).sum(-1)), vjp=_mean_vjp(_hinge_slope)),
}

# ── Right in another way ────────────────────────────────────────────────────────────────────────────────────────────


def _row_by_row(x: Array, labels: Array) -> Any:
    """Each row's logarithm of its own sum."""
    found = x.dtype.type(0)
    for row, label in zip(x, labels, strict=True):
        found += np.log(np.exp(row - row.max()).sum()) - (row[label] - row.max())
    return found / x.dtype.type(len(x))


def _without_ignored_rows(delta: Array, x: Array, labels: Array) -> tuple[Array, None]:
    """The rows that count, as if there were no others."""
    kept, d = labels != IGNORED, np.zeros_like(x)
    d[kept] = (softmax(x[kept]) - _one_hot(x[kept], labels[kept])) / max(kept.sum(), 1) * delta
    return d, None


def _two_losses(x: Array, labels: Array) -> Array:
    z = log_softmax(x)
    return -(_at(z, labels) * x.dtype.type(0.9) + z.sum(-1) * x.dtype.type(0.1) / x.shape[-1])


def _two_slopes(x: Array, labels: Array) -> Array:
    return _less_one(x, labels) * x.dtype.type(0.9) + (softmax(x) - x.dtype.type(1) / x.shape[-1]) * x.dtype.type(0.1)


def _hinge_in_a_loop(delta: Array, x: Array, labels: Array) -> tuple[Array, None]:
    d = np.zeros_like(x)
    for row, (scores, label) in enumerate(zip(x, labels, strict=True)):
        for other, score in enumerate(scores):
            if other != label and score - scores[label] + 1 > 0:
                d[row, other] += 1
                d[row, label] -= 1
    return d * (delta / len(x)), None


_CROSS, _SMOOTHING, _IGNORING, _LIKELIHOOD, _HINGE = RIGHT

LABELS_RIGHT = [
    Neighbour(_CROSS, "cross-entropy-of-labels", "softmax, and 1 less at the label", RIGHT[_CROSS].forward,
              vjp=RIGHT[_CROSS].vjp),
    Neighbour(_CROSS, "cross-entropy-of-rows", "row by row, softmax − one-hot", _row_by_row,
              vjp=_mean_vjp(lambda x, labels: softmax(x) - _one_hot(x, labels))),
    Neighbour(_CROSS, "cross-entropy-of-labels-float32", "computed in float32",
              m.computed_in(_of_rows(_negative_log), np.float32), dtypes=("float16", "bfloat16"),
              vjp=m.computed_in(_mean_vjp(_less_one), np.float32)),
    Neighbour(_SMOOTHING, "label-smoothing-by-targets", "softmax − smoothed targets", RIGHT[_SMOOTHING].forward,
              vjp=RIGHT[_SMOOTHING].vjp),
    Neighbour(_SMOOTHING, "label-smoothing-of-two-losses", "0.9 of one loss, 0.1 of another", _of_rows(_two_losses),
              vjp=_mean_vjp(_two_slopes)),
    Neighbour(_IGNORING, "ignore-index-by-mask", "times a mask", RIGHT[_IGNORING].forward, vjp=RIGHT[_IGNORING].vjp),
    Neighbour(_IGNORING, "ignore-index-by-rows", "only the rows that count", vjp=_without_ignored_rows),
    Neighbour(_LIKELIHOOD, "nll-by-index", "the label's entry", RIGHT[_LIKELIHOOD].forward,
              vjp=RIGHT[_LIKELIHOOD].vjp),
    Neighbour(_LIKELIHOOD, "nll-one-hot", "one-hot products", lambda x, y: -(_one_hot(x, y) * x).sum() / len(x),
              vjp=lambda d, x, y: (-d * _one_hot(x, y) / len(x), None)),
    Neighbour(_HINGE, "hinge-of-differences", "differences first", RIGHT[_HINGE].forward, vjp=RIGHT[_HINGE].vjp),
    Neighbour(_HINGE, "hinge-in-a-loop", "one pair after the other", vjp=_hinge_in_a_loop),
]  # fmt: skip
"""Every law accepts them."""

# ── Wrong ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _next(x: Array, labels: Array) -> Array:
    """Labels that count from 1."""
    return (labels + 1) % x.shape[-1]


def _shifted(f: Function) -> Function:
    """A function whose labels, the last argument, are off by one."""
    return m.fed(f, lambda *args: (*args[:-1], _next(args[-2], args[-1])))


def _whole_columns(x: Array, labels: Array) -> Array:
    """`d[:, labels] -= 1`: the columns of all labels in every row."""
    d = softmax(x)
    d[:, labels] -= 1
    return d


def _summed(f: Function) -> Function:
    """A sum of rows in place of their mean."""
    return lambda x, labels: f(x, labels) * len(x)


def _times_rows(f: Function, power: int) -> Function:
    return m.by_size(f, 0, power)


def _by_the_batch(name: str, prefix: str) -> list[Fault]:
    """What goes wrong with the label, and with a mean over rows."""
    forward, vjp = RIGHT[name].forward, RIGHT[name].vjp
    assert forward is not None
    assert vjp is not None
    return [
        Fault(name, f"{prefix}-off-by-one", "formula", FORWARD, "integers", forward=_shifted(forward)),
        Fault(name, f"{prefix}-slope-off-by-one", "formula", VJP, "integers", vjp=_shifted(vjp)),
        Fault(name, f"{prefix}-sum-for-mean", "factor", FORWARD, "factor-n", forward=_summed(forward)),
        Fault(name, f"{prefix}-batch-forgotten", "factor", VJP, "factor-n", vjp=_times_rows(vjp, 1)),
        Fault(name, f"{prefix}-batch-twice", "factor", VJP, "factor-n", vjp=_times_rows(vjp, -1)),
    ]


def _naive(x: Array) -> Array:
    return normalised(np.exp(x))


def _others_smooth(x: Array, labels: Array) -> Array:
    """The smoothing spread over the other classes alone."""
    own = _one_hot(x, labels)
    return own * x.dtype.type(0.9) + (1 - own) * x.dtype.type(0.1 / max(x.shape[-1] - 1, 1))


def _naive_of_kept(x: Array, labels: Array) -> Array:
    kept = _kept(labels, x)
    terms = np.log(np.exp(x).sum(-1)) - _at(x, _labelled(labels))
    return np.asarray(np.where(kept > 0, terms, 0).sum() / kept.sum())


fault = partial(Fault, _CROSS)
CROSS_ENTROPY = [
    *_by_the_batch(_CROSS, "labels"),
    fault("labels-without-the-softmax", "formula", VJP, "input-for-output",
          vjp=_mean_vjp(lambda x, labels: x - _one_hot(x, labels))),
    fault("labels-no-softmax-path", "missing term", VJP, "missing-path", vjp=_mean_vjp(_picked_slope)),
    fault("labels-own-entry-alone", "missing term", VJP, "missing-path",
          vjp=_mean_vjp(lambda x, labels: _less_one(x, labels) * _one_hot(x, labels))),
    fault("labels-clipped", "clipping", FORWARD, "clipped",
          forward=_of_rows(lambda x, labels: -np.log(np.maximum(_at(softmax(x), labels), x.dtype.type(1e-7))))),
    fault("labels-log-of-softmax", "saturation", FORWARD,
          forward=_of_rows(lambda x, labels: -np.log(_at(softmax(x), labels)))),
    fault("labels-max-not-subtracted", "overflow", FORWARD, "overflow",
          forward=_of_rows(lambda x, labels: np.log(np.exp(x).sum(-1)) - _at(x, labels))),
    fault("labels-slope-max-not-subtracted", "overflow", VJP, "overflow",
          vjp=_mean_vjp(lambda x, labels: _naive(x) - _one_hot(x, labels))),
    fault("labels-softmax-over-the-batch", "formula", VJP,
          vjp=_mean_vjp(lambda x, labels: softmax(x.T).T - _one_hot(x, labels))),
    fault("labels-whole-columns", "formula", VJP, vjp=_mean_vjp(_whole_columns)),
    fault("labels-mean-of-all-entries", "factor", VJP, "factor-n", vjp=m.by_size(_mean_vjp(_less_one), -1, -1)),
    fault("labels-zero-is-padding", "some values", VJP,
          vjp=_mean_vjp(lambda x, labels: _less_one(x, labels) * (labels != 0)[:, None])),
    *general(_CROSS, RIGHT[_CROSS]),
]  # fmt: skip

fault = partial(Fault, _SMOOTHING)
LABEL_SMOOTHING = [
    *_by_the_batch(_SMOOTHING, "label-smoothing"),
    fault("label-smoothing-not-in-the-slope", "missing term", VJP, "constant", vjp=_mean_vjp(_less_one)),
    fault("label-smoothing-not-in-the-value", "missing term", FORWARD, forward=_of_rows(_negative_log)),
    fault("label-smoothing-of-the-others", "formula", FORWARD,
          forward=_of_rows(lambda x, labels: -(_others_smooth(x, labels) * log_softmax(x)).sum(-1))),
    fault("label-smoothing-slope-of-the-others", "formula", VJP,
          vjp=_mean_vjp(lambda x, labels: softmax(x) - _others_smooth(x, labels))),
    fault("label-smoothing-on-top", "sum(y) = 1", VJP,
          vjp=_mean_vjp(lambda x, labels: softmax(x) - _smooth(x, labels, own=1))),
    fault("label-smoothing-not-spread", "formula", VJP,
          vjp=_mean_vjp(lambda x, labels: softmax(x) - _smooth(x, labels, each=0.1 * x.shape[-1]))),
    fault("label-smoothing-exchanged", "formula", VJP,
          vjp=_mean_vjp(lambda x, labels: softmax(x) - _smooth(x, labels, own=0.1, each=0.9))),
    fault("label-smoothing-log-epsilon", "clipping", FORWARD, "clipped",
          forward=_of_rows(lambda x, labels: -(_smooth(x, labels) * np.log(softmax(x) + x.dtype.type(1e-9))).sum(-1))),
    fault("label-smoothing-max-not-subtracted", "overflow", VJP, "overflow",
          vjp=_mean_vjp(lambda x, labels: _naive(x) - _smooth(x, labels))),
    *general(_SMOOTHING, RIGHT[_SMOOTHING]),
]  # fmt: skip

fault = partial(Fault, _IGNORING)
IGNORE_INDEX = [
    *_by_the_batch(_IGNORING, "ignore-index")[3:],
    fault("ignore-index-counted-in-the-mean", "factor", FORWARD,
          forward=_of_rows(lambda x, labels: _negative_log(x, _labelled(labels)) * _kept(labels, x))),
    fault("ignore-index-counted-in-the-slope", "factor", VJP, "another-size",
          vjp=_mean_vjp(lambda x, labels: _less_one(x, _labelled(labels)) * _kept(labels, x)[:, None])),
    fault("ignore-index-as-label-0", "some values", FORWARD,
          forward=_of_rows(lambda x, labels: _negative_log(x, _labelled(labels)))),
    fault("ignore-index-not-in-the-slope", "some values", VJP,
          vjp=lambda d, x, labels: (_less_one(x, _labelled(labels)) * (d / _kept(labels, x).sum()), None)),
    fault("ignore-index-softmax-kept", "missing term", VJP,
          vjp=lambda d, x, labels: ((softmax(x) - _one_hot(x, labels)) * (d / _kept(labels, x).sum()), None)),
    fault("ignore-index-from-the-end", "formula", VJP,
          vjp=lambda d, x, labels: (_less_one(x, labels % x.shape[-1]) * (d / _kept(labels, x).sum()), None)),
    fault("ignore-index-labels-too", "some values", VJP,
          vjp=m.fed(_kept_vjp, lambda d, x, labels: (d, x, np.where(labels == 0, IGNORED, labels)))),
    fault("ignore-index-max-not-subtracted", "overflow", FORWARD, "overflow", forward=_naive_of_kept),
    fault("ignore-index-off-by-one", "formula", VJP, "integers",
          vjp=m.fed(_kept_vjp, lambda d, x, y: (d, x, np.where(y == IGNORED, y, _next(x, y))))),
    *general(_IGNORING, RIGHT[_IGNORING]),
]  # fmt: skip

fault = partial(Fault, _LIKELIHOOD)
LIKELIHOOD = [
    *_by_the_batch(_LIKELIHOOD, "nll"),
    fault("nll-value-sign", "sign", FORWARD, "sign", forward=_of_rows(_at)),
    fault("nll-of-probabilities", "formula", VJP,
          vjp=_mean_vjp(lambda x, labels: np.exp(x) * _picked_slope(x, labels))),
    fault("nll-with-a-softmax", "formula", VJP, "another-function", vjp=_mean_vjp(_less_one)),
    fault("nll-log-twice", "formula", FORWARD, "another-function", forward=_of_rows(_negative_log)),
    fault("nll-whole-columns", "formula", VJP,
          vjp=_mean_vjp(lambda x, labels: -np.ones_like(x) * np.isin(np.arange(x.shape[-1]), labels))),
    fault("nll-clipped", "clipping", FORWARD, "clipped",
          forward=_of_rows(lambda x, labels: -np.clip(_at(x, labels), -100, None))),
    fault("nll-all-entries", "formula", VJP, "axis", vjp=_mean_vjp(lambda x, labels: -np.ones_like(x))),
    *general(_LIKELIHOOD, RIGHT[_LIKELIHOOD]),
]  # fmt: skip

fault = partial(Fault, _HINGE)
HINGE = [
    *_by_the_batch(_HINGE, "hinge"),
    fault("hinge-label-once", "missing term", VJP,
          vjp=_mean_vjp(lambda x, labels: np.where(_one_hot(x, labels) > 0, np.sign(_hinge_slope(x, labels)),
                                                   _hinge_slope(x, labels)))),
    fault("hinge-label-forgotten", "missing term", VJP, "missing-path",
          vjp=_mean_vjp(lambda x, labels: np.maximum(_hinge_slope(x, labels), 0))),
    fault("hinge-others-forgotten", "missing term", VJP, "missing-path",
          vjp=_mean_vjp(lambda x, labels: np.minimum(_hinge_slope(x, labels), 0))),
    fault("hinge-margin-forgotten", "missing term", VJP, "missing-path",
          vjp=_mean_vjp(lambda x, labels: _hinge_slope(x, labels, margin=0))),
    fault("hinge-own-column-counted", "formula", FORWARD,
          forward=_of_rows(lambda x, labels: _over(x, labels).sum(-1) + 1)),
    fault("hinge-worst-alone", "formula", FORWARD, "another-function",
          forward=_of_rows(lambda x, labels: _over(x, labels).max(-1))),
    fault("hinge-squared", "formula", VJP, "another-function",
          vjp=_mean_vjp(lambda x, labels: 2 * _over(x, labels).max(-1, keepdims=True) * _hinge_slope(x, labels))),
    fault("hinge-by-the-difference", "missing term", VJP,
          vjp=_mean_vjp(lambda x, labels: _over(x, labels) * _hinge_slope(x, labels))),
    fault("hinge-of-all-scores", "formula", VJP,
          vjp=_mean_vjp(lambda x, labels: (x > -1) * (1 - _one_hot(x, labels)) - _one_hot(x, labels))),
    *general(_HINGE, RIGHT[_HINGE]),
]  # fmt: skip

LABELS = [*CROSS_ENTROPY, *LABEL_SMOOTHING, *IGNORE_INDEX, *LIKELIHOOD, *HINGE]

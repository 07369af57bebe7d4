"""Of a batch: every row as by itself, and the sum of the gradients by a parameter."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import NamedTuple

import ml_dtypes
import numpy as np

from backprop_oracle.autodiff import Answers

from .claims import Array, Close
from .manners import LOOKED_AT
from .points import Claims, Point, added_up, turn_of

EXAMPLES = 6
LEADS = ((1,), (2,), (33,), (65,), (128,), (2, 17), (1, 3), (4, 4), (2, 1, 3))  # the axes of batches
TOGETHER = ((0, 1, 2), (0,), (0, 3), (4, 5), (0, 4, 5, 1))  # examples that are in one batch, over and over
BATCH_LAYOUTS: Mapping[str, Callable[[int, Array], Array]] = {  # of the i-th array of a call
    "": lambda i, a: a,
    "in Fortran order": lambda i, a: np.asfortranarray(a),
    "in every other row": lambda i, a: np.repeat(a, 2, 0)[::2],
    "of which every other is in Fortran order": lambda i, a: np.asfortranarray(a) if i % 2 else a,
}


def batch_equals_the_loop(p: Point) -> Claims:
    """A batch has the results of its examples, and the sum of their gradients by a parameter; it may be empty.

    Of three examples, of as many as an axis is long, and in turn of more or fewer, on several axes, equal, nearly equal
    or far apart, in another layout, or every other row of a larger batch.
    """
    is_data, turn = p.operation.is_data, turn_of(p)
    examples = [_example(p, k) for k in range(EXAMPLES)]
    as_many = [(a.shape[-1],) for a, data in zip((p.delta, *p.args), (True, *is_data), strict=True) if data and a.ndim]
    leads = [lead for lead in (*LEADS, *as_many) if len(lead) <= max(p.batched.values())]
    together = TOGETHER[: 3 if p.moderate else None]
    others = [
        (leads[k % len(leads)], together[k // 16 % len(together)], [*BATCH_LAYOUTS][k // 64 % len(BATCH_LAYOUTS)])
        for k in range(turn, turn + 2 * 81, 81)
    ]
    usual: tuple[tuple[int, ...], tuple[int, ...], str] = ((3,), (0, 1, 2), "")
    square = [(as_many[turn % len(as_many)], (0, 1, 2), "")] if as_many else []
    empty: tuple[tuple[int, ...], tuple[int, ...], str] = ((0,), (0,), "")
    counts = [((c + more,), (0, 1, 2), "") for c in p.counts for more in (0, 1) if c <= LOOKED_AT]
    batches = [
        _batch(p, lead, examples, [chosen[k % len(chosen)] for k in range(int(np.prod(lead)))], layout)
        for lead, chosen, layout in (usual, *square, *others, *counts, *[empty] * ("empty" in p.promises))
    ]
    p.begin(*(call for batch in batches for call in p.both([batch.delta, *batch.args], kinds=batch.takers)))
    said = p.ask(*((delta, args) for delta, *args in examples))
    for batch in batches:
        with suppress(Exception) if batch.layout else nullcontext():  # another law is about layouts that are refused
            at = [examples[k] for k in dict.fromkeys(batch.turns)]
            yield from list(_rows_are_right(p, batch, [said[k] for k in batch.turns], at))


class Batch(NamedTuple):
    """Examples in a batch, by their numbers; in which layout; which functions take so many axes, and what they get."""

    lead: tuple[int, ...]
    turns: Sequence[int]
    layout: str
    takers: Sequence[str]
    delta: Array
    args: Sequence[Array]

    @property
    def name(self) -> str:
        return f"batch {self.lead}{f', arguments {self.layout}' * bool(self.layout)}"


def _batch(
    p: Point, lead: tuple[int, ...], examples: Sequence[Sequence[Array]], turns: Sequence[int], layout: str
) -> Batch:
    """The examples with these numbers, over axes `lead`."""

    def stack(i: int) -> Array:
        a = np.array([examples[k][i] for k in turns], p.case.dtype).reshape(lead + examples[0][i].shape)
        return BATCH_LAYOUTS[layout](i, a)

    args = [stack(i + 1) if data else p.args[i] for i, data in enumerate(p.operation.is_data)]
    takers = [kind for kind in ("forward", "vjp") if len(lead) <= p.batched.get(kind, 0)]
    return Batch(lead, turns, layout, takers, stack(0), args)


def _rows_are_right(p: Point, batch: Batch, said: Sequence[Answers], at: Sequence[Sequence[Array]]) -> Claims:
    """What is claimed of a batch, whose examples have these answers; `at` is each of them once."""
    lead = batch.lead
    if p.forward and "forward" in batch.takers:
        shape = lead + p.case.delta.shape
        each = [s.forward for s in said]
        expected, bound = (np.reshape([answer[part] for answer in each], shape) for part in (0, 1))
        yield Close(f"u of {batch.name}", p.forward(*batch.args), expected, bound, at)
    if not (p.vjp and "vjp" in batch.takers):
        return
    for name, d, i in p.named("d", p.vjp(batch.delta, *batch.args)):
        values, bounds = (np.array([s.vjp[i][part] for s in said]) for part in (0, 1))
        values, bounds = (a.reshape(len(said), *p.args[i].shape) for a in (values, bounds))
        if p.operation.is_data[i]:
            expected, bound = (a.reshape(lead + p.args[i].shape) for a in (values, bounds))
        else:
            expected, bound = added_up(lambda a: a.sum(0), values, bounds, len(said), p.case.dtype)
        yield Close(f"{name} of {batch.name}", d, expected, bound, at)


def _example(p: Point, k: int) -> list[Array]:
    """The k-th example of a batch: the case; with its data reversed, halved, or nearly the same; and where there is no
    domain to leave, two that are as far apart as exp has numbers.
    """
    reach = float(np.log(float(ml_dtypes.finfo(p.case.dtype).max)))
    kinds = p.operation.domain
    fixed = {*p.numbers, *(name for name, kind in kinds.items() if kind == "target")}

    def changed(a: Array, name: str) -> Array:
        turned = a[..., ::-1].copy() if a.ndim and (k == 1 or (k == 2 and name in fixed)) else a
        if name in fixed or not a.size:
            return turned
        wide = turned.astype(np.float64)
        if k in (2, 3):
            wide = wide * (0.5 if k == 2 else 1 + max(4 * p.eps, 2.0**-21))
        elif k in (4, 5) and name not in kinds and name != "delta":
            wide = wide - wide.max() + reach * (0.95 if k == 4 else -0.2)
        return np.asarray(wide).astype(a.dtype)

    triples = zip(p.operation.arguments, p.args, p.operation.is_data, strict=True)
    return [changed(p.delta, "delta"), *(changed(a, name) if data else a for name, a, data in triples)]

"""Sweeps: the laws of value, vjp and Jacobian on many cases of a shape at once, both sides in NumPy's inner loops.

The reference takes a batch; the oracle runs JAX's program over it (`evaluated`), with a bound for every entry. Data and
cotangents differ from row to row. Parameters take no batch axes: a few rows in turn share theirs, and the gradients of
a parameter are compared as the sum over these rows, which may be one. Jacobians are of single examples, so that of each
shape only a few are looked at. Comparison, bounds and units are those of the laws; a case that fails is taken out of
its batch and tried by the laws themselves.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from backprop_oracle.autodiff import Answers, evaluated
from backprop_reference import OPERATIONS, Operation

from ..cases.blocks import BLOCKS, Block, draw_block, rows_of
from ..cases.case import Case
from ..cases.shapes import draw_sizes
from ..laws.claims import Close, Measure, Violation
from ..laws.failure import BATCH, Failure, failure_at
from ..laws.points import LARGEST_JACOBIAN, Claims, Functions, added_up
from ..laws.table import LAWS, point
from ..laws.trial import violations
from .every_law import FLOATS
from .findings import Outcome, Tally

JACOBIANS = 8  # of a block, for the first of each dtype

# ── The laws, of a block ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Sweep:
    """An implementation at a block, and what JAX's program says there."""

    implementation: Functions
    case: Block
    said: Answers
    jacobians: int = 0

    def summed(self, what: str) -> bool:
        """Whether a quantity is the gradient of a parameter: a sum for each run of rows."""
        names = dict(zip(self.case.operation.arguments, self.case.is_data, strict=True))
        return what.startswith("d") and not names.get(what[1:], True)

    def measured(self, what: str) -> int:
        """How many cases stand behind a quantity; where gradients are added up, how many sums."""
        if what.startswith("J_"):
            return self.jacobians
        return len(self.case.starts) if self.summed(what) else len(self.case.delta)


def sweep(implementation: Functions, block: Block, jacobians: int = 0) -> Sweep:
    """An implementation of the block's operation at the block; of the first `jacobians` rows also the Jacobians."""
    said = evaluated(block.operation, block.delta, block.by_row, dtype=block.dtype, batched=True)
    return Sweep(implementation, block, said, jacobians)


def forward_of_all(p: Sweep) -> Claims:
    """The forward of every row."""
    if p.implementation.forward:
        parts = [np.asarray(p.implementation.forward(*args)) for _, *args in p.case.runs()]
        yield Close("u", np.concatenate(parts), *p.said.forward)


def vjp_of_all(p: Sweep) -> Claims:
    """Each cotangent of every row; of a parameter the sum of those that share it."""
    if p.implementation.vjp:
        results = [p.implementation.vjp(*point) for point in p.case.runs()]
        names = zip(p.case.operation.arguments, p.case.is_data, zip(*results, strict=True), p.said.vjp, strict=True)
        for name, data, parts, (value, bound) in names:
            if any(part is None for part in parts):
                continue
            if data:
                yield Close(f"d{name}", np.concatenate(parts), value, bound)
                continue
            lengths = np.reshape(np.bincount(p.case.run), (-1, *(1 for _ in value.shape[1:])))
            total = partial(np.add.reduceat, indices=p.case.starts, axis=0)
            yield Close(f"d{name}", np.array(parts), *added_up(total, value, bound, lengths, p.case.dtype))


def jacobians_of_some(p: Sweep) -> Claims:
    """Each dense Jacobian of the first rows."""
    if p.implementation.jacobian and p.jacobians:
        few = p.case.part(np.arange(p.jacobians))
        said = evaluated(
            few.operation, few.delta, few.by_row, kinds=("jacobian",), dtype=few.dtype, batched=True
        ).jacobian
        each = [p.implementation.jacobian(*few.row(k).args) for k in range(p.jacobians)]
        for name, parts, answer in zip(few.operation.arguments, zip(*each, strict=True), said, strict=True):
            if not any(J is None for J in parts):
                dense = [np.asarray(J.todense() if hasattr(J, "todense") else J) for J in parts]
                yield Close(f"J_{name}", np.array(dense), *answer)


SWEPT: Mapping[str, Callable[[Sweep], Claims]] = {  # by the law that each is, of many cases at once
    "forward_equals_jax": forward_of_all,
    "vjp_equals_jax_vjp": vjp_of_all,
    "jacobian_equals_jacrev": jacobians_of_some,
}


def try_sweep(
    operation: Operation,
    implementation: Functions | None = None,
    *,
    examples: int,
    seed: int = 0,
    part: int = 0,
    dtypes: Sequence[np.dtype[Any]] = FLOATS,
) -> Outcome:
    """Sweep over `examples` cases of fresh shapes; other parts of a seed are other cases.

    >>> outcome = try_sweep(OPERATIONS["affine"], examples=2000)
    >>> outcome.failures, outcome.cases, outcome.tallies["forward_equals_jax", "u"].cases
    ([], 2000, 2000)
    """
    started, done = time.perf_counter(), 0
    draw = np.random.default_rng([seed, part, *operation.name.encode()])
    tallies: dict[tuple[str, str], Tally] = {}
    failed: dict[str, Failure] = {}
    while done < examples:
        sizes = draw_sizes(operation, draw)
        for k in range(BLOCKS):
            rows = min(rows_of(operation, sizes, examples), examples - done)
            if rows:
                block = draw_block(operation, sizes, np.dtype(dtypes[k % len(dtypes)]), rows, draw)
                few = min(JACOBIANS, rows) if k < len(dtypes) and block.jacobian_entries <= LARGEST_JACOBIAN else 0
                p = sweep(implementation or operation, block, few)
                for law, what, found in violations(SWEPT, p):
                    if isinstance(found, Measure):
                        tally = tallies.setdefault((law, what), Tally())
                        tally.add(found, sizes, block.dtype.name, p.measured(what))
                    elif isinstance(found, Violation) and law not in failed:
                        failed[law] = _taken_out(p, law, found)
                done += rows
    return Outcome(operation.name, done, tallies, list(failed.values()), time.perf_counter() - started, swept=done)


# ── A case that fails ───────────────────────────────────────────────────────────────────────────────────────────────


def _taken_out(p: Sweep, law: str, violation: Violation) -> Failure:
    """The failure of one case that fails alone; if none does, that of a batch, as small as halving makes it."""
    block, operation = p.case, p.case.operation
    if violation.index is None:  # of a shape, or raised
        block = _narrowed(p, law, block)
        suspects = np.arange(len(block.delta))
    elif p.summed(violation.what):
        suspects = np.flatnonzero(block.run == violation.index[0])
    else:
        suspects = np.array([violation.index[0]])
    for k in suspects:
        case = block.row(int(k))
        laws = {name: LAWS[name] for name in (law, "batch_equals_the_loop")}
        for name, _, found in violations(laws, point(operation, p.implementation, case)):
            if isinstance(found, Violation):
                return failure_at(operation, name, found, case)
    batch = _narrowed(p, law, block.part(np.flatnonzero(block.run == block.run[suspects[0]])))
    args = tuple(a if data else a[0] for a, data in zip(batch.args, batch.is_data, strict=True))
    found = _violation(p.implementation, law, batch) or violation
    return failure_at(operation, BATCH, found, Case(args, batch.delta, ()))


def _narrowed(p: Sweep, law: str, block: Block) -> Block:
    """The first or the second half of a block, and of that, as long as the law fails."""
    while len(block.delta) > 1:
        halves = map(block.part, np.array_split(np.arange(len(block.delta)), 2))
        half = next((half for half in halves if _violation(p.implementation, law, half)), None)
        if half is None:
            break
        block = half
    return block


def _violation(implementation: Functions, law: str, block: Block) -> Violation | None:
    """What a law has to say against an implementation at a block."""
    at = sweep(implementation, block, min(JACOBIANS, len(block.delta)))
    return next((found for _, _, found in violations({law: SWEPT[law]}, at) if isinstance(found, Violation)), None)


def replay_batch(operation: str, delta: Any, *args: Any, implementation: Functions | None = None) -> None:
    """The value, the vjp and Jacobians of a batch, against JAX's of its rows: raises the `Violation`, or returns.

    >>> x = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> replay_batch("dot", np.array([1.0, -1.0]), x, 5 * x)
    """
    row = OPERATIONS[operation]
    arrays = [np.asarray(a) for a in args]
    leading = [a if data else a[None] for a, data in zip(arrays, row.is_data, strict=True)]
    block = Block(row, tuple(leading), np.asarray(delta, arrays[0].dtype), np.array([0]))
    for _, _, found in violations(SWEPT, sweep(implementation or row, block, min(JACOBIANS, len(block.delta)))):
        if isinstance(found, Violation):
            raise found

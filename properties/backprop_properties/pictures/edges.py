"""Which edge of a definition's graph explains a wrong vjp: that whose cotangent has a factor that it should not have.

A vjp is linear in the factor of each edge. So the factor that fits best is known, and if the very numbers come out
that are wrong, at several cases of several sizes, the cotangent is wrong on that edge, or on another that does the
same: 0 is an edge that is left out, −1 a sign, 2 a path that is counted twice, and NaN stands for a factor that is
another at each case, as √d. What no edge explains is not marked.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from backprop_oracle.floats import values
from backprop_oracle.program import traced
from backprop_oracle.rows import Row

from ..cases.case import Array, Case
from ..hints.probe import Probe, Seen
from .graphs import MOST_STEPS, Wired, is_real, walked, wired

CASES = 3
WITHIN = 1e-6  # of the numbers, in float64
CLEARLY = 1e-3  # a factor is another than 1
PLAIN = (0.0, -1.0)  # factors that need no others beside them
FEWEST = 4  # numbers that a factor is found from, of a case if it is another at each


def explaining(p: Probe) -> dict[int, float]:
    """The edges that explain what is wrong with a vjp, by number, with their factors; none if nothing does."""
    seen = [one for case in p.ordinary()[:CASES] if (one := p.see(case)) is not None]
    if len(seen) < CASES or not any(one.wrong for one in seen):
        return {}
    graphs = [wired(p.row, list(map(_wide, one.case.args))) for one in seen]
    first, *others = graphs
    alike = all([s.name for s in g.steps] == [s.name for s in first.steps] for g in others)
    if not alike or len(first.steps) > MOST_STEPS or any(len(g.wires) != len(first.wires) for g in others):
        return {}
    ask = [_gated(g, one.case, p.row) for g, one in zip(graphs, seen, strict=True)]
    got = [_flat(one, one.got) for one in seen]
    count, within, found = len(first.wires) + 1, max(WITHIN, 64 * p.eps), dict[int, float]()
    whole = [f(np.ones(count)) for f in ask]
    for g, w in zip(got, whole, strict=True):
        if g.shape != w.shape or not np.isfinite(g).all():
            return {}
    for k in range(count):
        if time.perf_counter() > p.until:
            break
        gates = np.ones(count)
        gates[k] = 0.0
        factors = [_factor(g, w, f(gates), within) for g, w, f in zip(got, whole, ask, strict=True)]
        sure = [factor for factor in factors if factor is not None]
        same = len(sure) == len(factors) and bool(np.ptp(sure) < CLEARLY)
        enough = sum(g.size for g in got) if same else min(g.size for g in got)
        if len(sure) == len(factors) and enough >= FEWEST and max(abs(factor - 1) for factor in sure) > CLEARLY:
            found[k] = round(sure[0], 6) + 0.0 if same else np.nan
    plainest = next((f for f in PLAIN if f in found.values()), None)
    return {k: f for k, f in found.items() if plainest in (None, f)}


def _factor(got: Array, whole: Array, without: Array, within: float) -> float | None:
    """The factor of an edge with which some numbers come out, if it has one; they are `without` the edge if it is 0."""
    by = whole - without
    if not by.any() or not np.isfinite(by).all():
        return None
    factor = float((got - without) @ by / (by @ by))
    off = np.abs(got - without - factor * by).max()
    return factor if off <= within * max(np.abs(a).max() for a in (got, without, by)) else None


def _wide(a: Array) -> Array:
    return a if a.dtype.kind in "iub" else a.astype(np.float64)


def _flat(one: Seen, results: Sequence[Any]) -> Array:
    """The cotangents that a vjp gives, one after the other; the right ones for those that it leaves out."""
    pairs = zip(results, one.truth, strict=True)
    return np.concatenate([np.ravel(t if r is None else r) for r, t in pairs if t.size])


def _gated(graph: Wired, case: Case, row: Row) -> Callable[[Array], Array]:
    """The cotangents of the arguments, flat, as a function of the factors of the edges."""
    args = list(map(_wide, case.args))
    moving = [i for i, a in enumerate(args) if a.dtype.kind == "f"]

    def cotangents(factors: Any, delta: Any, *args: Any) -> Any:
        def gate(k: int, v: Any) -> Any:
            if not is_real(v):
                return v
            held = jax.lax.stop_gradient(v)
            return held + factors[k] * (v - held)

        def output(*floats: Any) -> Any:
            every = list(args)
            for i, value in zip(moving, floats, strict=True):
                every[i] = value
            return walked(graph, every, gate)[0]

        found = jax.vjp(output, *(args[i] for i in moving))[1](delta)
        return jnp.concatenate([jnp.ravel(d) for d in found])

    count, delta = len(graph.wires) + 1, np.asarray(case.delta, np.float64)
    given = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (np.ones(count), delta, *args)]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        program = traced(cotangents, *given)

    def ask(factors: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(values(program, [factors, delta, *args]))

    return ask

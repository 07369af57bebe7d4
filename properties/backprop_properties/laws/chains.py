"""Random compositions of the table's operations: chains of steps, and fans of chains that start at one step."""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from backprop_oracle.rows import definition
from backprop_reference import OPERATIONS, Jacobian, Operation

from .claims import Array

MODERATE = 20.0  # what a composition's numbers stay within, so that nothing overflows
TRIES = 1000

# ── Compositions ────────────────────────────────────────────────────────────────────────────────────────────────────


class Step(NamedTuple):
    """One operation of a composition, a function of the arguments at `free`; the others are fixed."""

    operation: Operation
    args: tuple[Array, ...]
    free: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.operation.name} by {' '.join(self.operation.arguments[i] for i in self.free)}"

    def at(self, *u: Any) -> list[Any]:
        """All arguments, with `u` at the free ones."""
        args: list[Any] = list(self.args)
        for i, value in zip(self.free, u, strict=True):
            args[i] = value
        return args

    def defined(self, *u: Any) -> Any:
        """The oracle's definition, as a function of the free arguments alone."""
        return definition(self.operation)(*self.at(*u))

    def forward(self, *u: Array) -> Array:
        return self.operation.forward(*self.at(*u))

    def jacobians(self, *u: Array) -> list[Jacobian]:
        """The Jacobians by the free arguments."""
        jacobians = self.operation.jacobian(*self.at(*u))
        return [jacobians[i] for i in self.free]

    def vjp(self, delta: Array, *u: Array) -> Array:
        """The cotangent of the one free argument."""
        return self.operation.vjp(delta, *self.at(*u))[self.free[0]]


Chain = Sequence[Step]  # the innermost first


def written(chain: Chain) -> str:
    return " ∘ ".join(map(str, reversed(chain)))


def composed(chain: Chain) -> Callable[[Any], Any]:
    """The composition of the definitions."""
    return lambda x: reduce(lambda u, step: step.defined(u), chain, x)


def passed(functions: Iterable[Callable[[Any], Any]], x: Any) -> list[Any]:
    """`[x, f₁(x), f₂(f₁(x)), …]`."""
    return reduce(lambda u, f: [*u, f(u[-1])], functions, [x])


def forwards(chain: Chain, x: Array) -> list[Array]:
    return passed([step.forward for step in chain], x)


# ── Drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def steps_from(rank: int, to: int) -> list[tuple[Operation, int]]:
    """The table's operations, each by each of its arguments, that lead from an array of `rank` axes to one of `to`.

    >>> [f"{row.name} by {row.arguments[i]}" for row, i in steps_from(2, to=1)][:3]
    ['matvec by W', 'affine by W', 'activation[identity] by W']
    """
    found = []
    for row in OPERATIONS.values():
        *inputs, output = row.cores
        found += [(row, i) for i, core in enumerate(inputs) if (len(core), len(output)) == (rank, to)]
    return found


def draw_chain(rng: np.random.Generator, x: Array, ranks: Iterable[int], width: int = 0) -> Chain:
    """A composition that starts at `x` and passes through arrays of the given numbers of axes, in moderate numbers.

    `width` fixes the sizes that `x` leaves open; otherwise they are drawn.
    """
    chain: list[Step] = []
    for to in ranks:
        candidates = steps_from(x.ndim, to)
        for _ in range(TRIES):
            row, i = pick(rng, candidates, slide=lambda candidate: candidate[0].slide)
            step = Step(row, _arguments(rng, row, dict(zip(row.cores[i], x.shape, strict=True)), width), (i,))
            if _moderate(step.forward, x):
                break
        chain.append(step)
        x = np.asarray(step.forward(x))
    return chain


def draw_fan_out(rng: np.random.Generator, x: Array) -> tuple[Step, list[Chain]]:
    """An operation of several vectors, and for each of them a composition that starts at `x`; all have its size."""
    several = [row for row in OPERATIONS.values() if sum(len(core) == 1 for core in row.cores[:-1]) > 1]
    for _ in range(TRIES):
        row = pick(rng, several, slide=lambda row: row.slide)
        free = tuple(i for i, core in enumerate(row.cores[:-1]) if len(core) == 1)
        f = Step(row, _arguments(rng, row, {}, x.size), free)
        branches = [draw_chain(rng, x, [1] * int(rng.integers(1, 3)), x.size) for _ in free]
        if _moderate(f.forward, *(forwards(branch, x)[-1] for branch in branches)):
            break
    return f, branches


def _arguments(rng: np.random.Generator, row: Operation, sizes: dict[str, int], width: int) -> tuple[Array, ...]:
    """Arguments of an operation; letters that are not in `sizes` get `width`, or are drawn."""
    sizes = {letter: sizes.get(letter) or width or int(rng.integers(1, 5)) for letter in row.letters}
    return tuple(np.asarray(rng.normal(size=[sizes[letter] for letter in core])) for core in row.cores[:-1])


def pick(rng: np.random.Generator, items: Sequence[Any], slide: Callable[[Any], str] = str) -> Any:
    """One of the items; every slide is as likely as any other, whatever the number of its operations."""
    slides = list(dict.fromkeys(map(slide, items)))
    drawn = slides[rng.integers(len(slides))]
    items = [item for item in items if slide(item) == drawn]
    return items[rng.integers(len(items))]


def _moderate(f: Callable[..., Array], *u: Array) -> bool:
    with np.errstate(all="ignore"):
        return bool(np.all(np.abs(f(*u)) <= MODERATE))  # False for NaN

"""Two threads at once, and no chance: in the middle of a call, at a line of it, another thread makes a call from its
beginning to its end.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .claims import Holds
from .interruption import Interruption
from .manners import LOOKED_AT, calls_of
from .points import Claims, Point

LINES = (*range(16), 20, 25, 32, 40, 50, 64)  # of a call, as they are run, in which another is made
EVERY = 8  # cases on which laws take turns for one on which this is tried: what is outside of a call is so at any size


def bears_another_thread(p: Point) -> Claims:
    """A call returns the same bits if another thread calls in the middle of it: nothing of it is kept outside."""
    if "threads" not in p.promises or p.case.delta.size > LOOKED_AT:
        return
    if p.interruption and (p.turn is None or p.turn % EVERY == 0):
        for name, f, args in calls_of(p):
            for other, g, others in calls_of(p):
                yield from _interrupted(p.interruption, name, f, args, other, g, _moved(p, others))


def _interrupted(
    amid: Interruption, name: str, f: Any, args: tuple[Any, ...], other: str, g: Any, others: list[Any]
) -> Iterator[Holds]:
    """The claims on a call of `f`, in which `g` is called with other numbers."""
    alone = [np.array(r) for r in f(*args)]
    amid.keep = True
    g(*others)
    when = f"when another thread called {other} in the middle of it"
    for at in LINES:
        amid.at = at
        try:
            results = f(*args)
        except Exception as error:
            yield Holds(name, False, f"{name} returned nothing {when}: {error}")
            return
        if not amid.reached:
            return
        same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(alone, results, strict=True))
        yield Holds(name, same, f"{name} returned other bits {when}")


def _moved(p: Point, arrays: tuple[Any, ...]) -> list[Any]:
    """Other arguments of the same shapes: turned round, and where any numbers will do, halved."""
    names = ("delta", *p.operation.arguments)[-len(arrays) :]
    fixed = {*p.numbers, *p.operation.domain} if not p.moderate else {*names}
    turned = [a[..., ::-1].copy() if a.ndim else a for a in arrays]
    free = [name not in fixed and a.dtype.kind not in "biu" for name, a in zip(names, turned, strict=True)]
    return [a * a.dtype.type(0.5) if may else a for may, a in zip(free, turned, strict=True)]

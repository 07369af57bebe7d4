"""Numbers as a picture shows them: few digits, few entries, and how many there are."""

from collections.abc import Iterable
from typing import Any

import numpy as np

MOST = 60  # entries that are written out at all
SHAPE_SIGN = "×"


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as the slides write it.

    >>> shape_text((2, 3)), shape_text((3,)), shape_text(())
    ('2×3', '3', '1×1')
    """
    return SHAPE_SIGN.join(map(str, shape)) or "1×1"


def digits(number: Any, places: int = 4) -> str:
    """A number in four digits, or more, with a minus as it is printed; a ball beyond float64 as it is.

    >>> digits(-0.33333333), digits(1e-12), digits(True)
    ('−0.3333', '1e-12', 'true')
    """
    if isinstance(number, bool | np.bool_):
        return str(bool(number)).lower()
    if isinstance(number, str):
        return number
    return f"{number + 0.0:.{places}g}".replace("-", "−", number < 0 or str(number).startswith("-")).replace("inf", "∞")


def places_apart(pairs: Iterable[tuple[float, float]]) -> int:
    """In how many digits numbers look different from others, each from its own; four at least.

    >>> places_apart([(-2.0, -2.00002), (1.0, 3.0)]), places_apart([(1.0, 1.0)])
    (6, 4)
    """
    differ = [(one, other) for one, other in pairs if one != other]
    each = (k for k in range(4, 18) if all(digits(one, k) != digits(other, k) for one, other in differ))
    return next(each, 17)


def numbers(a: Any, places: int = 4) -> str:
    """An array in a line: all entries of a small one, and of a long one the first, and how many there are.

    >>> numbers(np.array([[1.0, 2.0], [3.0, 4.0]])), numbers(np.zeros(99))[:12]
    ('[[1, 2], [3, 4]]', '[0, 0, 0, 0,')
    """
    a = np.asarray(a)
    if a.size <= MOST:
        return _nested(a.tolist(), places)
    first = ", ".join(digits(v, places) for v in a.ravel()[:MOST].tolist())
    return f"[{first}, …], {a.size:,} numbers"


def _nested(a: Any, places: int) -> str:
    return f"[{', '.join(_nested(v, places) for v in a)}]" if isinstance(a, list) else digits(a, places)

"""Numbers for frozen cases, made of integers and powers of two alone: every machine draws the same bits.

Those of `cases/values.py` are apart, since NumPy's distributions may differ in a last bit from one version to another.
A maker takes the random source, how many numbers, and the dtype, and returns numbers that the dtype holds exactly.
"""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np

Random = random.Random
Numbers = list[float]
Maker = Callable[[Random, int, np.dtype[Any]], Numbers]


def digits(dtype: np.dtype[Any]) -> int:
    """The bits of a dtype's significand."""
    return 24 if dtype == np.float32 else 53


def one(draw: Random, low: int, high: int, bits: int) -> float:
    """`±1.… · 2^e` with `low ≤ e ≤ high` and so many bits, the last of them set."""
    mantissa = (1 << (bits - 1)) + (draw.getrandbits(bits - 2) << 1) + 1
    size = math.ldexp(mantissa, draw.randint(low, high) - bits + 1)
    return -size if draw.getrandbits(1) else size


def sized(low: int, high: int) -> Maker:
    """Numbers of full precision between `2^low` and `2^(high + 1)`."""
    return lambda draw, n, dtype: [one(draw, low, high, digits(dtype)) for _ in range(n)]


ordinary = sized(-3, 1)


def among(*numbers: float) -> Maker:
    return lambda draw, n, dtype: [draw.choice(numbers) for _ in range(n)]


small = among(*(k / 16 for k in range(-48, 49)))  # short in a file
integers = among(-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
ties = among(0.0, -0.0, 1.0, 1.0, -1.0, 2.0, 0.5)


def equal(draw: Random, n: int, dtype: np.dtype[Any]) -> Numbers:
    return [one(draw, -2, 3, digits(dtype))] * n


def near_ties(draw: Random, n: int, dtype: np.dtype[Any]) -> Numbers:
    """One number, give or take three units in its last place."""
    bits = digits(dtype)
    mantissa, exponent = (1 << (bits - 1)) + draw.getrandbits(bits - 2) + 8, draw.randint(-1, 4) - bits + 1
    return [math.ldexp(mantissa + draw.randint(-3, 3), exponent) for _ in range(n)]


def beside(draw: Random, n: int, dtype: np.dtype[Any]) -> Numbers:
    """Within three units in the last place of 10/3, whatever the argument: differences of arguments cancel, too."""
    bits = digits(dtype)
    return [math.ldexp((10 << bits - 2) // 3 + draw.randint(-3, 3), 2 - bits) for _ in range(n)]


def tiny(draw: Random, n: int, dtype: np.dtype[Any]) -> Numbers:
    """Around the smallest normal number, and down to the smallest of all."""
    lowest = -149 if dtype == np.float32 else -1074
    numbers = []
    for _ in range(n):
        exponent = draw.randint(lowest, lowest + digits(dtype) + 3)
        bits = max(2, min(digits(dtype), exponent - lowest + 1))
        numbers.append(one(draw, exponent, exponent, bits) if exponent > lowest else math.ldexp(1, lowest))
    return numbers


def by_dtype(float32: Maker, float64: Maker) -> Maker:
    return lambda draw, n, dtype: (float32 if dtype == np.float32 else float64)(draw, n, dtype)


large = by_dtype(sized(40, 62), sized(400, 509))  # up to about the square root of the largest number
fairly_large = by_dtype(sized(8, 14), sized(60, 124))  # up to about the eighth root: a product of several is a number
mixed = by_dtype(sized(-14, 14), sized(-30, 30))


def unit(k: int) -> Maker:
    """1 in one place, 0 elsewhere."""
    return lambda draw, n, dtype: [float(i == k % n) for i in range(n)]


def one_nan(draw: Random, n: int, dtype: np.dtype[Any]) -> Numbers:
    """Ordinary numbers, none of them 0, and one NaN."""
    numbers = ordinary(draw, n, dtype)
    numbers[draw.randrange(n)] = math.nan
    return numbers


def constant(number: float) -> Maker:
    return lambda draw, n, dtype: [float(dtype.type(number))] * n


zeros = constant(0.0)


def ahead(by: float) -> Maker:
    """Ordinary numbers, one of them ahead of the rest by about `by`; an eighth of that in float32."""

    def make(draw: Random, n: int, dtype: np.dtype[Any]) -> Numbers:
        numbers = ordinary(draw, n, dtype)
        reach = by / 8 if dtype == np.float32 else by
        numbers[draw.randrange(n)] = float(dtype.type(reach + draw.randint(0, 15) / 16))
        return numbers

    return make


def masked(draw: Random, n: int, dtype: np.dtype[Any]) -> Numbers:
    """Ordinary logits, about half of them masked, never all."""
    numbers, kept = ordinary(draw, n, dtype), draw.randrange(n)
    return [x if i == kept or draw.getrandbits(1) else -math.inf for i, x in enumerate(numbers)]


def ending(maker: Maker, last: float) -> Maker:
    """Another maker's numbers, and a chosen one at the end."""
    return lambda draw, n, dtype: [*maker(draw, n - 1, dtype), last]


masked_last = ending(ordinary, -math.inf)


def one_hot(draw: Random, n: int, dtype: np.dtype[Any]) -> Numbers:
    return unit(draw.randrange(n))(draw, n, dtype)


def distribution(draw: Random, n: int, dtype: np.dtype[Any]) -> Numbers:
    """Sixty-fourths that sum to 1."""
    cuts = sorted(draw.randint(0, 64) for _ in range(n - 1))
    return [(b - a) / 64 for a, b in zip([0, *cuts], [*cuts, 64], strict=True)]


def each_row(maker: Maker, shape: tuple[int, ...]) -> Maker:
    """The numbers of an array whose rows, along the last axis, are each drawn by itself."""
    row = shape[-1] if shape else 1
    return lambda draw, n, dtype: [x for _ in range(n // max(row, 1)) for x in maker(draw, row, dtype)]

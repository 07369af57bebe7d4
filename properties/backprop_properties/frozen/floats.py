"""Floats as text that loses nothing: hexadecimal, as C's `%a` writes them and C's `strtod` reads them.

An array is one string, its entries in C order with one space between them; that of an empty one is empty.
"""

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NUMBER = r"(?:-?(?:0x0\.0p\+0|0x[01](?:\.[0-9a-f]{1,13})?p[+-][0-9]{1,4}|inf)|nan)"
_NUMBERS = re.compile(rf"{NUMBER}(?: {NUMBER})*")


def to_hex(number: float) -> str:
    """The exact bits of a float64, shortest form; zeros keep their sign.

    >>> [to_hex(x) for x in (3.0, 0.1, -0.0, math.inf, math.nan, 5e-324)]
    ['0x1.8p+1', '0x1.999999999999ap-4', '-0x0.0p+0', 'inf', 'nan', '0x0.0000000000001p-1022']
    """
    text = float(number).hex()
    if number == 0 or not math.isfinite(number):
        return text
    digits, _, exponent = text.partition("p")
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}"


def to_text(numbers: Any) -> str:
    """An array as text.

    >>> to_text(np.array([[1.0, 0.5], [-np.inf, 0.0]]))
    '0x1p+0 0x1p-1 -inf 0x0.0p+0'
    """
    return " ".join(to_hex(number) for number in np.asarray(numbers, np.float64).ravel().tolist())


def from_text(text: str, dtype: Any, shape: Iterable[int]) -> Array:
    """The array of a text; ValueError where it is no such text, of another length, or beyond the dtype's digits.

    >>> from_text("0x1p+0 0x1p-1", np.float32, (2,))
    array([1. , 0.5], dtype=float32)
    >>> from_text("0x1.999999999999ap-4", np.float32, ())
    Traceback (most recent call last):
    ValueError: 0x1.999999999999ap-4 is no float32
    """
    if not text and 0 in (shape := tuple(shape)):
        return np.empty(shape, dtype)
    if not _NUMBERS.fullmatch(text):
        raise ValueError(f"expected hexadecimal floats such as 0x1.8p+1 separated by single spaces, got {text[:60]!r}")
    tokens, shape = text.split(" "), tuple(shape)
    if len(tokens) != math.prod(shape):
        raise ValueError(f"expected {math.prod(shape)} numbers for the shape {shape}, got {len(tokens)}")
    exact = np.array([float.fromhex(token) for token in tokens])
    with np.errstate(over="ignore", under="ignore"):
        array = exact.astype(dtype)
    kept = (array == exact) | np.isnan(exact)
    if not kept.all():
        raise ValueError(f"{tokens[int(np.argmin(kept))]} is no {np.dtype(dtype)}")
    return array.reshape(shape)


def rounded_up(number: float, bits: int = 6) -> float:
    """A float of few digits that is not below `number`, so that units stay short in a file.

    >>> rounded_up(1.1, 3), rounded_up(0.25), rounded_up(5e-324)
    (1.25, 0.25, 5e-324)
    """
    if number == 0 or not math.isfinite(number):
        return number
    mantissa, exponent = math.frexp(number)
    return math.ldexp(math.ceil(math.ldexp(mantissa, bits)), exponent - bits)


def ordinal(a: Array) -> list[int]:
    """Where floats stand among all floats of their dtype: neighbours differ by 1, both zeros are 0.

    >>> ordinal(np.array([0.0, -0.0, 5e-324, -5e-324]))
    [0, 0, 1, -1]
    """
    bits = a.view(f"u{a.dtype.itemsize}").ravel().tolist()
    sign = 1 << (8 * a.dtype.itemsize - 1)
    return [-(b - sign) if b >= sign else b for b in bits]

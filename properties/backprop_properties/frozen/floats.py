"""Floats as text that loses nothing: decimal, as any JSON parser reads them, and hexadecimal, as C's `strtod` does.

An array is a list of its entries in C order, each the shortest decimal that reads back as the same double, of 17 digits
at most; NaN and the infinities, for which JSON has no numbers, are the words that `float` and JavaScript's `Number`
take. In hexadecimal it is one string with a space between the entries; that of an empty array is empty.
"""

import math
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, Context
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NUMBER = r"(?:-?(?:0x0\.0p\+0|0x[01](?:\.[0-9a-f]{1,13})?p[+-][0-9]{1,4}|inf)|nan)"
_NUMBERS = re.compile(rf"{NUMBER}(?: {NUMBER})*")
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
LARGEST = float(np.finfo(np.float64).max)
_TWO_DIGITS = Context(prec=2, rounding=ROUND_CEILING)


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
    """An array in hexadecimal.

    >>> to_text(np.array([[1.0, 0.5], [-np.inf, 0.0]]))
    '0x1p+0 0x1p-1 -inf 0x0.0p+0'
    """
    return " ".join(to_hex(number) for number in np.asarray(numbers, np.float64).ravel().tolist())


def to_list(numbers: Any) -> list[Any]:
    """An array as JSON has it; integers stay integers.

    >>> to_list(np.array([[1.0, np.nan], [-np.inf, np.float32(0.1)]])), to_list(np.array([True, False]))
    ([1.0, 'NaN', '-Infinity', 0.10000000149011612], [1, 0])
    """
    a = np.asarray(numbers)
    if a.dtype.kind != "f":
        return a.astype(np.int64).ravel().tolist()
    entries = a.astype(np.float64).ravel().tolist()
    return [
        x if math.isfinite(x) else "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity" for x in entries
    ]


def from_list(entries: Any, dtype: Any, shape: Iterable[int]) -> Array:
    """The array of such a list; ValueError where it is none, of another length, or holds what the dtype does not.

    >>> from_list([1.0, "-Infinity"], np.float32, (2,)), from_list([], np.float64, (0, 3)).shape
    (array([  1., -inf], dtype=float32), (0, 3))
    >>> from_list([0.1], np.float32, ())
    Traceback (most recent call last):
    ValueError: 0.1 is no float32
    """
    shape, dtype = tuple(shape), np.dtype(dtype)
    if not isinstance(entries, list) or len(entries) != math.prod(shape):
        count = f"{len(entries)}" if isinstance(entries, list) else f"{entries!r:.40}"
        raise ValueError(f"expected {math.prod(shape)} numbers for the shape {shape}, got {count}")
    for x in entries:
        if type(x) not in (int, float) and not (isinstance(x, str) and x in WORDS):
            raise ValueError(f"expected a number, or one of {', '.join(WORDS)}, got {x!r:.40}")
        if not isinstance(x, str) and not -LARGEST <= x <= LARGEST:
            raise ValueError("a decimal beyond the range of float64")
    exact = np.array([WORDS[x] if isinstance(x, str) else x for x in entries], np.float64)
    return _held(exact, entries, dtype, shape)


def from_text(text: str, dtype: Any, shape: Iterable[int]) -> Array:
    """The array of a text; ValueError where it is no such text, of another length, or beyond the dtype's digits.

    >>> from_text("0x1p+0 0x1p-1", np.float32, (2,))
    array([1. , 0.5], dtype=float32)
    >>> from_text("0x1.999999999999ap-4", np.float32, ())
    Traceback (most recent call last):
    ValueError: 0x1.999999999999ap-4 is no float32
    """
    shape, dtype = tuple(shape), np.dtype(dtype)
    if text == "" and 0 in shape:
        return np.empty(shape, dtype)
    if not isinstance(text, str) or not _NUMBERS.fullmatch(text):
        raise ValueError(f"expected hexadecimal floats such as 0x1.8p+1 separated by single spaces, got {text!r:.60}")
    tokens = text.split(" ")
    if len(tokens) != math.prod(shape):
        raise ValueError(f"expected {math.prod(shape)} numbers for the shape {shape}, got {len(tokens)}")
    try:
        exact = np.array([float.fromhex(token) for token in tokens])
    except OverflowError:
        raise ValueError("a hexadecimal float beyond the range of float64") from None
    return _held(exact, tokens, dtype, shape)


def _held(exact: Array, told: Sequence[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """The numbers in their dtype, which has to hold them to the bit."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        array = exact.astype(dtype)
    kept = (array.astype(np.float64) == exact) | (np.isnan(exact) & (dtype.kind == "f"))
    if not kept.all():
        raise ValueError(f"{told[int(np.argmin(kept))]} is no {dtype}")
    return array.reshape(shape)


def both(entries: Any, text: Any, dtype: Any, shape: Iterable[int]) -> Array:
    """The array of a list, which has to be that of the text beside it, bit for bit.

    >>> both([0.5], "0x1p-2", np.float64, (1,))
    Traceback (most recent call last):
    ValueError: entry 0 is 0.5 in decimal and 0x1p-2 in hexadecimal
    """
    shape = tuple(shape)
    array, other = from_list(entries, dtype, shape), from_text(text, dtype, shape)
    if array.tobytes() != other.tobytes():
        bits, others = (a.astype(np.float64).ravel().view(np.uint64) for a in (array, other))
        k = int(np.argmax(bits != others))
        raise ValueError(f"entry {k} is {entries[k]} in decimal and {text.split(' ')[k]} in hexadecimal")
    return array


def rounded_up(number: float, bits: int = 6) -> float:
    """A float of few digits that is not below `number`, so that units stay short in a file.

    >>> rounded_up(1.1, 3), rounded_up(0.25), rounded_up(5e-324)
    (1.25, 0.25, 5e-324)
    """
    if number == 0 or not math.isfinite(number):
        return number
    mantissa, exponent = math.frexp(number)
    return math.ldexp(math.ceil(math.ldexp(mantissa, bits)), exponent - bits)


def two_digits(number: float) -> float:
    """The next number of two decimal digits from `number` on, but for what another machine may round otherwise.

    >>> two_digits(4.51), two_digits(12.000000000001), two_digits(1.234e17), two_digits(math.inf)
    (4.6, 12.0, 1.3e+17, inf)
    """
    return float(_TWO_DIGITS.create_decimal_from_float(number * (1 - 1e-9))) if math.isfinite(number) else number


def ordinal(a: Array) -> list[int]:
    """Where floats stand among all floats of their dtype: neighbours differ by 1, both zeros are 0.

    >>> ordinal(np.array([0.0, -0.0, 5e-324, -5e-324]))
    [0, 0, 1, -1]
    """
    bits = a.view(f"u{a.dtype.itemsize}").ravel().tolist()
    sign = 1 << (8 * a.dtype.itemsize - 1)
    return [-(b - sign) if b >= sign else b for b in bits]

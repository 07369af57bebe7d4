"""The domain of a check: which numbers and sizes an implementation takes, and what else it promises.

A domain is a mapping. Arguments (`delta` too) take a kind of numbers, letters of the signature take sizes, `"values"`
takes a kind for every argument, and the promises that not every careful implementation makes are asked for by name:

    {"y": "one-hot", "n": "multiple of 8", "values": "finite", "masks": True}
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from backprop_reference import Operation

from .case import Array, Case, directions

PROMISES: Mapping[str, str] = {  # what the reference promises beyond the formulas, and not every careful implementation
    "kinks": "at a kink the derivative is the one that JAX takes",
    "masks": "a logit of -inf counts for nothing, and 0 · log 0 = 0",
    "empty": "sizes may be 0",
    "aliasing": "results share no memory with arguments or with each other",
}
KINDS: Mapping[str, str] = {
    "positive": "above 0, and with a reciprocal in the dtype",
    "non-negative": "0 or above",
    "non-zero": "not 0, and with a reciprocal square in the dtype",
    "one-hot": "one entry 1, the others 0",
    "distribution": "no entry below 0, and a sum of 1",
    "integers": "whole numbers",
    "real": "any number",
}
EVERYWHERE: Mapping[str, str] = {
    "finite": "no NaN is passed in",
    "moderate": "no NaN is passed in, and no number beyond ±30 or closer to 0 than 1e-3, but 0 itself",
}
SIZES: tuple[tuple[str, Callable[[int, int], bool]], ...] = (
    (r"(\d+)", lambda size, k: size == k),
    (r"(?:multiples? of|divisible by|%) *(\d+)", lambda size, k: size % k == 0),
    (r"(?:at least|>=|≥) *(\d+)", lambda size, k: size >= k),
    (r"(?:at most|<=|≤) *(\d+)", lambda size, k: size <= k),
    (r"odd()", lambda size, _: size % 2 == 1),
    (r"even()", lambda size, _: size % 2 == 0),
    (r"power of (2|two)", lambda size, _: size & (size - 1) == 0),
)
LARGEST = 1 << 17


def into_domain(kind: str, a: Array) -> Array:
    """`a` moved into one of `KINDS`: every entry that does not fit becomes one that does."""
    if kind == "positive":  # and with a reciprocal that the dtype has
        return np.maximum(np.abs(a), a.dtype.type(4 / float(ml_dtypes.finfo(a.dtype).max)))
    if kind == "non-negative":
        return np.abs(a)
    if kind == "integers":
        return np.rint(np.clip(a.astype(np.float64), -99, 99)).astype(a.dtype)
    if kind == "non-zero":  # and with a reciprocal square that the dtype has
        least = a.dtype.type(2 * float(ml_dtypes.finfo(a.dtype).max) ** -0.5)
        return np.where(np.abs(a) < least, np.copysign(least, a), a)
    if kind == "one-hot":
        return np.eye(1, a.size, int(np.argmax(a)) if a.size else 0, dtype=a.dtype).reshape(a.shape)
    if kind == "distribution":
        weights = np.exp(-np.abs(a.astype(np.float64)))
        return (weights / max(weights.sum(), 1e-300)).astype(a.dtype)
    return a


def taken(kind: str, a: Array) -> Array:
    """`a` with the numbers replaced that are outside a domain of a row, however close to its border the others are."""
    if kind == "positive":
        a = np.abs(a)
    return np.where(a == 0, a.dtype.type(1), a) if kind in ("positive", "non-zero") else a


@dataclass(frozen=True)
class Domain:
    """A domain that was read: a kind of numbers for each argument, a rule for each letter, and the promises.

    `nan` is whether NaN is passed in, but never for the arguments (`stated`) whose numbers the user has named.
    """

    operation: Operation
    kinds: Mapping[str, str]
    sizes: Mapping[str, Callable[[int], bool]]
    promises: frozenset[str]
    nan: bool
    moderate: bool
    words: tuple[str, ...]
    stated: frozenset[str] = frozenset()

    def nearest(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The sizes, each moved to the next that is promised.

        >>> from backprop_reference import OPERATIONS
        >>> domain_of(OPERATIONS["softmax"], {"n": "multiple of 8"}).nearest({"n": 9})
        {'n': 16}
        """
        found = {}
        for letter, size in sizes.items():
            least = 0 if "empty" in self.promises and self.operation.may_be_empty(letter) else 1
            fits: Callable[[int], bool] = self.sizes.get(letter, lambda _: True)
            up = next((s for s in range(max(size, least), LARGEST) if fits(s)), None)
            found[letter] = next(s for s in range(size, least - 1, -1) if fits(s)) if up is None else up
        return found

    def allows(self, sizes: Mapping[str, int]) -> bool:
        return self.nearest(sizes) == dict(sizes)

    def into(self, name: str, a: Array) -> Array:
        """An argument, or the cotangent, moved into the domain."""
        if self.moderate:
            size = np.clip(np.abs(a.astype(np.float64)), 1e-3, 30)
            a = np.where(a == 0, a, np.copysign(size, a.astype(np.float64))).astype(a.dtype)
        return np.asarray(into_domain(self.kinds.get(name, ""), a), a.dtype)


def domain_of(operation: Operation, domain: Mapping[str, Any] | None) -> Domain:
    """The domain of an operation, or one clear error.

    >>> from backprop_reference import OPERATIONS
    >>> domain_of(OPERATIONS["softmax"], {"m": "multiple of 8"})
    Traceback (most recent call last):
    ValueError: softmax: domain has no 'm'; it may have x, delta, n, values, kinks, masks, empty, aliasing
    """
    if domain is not None and not isinstance(domain, Mapping):
        raise TypeError(f"{operation.name}: domain must be a mapping, as {{'values': 'finite'}}, got {domain!r}")
    given = dict(domain or {})
    arguments = (*operation.arguments, "delta")
    kinds, rules, promises, words = dict(operation.domain), {}, set(), []
    everywhere = given.pop("values", None)
    if everywhere is not None:
        everywhere = _one_of(everywhere, EVERYWHERE, f"{operation.name}: domain['values']")
        words.append(f"values are {everywhere}: {EVERYWHERE[everywhere]}")
    for key, value in given.items():
        where = f"{operation.name}: domain[{key!r}]"
        if key in arguments:
            kind = _one_of("real" if value == "finite" else value, KINDS, where)
            kinds[key] = kind
            words.append(f"{key} is {kind}: {KINDS[kind]}")
        elif key in operation.letters:
            rules[key] = _rule(value, where)
            words.append(f"{key} is {value}")
        elif key in PROMISES and isinstance(value, bool):
            if value:
                promises.add(key)
        elif key in PROMISES:
            raise ValueError(f"{where}: expected True or False, got {value!r}")
        else:
            names = ", ".join([*arguments, *operation.letters, "values", *PROMISES])
            raise ValueError(f"{operation.name}: domain has no {key!r}; it may have {names}")
    words += [_tried(name, name in promises) for name in PROMISES if _matters(name, operation)]
    nan, moderate, stated = everywhere is None, everywhere == "moderate", frozenset(given) & set(arguments)
    found = Domain(operation, kinds, rules, frozenset(promises), nan, moderate, tuple(words), stated)
    for letter in rules:
        try:
            found.nearest({letter: 1})
        except StopIteration:
            raise ValueError(f"{operation.name}: domain[{letter!r}] = {given[letter]!r} leaves no size") from None
    return found


def into_the_domain(domain: Domain, case: Case) -> Case:
    """A case with its arguments and its cotangent moved into a domain."""
    args = tuple(domain.into(name, a) for name, a in zip(domain.operation.arguments, case.args, strict=True))
    return replace(case, args=args, delta=domain.into("delta", case.delta), tangents=directions(args))


def fitting(operation: Operation, domain: Mapping[str, Any]) -> dict[str, Any]:
    """What a domain says of an operation: its arguments, its letters, and what is said of all.

    >>> from backprop_reference import OPERATIONS
    >>> fitting(OPERATIONS["softmax"], {"y": "one-hot", "n": 8, "masks": True})
    {'n': 8, 'masks': True}
    """
    names = {*operation.arguments, "delta", *operation.letters, "values", *PROMISES}
    return {key: value for key, value in domain.items() if key in names}


def _tried(promise: str, tried: bool) -> str:
    if tried:
        return f"tried, too: {promise} ({PROMISES[promise]})"
    return f"not tried: {promise} ({PROMISES[promise]}); ask with domain={{{promise!r}: True}}"


def _matters(promise: str, operation: Operation) -> bool:
    """Whether a promise says anything of an operation."""
    if promise == "kinks":
        return operation.kinked
    if promise == "masks":
        return bool(operation.masks)
    return promise != "empty" or any(map(operation.may_be_empty, operation.letters))


def _one_of(value: object, names: Mapping[str, str], where: str) -> str:
    """The name that is meant, with any hyphens and capitals."""
    plain = {_letters(name): name for name in names}
    if not isinstance(value, str) or _letters(value) not in plain:
        near = difflib.get_close_matches(str(value), names, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"{where}: expected one of {', '.join(names)}, got {value!r}{hint}")
    return plain[_letters(value)]


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _rule(value: object, where: str) -> Callable[[int], bool]:
    for pattern, holds in SIZES:
        match = re.fullmatch(pattern, str(value).strip().lower())
        if match:
            k = int(match[1]) if match[1].isdigit() else 0
            if "multiple" in pattern and k == 0:
                break
            return lambda size: holds(size, k)
    raise ValueError(
        f"{where}: expected a size as 8, 'multiple of 8', 'at least 2', 'at most 1024', 'even', 'odd' or "
        f"'power of two', got {value!r}"
    )

"""The domain of a check: which numbers and sizes an implementation takes, and what else it promises.

A domain is a mapping. Arguments (`delta` too) take a kind of numbers, letters of the signature take sizes, `"values"`
takes a kind for every argument, and the promises that not every careful implementation makes are asked for by name:

    {"y": "one-hot", "n": "multiple of 8", "values": "finite", "masks": True}
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from backprop_oracle.kinds import KINDS, OF_ROWS, one_of
from backprop_oracle.sizes import Rule, nearest, rule_of

from .case import Array, Case, directions, sizes_of

if TYPE_CHECKING:  # JAX takes half a second, and reading a domain needs none of it
    from backprop_oracle.rows import Row

PROMISES: Mapping[str, str] = {  # what the reference promises beyond the formulas, and not every careful implementation
    "kinks": "at a kink the derivative is the one that JAX takes",
    "masks": "a logit of -inf counts for nothing, and 0 · log 0 = 0",
    "empty": "sizes may be 0",
    "aliasing": "results share no memory with arguments, with each other or with those of the next call",
    "infinities": "an infinite argument gives what the definition gives there, if that is a number or an infinity",
    "threads": "a call bears another one in the middle of it, from another thread",
}
SEEN_BY = {  # promises that a law is about which cannot always be tried
    "aliasing": "leaves_its_inputs_alone",
    "threads": "bears_another_thread",
}
EVERYWHERE: Mapping[str, str] = {
    "finite": "no NaN is passed in",
    "moderate": "no NaN is passed in, and no number beyond ±30 or closer to 0 than 1e-3, but 0 itself",
}


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
        if not (a.ndim and a.size):
            return np.ones_like(a)
        return (np.arange(a.shape[-1]) == np.expand_dims(np.argmax(a, -1), -1)).astype(a.dtype)
    if kind == "distribution":
        sizes = np.abs(np.atleast_1d(a).astype(np.float64))
        nearest_to_0 = sizes.min(-1, keepdims=True, initial=np.inf)
        weights = np.exp(nearest_to_0 - sizes)  # the largest of a row is 1, however far off all of them are
        return (weights / np.maximum(weights.sum(-1, keepdims=True), 1.0)).astype(a.dtype).reshape(a.shape)
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

    operation: "Row"
    kinds: Mapping[str, str]
    sizes: Mapping[str, Rule]
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
        empty = "empty" in self.promises
        return nearest(sizes, self.sizes, {n: 0 for n in sizes if empty and self.operation.may_be_empty(n)})

    def allows(self, sizes: Mapping[str, int]) -> bool:
        return self.nearest(sizes) == dict(sizes) and self.operation.has_integers(sizes)

    def into(self, name: str, a: Array, sizes: Mapping[str, int]) -> Array:
        """An argument, or the cotangent, moved into the domain; integers into their range."""
        if name in self.operation.integers:
            row: Any = self.operation  # a Definition
            low, high, others = row.range_of(name, sizes)
            return np.where(np.isin(a, others), a, np.clip(a, low, max(high - 1, low))).astype(a.dtype)
        if self.moderate:
            size = np.clip(np.abs(a.astype(np.float64)), 1e-3, 30)
            a = np.where(a == 0, a, np.copysign(size, a.astype(np.float64))).astype(a.dtype)
        return np.asarray(into_domain(self.kinds.get(name, ""), a), a.dtype)


def domain_of(operation: "Row", domain: Mapping[str, Any] | None, untried: Collection[str] = ()) -> Domain:
    """The domain of an operation, or one clear error; of promises that only `untried` laws see nothing is said.

    >>> from backprop_reference import OPERATIONS
    >>> domain_of(OPERATIONS["softmax"], {"n": "multiple of 8", "masks": True}).words[:2]
    ('n is multiple of 8', 'tried, too: masks (a logit of -inf counts for nothing, and 0 · log 0 = 0)')
    """
    if domain is not None and not isinstance(domain, Mapping):
        raise TypeError(f"{operation.name}: domain must be a mapping, as {{'values': 'finite'}}, got {domain!r}")
    given = dict(domain or {})
    arguments = (*operation.arguments, "delta")
    where = f"{operation.name}: domain[{{!r}}]"
    kinds = {name: one_of(kind, OF_ROWS, where.format(name)) for name, kind in operation.domain.items()}
    rules, promises, words = dict(operation.rules), set(), []
    everywhere = given.pop("values", None)
    if everywhere is not None:
        everywhere = one_of(everywhere, EVERYWHERE, f"{operation.name}: domain['values']")
        words.append(f"values are {everywhere}: {EVERYWHERE[everywhere]}")
    for key, value in given.items():
        where = f"{operation.name}: domain[{key!r}]"
        if key in operation.integers:
            raise ValueError(f"{where}: {key} holds integers; integers= of the Definition says which ones")
        if key in arguments:
            kind = one_of("real" if value == "finite" else value, KINDS, where)
            kinds[key] = kind
            words.append(f"{key} is {kind}: {KINDS[kind]}")
        elif key in operation.letters:
            rules[key] = rule_of(value, operation.letters, where)
            words.append(f"{key} is {value}")
        elif key in PROMISES and isinstance(value, bool):
            if value:
                promises.add(key)
        elif key in PROMISES:
            raise ValueError(f"{where}: expected True or False, got {value!r}")
        else:
            names = ", ".join([*arguments, *operation.letters, "values", *PROMISES])
            raise ValueError(f"{operation.name}: domain has no {key!r}; it may have {names}")
    told = [name for name in PROMISES if matters(name, operation) and SEEN_BY.get(name) not in untried]
    words += [f"tried, too: {name} ({PROMISES[name]})" for name in told if name in promises]
    words += _not_tried([name for name in told if name not in promises])
    nan, moderate = everywhere is None, everywhere == "moderate"
    stated = frozenset(given) & set(arguments) | frozenset(operation.integers)
    found = Domain(operation, kinds, rules, frozenset(promises), nan, moderate, tuple(words), stated)
    try:
        found.nearest(dict.fromkeys(operation.letters, 1))
    except StopIteration:
        of_sizes = {letter: given[letter] for letter in operation.letters if letter in given}
        raise ValueError(f"{operation.name}: domain {of_sizes} leaves no size") from None
    return found


def into_the_domain(domain: Domain, case: Case) -> Case:
    """A case with its arguments and its cotangent moved into a domain."""
    sizes = sizes_of(domain.operation, case) if domain.operation.integers else {}
    args = tuple(domain.into(name, a, sizes) for name, a in zip(domain.operation.arguments, case.args, strict=True))
    return replace(case, args=args, delta=domain.into("delta", case.delta, sizes), tangents=directions(args))


def fitting(own: Sequence[str], domain: Mapping[str, Any]) -> dict[str, Any]:
    """What a domain says of an operation: its `own` arguments and letters, and what is said of all.

    >>> fitting(("x", "n"), {"y": "one-hot", "n": 8, "masks": True})
    {'n': 8, 'masks': True}
    """
    names = {*own, "delta", "values", *PROMISES}
    return {key: value for key, value in domain.items() if key in names}


def _not_tried(promises: Sequence[str]) -> list[str]:
    names, first, more = ", ".join(promises), promises[:1], ", …" * (len(promises) > 1)
    return [f"not tried: {names}; ask with domain={{{name!r}: True}}{more}" for name in first]


def matters(promise: str, operation: "Row") -> bool:
    """Whether a promise says anything of an operation."""
    if promise == "kinks":
        return operation.kinked
    if promise == "masks":
        return bool(operation.masks)
    return promise != "empty" or any(map(operation.may_be_empty, operation.letters))

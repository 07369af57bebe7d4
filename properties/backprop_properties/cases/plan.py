"""The cases of a check, in order: many small ones of every regime and twist, then every size, then long ones; and
those at the numbers that somebody's code singles out.
"""

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from backprop_oracle.definition import Definition
from backprop_oracle.shapes import shape_of

from .case import Case, Sizes
from .corners import Corner, brought_to, corners
from .domains import Domain, into_the_domain
from .regimes import plain_case, regime_case, regimes_of
from .shapes import LONG_TAIL, TAILS, each_size, long_sizes, of_many, tails, turned, unequal_sizes
from .twists import ANYWHERE, twist_of, twisted

SMALL = 12  # the largest size of a small case
ASIDE = 20_240  # a seed for cases beside those of a run
ENTRIES, ENTRIES_OF_MANY = 2**17, 2**15  # that an array has at most, where sizes may be chosen; of three letters on
AT_CORNERS = 2**21  # entries of all cases at the numbers of a code
MOST = 4  # arrays that go through all decades
ALTOGETHER = 2**24  # entries of the arguments of all cases: where sizes are given and large, there are fewer cases
EXTREME = ("huge", "tiny", "saturated", "subnormal", "mixed")


class Planned(NamedTuple):
    """A case that is still to be drawn."""

    part: str  # "small", "tail" or "long"
    sizes: dict[str, int]
    regime: str
    twist: str = ""
    corner: Corner | None = None


def plan(domain: Domain, count: int, constants: Sequence[float] = ()) -> list[Planned]:
    """`count` cases: about half of them small, then tails of each letter, and the long ones last.

    `constants` are the numbers in the code that is tried: up to three quarters as many cases more are at these.

    >>> from backprop_reference import OPERATIONS
    >>> from backprop_properties.cases.domains import domain_of
    >>> planned = plan(domain_of(OPERATIONS["softmax"], None), 200)
    >>> len(planned), planned[0].sizes, max(case.sizes["n"] for case in planned)
    (200, {'n': 2}, 65539)
    """
    letters = domain.operation.letters
    long = [Planned("long", sizes, "plain") for sizes in long_sizes(letters)]
    regimes = ["plain", *["peak"] * bool(domain.operation.masks)]
    larger = [Planned("small", sizes, "plain", "same_bytes") for sizes in turned(letters)]
    if "target" in domain.operation.domain.values():  # each oddity of one in turn
        larger += [Planned("small", dict.fromkeys(letters, 4), "plain", "targets")] * 3
    larger += [Planned("tail", sizes, "plain") for sizes in each_size(letters)]
    larger += [Planned("tail", of_many(letters), "plain", "decades")] * min(len(domain.operation.arguments) + 1, MOST)
    larger += [Planned("tail", sizes, "plain", "positive") for sizes in tails(letters, (LONG_TAIL,))]
    larger += [Planned("tail", sizes, regime) for sizes in tails(letters) for regime in regimes]
    larger, long = larger[: 11 * count // 20], long[: count // 8]
    small = _small(domain, letters, range(count - len(larger) - len(long)))
    singled_out = _affordable(domain, islice(_singled_out(domain, constants), 3 * count // 4))
    found = [case._replace(sizes=_within(domain, case.sizes)) for case in (*small, *singled_out, *larger, *long)]
    found = [case for case in found if case.part != "long" or max(case.sizes.values(), default=0) > max(TAILS)]
    found = [case for case in found if domain.operation.has_integers(case.sizes)]
    entries = np.cumsum([_entries(domain, case.sizes) for case in found])
    return found[: max(int(np.searchsorted(entries, ALTOGETHER)), 4)]


def _affordable(domain: Domain, cases: Iterable[Planned]) -> Iterator[Planned]:
    """The cases that together have no more entries than a large one: some numbers of a code are large sizes."""
    entries = 0
    for case in cases:
        entries += _entries(domain, _within(domain, case.sizes))
        if entries <= AT_CORNERS:
            yield case


def further(domain: Domain, count: int, constants: Sequence[float]) -> Iterator[Planned]:
    """Half as many cases more, for lines of code that no case has run: further corners, then further small ones."""
    corner = islice(_singled_out(domain, constants), 3 * count // 4, count)
    small = _small(domain, domain.operation.letters, range(count // 2, count))
    for case in islice(chain(corner, small), count // 2):
        sizes = _within(domain, case.sizes)
        if domain.operation.has_integers(sizes):
            yield case._replace(sizes=sizes)


def _singled_out(domain: Domain, constants: Sequence[float]) -> Iterator[Planned]:
    """Cases at the numbers in somebody's code."""
    for sizes, corner in corners(domain.operation.letters, constants):
        yield Planned(_part(sizes), sizes, "plain", "", corner)


def _part(sizes: Sizes) -> str:
    largest = max(sizes.values(), default=0)
    return "long" if largest > max(TAILS) else "tail" if largest > SMALL else "small"


def _entries(domain: Domain, sizes: Sizes) -> int:
    """Of the largest argument, or of what is computed on the way."""
    row = domain.operation
    cores = row.intermediates if isinstance(row, Definition) else row.cores[:-1]
    return max((math.prod(shape_of(core, sizes)) for core in cores), default=1)


def _within(domain: Domain, wanted: Sizes) -> dict[str, int]:
    """Sizes in the domain: the largest as it is wanted, the others smaller where an array would be too large."""
    sizes = domain.nearest(wanted)
    largest = max(sizes, key=lambda letter: sizes[letter], default="")
    most = ENTRIES if len(sizes) <= 2 else ENTRIES_OF_MANY
    while sizes and _entries(domain, sizes) > most:
        before = sizes
        sizes = domain.nearest({n: size if n == largest else (size + 1) // 2 for n, size in before.items()})
        if sizes == before:
            sizes = domain.nearest({**sizes, largest: (sizes[largest] + 1) // 2})
        if sizes == before:
            break
    return sizes


def _small(domain: Domain, letters: Sequence[str], turns: range) -> Iterator[Planned]:
    """Every regime in turn; unequal sizes, all ones, all equal, and none where that is asked for."""
    left_out = ("masks", *EXTREME) if domain.moderate else ("masks",)
    usual = [regime for regime in regimes_of(domain.operation) if regime not in left_out]
    regimes = ["plain", *usual, "general"]
    for k in turns:
        twist = twist_of(k)
        unequal = {letter: 2 + (k // 3 + 2 * i) % (3 + len(letters)) for i, letter in enumerate(letters)}
        fewest = 0 if "empty" in domain.promises else 1
        sizes = {
            3: dict.fromkeys(letters, 1),
            7: dict.fromkeys(letters, 3 + k % 2),
            9: unequal | dict.fromkeys(letters[k % max(len(letters), 1) :][:1], fewest),
        }.get(k % 10, unequal)
        if twist in ("same", "identity"):
            sizes = dict.fromkeys(letters, 3 + k // 12 % 2)
        regime = regimes[k % len(regimes)] if twist in ANYWHERE else "plain"
        yield Planned("small", sizes, regime, twist)


def made(domain: Domain, planned: Planned, dtype: np.dtype[Any], seed: int, k: int, *, careful: bool = True) -> Case:
    """The `k`-th case of a run in numbers.

    Frameworks multiply by the cotangent first, and what follows may overflow: if they are to pass (`careful`), it is
    at most the square root of the largest number, and in range with any number of the arguments.
    """
    operation, sizes = domain.operation, planned.sizes
    random = np.random.default_rng([seed, k, zlib.crc32(operation.name.encode())])
    if planned.regime in ("plain", "general", "peak"):
        case = plain_case(operation, sizes, dtype, random, general=planned.regime == "general" or k % 2 == 1)
        if planned.regime == "peak" and not domain.moderate:  # the last logit is so far ahead that exp of it overflows
            case.args[0][-1:] = 1.1 * np.log(float(ml_dtypes.finfo(dtype).max))
    else:
        case = regime_case(operation, planned.regime, dtype, random, sizes)
    case = twisted(operation, case, planned.twist, k)
    if planned.corner:
        *args, delta = (brought_to(planned.corner, a, random) for a in (*case.args, case.delta))
        case = replace(case, args=tuple(args), delta=delta)
    if careful:
        largest, wide = float(ml_dtypes.finfo(dtype).max), [np.abs(a.astype(np.float64)) for a in case.args]
        beside = max(float(a[np.isfinite(a)].max(initial=1.0)) for a in wide)
        most = min(largest**0.5, largest / 4 / beside)
        case = replace(case, delta=np.asarray(np.clip(case.delta.astype(np.float64), -most, most), dtype))
    return into_the_domain(domain, case)


def ordinary_case(domain: Domain, dtype: np.dtype[Any], sizes: Sizes | None = None, k: int = 0) -> Case:
    """Ordinary numbers that a run does not draw, of these sizes, or of small unequal ones."""
    planned = Planned("small", _within(domain, {**unequal_sizes(domain.operation, k), **(sizes or {})}), "general")
    return made(domain, planned, dtype, ASIDE, k)

"""The cases of a check, in order: many small ones of every regime and twist, then every size, then long ones."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from .case import Case, Sizes
from .domains import Domain, into_the_domain
from .regimes import plain_case, regime_case, regimes_of
from .shapes import TAILS, each_size, long_sizes, tails, unequal_sizes
from .twists import IN_TURN, twisted

ASIDE = 20_240  # a seed for cases beside those of a run
EXTREME = ("huge", "tiny", "saturated", "subnormal", "mixed")


class Planned(NamedTuple):
    """A case that is still to be drawn."""

    part: str  # "small", "tail" or "long"
    sizes: dict[str, int]
    regime: str
    twist: str = ""


def plan(domain: Domain, count: int) -> list[Planned]:
    """`count` cases: about half of them small, then tails of each letter, and the long ones last.

    >>> from backprop_reference import OPERATIONS
    >>> from backprop_properties.cases.domains import domain_of
    >>> planned = plan(domain_of(OPERATIONS["softmax"], None), 200)
    >>> len(planned), planned[0].sizes, max(case.sizes["n"] for case in planned)
    (200, {'n': 2}, 65539)
    """
    letters = domain.operation.letters
    long = [Planned("long", sizes, "plain") for sizes in long_sizes(letters)]
    regimes = ["plain", *["peak"] * bool(domain.operation.masks)]
    larger = [Planned("tail", sizes, "plain") for sizes in each_size(letters)]
    larger += [Planned("tail", sizes, regime) for sizes in tails(letters) for regime in regimes]
    larger, long = larger[: count // 2], long[: count // 8]
    small = _small(domain, letters, count - len(larger) - len(long))
    found = [case._replace(sizes=domain.nearest(case.sizes)) for case in (*small, *larger, *long)]
    return [case for case in found if case.part != "long" or max(case.sizes.values()) > max(TAILS)]


def _small(domain: Domain, letters: Sequence[str], count: int) -> Iterator[Planned]:
    """Every regime in turn; unequal sizes, all ones, all equal, and none where that is asked for."""
    left_out = ("masks", *EXTREME) if domain.moderate else ("masks",)
    usual = [regime for regime in regimes_of(domain.operation) if regime not in left_out]
    regimes = ["plain", *usual, "general"]
    for k in range(count):
        unequal = {letter: 2 + (k // 3 + 2 * i) % (3 + len(letters)) for i, letter in enumerate(letters)}
        sizes = {
            3: dict.fromkeys(letters, 1),
            7: dict.fromkeys(letters, 3 + k % 2),
            9: unequal | {letters[k % len(letters)]: 0 if "empty" in domain.promises else 1},
        }.get(k % 10, unequal)
        twist = IN_TURN.get(k % 12, "")
        if twist == "same":
            sizes = dict.fromkeys(letters, 3 + k // 12 % 2)
        yield Planned("small", sizes, "plain" if twist == "scaled" else regimes[k % len(regimes)], twist)


def made(domain: Domain, planned: Planned, dtype: np.dtype[Any], seed: int, k: int, *, careful: bool = True) -> Case:
    """The `k`-th case of a run in numbers.

    Frameworks multiply by the cotangent first, and what follows may overflow: if they are to pass (`careful`), it is
    at most the square root of the largest number.
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
    if careful:
        most = float(ml_dtypes.finfo(dtype).max) ** 0.5
        case = replace(case, delta=np.asarray(np.clip(case.delta.astype(np.float64), -most, most), dtype))
    return into_the_domain(domain, case)


def ordinary_case(domain: Domain, dtype: np.dtype[Any], sizes: Sizes | None = None, k: int = 0) -> Case:
    """Ordinary numbers that a run does not draw, of these sizes, or of small unequal ones."""
    planned = Planned("small", domain.nearest({**unequal_sizes(domain.operation, k), **(sizes or {})}), "general")
    return made(domain, planned, dtype, ASIDE, k)

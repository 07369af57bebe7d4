"""Sizes for the letters of a signature: small and unequal, ones, tails of tiles, empty axes, long vectors.

JAX compiles anew for every shape: `shape_pool` gives a run few shapes for many values, and other seeds others. Where
nothing is compiled, `draw_sizes` draws fresh ones, and `each_size`, `tails` and `long_sizes` list those at which bugs
live: 1, all equal, all unequal, each from 6 to 24, for each letter in turn the sizes of tiles, one more, and 1027,
which has a tail in every tile up to 512, and for all letters together tails in more than one direction.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from backprop_oracle.rows import Row

from .case import Sizes

TILES = (8, 16, 32, 64, 128, 256)
LONG_TAIL = 1027  # has a tail in every tile; where NumPy prints an array, it leaves out the middle of so many
TAILS = (9, 17, 33, 65, 129, 257, LONG_TAIL, 8, 16, 32, 64, 128, 256, 512, 1024, 31, 63, 127)
SINGLE = (100, 255, 1000, 784, 511, 1023, 50, 513, 1025, 500)  # one less than a tile, and round ones
OF_VECTORS = (48, 96, 192, 384, 768, 200, 2000, 2047, 3000)  # where there is one letter, and so room for more
SQUARE = (6, 8, 16, 32, 64)  # of every letter at once: what is transposed has the right shape
THIN = 67  # beside a letter of size 1
CORNERS = (35, 131, 257)  # of every letter: past a tile in two directions, and matrices past 16 bits
FROM, TO = 6, 24  # every size between them
AT_ONCE = 3  # letters
LONG = (4_099, 65_539, 50_257, 8_191)  # of vectors: past 16 bits, vocabularies
LONG_SIDES = (4_099, 50_257)  # of matrices
LONGEST_SIDE = max(LONG)


def shape_pool(operation: Row, seed: int, count: int = 3, empty: bool = True) -> list[Sizes]:
    """`count` assignments of sizes to letters: unequal and small; one at the tail of a tile; then all ones, all equal
    and one empty, in an order that the seed decides; then more of any kind.

    >>> from backprop_reference import OPERATIONS
    >>> shape_pool(OPERATIONS["matvec"], seed=0, count=2)
    [{'d': 4, 'n': 3}, {'d': 4, 'n': 7}]
    """
    draw = random.Random(f"{operation.name} {seed}")
    letters = operation.letters

    def small() -> dict[str, int]:
        return dict(zip(letters, draw.sample(range(2, 3 + max(len(letters), 3)), len(letters)), strict=True))

    def tail() -> dict[str, int]:
        return small() | {draw.choice(letters): draw.choice(TILES) + draw.choice((-1, 0, 1))}

    def none() -> dict[str, int]:
        able = [letter for letter in letters if operation.may_be_empty(letter)]
        return small() | ({draw.choice(able): 0} if able and empty else {})

    def equal() -> dict[str, int]:
        return dict.fromkeys(letters, draw.randint(2, 5))

    kinds = [small, tail, *draw.sample([lambda: dict.fromkeys(letters, 1), none, equal], 3)]
    return [(kinds[i] if i < len(kinds) else draw.choice((small, tail, equal)))() for i in range(count)]


def draw_sizes(operation: Row, draw: np.random.Generator) -> dict[str, int]:
    """Sizes for the letters: small ones mostly, now and then the tail of a tile, all ones, or an empty axis."""
    letters = operation.letters
    most = {1: 16, 2: 8, 3: 5}.get(len(letters), 4)
    sizes = {letter: int(draw.integers(1, most + 1)) for letter in letters}
    able = [letter for letter in letters if operation.may_be_empty(letter)]
    match draw.integers(16):
        case 0 | 1:
            sizes[str(draw.choice(letters))] = int(draw.choice(TILES) + draw.integers(-1, 2))
        case 2:
            sizes = dict.fromkeys(letters, 1)
        case 3 if able:
            sizes[str(draw.choice(able))] = 0
    return sizes


def unequal_sizes(operation: Row, k: int) -> dict[str, int]:
    """From 3 to 7, another for each letter, and others for another `k`."""
    return {letter: 3 + (2 * i + k) % 5 for i, letter in enumerate(operation.letters)}


def each_size(letters: Sequence[str]) -> Iterator[dict[str, int]]:
    """All letters of one size; every letter from 6 to 24, all at once, or three at a time; then all past a tile."""
    if len(letters) > 1:
        yield from (dict.fromkeys(letters, size) for size in SQUARE)
    for k, (one, other) in enumerate(combinations(letters, 2) if len(letters) > 2 else ()):  # with room for tables
        yield dict.fromkeys(letters, 2) | dict.fromkeys((one, other), SQUARE[-1 - k % 3])
    for k in range(TO - FROM + 1):
        sizes = {letter: FROM + (k + 5 * i) % (TO - FROM + 1) for i, letter in enumerate(letters)}
        small = {letter for i, letter in enumerate(letters) if (i + k) % len(letters) >= AT_ONCE}
        yield {letter: 2 + size % 2 if letter in small else size for letter, size in sizes.items()}
    if len(letters) > 1:
        yield from ({letter: size + 2 * i for i, letter in enumerate(letters)} for size in CORNERS)
        yield from ({other: THIN + 2 * i for i, other in enumerate(letters)} | {letter: 1} for letter in letters)


def tails(letters: Sequence[str], sizes: Sequence[int] = (*TAILS, *SINGLE)) -> Iterator[dict[str, int]]:
    """Each letter at the sizes of tiles and beside them, the others small; the letters take turns."""
    for k, size in enumerate((*sizes, *(OF_VECTORS if len(letters) == 1 and len(sizes) > 1 else ()))):
        for i in range(len(letters)):
            yield {other: 2 + (j + k) % 3 for j, other in enumerate(letters)} | {letters[i]: size}


def turned(letters: Sequence[str]) -> Iterator[dict[str, int]]:
    """Two sizes of two letters, and the same two turned around: of as many entries, in another shape."""
    for i, one in enumerate(letters[:2][: len(letters) - 1]):
        others = dict.fromkeys(letters, 2) | {letters[i + 1]: 6}
        yield from ({**others, one: 2}, {**others, letters[i + 1]: 2, one: 6})


def of_many(letters: Sequence[str]) -> dict[str, int]:
    """Sizes with some thousand entries."""
    return {letter: {1: LONG_TAIL, 2: 41}.get(len(letters), 17) + 2 * i for i, letter in enumerate(letters)}


def long_sizes(letters: Sequence[str]) -> Iterator[dict[str, int]]:
    """Long vectors, or matrices that are long in one direction."""
    if len(letters) == 1:
        yield from ({letters[0]: size} for size in LONG)
        return
    for k, size in enumerate(LONG_SIDES):
        yield from (dict.fromkeys(letters, 2 - k % 2) | {letter: size} for letter in letters)

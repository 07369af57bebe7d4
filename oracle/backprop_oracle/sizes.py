"""What may be said of a size: `8`, `(1, 5)`, "multiple of 8", "at most n", "odd" …, and the sizes that keep to it."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from .shapes import letters_of, size_of

LARGEST = 1 << 17
Sizes = Mapping[str, int]


class Rule(NamedTuple):
    """Whether a size fits, of which letters that depends, and the largest size that is worth a look."""

    fits: Callable[[int, Sizes], bool]
    tied: tuple[str, ...] = ()
    most: Callable[[Sizes], int] = lambda _: LARGEST


_WORDS = (  # a pattern, when a size fits the number in it, and whether that number is the largest
    (r"()(\d+)", lambda size, k: size == k, True),
    (r"(multiples? of|divisible by|%) *(.+)", lambda size, k: k > 0 and size % k == 0, False),
    (r"(at least|>=|≥) *(.+)", lambda size, k: size >= k, False),
    (r"(at most|<=|≤) *(.+)", lambda size, k: size <= k, True),
)
_PLAIN: Mapping[str, Callable[[int], bool]] = {
    "odd": lambda size: size % 2 == 1,
    "even": lambda size: size % 2 == 0,
    "power of two": lambda size: size > 0 and size & (size - 1) == 0,
    "power of 2": lambda size: size > 0 and size & (size - 1) == 0,
}


def rule_of(value: object, letters: tuple[str, ...], where: str) -> Rule:
    """What a rule says, or one clear line that begins with `where`.

    >>> rule_of("at most n", ("k", "n"), "sizes").fits(3, {"n": 2})
    False
    """
    text = str(value).strip()
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(end, int) for end in value):
        low, high = value
        return Rule(lambda size, _: low <= size <= high, most=lambda _: high)
    if text.lower() in _PLAIN:
        plain = _PLAIN[text.lower()]
        return Rule(lambda size, _: plain(size))
    for pattern, fits, is_most in _WORDS:
        match = re.fullmatch(pattern, text, re.IGNORECASE)
        if match and set(tied := letters_of(((match[2],),))) <= set(letters):
            try:
                least = size_of(match[2], dict.fromkeys(tied, 1))
            except (SyntaxError, TypeError, NameError):
                break
            if "multiple" in pattern and least < 1:
                break
            return _worded(match[2], fits, tied, is_most)
    raise ValueError(
        f"{where}: expected a size as 8, (1, 5), 'multiple of 8', 'at least 2', 'at most n', 'even', 'odd' or "
        f"'power of two', got {value!r}"
    )


def _worded(text: str, fits: Callable[[int, int], bool], tied: tuple[str, ...], is_most: bool) -> Rule:
    def number(sizes: Sizes) -> int:
        return int(size_of(text, sizes))

    return Rule(lambda size, sizes: fits(size, number(sizes)), tied, number if is_most else lambda _: LARGEST)


def nearest(sizes: Sizes, rules: Mapping[str, Rule], least: Mapping[str, int]) -> dict[str, int]:
    """The sizes, each moved to the next that keeps to its rule: upwards, or down where there is none. `StopIteration`
    where there is none at all.

    >>> nearest({"k": 9, "n": 4}, {"k": rule_of("at most n", ("k", "n"), "")}, {})
    {'k': 4, 'n': 4}
    """
    found = dict(sizes)
    for letter in in_order(rules, tuple(sizes)):
        rule, low = rules.get(letter), least.get(letter, 1)
        size = found[letter] = max(found[letter], low)
        if rule is None or rule.fits(size, found):
            continue
        up = next((s for s in range(size, min(rule.most(found), LARGEST) + 1) if rule.fits(s, found)), None)
        found[letter] = next(s for s in range(size, low - 1, -1) if rule.fits(s, found)) if up is None else up
    return found


def in_order(rules: Mapping[str, Rule], letters: tuple[str, ...]) -> list[str]:
    """The letters, each after those that its rule is tied to; a circle is broken where it closes."""
    found: list[str] = []

    def add(letter: str, above: tuple[str, ...] = ()) -> None:
        for other in rules[letter].tied if letter in rules else ():
            if other in letters and other not in above:
                add(other, (*above, letter))
        if letter not in found:
            found.append(letter)

    for letter in letters:
        add(letter)
    return found

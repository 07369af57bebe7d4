"""Shapes in letters: `(b,n)`, `(3,4*h)`; from letters to numbers, and back."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

Core = tuple[str, ...]  # of one array: letters, numbers, or arithmetic of them
Shape = tuple[int, ...]

_ARITHMETIC: Mapping[str, Any] = {"floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "max": max, "min": min}
_NAMES = dict(_ARITHMETIC)  # which eval adds Python's own to


def cores_of(text: str) -> tuple[Core, ...]:
    """The shapes that a text lists, or ValueError with what was probably meant.

    >>> cores_of("(b,n), (4h, 3), ()")
    (('b', 'n'), ('4*h', '3'), ())
    >>> cores_of("(b n)")
    Traceback (most recent call last):
    ValueError: expected shapes such as '(b,n),(n)', got '(b n)'; did you mean '(b,n)'?
    """
    if not isinstance(text, str):
        raise TypeError(f"expected shapes such as '(b,n),(n)', got {text!r}")
    sizes, arrow, _ = text.replace("→", "->").partition("->")
    plain = re.sub(r"\s*([^\w\s])\s*", r"\1", sizes).strip()  # what is left stands between two letters or numbers
    found = re.findall(r"\(([^()]*)\)", plain)
    after = " The output's shape comes from the function"
    if arrow or not found or re.search(r"\s", plain) or ",".join(f"({core})" for core in found) != plain:
        raise ValueError(f"expected shapes such as '(b,n),(n)', got {text!r}{_meant(sizes, after if arrow else '')}")
    return tuple(tuple(_spelled_out(size, text) for size in core.split(",") if size) for core in found)


def _meant(sizes: str, after: str) -> str:
    """The shapes that a text probably means, with commas where it has spaces, and what else there is to say."""
    groups = [
        re.split(r"\s+x\s+|[\s,;×]+", group.strip(" ,;")) for group in re.findall(r"[^()\[\]]*\w[^()\[\]]*", sizes)
    ]
    meant = ",".join(f"({','.join(group)})" for group in groups)
    return f"; did you mean {meant!r}?{after}" if re.fullmatch(r"[\w(),+\-*/]+", meant) else ""


def _spelled_out(size: str, text: str) -> str:
    """`4h` as `4*h`; sizes may be added, subtracted, multiplied and divided to whole numbers."""
    size = re.sub(r"(?<![\w])(\d+)(?=[A-Za-z_])", r"\1*", size)
    if not re.fullmatch(r"[A-Za-z_]\w*|\d+|[\w+\-*/]*[A-Za-z_]\w*[\w+\-*/]*", size):
        each = "; give each axis a letter of its own" * size.startswith("..")
        raise ValueError(
            f"expected a letter (of a to z), a number, or arithmetic of them as a size, got {size!r} in {text!r}{each}"
        )
    if re.search(r"(?<!/)/(?!/)", size):
        raise ValueError(
            f"expected a whole number as a size, got {size!r} in {text!r}; write {size.replace('/', '//')}"
        )
    return size


def letters_of(cores: Sequence[Core]) -> tuple[str, ...]:
    """The letters of some shapes, in alphabetical order.

    >>> letters_of((("b", "4*h"), ("3",)))
    ('b', 'h')
    """
    names = {name for core in cores for size in core for name in re.findall(r"[A-Za-z_]\w*", size)}
    return tuple(sorted(names - set(_ARITHMETIC)))


def size_of(size: str, sizes: Mapping[str, Any]) -> Any:
    """A size in numbers, or in whatever the letters stand for.

    >>> size_of("4*h", {"h": 2}), size_of("n", {"n": 5})
    (8, 5)
    """
    return sizes[size] if size in sizes else eval(_compiled(size), _NAMES, dict(sizes))


@cache
def _compiled(size: str) -> Any:
    return compile(size, "<size>", "eval")


def shape_of(core: Core, sizes: Mapping[str, Any]) -> tuple[Any, ...]:
    """One shape in numbers.

    >>> shape_of(("b", "4*h"), {"b": 3, "h": 2})
    (3, 8)
    """
    return tuple(size_of(size, sizes) for size in core)


def sizes_of(cores: Sequence[Core], shapes: Sequence[Shape]) -> dict[str, int]:
    """The sizes of the letters in some shapes, as far as they can be told; whether all fit is asked of `shape_of`.

    >>> sizes_of((("b", "n"), ("4*h",)), [(2, 3), (8,)])
    {'b': 2, 'n': 3, 'h': 2}
    """
    pairs = [pair for core, shape in zip(cores, shapes, strict=False) for pair in zip(core, shape, strict=False)]
    found: dict[str, int] = {}
    for size, n in pairs:
        if size.isidentifier():
            found.setdefault(size, n)
    for size, n in pairs:
        if not size.isidentifier() and (multiple := re.fullmatch(r"(\d+)\*(\w+)", size)):  # no other is undone
            found.setdefault(multiple[2], n // int(multiple[1]))
    return found


def told_by(cores: Sequence[Core]) -> set[str]:
    """The letters whose sizes some shapes tell.

    >>> sorted(told_by((("b", "2*k"), ("n-k",))))
    ['b', 'k']
    """
    return set(sizes_of(cores, [tuple(1 for _ in core) for core in cores]))

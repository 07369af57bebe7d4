"""The page of a matrix: a table of operations and implementations, and the cause of each cell that is not right."""

from collections import Counter
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from ..checking.matrix import MISSING, WORDS, Cell, Matrix
from ..checking.verdict import NOT_JUDGED, RIGHT
from .elements import noted, table, tag
from .page import page

SIGNS = {RIGHT: "✓", MISSING: "–", NOT_JUDGED: "?"}  # ✗ of all others


def matrix_page(matrix: Matrix, notes: Sequence[str] = (), spelled: Callable[[str], str] = str) -> str:
    """The page of a matrix, in which each cell tells its cause to who points at it, and to who has it read. `spelled`
    changes the words of advice.

    >>> "0 right" in matrix_page(Matrix((), (), {}))
    True
    """
    names = [one.name for one in matrix.implementations]
    rows = [[op, *(_cell(matrix.cells[op, name], spelled) for name in names)] for op in matrix.operations]
    counts = Counter(cell.word for cell in matrix.cells.values())
    told = ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word]) or "0 right"
    causes = [tag("li", spelled(line)) for line in matrix.causes]
    return page(
        f"backprop matrix: {told}",
        table(["operation", *names], rows, "Operations, and what is said of each implementation"),
        tag("ul", [tag("li", _word(word), f": {WORDS[word][1]}") for word in WORDS if counts[word]]),
        tag("h2", "Implementations"),
        tag("ul", [tag("li", tag("strong", one.name), f": {one.source}") for one in matrix.implementations]),
        tag("h2", "Causes") if causes else None,
        tag("ul", causes) if causes else None,
        [noted(note) for note in notes],
    )


def _cell(cell: Cell, spelled: Callable[[str], str]) -> Element:
    cause = spelled(cell.cause)
    aside = tag("span", f": {cause}", class_="aside") if cause else None
    return tag("span", _word(cell.word), aside, title=cause)


def _word(word: str) -> Element:
    kind = "good" if word == RIGHT else "faint" if word in SIGNS else "bad"
    return tag("span", f"{SIGNS.get(word, '✗')} {word}", class_=kind)

"""What a student is told, as much as the assignment discloses: as Markdown, as HTML, and as plain lines."""

import html
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .assignment import DISCLOSURES, Assignment, Exercise
from .points import (
    MEANINGS,
    MISSING,
    NOT_WRITTEN,
    Fault,
    Outcome,
    Said,
    earned,
    points,
    shown_of,
)
from .run import Grade

VERDICT, CAUSE, COUNTEREXAMPLE, EVERYTHING = range(len(DISCLOSURES))


class Heading(NamedTuple):
    level: int
    text: str


class Text(NamedTuple):
    text: str


class Items(NamedTuple):
    items: Sequence[str]


class Table(NamedTuple):
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class Code(NamedTuple):
    text: str


Block = Heading | Text | Items | Table | Code


def page(assignment: Assignment, grade: Grade) -> list[Block]:
    """All that one submission's author is told."""
    got = {e.name: earned(e, grade.outcomes[e.name]) for e in assignment.exercises}
    summary = f"{shown_of(sum(got.values()), assignment.points)} points"
    rows = [(e.name, shown_of(got[e.name], e.points), grade.outcomes[e.name].word) for e in assignment.exercises]
    blocks: list[Block] = [Heading(1, f"{assignment.title}: {grade.name}"), Text(summary)]
    blocks += [Table(("exercise", "points", "verdict"), rows)]
    if grade.told:
        blocks += [Heading(2, "What did not run"), Items(grade.told)]
    for exercise in assignment.exercises:
        outcome = grade.outcomes[exercise.name]
        blocks += [Heading(2, f"{exercise.name}: {shown_of(got[exercise.name], exercise.points)} points")]
        shares = [(name, shown_of(*pair)) for name, pair in points(exercise, outcome).items()]
        blocks += [Table(("what counts", "points"), shares), *_told(exercise, outcome)]
    return blocks


def lines(exercise: Exercise, outcome: Outcome) -> str:
    """What is told of an exercise, as plain text."""
    shares = [f"{name}: {shown_of(*pair)} points" for name, pair in points(exercise, outcome).items()]
    return "\n".join([*shares, *(text for block in _told(exercise, outcome) for text in _plain(block))])


def _told(exercise: Exercise, outcome: Outcome) -> Iterator[Block]:
    """A line on each function; then of each fault what the exercise discloses."""
    level = DISCLOSURES.index(exercise.disclosure)
    functions = [(kind, name, outcome.functions.get(kind, Said(MISSING))) for kind, name in exercise.functions.items()]
    yield Items([f"{name}: {_sentence(kind, said, level)}" for kind, name, said in functions])
    for fault in outcome.faults if level > VERDICT else ():
        if outcome.functions.get(fault.kind, Said(MISSING)).word not in (MISSING, NOT_WRITTEN):
            yield from _fault(fault, exercise.functions.get(fault.kind, fault.kind), level)


def _sentence(kind: str, said: Said, level: int) -> str:
    usual = f"{said.word}: {MEANINGS[said.word]}".removesuffix(": ")
    if level == VERDICT:
        return usual
    if said.wrong:
        missing = f", {' and '.join(said.not_given)} not given" if said.not_given else ""
        rest = "" if said.others == said.word else f", the rest {said.others}"
        return f"{said.word}: {' and '.join(said.wrong)} not right{missing}{rest}"
    if said.not_given:
        return f"{said.word}: {' and '.join(said.not_given)} not given"
    if not said.ran:
        return f"{said.word}: {re.sub(rf'^{kind} ', '', said.formula)}" if said.formula else usual
    parts = {"formula": said.formula, "range": said.range, "digits": said.digits, "manners": said.manners}
    wrong = [f"{part}: {text}" for part, text in parts.items() if text not in ("right", "wrong", "not judged")]
    return f"{usual} ({'; '.join(wrong)})" if wrong else usual


def _fault(fault: Fault, name: str, level: int) -> Iterator[Block]:
    shown = {COUNTEREXAMPLE: fault.shown, EVERYTHING: fault.whole or fault.shown}.get(level, "")
    if fault.hint or shown:
        yield Text(f"{name}: {fault.hint or 'a case that shows it'}")
    if shown:
        yield Code(shown)


# ── Three forms ─────────────────────────────────────────────────────────────────────────────────────────────────────


def as_markdown(blocks: Sequence[Block]) -> str:
    """A page in Markdown.

    >>> print(as_markdown([Heading(1, "a_b"), Code("x = 1")]), end="")
    # a\\_b
    <BLANKLINE>
        x = 1
    """
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_escaped(text)}"
        case Text(text):
            return _escaped(text)
        case Items(items):
            return "\n".join(f"- {_escaped(item)}" for item in items)
        case Table(head, rows):
            every = [head, ["---"] * len(head), *([_escaped(cell) for cell in row] for row in rows)]
            return "\n".join(f"| {' | '.join(row)} |" for row in every)
        case Code(text):
            return "\n".join(f"    {line}" for line in text.splitlines())


def _escaped(text: str) -> str:
    """A text in which nothing is a mark of Markdown's, or a tag of HTML's."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!$])", r"\\\1", " ".join(text.split()))


STYLE = """body { font: 16px/1.5 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse } td, th { border: 1px solid #bbb; padding: .2em .6em; text-align: left }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto }"""


def as_html(blocks: Sequence[Block]) -> str:
    """A page in HTML, which needs nothing else."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    head = f'<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n<style>\n{STYLE}\n</style>'
    body = "\n".join(map(_html, blocks))
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Text(text):
            return f"<p>{html.escape(text)}</p>"
        case Items(items):
            return "\n".join(["<ul>", *(f"<li>{html.escape(item)}</li>" for item in items), "</ul>"])
        case Table(head, rows):
            return "\n".join(["<table>", _row("th", head), *(_row("td", row) for row in rows), "</table>"])
        case Code(text):
            return f"<pre>{html.escape(text)}</pre>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _plain(block: Block) -> list[str]:
    match block:
        case Items(items):
            return list(items)
        case Table(_, rows):
            return [" ".join(row) for row in rows]
        case Heading(_, text) | Text(text) | Code(text):
            return text.splitlines()

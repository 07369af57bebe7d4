"""The page of a check: the verdicts, and each cause with its graph, its Jacobians, its smallest input, and code."""

from collections.abc import Callable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from ..checking.report import Report
from ..checking.verdict import RIGHT, Verdict
from ..laws.failure import Failure, shown_whole
from ..pictures.numbers import digits, places_apart
from ..pictures.records import Picture
from .elements import noted, table, tag
from .graph import drawing
from .heatmap import heatmaps
from .page import LARGEST, page

LONGEST = 4000  # characters of code to paste
Named = Sequence[tuple[str, Report]]  # reports, each with its file
Spelled = Callable[[str], str]  # how arguments of `check` are written


def report_page(reports: Named, notes: Sequence[str] = (), spelled: Spelled = str) -> str:
    """The page of some reports, each with where its functions are from; of `check(…, pictures=True)` with pictures.

    What does not fit into its size is left out, and it says so. `spelled` changes the words of advice.

    >>> "all 0 right" in report_page([])
    True
    """
    whole = _page(reports, notes, len(reports), spelled)
    drawn = len(reports)
    while len(whole.encode()) > LARGEST and drawn:  # the last ones lose their causes
        drawn //= 2
        whole = _page(reports, notes, drawn, spelled)
    return whole


def _page(reports: Named, notes: Sequence[str], drawn: int, spelled: Spelled) -> str:
    wrong = [(file, report) for file, report in reports if report.failures or not report.passed]
    count = sum(not report.passed for _, report in reports)
    title = f"{count} of {len(reports)} not right" if count else f"all {len(reports)} right"
    left = len(wrong) - drawn
    return page(
        f"backprop check: {title}",
        _overview(reports),
        [noted(note) for note in notes],
        [_of(file, report, spelled) for file, report in wrong[:drawn]],
        tag("p", f"Left out, so that this page stays small: what is wrong with {left} more.") if left > 0 else None,
    )


def _overview(reports: Named) -> Element:
    """A line on each function."""
    lines = []
    for file, report in reports:
        verdicts = report.verdicts.items() or [("", Verdict())]
        for kind, verdict in verdicts if report.passed or (report.verdicts and not report.holds) else [("", None)]:
            word = verdict.word if verdict else report.word
            right = word == RIGHT
            mark = tag("strong", f"{'✓' if right else '✗'} {word}", class_="good" if right else "bad")
            said = f": {verdict}" if verdict and str(verdict) != word else ""
            lines.append(tag("li", tag("strong", f"{report.operation} {kind}"), " ", mark, said, _in(file)))
    return tag("section", tag("h2", "Verdicts"), tag("ul", lines))


def _in(file: str) -> Element:
    return tag("span", f" ({file})", class_="faint")


def _of(file: str, report: Report, spelled: Spelled) -> Element:
    causes = [
        _cause(k, group, _of_cause(group[0], report), report.operation, spelled)
        for k, group in enumerate(report.groups(), start=1)
    ]
    tried = f"{sum(c.cases for c in report.checks):,} checks on {sum(c.entries for c in report.checks):,} numbers"
    notes = [*report.notes, *(p.note for p in report.pictures if p.note)]
    return tag(
        "section",
        tag("h2", f"{report.operation}: {report.verdict}"),
        causes,
        tag("p", f"Tried: {tried} ({report.level}, {', '.join(report.dtypes)}, seed {report.seed}), in {file}."),
        [tag("p", spelled(note), class_="faint") for note in notes],
    )


def _of_cause(failure: Failure, report: Report) -> Picture | None:
    """The picture of a failure, if there is one."""
    kept = failure.law, failure.dtype, failure.function
    return next((p for p in report.pictures if (p.law, p.dtype, p.function) == kept), None)


def _cause(k: int, group: Sequence[Failure], picture: Picture | None, operation: str, spelled: Spelled) -> Element:
    first, *more = group
    laws = list(dict.fromkeys(f.law.replace("_", " ") for f in more))
    where = ", ".join(filter(None, (first.function, first.part, first.dtype)))
    return tag(
        "article",
        tag("h3", f"{k}. {_headline(first)}"),
        tag("p", where, class_="faint"),
        tag("p", f"{first.message}.") if _headline(first) != first.message else None,
        tag("p", first.where) if first.where else None,
        tag("p", f"If that is what you promise: {spelled(first.accepts)}") if first.accepts else None,
        _input(first),
        [heatmaps(matrix) for matrix in picture.matrices] if picture else None,
        drawing(picture.graph, f"Computation graph of {operation}") if picture and picture.graph else None,
        tag("details", tag("summary", "Python that shows it"), _code(first)),
        tag("p", f"Seen by {len(laws)} more: {', '.join(laws)}.", class_="faint") if laws else None,
        class_="cause",
    )


def _headline(failure: Failure) -> str:
    """The hint; without one the wrong number and the right one, in as many digits as tell them apart."""
    if failure.hint or failure.actual is None or failure.expected is None:
        return failure.hint or failure.message
    places = places_apart([(failure.actual, failure.expected)])
    entry = f"{failure.what}{list(failure.index) if failure.index else ''}"
    return f"{entry} is {digits(failure.actual, places)}, expected {digits(failure.expected, places)}"


def _input(failure: Failure) -> Any:
    """The smallest input, and the results there."""
    if not failure.inputs:
        return None
    rows: list[list[Any]] = [[name, shown_whole(a)] for name, a in failure.inputs.items()]
    if failure.whole:
        yours, expected = (shown_whole(np.asarray(a)) for a in failure.whole)
        rows += [[f"{failure.what.split(',')[0]}, yours", tag("span", f"✗ {yours}", class_="bad")]]
        rows += [["expected", expected]]
    elif failure.actual is not None and failure.expected is not None:
        rows += [["yours", tag("span", f"✗ {failure.actual!r}", class_="bad")], ["expected", repr(failure.expected)]]
    return table(["", "numbers"], rows, "The smallest input that shows it")


def _code(failure: Failure) -> Element:
    code = failure.reproduction
    if len(code) > LONGEST:
        return tag("p", f"Left out: the code has {len(code):,} characters; backprop check --full prints it.")
    return tag("pre", code, tabindex="0")

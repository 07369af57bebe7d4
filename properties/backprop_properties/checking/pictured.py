"""The pictures of what a check found: of each cause the definition's graph and the Jacobians, at the smallest case."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from backprop_oracle.certified import jacobian as certified_jacobian
from backprop_oracle.derived import program_of
from backprop_oracle.floats import values
from backprop_oracle.rows import definition

from ..cases.case import Array, Case
from ..hints.probe import Probe
from ..laws.failure import Failure
from ..laws.trial import Trial
from ..pictures.edges import explaining
from ..pictures.graphs import graph_of
from ..pictures.numbers import digits, numbers, places_apart, shape_text
from ..pictures.records import Edge, Graph, Matrix, Picture
from .guard import Ended, said
from .report import Report

SECONDS = 4.0  # for a picture, beside the calls of somebody's function
MOST_ROWS, MOST_COLUMNS = 16, 16  # of a Jacobian
CERTIFIED = 300  # entries whose digits are proven
DRAWN = 6  # causes


def pictured(trial: Trial, report: Report) -> tuple[Picture, ...]:
    """A picture of each cause that is about numbers, as far as there is something to draw."""
    found: list[Picture] = []
    try:
        for first, *_ in report.groups()[:DRAWN]:
            if first.case is not None and first.part != "manners" and not first.call:
                found.append(_picture(trial, first, first.case))
    except Ended as ended:  # nobody is there to be asked any more
        found.append(Picture("", "", "", note=f"no more pictures: {said(ended)}"))
    return tuple(found)


def _picture(trial: Trial, failure: Failure, case: Case) -> Picture:
    kept = failure.law, failure.dtype, failure.function
    try:
        graph = _graph(trial, failure, case)
        matrices = tuple(_matrices(trial, failure, case)) if failure.function != "forward" else ()
        return Picture(*kept, graph, matrices)
    except Exception as error:  # a report without a picture is a report
        return Picture(*kept, note=f"no picture: {said(error)}")


def _graph(trial: Trial, failure: Failure, case: Case) -> Graph:
    """The graph, with the results that are wrong, and the edges that explain them."""
    factors: dict[int, float] = {}
    yours = dict[str, str]()
    if failure.argument and failure.whole:
        own, right = map(np.asarray, failure.whole)
        yours[failure.argument] = numbers(
            own, places_apart(zip(own.ravel().tolist(), right.ravel().tolist(), strict=True))
        )
    elif failure.argument and failure.actual is not None:
        at = f"entry {list(failure.index)}: " if failure.index else ""
        places = places_apart([(failure.actual, failure.actual if failure.expected is None else failure.expected)])
        yours[failure.argument] = f"{at}{digits(failure.actual, places)}"
    if failure.function != "forward":
        p = Probe(trial.domain, trial.implementation, failure.function, case.dtype, time.perf_counter() + SECONDS)
        factors = explaining(p)
    graph = _narrowed(graph_of(trial.row, case.delta, case.args, yours, factors), failure.hint)
    return graph._replace(says=_says(failure, graph))


def _narrowed(graph: Graph, hint: str) -> Graph:
    """The graph with fewer marks, where the hint quotes a part of the definition: those beside that part."""
    longest = max((node.part for node in graph.nodes if node.part and node.part in hint), key=len, default="")
    steps = {k for k, node in enumerate(graph.nodes) if longest and node.part == longest}
    if not any(edge.factor is not None and {edge.source, edge.target} & steps for edge in graph.edges):
        return graph
    edges = (edge if {edge.source, edge.target} & steps else edge._replace(factor=None) for edge in graph.edges)
    return graph._replace(edges=tuple(edges))


def _varies(edge: Edge) -> bool:
    return edge.factor is not None and bool(np.isnan(edge.factor))


def _says(failure: Failure, graph: Graph) -> str:
    """A sentence on what is marked."""
    marked = [edge for edge in graph.edges if edge.factor is not None]
    if not marked:
        what = "the value" if failure.argument == "u" else f"what comes back to {failure.argument}"
        return f"Marked: {what} is wrong." if graph.nodes and failure.argument else ""
    first, *others = sorted(marked, key=lambda edge: -edge.target)
    told = {0.0: "is lost", -1.0: "has the wrong sign"}
    times = f"is {digits(first.factor)} times what it should be"
    does = told.get(
        first.factor or 0.0, "has a wrong factor, another at each size or input" if _varies(first) else times
    )
    where = f"On the edge from {graph.nodes[first.target].name} back to {graph.nodes[first.source].name}"
    more = f"; {len(others)} more marked edge{'s' * (len(others) > 1)} would do the same" if others else ""
    return f"{where} the cotangent {does}: with that your numbers come out, at several sizes{more}."


# ── Jacobians ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _matrices(trial: Trial, failure: Failure, case: Case) -> Iterator[Matrix]:
    """The Jacobian by the argument that is wrong, or by the first; of a large one what is around the wrong entry."""
    row = trial.row
    real = [i for i, name in enumerate(row.arguments) if name not in row.integers]
    wrong = [i for i in real if row.arguments[i] == failure.argument] or real[:1]
    for i in wrong:
        size, name = case.args[i].size, row.arguments[i]
        rows, columns = _around(failure, case, i)
        if not rows or not columns:
            continue
        J, found = _expected(trial, case, i, rows, columns), _actual(trial, failure.function, case, i, rows, columns)
        left = len(rows) < case.delta.size or len(columns) < size
        yield Matrix(
            name,
            shape_text((*case.delta.shape, *case.args[i].shape)),
            _entries("u", case.delta.shape, rows),
            _entries(name, case.args[i].shape, columns),
            tuple(map(tuple, J.tolist())),
            None if found is None or found.shape != J.shape else tuple(map(tuple, found.tolist())),
            f"{len(rows)} rows and {len(columns)} columns of {case.delta.size}×{size} are shown" * left,
        )


def _around(failure: Failure, case: Case, i: int) -> tuple[range, range]:
    """The rows and columns around the wrong entry; of a vjp its own row, or that of the largest cotangent."""
    outputs, shape = case.delta.shape, case.args[i].shape
    index = failure.index or ()
    row = int(np.abs(case.delta.astype(np.float64)).argmax()) if case.delta.size else 0
    if failure.function == "jacobian" and len(index) == len(outputs) + len(shape):
        row, index = _flat(index[: len(outputs)], outputs), index[len(outputs) :]
    elif index and outputs == shape and case.delta[index]:
        row = _flat(index, shape)
    column = _flat(index, shape) if len(index) == len(shape) else 0
    return _window(row, case.delta.size, MOST_ROWS), _window(column, case.args[i].size, MOST_COLUMNS)


def _flat(index: Sequence[int], shape: Sequence[int]) -> int:
    return int(np.ravel_multi_index(tuple(index), tuple(shape), mode="clip")) if index else 0


def _window(at: int, size: int, most: int) -> range:
    start = max(0, min(at - most // 2, size - most))
    return range(start, min(start + most, size))


def _entries(name: str, shape: Sequence[int], window: range) -> tuple[str, ...]:
    if not shape:
        return (name,)
    return tuple(f"{name}[{', '.join(map(str, np.unravel_index(k, shape)))}]" for k in window)


def _units(case: Case, rows: range) -> Iterator[Array]:
    for k in rows:
        unit = np.zeros(case.delta.size, case.delta.dtype)
        unit[k] = 1
        yield unit.reshape(case.delta.shape)


def _expected(trial: Trial, case: Case, i: int, rows: range, columns: range) -> Array:
    """Some entries of the right Jacobian by one argument: proven where they are few."""
    row, wide = trial.row, [a if a.dtype.kind in "iub" else a.astype(np.float64) for a in case.args]
    size = case.args[i].size
    if len(rows) * size <= CERTIFIED:
        try:
            entries = [j * size + k for j in rows for k in columns]
            found = certified_jacobian(row, *wide, at={i: entries})[i]
            return np.asarray(found.nearest(), np.float64).reshape(len(rows), len(columns))
        except (ArithmeticError, ValueError, TypeError, NotImplementedError):
            pass  # infinities, masks, and what balls leave open
    results = []
    for unit in _units(case, rows):
        delta = np.asarray(unit, np.float64)
        program = program_of(definition(row), row.traced, "vjp", (delta, *wide))
        with np.errstate(all="ignore"):
            results.append(_cut(values(program, [delta, *wide])[1][i], columns))
    return np.stack(results)


def _actual(trial: Trial, kind: str, case: Case, i: int, rows: range, columns: range) -> Array | None:
    """The same of somebody's Jacobian; of a vjp what it returns for cotangents of 0 and one 1."""
    functions = trial.implementation
    with np.errstate(all="ignore"), suppress(Exception):  # what it raises is told elsewhere
        if kind == "jacobian" and functions.jacobian:
            J = functions.jacobian(*(a.copy() for a in case.args))[i]
            flat = None if J is None else np.reshape(_dense(J), (case.delta.size, -1))
            return None if flat is None else np.stack([_cut(flat[j], columns) for j in rows])
        if kind == "vjp" and functions.vjp:
            each = [functions.vjp(unit, *(a.copy() for a in case.args))[i] for unit in _units(case, rows)]
            return None if each[0] is None else np.stack([_cut(d, columns) for d in each])
    return None


def _cut(row: Any, columns: range) -> Array:
    return np.ravel(row)[columns.start : columns.stop].astype(np.float64)


def _dense(J: Any) -> Array:
    return np.asarray(J.todense() if hasattr(J, "todense") else J, np.float64)

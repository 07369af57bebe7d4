"""The command `backprop show`."""

import inspect
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from ..verification.names import completed, unknown
from .console import console, fail
from .files import check_writable

if TYPE_CHECKING:
    import numpy as np

    from backprop_oracle.definition import Definition

    from ..pictures.derived import Derived, Term

WIDTH = 80
MOST = 48  # numbers of an array that are printed


def show(
    operation: Annotated[
        str | None,
        Argument(
            help="A name of `backprop list`, as softmax or activation[tanh].",
            autocompletion=completed,
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, Option("--all", help="The whole lecture, in the slides' order.")] = False,
    html_file: Annotated[
        Path | None, Option("--html", help="Write a page instead, with graphs and heat maps.", metavar="FILE")
    ] = None,
) -> None:
    """An operation's formula and shapes, and the slide's derivation.

    Every intermediate has its name, every factor its shape and its numbers at a point; then come the products, the
    closed form, and the cotangent on its way back. Of an operation of the catalogue: its definition. Exit code 0:
    shown; 2: there is no such operation, or the page could not be written.

    \b
    backprop show softmax
    backprop show softmax --html softmax.html
    backprop show --all --html lecture.html
    """
    from ..pictures.derived import derived, lecture, row_named

    if (operation is None) != every:
        raise fail("expected a name, as in `backprop show softmax`, or --all")
    try:
        check_writable([html_file])
    except OSError as error:
        raise fail(error) from None
    row = row_named(operation) if operation is not None else None
    if operation is not None and row is None:
        return _show_definition(operation, html_file)
    rows = [row] if row else [r for name in lecture() if (r := row_named(name))]
    found = list(map(derived, rows))
    if html_file is None:
        for one in found:
            _print_derived(one, operation or one.row.name)
        return
    from ..pages.lecture import lecture_page, operation_page

    _write(html_file, lecture_page(found) if every else operation_page(found[0]))


def _write(file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise fail(f"{file} could not be written: {error.strerror}") from None


# ── An operation of the lecture, in text ────────────────────────────────────────────────────────────────────────────


def _print_derived(found: "Derived", name: str) -> None:
    from ..pictures.derived import documented

    row = found.row
    heading = f"{name}: {row.name}" if name != row.name else name
    console.print(f"[bold]{escaped(heading)}[/]({', '.join(row.arguments)})", soft_wrap=True)
    _say(f"{row.signature}, slide {row.slide}")
    _say(documented(row.forward))
    _say("\nAt a point where nothing saturates or vanishes:")
    for argument, a in found.args.items():
        _print_array(f"{argument}", "", a)
    for step in found.steps:
        _print_array(f"{step.name} = {step.formula}", "", step.value)
    for argument, ways in found.ways.items():
        whole = found.jacobians[list(found.args).index(argument)]
        paths = [" ".join(factor.symbol for factor in way.factors) for way in ways]
        _say(f"\n{whole.symbol} = {' + '.join(paths)}" if paths != [whole.symbol] else "")
        for way in ways:
            for factor in way.factors:
                _print_term(factor.symbol, factor)
            if len(way.factors) > 1:
                _print_term("= product", way.product)
        if len(ways) > 1:
            _print_term("= sum", whole)
    if not found.ways:
        _say("\na basic operation: the slide states its Jacobians")
    _say("\nIn closed form: " + documented(row.jacobian))
    for J in found.jacobians if not found.ways else ():
        _print_term(J.symbol, J)
    _say("\nThe cotangent walks back: " + documented(row.vjp))
    _print_array("delta", "", found.delta)
    for edge in found.graph.edges:
        start, end = found.graph.nodes[edge.source].name, found.graph.nodes[edge.target].name
        _say(f"  {end} → {start}: {edge.cotangent.replace('−', '-')}", indent=4)
    for argument, d in found.cotangents.items():
        _print_array(f"d{argument}", "", d)
    for line in found.corrections:
        _say(f"\nThe slide, corrected: {line}")
    console.print()


def escaped(words: str) -> str:
    from rich.markup import escape

    return escape(words)


def _say(words: str, indent: int = 0) -> None:
    """Text in lines of 80 columns, paragraph by paragraph."""
    for line in words.split("\n"):
        for part in textwrap.wrap(line, WIDTH, subsequent_indent=" " * indent) or [""]:
            console.print(part, markup=False, soft_wrap=True)


def _print_term(symbol: str, term: "Term") -> None:
    _print_array(symbol, term.shape, term.value)


def _print_array(symbol: str, shape: str, a: "np.ndarray[Any, Any]") -> None:
    """An array to the right of what it is, or below if that is long."""
    import numpy as np

    left = f"  {symbol:<10} {shape:<9} " if shape else f"  {symbol} = "
    options: dict[str, Any] = {"precision": 4, "suppress_small": True, "threshold": MOST, "edgeitems": 2}
    text = np.array2string(np.asarray(a), max_line_width=WIDTH - len(left), **options)
    text = text.replace("\n\n", "\n").replace("\n", "\n" + " " * len(left))
    console.print(left + text, markup=False, soft_wrap=True)


# ── An operation of the catalogue ───────────────────────────────────────────────────────────────────────────────────


def _show_definition(operation: str, html_file: Path | None) -> None:
    """The convention of an operation of the catalogue, its shapes, and its forward."""
    from backprop_oracle import catalogue
    from backprop_reference import OPERATIONS

    row = catalogue.CATALOGUE.get(operation)
    if row is None:
        raise fail(unknown(operation, [*OPERATIONS, *catalogue.CATALOGUE]))
    maker = getattr(catalogue, operation)
    source = inspect.cleandoc("\n" + inspect.getsource(row.f))
    called = f"in Python: backprop_oracle.catalogue.{operation}{inspect.signature(maker)}"
    if html_file is not None:
        return _write(html_file, _page_of(row, f"{inspect.getdoc(maker)}\n\n{called}", source))
    console.print(f"[bold]{operation}[/]({', '.join(row.arguments)})  {row.signature}", highlight=False)
    console.print(f"{inspect.getdoc(maker)}\n", markup=False, highlight=False)
    console.print(source, markup=False, highlight=False, soft_wrap=True)
    console.print(f"\n{called}", markup=False)


def _page_of(row: "Definition", about: str, source: str) -> str:
    from ..pages.lecture import definition_page
    from ..pictures.graphs import graph_of

    delta, *args = row.some_point()
    return definition_page(row.name, about, source, graph_of(row, delta, args))

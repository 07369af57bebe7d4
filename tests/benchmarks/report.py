"""What was measured, as a table, as Markdown, as JSON."""

import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import introspect
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from threadpoolctl import threadpool_info

from .cells import COPY, NETWORK, PRODUCT, flops, moved_bytes
from .contenders import PEERS, REFERENCE
from .limits import Limits, limits
from .turns import Measured

SERIES = ("batch", "width", "depth")
NAMES = (REFERENCE.name, *(peer.name for peer in PEERS))


# ── Numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def ratio(m: Measured) -> float | None:
    """The reference's time over the fastest peer's; None without both.

    >>> from .cells import Cell
    >>> cell = Cell("softmax_vjp", (10,), 4096)
    >>> ratio(Measured(cell, {"reference": [3.0, 1.0, 2.0], "JAX": [4.0], "PyTorch": [8.0]}))
    0.5
    """
    peers = [seconds for name, seconds in m.seconds.items() if name != REFERENCE.name]
    ours = m.seconds.get(REFERENCE.name)
    return ours / min(peers) if ours and peers else None


def fraction(m: Measured, limit: Limits | None) -> float | None:
    """How near the reference is to the machine's limit."""
    ours = m.seconds.get(REFERENCE.name)
    return limit.seconds(m.cell) / ours if limit and ours else None


def duration(seconds: float | None) -> str:
    """Three digits.

    >>> duration(1.234e-5), duration(0.0123), duration(0.999e-3), duration(2.5), duration(None)
    ('12.3 µs', '12.3 ms', '999 µs', '2.50 s', '–')
    """
    if seconds is None:
        return "–"
    for unit, size in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        value = seconds / size
        if value < 999.5 or unit == "s":
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    raise AssertionError


def size(count: float | None) -> str:
    """Bytes.

    >>> size(134_217_728), size(8_200_000), size(40_000), size(None)
    ('134 MB', '8.2 MB', '<0.1 MB', '–')
    """
    if count is None:
        return "–"
    return "<0.1 MB" if count < 1e5 else f"{count / 1e6:.{1 if count < 9.95e6 else 0}f} MB"


# ── Rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def names(measured: Sequence[Measured]) -> list[str]:
    """The contenders that were measured, the reference first."""
    return [name for name in NAMES if any(name in m.rounds or name in m.problems for m in measured)]


def _time(m: Measured, name: str) -> str:
    return "failed" if name in m.problems else duration(m.seconds.get(name))


def speed_rows(measured: Sequence[Measured]) -> tuple[list[str], list[list[str]]]:
    """Head and lines: a line for each cell, with the ratio to the fastest peer and the fraction of the limit."""
    columns, limit = names(measured), limits(measured)
    lines = []
    for m in measured:
        if m.cell.kind not in (PRODUCT, COPY) and not m.cell.growth:
            r, f = ratio(m), fraction(m, limit)
            times = [_time(m, name) for name in columns]
            shown = ["–" if r is None else f"{r:.2f}", "–" if f is None else f"{f:.0%}"]
            lines.append([m.cell.kind, m.cell.size, m.cell.dtype, *times, *shown])
    return ["operation", "size", "dtype", *columns, "ratio", "of limit"], lines


def growth_rows(measured: Sequence[Measured]) -> tuple[list[str], list[list[str]]]:
    """Head and lines: time and peak memory, along each series."""
    columns = names(measured)
    lines = []
    for m in measured:
        if m.cell.growth:
            cells = [f"{_time(m, name)} {size(m.memory.get(name))}" if name in m.rounds else "–" for name in columns]
            kind = m.cell.growth if m.cell.kind == NETWORK else m.cell.kind
            lines.append([kind, m.cell.size, *cells])
    return ["growth with", "size", *columns], lines


def notes(measured: Sequence[Measured], remarks: Sequence[str]) -> Iterator[str]:
    """The limits, the verdict, and whatever went wrong."""
    limit = limits(measured)
    if limit:
        flops = " / ".join(f"{limit.flop_rate[dtype] / 1e9:.0f}" for dtype in ("float64", "float32"))
        copies = ", ".join(
            f"{rate / 1e9:.0f} GB/s at {moved / 1e6:.3g} MB" for moved, rate in sorted(limit.byte_rate.items())
        )
        yield f"the machine's limits: matrix products {flops} GFLOP/s (float64 / float32); copies {copies}"
    ratios = [r for m in measured if not m.cell.growth and m.cell.kind != PRODUCT and (r := ratio(m)) is not None]
    if ratios:
        ahead = sum(r <= 1 for r in ratios)
        yield f"the reference is at or ahead of the fastest peer in {ahead} of {len(ratios)} cells"
    for m in measured:
        for name, problem in m.problems.items():
            yield f"{name}, {m.cell.title}: {problem}"
    yield from remarks


# ── On the terminal ─────────────────────────────────────────────────────────────────────────────────────────────────


def print_report(console: Console, measured: Sequence[Measured], remarks: Sequence[str]) -> None:
    for head, lines in (speed_rows(measured), growth_rows(measured)):
        if lines:
            table = Table(box=None, pad_edge=False, header_style="bold")
            table.add_column(f"{head[0]}\n  {head[1]}", no_wrap=True)
            for column in head[2:]:
                table.add_column(column, justify="right", no_wrap=True)
            for i, (kind, *line) in enumerate(lines):
                if i == 0 or kind != lines[i - 1][0]:
                    table.add_row(escape(kind), style="bold")
                table.add_row(f"  {line[0]}", *map(_coloured, line[1:]))
            console.print(table)
            console.print()
    for note in notes(measured, remarks):
        console.print(note, highlight=False, markup=False)


def _coloured(text: str) -> Text:
    slow = re.fullmatch(r"\d+\.\d\d", text) and float(text) > 1
    return Text(text, style="red" if slow or text == "failed" else "")


# ── As Markdown ─────────────────────────────────────────────────────────────────────────────────────────────────────


def markdown(measured: Sequence[Measured], remarks: Sequence[str]) -> str:
    """Both tables, the machine, and how to repeat it."""
    parts = []
    for head, lines in (speed_rows(measured), growth_rows(measured)):
        if lines:
            left = 3 if "dtype" in head else 2
            rule = "|" + "---|" * left + "--:|" * (len(head) - left)
            body = [[kind if kind in SERIES else f"`{kind}`", *line] for kind, *line in lines]
            parts.append("\n".join([_line(head), rule, *map(_line, body)]))
    *hardware, day = ("processor", "cores", "memory", "date")
    about = machine()
    versions = ", ".join(f"{name} {value}" for name, value in about.items() if name not in (*hardware, day))
    here = f"measured on {about[day]}: {', '.join(about[key] for key in hardware)}; {versions}"
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in (*notes(measured, remarks), here))])


def _line(cells: Sequence[str]) -> str:
    return " | ".join(["", *cells, ""]).strip()


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    exp = introspect.opt_func_info(func_name="^exp$", signature="float64").get("exp", {})
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index]  # NumPy's stub says None
    kernels = next((library["architecture"] for library in threadpool_info() if "architecture" in library), None)
    return {
        "processor": model[1] if model else platform.processor(),
        "cores": f"{os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB",
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "NumPy's exp by": next(iter(exp.values()), {}).get("current", "libm"),  # it is fast with X86_V4, AVX-512
        "BLAS": f"{blas['name']} {blas.get('version', '')}" + f" with kernels for {kernels}" * bool(kernels),
        **{peer.name: peer.version for peer in PEERS if peer.installed},
        "date": date.today().isoformat(),
    }


def forced(environ: Mapping[str, str]) -> Iterator[str]:
    """Kernels of BLAS that are not its own choice."""
    if kernels := environ.get("OPENBLAS_CORETYPE"):
        yield f"OPENBLAS_CORETYPE={kernels} is set: without it, NumPy's matrix products may be faster"


# ── As JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def to_dict(measured: Sequence[Measured]) -> dict[str, Any]:
    """Everything: for each cell its model, the median of every round, the peak memory, and the problems."""
    limit = limits(measured)
    return {
        "schema": "backprop-benchmarks-1",
        "machine": machine(),
        "limits": {"flops_per_second": limit.flop_rate, "bytes_per_second": limit.byte_rate} if limit else None,
        "cells": [
            {
                "title": m.cell.title,
                "kind": m.cell.kind,
                "sizes": m.cell.sizes,
                "batch": m.cell.batch,
                "dtype": m.cell.dtype,
                "growth": m.cell.growth or None,
                "flops": flops(m.cell),
                "bytes": moved_bytes(m.cell),
                "limit_seconds": limit.seconds(m.cell) if limit else None,
                "seconds": m.seconds,
                "rounds": m.rounds,
                "peak_bytes": m.memory,
                "ratio": ratio(m),
                "problems": m.problems,
            }
            for m in measured
        ],
    }

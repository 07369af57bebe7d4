"""Sets in other formats, for those who would rather not read JSON: NumPy's npz, and CSV.

npz: one archive an operation; the arrays of case 17 are `17/x` for each input, `17/cotangent`, and `17/u`, `17/dx`,
`17/J_x` with `17/u.condition` and `17/u.tolerance`. CSV: one file an operation, one line an entry, floats in
hexadecimal; an empty array is a line without a number.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS

from .diff import quantities
from .files import VECTORS, VectorError, file_name
from .floats import Array, to_hex
from .vectors import Vector, load_vectors

COLUMNS = ("tcId", "dtype", "flags", "quantity", "shape", "index", "number", "condition", "tolerance")


def export(folder: Path, form: str, source: Path = VECTORS) -> int:
    """Writes every case of a set into an empty folder; returns how many."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VectorError(f"{folder} is not an empty folder")
    if form not in FORMS:
        raise VectorError(f"the format {form!r} is none of {', '.join(FORMS)}")
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    for operation in OPERATIONS:
        cases = load_vectors(operation, source)
        FORMS[form](folder / f"{Path(file_name(operation)).stem}.{form}", cases)
        total += len(cases)
    return total


def _npz(path: Path, cases: list[Vector]) -> None:
    arrays: dict[str, Any] = {}
    for case in cases:
        own = {**case.inputs, "cotangent": case.cotangent, "flags": np.array(case.flags)}
        for what, quantity in quantities(case).items():
            own[what], own[f"{what}.condition"] = quantity.expected, quantity.condition
            own[f"{what}.tolerance"] = np.array(quantity.tolerance)
        arrays |= {f"{case.tcId}/{name}": array for name, array in own.items()}
    np.savez_compressed(path, **arrays)


def _csv(path: Path, cases: list[Vector]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for case in cases:
            writer.writerows(_rows(case))


def _rows(case: Vector) -> Iterator[tuple[object, ...]]:
    head = (case.tcId, case.dtype.name, " ".join(case.flags))
    for name, array in [*case.inputs.items(), ("cotangent", case.cotangent)]:
        yield from ((*head, name, *entry, "", "") for entry in _entries(array))
    for what, quantity in quantities(case).items():
        sizes, tolerance = [size for *_, size in _entries(quantity.condition)], f"{quantity.tolerance:g}"
        entries = zip(_entries(quantity.expected), sizes, strict=True)
        yield from ((*head, what, *entry, size, tolerance) for entry, size in entries)


def _entries(a: Array) -> Iterator[tuple[str, str, str]]:
    """Shape, index and number of each entry; of an empty array its shape alone."""
    shape = " ".join(map(str, a.shape))
    if not a.size:
        yield shape, "", ""
    for index, number in zip(np.ndindex(a.shape), a.ravel().tolist(), strict=True):
        yield shape, " ".join(map(str, index)), to_hex(number)


FORMS: Mapping[str, Callable[[Path, list[Vector]], None]] = {"npz": _npz, "csv": _csv}

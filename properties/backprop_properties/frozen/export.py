"""Sets elsewhere: the JSON files as they are, and for those who would rather not read JSON, NumPy's npz, and CSV.

npz: one archive an operation; the arrays of case 17 are `17/x` for each input, `17/cotangent`, and `17/u`, `17/dx`,
`17/J_x` with `17/u.condition`, `17/u.tolerance` and `17/u.standard`. CSV: one file an operation, one line an entry,
floats in hexadecimal; an empty array is a line without a number.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .diff import quantities
from .files import MANIFEST, SCHEMA, VECTORS, VectorError, made_whole, read_bytes, read_manifest, read_operation
from .floats import Array, to_hex
from .vectors import Vector, vectors_in

COLUMNS = ("tcId", "dtype", "flags", "quantity", "shape", "index", "number", "condition", "tolerance", "standard")


def export(folder: Path, form: str, source: Path = VECTORS) -> int:
    """Writes every case of a set into an empty folder, or nothing; returns how many."""
    if form not in FORMS:
        raise VectorError(f"the format {form!r} is none of {', '.join(FORMS)}")
    manifest, total = read_manifest(source), 0
    with made_whole(folder) as new:
        for operation, name in manifest["operations"].items():
            cases = vectors_in(read_operation(source, manifest, operation), operation)
            FORMS[form](new / f"{Path(name).stem}.{form}", cases, source)
            total += len(cases)
        for name in (SCHEMA, MANIFEST) if form == "json" else ():
            (new / name).write_bytes(read_bytes(source / name))
    return total


def _json(path: Path, cases: list[Vector], source: Path) -> None:
    path.write_bytes(read_bytes(source / path.name))


def _npz(path: Path, cases: list[Vector], source: Path) -> None:
    arrays: dict[str, Any] = {}
    for case in cases:
        own = {**case.inputs, "cotangent": case.cotangent, "flags": np.array(case.flags)}
        for what, quantity in quantities(case).items():
            own[what], own[f"{what}.condition"] = quantity.expected, quantity.condition
            own[f"{what}.tolerance"], own[f"{what}.standard"] = np.array(quantity.tolerance), quantity.standard
        arrays |= {f"{case.tcId}/{name}": array for name, array in own.items()}
    np.savez_compressed(path, **arrays)


def _csv(path: Path, cases: list[Vector], source: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for case in cases:
            writer.writerows(_rows(case))


def _rows(case: Vector) -> Iterator[tuple[object, ...]]:
    head = (case.tcId, case.dtype.name, " ".join(case.flags))
    for name, array in [*case.inputs.items(), ("cotangent", case.cotangent)]:
        yield from ((*head, name, *entry, "", "", "") for entry in _entries(array))
    for what, quantity in quantities(case).items():
        units, tolerance = quantity.standard.ravel().tolist() or [""], f"{quantity.tolerance:g}"
        entries = zip(_entries(quantity.expected), _entries(quantity.condition), units, strict=True)
        yield from ((*head, what, *entry, size, tolerance, unit) for entry, (_, _, size), unit in entries)


def _entries(a: Array) -> Iterator[tuple[str, str, str]]:
    """Shape, index and number of each entry; of an empty array its shape alone."""
    shape = " ".join(map(str, a.shape))
    if not a.size:
        yield shape, "", ""
    for index, number in zip(np.ndindex(a.shape), a.ravel().tolist(), strict=True):
        yield shape, " ".join(map(str, index)), to_hex(number)


FORMS: Mapping[str, Callable[[Path, list[Vector], Path], None]] = {"json": _json, "npz": _npz, "csv": _csv}

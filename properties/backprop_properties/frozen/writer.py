"""Writing a set: chosen cases, their truth from the certified oracle alone, and the same bytes for the same seed.

The reference's functions are never called. What is drawn comes from integers and powers of two, what is computed from
ball arithmetic that rounds correctly, so that another machine writes the same files.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS, Operation

from ..accuracy import ulp
from ..inputs import Case
from ..truth import HALF, Question, questions
from .cases import Chosen, chosen_cases
from .files import FORMAT, MANIFEST, MOST_BYTES, SCHEMA, VECTORS, Document, VectorError, file_name, read_bytes, sha256
from .floats import rounded_up, to_text
from .notes import NOTES

WORK = 300_000  # what a case may cost to certify
MOST_ENTRIES = 48  # of the dense Jacobians of a case
NAME = "backprop-reference"


def write_set(
    folder: Path,
    *,
    version: int,
    seed: int = 0,
    operations: Iterable[str] | None = None,
    on_file: Callable[[str, int], None] = lambda name, tests: None,
) -> int:
    """Writes a new set into a folder that is empty or not there yet; returns the number of cases."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VectorError(f"{folder} is not an empty folder: vectors are written nowhere else")
    folder.mkdir(parents=True, exist_ok=True)
    files, total = {SCHEMA: read_bytes(VECTORS / SCHEMA)}, 0
    (folder / SCHEMA).write_bytes(files[SCHEMA])
    for name in operations or OPERATIONS:
        document = document_of(OPERATIONS[name], version, seed)
        files[file_name(name)] = as_bytes(document)
        (folder / file_name(name)).write_bytes(files[file_name(name)])
        total += document["numberOfTests"]
        on_file(name, document["numberOfTests"])
    (folder / MANIFEST).write_bytes(as_bytes(manifest_of(files, total, version, seed)))  # last: no set without it
    return total


def manifest_of(files: dict[str, bytes], total: int, version: int, seed: int) -> Document:
    sums = {name: sha256(data) for name, data in files.items()}
    return {"files": sums, "numberOfTests": total, "schema": FORMAT, "seed": seed, "version": version}


def as_bytes(document: Document) -> bytes:
    """The one layout: sorted keys, one item a line, a newline at the end."""
    data = (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
    if len(data) > MOST_BYTES:
        raise VectorError(f"{len(data):,} bytes are more than a reader takes ({MOST_BYTES:,})")
    return data


def document_of(operation: Operation, version: int, seed: int) -> Document:
    """An operation's file, before it is text."""
    groups: dict[tuple[str, ...], list[Chosen]] = {}
    for case in chosen_cases(operation, seed):
        groups.setdefault((case.dtype.name, *map(str, case.sizes.items())), []).append(case)
    identities = count(1)
    written = [
        {
            "dtype": cases[0].dtype.name,
            "sizes": dict(cases[0].sizes),
            "tests": [_test(operation, case, next(identities)) for case in cases],
        }
        for cases in groups.values()
    ]
    used = {flag for cases in groups.values() for case in cases for flag in case.flags}
    return {
        "schema": FORMAT,
        "operation": operation.name,
        "signature": operation.signature,
        "arguments": list(operation.arguments),
        "source": {"name": NAME, "seed": seed, "version": version},
        "numberOfTests": sum(map(len, groups.values())),
        "notes": {
            flag: {"catches": list(note.catches), "description": note.description}
            for flag, note in NOTES.items()
            if flag in used
        },
        "testGroups": written,
    }


def _test(operation: Operation, chosen: Chosen, identity: int) -> Document:
    case = Case(operation.name, chosen.args, chosen.delta, ())
    value = [_quantity(q, case.dtype) for q in _asked(operation, case, "value")]
    jacobians = _asked(operation, case, "jacobian") if _small(case) else ()
    parts = {
        "value": value[0] if value else None,
        "gradients": _by_argument(operation, _asked(operation, case, "vjp"), case.dtype),
        "jacobians": _by_argument(operation, jacobians, case.dtype),
    }
    if not any(parts.values()):
        raise VectorError(f"{operation.name}: nothing can be asked of {chosen.comment!r}")
    return {
        "tcId": identity,
        "comment": chosen.comment,
        "flags": sorted(chosen.flags),
        "inputs": dict(zip(operation.arguments, map(to_text, chosen.args), strict=True)),
        "cotangent": to_text(chosen.delta),
        **{name: part for name, part in parts.items() if part},
    }


def _asked(operation: Operation, case: Case, kind: str) -> tuple[Question, ...]:
    return questions(operation, case, kind, work=WORK)


def _small(case: Case) -> bool:
    return case.delta.size * sum(a.size for a in case.args) <= MOST_ENTRIES


def _by_argument(operation: Operation, asked: Sequence[Question], dtype: np.dtype[Any]) -> Document:
    pairs = zip(operation.arguments, (_quantity(q, dtype) for q in asked), strict=bool(asked))
    return {name: quantity for name, quantity in pairs if quantity}


def _quantity(question: Question, dtype: np.dtype[Any]) -> Document | None:
    """The rounded truth with its units; None where some entry can't be asked for, since its terms overflow."""
    sizes = np.broadcast_to(np.asarray(question.scale, np.float64), question.truth.shape)
    if np.isnan(sizes).any():
        return None
    expected = question.truth.nearest(dtype, accept_ties=True)
    with np.errstate(under="ignore"):
        units = np.maximum(float(np.finfo(dtype).eps) * sizes, ulp(expected, dtype))
    rounded = [rounded_up(unit) for unit in units.ravel().tolist()]
    return {"expected": to_text(expected), "tolerance": tolerance(question.limit), "unit": to_text(rounded)}


def tolerance(limit: float) -> float:
    """Units from the *rounded* truth, for a limit of units from the truth: in quarters, 0 for a correct rounding.

    >>> tolerance(0.5 + 1e-6), tolerance(4.0), tolerance(8 + math.log2(3))
    (0.0, 4.5, 10.25)
    """
    return 0.0 if limit <= HALF else math.ceil(4 * (limit + 0.5) - 1e-6) / 4

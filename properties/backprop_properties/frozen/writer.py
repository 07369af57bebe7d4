"""Writing a set: chosen cases, their truth from the certified oracle alone, and the same bytes for the same seed.

The reference's functions are never called. What is drawn comes from integers and powers of two, what is computed from
ball arithmetic that rounds correctly, so that another machine writes the same files.
"""

import json
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from backprop_oracle.enclosures import PrecisionCapReached
from backprop_oracle.rows import Row
from backprop_reference import OPERATIONS

from . import pinned
from .cases import Chosen, chosen_cases
from .files import (
    FORMAT,
    MANIFEST,
    MOST_BYTES,
    SCHEMA,
    VECTORS,
    Document,
    VectorError,
    file_name,
    made_whole,
    read_bytes,
    read_manifest,
    sha256,
)
from .floats import to_list, to_text
from .notes import NOTES
from .results import results_of
from .vectors import Expected

NAME = "backprop-reference"
OnFile = Callable[[str, int], None]  # the operation, and how many cases it has
Rows = Mapping[str, Row]


def write_set(
    folder: Path, *, version: int, seed: int = 0, rows: Rows = OPERATIONS, on_file: OnFile = lambda *_: None
) -> int:
    """Writes a new set into a folder that is empty or not there yet, or nothing; returns the number of cases."""
    empty = {"files": {SCHEMA: ""}, "numberOfTests": 0, "operations": {}}
    manifest = empty | {"schema": FORMAT, "seed": seed, "version": version}
    with made_whole(folder) as new:
        (new / SCHEMA).write_bytes(read_bytes(VECTORS / SCHEMA))
        return _extend(new, manifest, rows, on_file)


def add_to_packaged(rows: Rows = OPERATIONS) -> int:
    """Files for operations that the packaged set lacks, of its own version and seed, and its new sum; what is there
    stays. Returns their cases.
    """
    manifest = read_manifest(VECTORS)
    missing = {name: row for name, row in rows.items() if name not in manifest["operations"]}
    count = _extend(VECTORS, manifest, missing)
    path = Path(pinned.__file__)
    text = path.read_text("utf-8")
    path.write_text(text.replace(pinned.PACKAGED, sha256(read_bytes(VECTORS / MANIFEST))), "utf-8")
    return count


def _extend(folder: Path, manifest: Document, rows: Rows, on_file: OnFile = lambda *_: None) -> int:
    """Writes the files of operations, and last the manifest with them: there is no set without it."""
    names, operations, added = set(manifest["files"]), dict(manifest["operations"]), 0
    for name, row in rows.items():
        document = document_of(row, manifest["version"], manifest["seed"])
        (folder / file_name(name)).write_bytes(as_bytes(document))
        names.add(file_name(name))
        operations[name] = file_name(name)
        added += document["numberOfTests"]
        on_file(name, document["numberOfTests"])
    sums = {name: sha256(read_bytes(folder / name)) for name in names}
    counted = {"files": sums, "operations": operations, "numberOfTests": manifest["numberOfTests"] + added}
    (folder / MANIFEST).write_bytes(as_bytes({**manifest, **counted}))
    return added


def as_bytes(document: Document) -> bytes:
    """The one layout: sorted keys, no blanks, and what holds no object on one line of its own; a newline at the end."""
    data = (_laid_out(document) + "\n").encode()
    if len(data) > MOST_BYTES:
        raise VectorError(f"{len(data):,} bytes are more than a reader takes ({MOST_BYTES:,})")
    return data


def _laid_out(value: Any) -> str:
    """JSON text.

    >>> print(_laid_out({"b": {"x": [1.0, 0.5], "n": "é"}, "a": [{"c": {}}, {}]}))
    {
    "a":[
    {
    "c":{}
    },
    {}
    ],
    "b":{"n":"é","x":[1.0,0.5]}
    }
    """
    nested = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    firsts = [item[0] if isinstance(item, list) and item else item for item in nested]
    if not any(isinstance(first, dict) for first in firsts):
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_laid_out, value)) + "\n]"
    return "{\n" + ",\n".join(f"{json.dumps(key)}:{_laid_out(value[key])}" for key in sorted(value)) + "\n}"


def document_of(operation: Row, version: int, seed: int) -> Document:
    """An operation's file, before it is text; VectorError if nothing can be asked of the operation."""
    groups: dict[tuple[str, ...], list[tuple[Chosen, Document]]] = {}
    for case in chosen_cases(operation, seed):
        if asked := _asked(operation, case):
            key = (case.dtype.name, str(case.batch), *map(str, case.sizes.items()))
            groups.setdefault(key, []).append((case, asked))
    if not groups:
        raise VectorError(f"{operation.name}: nothing can be asked: no result of any case can be certified")
    identities = count(1)
    written = [
        {
            "dtype": first.dtype.name,
            "eps": float(np.finfo(first.dtype).eps),
            "batch": list(first.batch),
            "sizes": dict(first.sizes),
            "shapes": {name: list(a.shape) for name, a in zip(operation.arguments, first.args, strict=True)},
            "valueShape": list(first.delta.shape),
            "tests": [{**_test(operation, case, next(identities)), **asked} for case, asked in cases],
        }
        for ((first, _), *_), cases in ((cases, cases) for cases in groups.values())
    ]
    used = {flag for cases in groups.values() for case, _ in cases for flag in case.flags}
    notes = {flag: {"catches": list(NOTES[flag].catches), "description": NOTES[flag].description} for flag in used}
    whole: Any = operation  # a Definition, if any argument holds integers
    return {
        "schema": FORMAT,
        "operation": operation.name,
        "signature": operation.signature,
        "arguments": list(operation.arguments),
        "parameters": list(operation.parameters),
        "integers": {name: whole.dtype_of(name, np.float64).name for name in operation.integers},
        "source": {"name": NAME, "seed": seed, "version": version},
        "numberOfTests": sum(map(len, groups.values())),
        "notes": notes,
        "testGroups": written,
    }


def _test(operation: Row, chosen: Chosen, identity: int) -> Document:
    named = list(zip(operation.arguments, chosen.args, strict=True))
    return {
        "tcId": identity,
        "comment": chosen.comment,
        "flags": sorted(chosen.flags),
        "inputs": {name: to_list(a) for name, a in named},
        "inputsHex": {name: to_text(a) for name, a in named},
        "cotangent": to_list(chosen.delta),
        "cotangentHex": to_text(chosen.delta),
    }


def _asked(operation: Row, chosen: Chosen) -> Document:
    """The results of a case; none where nothing can be asked, or where no digit decides."""
    try:
        value, gradients, jacobians = results_of(operation, chosen)
    except PrecisionCapReached:
        return {}
    except (LookupError, TypeError, ValueError) as error:  # a definition of what has no rule
        raise VectorError(f"{operation.name}: {error}") from None
    parts = {
        "value": value and _written(value),
        "gradients": {name: _written(result) for name, result in gradients.items()},
        "jacobians": {name: _written(result) for name, result in jacobians.items()},
    }
    return {name: part for name, part in parts.items() if part}


def _written(result: Expected) -> Document:
    return {
        "expected": to_list(result.expected),
        "hex": to_text(result.expected),
        "condition": to_list(result.condition),
        "tolerance": result.tolerance,
        "standard": [_short(x) for x in to_list(result.standard)],
    }


def _short(x: Any) -> Any:
    """A number of units without a point where it has nothing behind it."""
    return int(x) if isinstance(x, float) and x.is_integer() and x < 1000 else x

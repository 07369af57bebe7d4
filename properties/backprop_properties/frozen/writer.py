"""Writing a set: chosen cases, their truth from the certified oracle alone, and the same bytes for the same seed.

The reference's functions are never called. What is drawn comes from integers and powers of two, what is computed from
ball arithmetic that rounds correctly, so that another machine writes the same files.
"""

import json
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS, Operation

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
    read_bytes,
    read_manifest,
    sha256,
)
from .floats import to_hex, to_text
from .notes import NOTES
from .results import gradients_of, jacobians_of, value_of
from .vectors import Expected

NAME = "backprop-reference"
OnFile = Callable[[str, int], None]  # the operation, and how many cases it has


def write_set(
    folder: Path,
    *,
    version: int,
    seed: int = 0,
    operations: Iterable[str] | None = None,
    on_file: OnFile = lambda *_: None,
) -> int:
    """Writes a new set into a folder that is empty or not there yet; returns the number of cases."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VectorError(f"{folder} is not an empty folder: vectors are written nowhere else")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCHEMA).write_bytes(read_bytes(VECTORS / SCHEMA))
    manifest = {"files": {SCHEMA: ""}, "numberOfTests": 0, "schema": FORMAT, "seed": seed, "version": version}
    return _extend(folder, manifest, operations or OPERATIONS, on_file)


def add_to_set(folder: Path, operations: Iterable[str]) -> int:
    """Files for operations that a set lacks, of its own version and seed; what is there stays. Returns their cases."""
    manifest = read_manifest(folder)
    return _extend(folder, manifest, [name for name in operations if file_name(name) not in manifest["files"]])


def _extend(folder: Path, manifest: Document, operations: Iterable[str], on_file: OnFile = lambda *_: None) -> int:
    """Writes the files of operations, and last the manifest with them: there is no set without it."""
    names, added = set(manifest["files"]), 0
    for name in operations:
        document = document_of(OPERATIONS[name], manifest["version"], manifest["seed"])
        (folder / file_name(name)).write_bytes(as_bytes(document))
        names.add(file_name(name))
        added += document["numberOfTests"]
        on_file(name, document["numberOfTests"])
    sums = {name: sha256(read_bytes(folder / name)) for name in names}
    total = manifest["numberOfTests"] + added
    (folder / MANIFEST).write_bytes(as_bytes({**manifest, "files": sums, "numberOfTests": total}))
    return added


def as_bytes(document: Document) -> bytes:
    """The one layout: sorted keys, and what holds nothing nested on one line of its own; a newline at the end."""
    data = (_laid_out(document) + "\n").encode()
    if len(data) > MOST_BYTES:
        raise VectorError(f"{len(data):,} bytes are more than a reader takes ({MOST_BYTES:,})")
    return data


def _laid_out(value: Any, indent: str = "\n") -> str:
    """JSON text.

    >>> print(_laid_out({"b": {"x": "0x1p+0", "n": 1}, "a": [["é"], []]}))
    {
     "a": [
      ["é"],
      []
     ],
     "b": {"n": 1, "x": "0x1p+0"}
    }
    """
    nested = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(item, dict | list) for item in nested):
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    inner = indent + " "
    if isinstance(value, list):
        return "[" + ",".join(inner + _laid_out(item, inner) for item in value) + indent + "]"
    items = (f"{json.dumps(key)}: {_laid_out(value[key], inner)}" for key in sorted(value))
    return "{" + ",".join(inner + item for item in items) + indent + "}"


def document_of(operation: Operation, version: int, seed: int) -> Document:
    """An operation's file, before it is text."""
    groups: dict[tuple[str, ...], list[Chosen]] = {}
    for case in chosen_cases(operation, seed):
        groups.setdefault((case.dtype.name, str(case.batch), *map(str, case.sizes.items())), []).append(case)
    identities = count(1)
    written = [
        {
            "dtype": cases[0].dtype.name,
            "eps": to_hex(float(np.finfo(cases[0].dtype).eps)),
            "batch": list(cases[0].batch),
            "sizes": dict(cases[0].sizes),
            "tests": [_test(operation, case, next(identities)) for case in cases],
        }
        for cases in groups.values()
    ]
    used = {flag for cases in groups.values() for case in cases for flag in case.flags}
    notes = {flag: {"catches": list(NOTES[flag].catches), "description": NOTES[flag].description} for flag in used}
    return {
        "schema": FORMAT,
        "operation": operation.name,
        "signature": operation.signature,
        "arguments": list(operation.arguments),
        "parameters": list(operation.parameters),
        "source": {"name": NAME, "seed": seed, "version": version},
        "numberOfTests": sum(map(len, groups.values())),
        "notes": notes,
        "testGroups": written,
    }


def _test(operation: Operation, chosen: Chosen, identity: int) -> Document:
    value = value_of(operation, chosen)
    parts = {
        "value": value and _written(value),
        "gradients": {name: _written(result) for name, result in gradients_of(operation, chosen).items()},
        "jacobians": {name: _written(result) for name, result in jacobians_of(operation, chosen).items()},
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


def _written(result: Expected) -> Document:
    numbers = {"expected": to_text(result.expected), "condition": to_text(result.condition)}
    return numbers | {"tolerance": result.tolerance}

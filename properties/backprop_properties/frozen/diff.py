"""What changed between two sets, entry by entry, in units in the last place."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .files import SCHEMA, VectorError, read_bytes, read_manifest, read_operation
from .floats import Array, ordinal
from .vectors import Expected, Vector, vectors_in

Key = tuple[object, ...]


def differences(old: Path, new: Path) -> Iterator[str]:
    """One line for each difference, none for sets of equal numbers, whatever version they say.

    >>> from .files import VECTORS
    >>> list(differences(VECTORS, VECTORS))
    []
    """
    manifests = read_manifest(old), read_manifest(new)
    for field in ("version", "seed", "numberOfTests"):
        before, after = (manifest[field] for manifest in manifests)
        if before != after:
            yield f"{field}: {before} → {after}"
    for name, word in _gone_or_new(*(manifest["files"] for manifest in manifests)):
        yield f"{name}: {word}"
    if read_bytes(old / SCHEMA) != read_bytes(new / SCHEMA):
        yield f"{SCHEMA}: other bytes"
    for operation, name in manifests[0]["operations"].items():
        if all(operation in manifest["operations"] for manifest in manifests):
            documents = [read_operation(d, m, operation) for d, m in zip((old, new), manifests, strict=True)]
            if read_bytes(old / name) != read_bytes(new / name):
                yield from _of_documents(operation, *documents)


def _of_documents(operation: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    for field in ("signature", "arguments", "parameters", "integers", "notes"):
        if old[field] != new[field]:
            yield f"{operation}: other {field}"
    before, after = ({_key(v): v for v in vectors_in(d, operation)} for d in (old, new))
    for key, word in _gone_or_new(before, after):
        case = before.get(key) or after[key]
        yield f"{case}: {word} ({case.dtype}, {case.comment})"
    for key in (key for key in before if key in after):
        yield from _of_cases(before[key], after[key])


def _gone_or_new(old: Collection[Any], new: Collection[Any]) -> Iterator[tuple[Any, str]]:
    """What is not in both, and what became of it."""
    for key in dict.fromkeys([*old, *new]):
        if key not in old or key not in new:
            yield key, "removed" if key in old else "added"


def _key(case: Vector) -> Key:
    """Cases are the same if what goes in is the same, bit for bit; identities may move from version to version."""
    arrays = [*case.args, case.cotangent]
    return (case.comment, case.dtype.name, *((a.shape, a.tobytes()) for a in arrays))


def _of_cases(old: Vector, new: Vector) -> Iterator[str]:
    if old.tcId != new.tcId:
        yield f"{old}: now tcId {new.tcId}"
    if old.flags != new.flags:
        yield f"{old}: flags {', '.join(old.flags)} → {', '.join(new.flags)}"
    before, after = quantities(old), quantities(new)
    for what in dict.fromkeys([*before, *after]):
        if what not in before or what not in after:
            yield f"{old}: {what} {'removed' if what in before else 'added'}"
        else:
            yield from _of_quantities(f"{old}: {what}", before[what], after[what])


def quantities(case: Vector) -> dict[str, Expected]:
    """The results that a case has, by name: `u`, `dx`, `J_x` and so on."""
    value = {"u": case.value} if case.value else {}
    gradients = {f"d{name}": quantity for name, quantity in case.gradients.items()}
    return value | gradients | {f"J_{name}": quantity for name, quantity in case.jacobians.items()}


def _of_quantities(title: str, old: Expected, new: Expected) -> Iterator[str]:
    if old.tolerance != new.tolerance:
        yield f"{title}: tolerance {old.tolerance:g} → {new.tolerance:g}"
    pairs = ("expected", ""), ("condition", " condition"), ("standard", " standard tolerance")
    for name, what in pairs:
        a, b = getattr(old, name), getattr(new, name)
        for index, before, after, ulps in _changed(a, b):
            yield f"{title}{index}{what}: {before!r} → {after!r}, {ulps} ULP"


def _changed(a: Array, b: Array) -> Iterator[tuple[str, float, float, int]]:
    """The entries that differ in any bit."""
    if a.shape != b.shape:
        raise VectorError(f"shapes {a.shape} and {b.shape} can't be compared")
    entries = zip(np.ndindex(a.shape), a.ravel().tolist(), b.ravel().tolist(), ordinal(a), ordinal(b), strict=True)
    for index, before, after, i, j in entries:
        if before.hex() != after.hex():
            yield "".join(f"[{k}]" for k in index), before, after, abs(i - j)

"""Whether a set is whole: sums, schema, counts, identities, flags and numbers, each problem in a line of its own.

The packaged files are known by their sums. Any other is written again from the version, the seed and the definition
that it names, so that no case, result, condition or tolerance is there that these do not give, and none is missing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator

from backprop_oracle.rows import Row
from backprop_reference import OPERATIONS

from .files import (
    MANIFEST,
    VECTORS,
    Document,
    VectorError,
    file_name,
    names_of,
    read_manifest,
    read_operation,
    schema_of,
)
from .vectors import Vector, vectors_of
from .writer import document_of


def examine(folder: Path, rows: Mapping[str, Row] = OPERATIONS) -> tuple[Mapping[str, list[Vector]], list[str]]:
    """The cases of every operation whose file is sound, and what is wrong with the set.

    >>> from .files import VECTORS
    >>> cases, problems = examine(VECTORS)
    >>> set(cases) == set(OPERATIONS), problems
    (True, [])
    """
    try:
        manifest = read_manifest(folder)
        problems = names_of(folder, manifest, rows)
        validator = Draft202012Validator(schema_of(folder, manifest))
        known = read_manifest(VECTORS)["files"]
    except VectorError as error:
        return {}, [str(error)]
    cases: dict[str, list[Vector]] = {}
    for name, row in rows.items():
        file = file_name(name)
        if not (folder / file).exists() or name not in manifest["operations"]:
            continue  # told already
        try:
            document = read_operation(folder, manifest, name)
            if known.get(file) != manifest["files"][file]:
                refuse_other_than_written(row, document, validator, manifest)
            cases[name] = list(vectors_of(document))
        except VectorError as error:
            problems.append(str(error))
    count = sum(map(len, cases.values()))
    if not problems and count != manifest["numberOfTests"]:
        problems.append(f"{MANIFEST}: numberOfTests is {manifest['numberOfTests']}, the files have {count}")
    if not count:
        problems.append(f"{folder}: no case could be read")
    return cases, problems


def refuse_other_than_written(row: Row, document: Document, validator: Any, manifest: Document) -> None:
    """VectorError with the first thing that is wrong with a document."""
    for problem in _problems(row, document, validator, manifest):
        raise VectorError(f"{file_name(row.name)}: {problem}")
    try:
        list(vectors_of(document))
    except (KeyError, ValueError) as error:
        raise VectorError(f"{file_name(row.name)}: {error}") from None
    for problem in apart(document, document_of(row, manifest["version"], manifest["seed"])):
        raise VectorError(f"{file_name(row.name)}: {problem}")


def _problems(row: Row, document: Document, validator: Any, manifest: Document) -> Iterator[str]:
    """What is wrong, in an order in which each check can rely on those before it."""
    for error in validator.iter_errors(document):
        where = "/".join(map(str, error.absolute_path)) or "the top"
        yield f"not by the schema, at {where}: {error.message[:200]}"
    for field, wanted in (
        ("operation", row.name),
        ("signature", row.signature),
        ("arguments", list(row.arguments)),
        ("parameters", list(row.parameters)),
        ("source", document["source"] | {key: manifest[key] for key in ("seed", "version")}),
    ):
        if document[field] != wanted:
            yield f"{field} is {document[field]!r}, expected {wanted!r}"
    tests = [test for group in document["testGroups"] for test in group["tests"]]
    if len(tests) != document["numberOfTests"]:
        yield f"numberOfTests is {document['numberOfTests']}, there are {len(tests)}"
    twice = [identity for identity, times in Counter(test["tcId"] for test in tests).items() if times > 1]
    if twice:
        yield f"duplicate tcId: {', '.join(map(str, twice))}"
    flags = {flag for test in tests for flag in test["flags"]}
    if flags != set(document["notes"]):
        yield f"flags without a note, or notes without a case: {', '.join(sorted(flags ^ set(document['notes'])))}"
    for group in document["testGroups"]:
        if set(group["sizes"]) != set(row.letters):
            yield f"sizes of {', '.join(group['sizes'])}, expected those of {', '.join(row.letters)}"
        if set(group["shapes"]) != set(row.arguments):
            yield f"shapes of {', '.join(group['shapes'])}, expected those of {', '.join(row.arguments)}"
        eps = float(np.finfo(group["dtype"]).eps)
        if group["eps"] != eps:
            yield f"eps of {group['dtype']} is {group['eps']}, expected {eps}"
        if group["batch"] and any("jacobians" in test for test in group["tests"]):
            yield f"Jacobians of a batch {group['batch']}"
    for test in tests:
        quantities = {*test.get("gradients", ()), *test.get("jacobians", ())}
        if not quantities and "value" not in test:
            yield f"tcId {test['tcId']}: nothing is asked"
        if not quantities <= set(row.arguments):
            yield f"tcId {test['tcId']}: results for {', '.join(sorted(quantities - set(row.arguments)))}"


def apart(there: Any, due: Any, where: str = "") -> Iterator[str]:
    """Where a document differs from what would be written, and how.

    >>> list(apart({"tests": [{"tcId": 7, "x": [1.0, 2.0]}]}, {"tests": [{"tcId": 7, "x": [1.0, 3.0], "y": []}]}))
    ['tcId 7: x[1] is 2.0, 3.0 is written', 'tcId 7: y is missing']
    """
    if isinstance(there, dict) and isinstance(due, dict):
        for key in sorted({*there, *due}):
            name = f"{where}: {key}" if where.startswith("tcId") and ":" not in where else f"{where}/{key}".strip("/")
            if key not in there or key not in due:
                yield f"{name} is {'missing' if key in due else 'not written'}"
            else:
                yield from apart(there[key], due[key], name)
    elif isinstance(there, list) and isinstance(due, list) and len(there) == len(due):
        for k, (a, b) in enumerate(zip(there, due, strict=True)):
            identity = b.get("tcId") if isinstance(b, dict) else None
            yield from apart(a, b, f"tcId {identity}" if identity else f"{where}[{k}]")
    elif isinstance(there, list) and isinstance(due, list):
        yield f"{where} has {len(there)} entries, {len(due)} are written"
    elif there != due:
        yield f"{where} is {there!r:.60}, {due!r:.60} is written"

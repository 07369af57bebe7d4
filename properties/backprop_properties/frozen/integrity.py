"""Whether a set is whole: sums, schema, counts, identities, flags and numbers, each problem in a line of its own."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator

from backprop_reference import OPERATIONS, Operation

from .files import Document, VectorError, file_name, names_of, read_manifest, read_operation, schema_of
from .floats import to_hex
from .vectors import Vector, vectors_of


def examine(folder: Path) -> tuple[Mapping[str, list[Vector]], list[str]]:
    """The cases of every operation whose file is sound, and what is wrong with the set.

    >>> from .files import VECTORS
    >>> cases, problems = examine(VECTORS)
    >>> set(cases) == set(OPERATIONS), problems
    (True, [])
    """
    try:
        manifest = read_manifest(folder)
        problems = names_of(folder, manifest)
        validator = Draft202012Validator(schema_of(folder, manifest))
    except VectorError as error:
        return {}, [str(error)]
    cases: dict[str, list[Vector]] = {}
    for name, row in OPERATIONS.items():
        if not (folder / file_name(name)).exists():
            continue  # told already
        try:
            cases[name] = sound(row, read_operation(folder, manifest, name), validator, manifest)
        except VectorError as error:
            problems.append(str(error))
    count = sum(map(len, cases.values()))
    if not problems and count != manifest["numberOfTests"]:
        problems.append(f"manifest.json: numberOfTests is {manifest['numberOfTests']}, the files have {count}")
    if not count:
        problems.append(f"{folder}: no case could be read")
    return cases, problems


def sound(row: Operation, document: Document, validator: Any, manifest: Document) -> list[Vector]:
    """The cases of a document; VectorError with the first thing that is wrong with it."""
    for problem in _problems(row, document, validator, manifest):
        raise VectorError(f"{file_name(row.name)}: {problem}")
    try:
        return list(vectors_of(document))
    except (KeyError, ValueError) as error:
        raise VectorError(f"{file_name(row.name)}: {error}") from None


def _problems(row: Operation, document: Document, validator: Any, manifest: Document) -> Iterator[str]:
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
        eps = to_hex(float(np.finfo(group["dtype"]).eps))
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

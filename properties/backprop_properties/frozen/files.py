"""Reading a set of vectors without trusting it: sizes, nesting and checksums are looked at before content.

A set is a folder: `manifest.json` with the SHA-256 sum of every other file, `schema.json`, and one file for each
operation. The sum of the packaged manifest is in `pinned.py`, and with it that of every packaged file. Whatever does
not fit is a `VectorError` that says which file and why, in one line that a terminal shows as it is; nothing in a file
is ever evaluated.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import pinned

VECTORS = Path(__file__).parents[1] / "vectors"
MANIFEST, SCHEMA = "manifest.json", "schema.json"
FORMAT = "backprop-vectors-3"
MOST_BYTES = 4_000_000  # of one file; those of the project are a tenth of it
MOST_NESTING = 16  # theirs is 8

Document = Mapping[str, Any]


class VectorError(ValueError):
    """A set of vectors that can't be trusted, and why."""


def file_name(operation: str) -> str:
    """A name that every file system takes.

    >>> file_name("softmax"), file_name("backpropagation[sigmoid,identity]")
    ('softmax.json', 'backpropagation-sigmoid-identity.json')
    """
    return "-".join(re.findall(r"\w+", operation)) + ".json"


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes its place if all is written, and else is gone, interrupted or not.

    VectorError for one that has something in it already.
    """
    if folder.is_symlink() and not folder.exists():
        raise VectorError(f"{folder} is a symbolic link that leads nowhere")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VectorError(f"{folder} is not an empty folder")
    beside = folder.resolve()
    beside.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{beside.name}-", dir=beside.parent) as unfinished:
        new = Path(unfinished) / beside.name
        new.mkdir()
        yield new
        if beside.exists():
            beside.rmdir()
        new.replace(beside)


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """A file's bytes, unless there are more than `most`: then not one of them is read."""
    if not path.is_file():
        raise VectorError(f"{path.name}: missing")
    size = path.stat().st_size
    if size > most:
        raise VectorError(f"{path.name}: {size:,} bytes, at most {most:,} are read")
    with path.open("rb") as file:
        return file.read(most)


def nesting(data: bytes) -> int:
    """How deep the brackets of a JSON text go, without parsing it.

    >>> nesting(b'{"a": [1, [2]], "]]]": "[[[["}')
    3
    """
    outside = b"".join(data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    depth = deepest = 0
    for byte in outside.translate(None, _NO_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def parse(name: str, data: bytes) -> Document:
    """The JSON object of a file, whose nesting has been looked at before.

    >>> parse("a.json", b'{"a": 1, "a": 2}')
    Traceback (most recent call last):
    backprop_properties.frozen.files.VectorError: a.json: the key 'a' is there twice
    """
    deep = nesting(data)
    if deep > MOST_NESTING:
        raise VectorError(f"{name}: brackets nested {deep:,} deep, at most {MOST_NESTING} are read")
    try:
        text = data.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        cut = " (truncated?)" if error.pos >= len(text.rstrip()) - 1 or "Unterminated" in error.msg else ""
        raise VectorError(f"{name}: not JSON{cut}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise VectorError(f"{name}: {shown(str(error))}") from None
    if not isinstance(document, dict):
        raise VectorError(f"{name}: expected an object, got {type(document).__name__}")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys and texts a terminal shows as they are: no control characters, and no halves of any."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    for key, value in pairs:
        for text in (key, *(value if isinstance(value, list) else [value])):
            if isinstance(text, str) and not text.isprintable():
                raise ValueError(f"{shown(key)} has a character that is not printable: {text!a:.60}")
    return dict(pairs)


def shown(text: str) -> str:
    """A text as a terminal may have it.

    >>> shown("a\x1b[2Jb.json"), shown("a.json")
    ("'a\\\\x1b[2Jb.json'", 'a.json')
    """
    return text if text.isprintable() else ascii(text)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_manifest(folder: Path) -> Document:
    """The manifest, its own fields checked."""
    if not folder.is_dir():
        raise VectorError(f"there is no folder {folder}")
    if not any(folder.iterdir()):
        raise VectorError(f"the folder {folder} is empty")
    data = read_bytes(folder / MANIFEST)
    manifest = parse(MANIFEST, data)
    if folder == VECTORS and sha256(data) != pinned.PACKAGED:
        raise VectorError(f"the packaged {MANIFEST} is not the one whose sum is in the code: the set was changed")
    wanted = {"files": dict, "numberOfTests": int, "operations": dict, "schema": str, "seed": int, "version": int}
    if isinstance(old := manifest.get("schema"), str) and old != FORMAT:
        raise VectorError(
            f"{MANIFEST}: schema is {old!r:.60}, this version reads {FORMAT!r}, as `backprop vectors write` writes it"
        )
    if set(manifest) != set(wanted):
        raise VectorError(f"{MANIFEST}: expected the fields {', '.join(wanted)}, got {', '.join(sorted(manifest))}")
    for field, kind in wanted.items():
        if type(manifest[field]) is not kind:
            raise VectorError(f"{MANIFEST}: {field} is {manifest[field]!r:.60}, expected {kind.__name__}")
    if manifest["operations"] != {name: file_name(str(name)) for name in manifest["operations"]}:
        raise VectorError(f"{MANIFEST}: expected for each of the operations a file of its name, as softmax.json")
    if lost := set(manifest["files"]) - {SCHEMA, *manifest["operations"].values()}:
        raise VectorError(f"{MANIFEST}: {sorted(lost)[0]} is the file of none of its operations")
    return manifest


def read_operation(folder: Path, manifest: Document, operation: str) -> Document:
    """An operation's document, once its file has the manifest's checksum."""
    name = file_name(operation)
    if name not in manifest["files"]:
        raise VectorError(f"{MANIFEST}: names no file for {operation}")
    data = read_bytes(folder / name)
    if sha256(data) != manifest["files"][name]:
        raise VectorError(f"{name}: its SHA-256 sum is not the manifest's: {_what_is_wrong(name, data)}")
    return parse(name, data)


def _what_is_wrong(name: str, data: bytes) -> str:
    """A file that is not what it was may not even be JSON."""
    try:
        parse(name, data)
    except VectorError as error:
        return str(error).removeprefix(f"{name}: ")
    return "it was changed"


def names_of(folder: Path, manifest: Document, operations: Iterable[str]) -> list[str]:
    """What is wrong with the names of files: those missing, those not listed, and operations without one."""
    listed, there = set(manifest["files"]), {path.name for path in folder.iterdir()} - {MANIFEST}
    wanted = {SCHEMA, *map(file_name, operations)}
    return [
        *(f"{name}: missing" for name in sorted(listed - there)),
        *(f"{shown(name)}: not in the manifest" for name in sorted(there - listed)),
        *(f"{MANIFEST}: names no {name}" for name in sorted(wanted - listed - there)),
        *(f"{name}: of no operation; --definitions has others" for name in sorted((listed & there) - wanted)),
    ]


def schema_of(folder: Path, manifest: Document) -> Document:
    """The JSON Schema of a set, which has to be the one that this version reads by."""
    data = read_bytes(folder / SCHEMA)
    if sha256(data) != manifest["files"].get(SCHEMA):
        raise VectorError(f"{SCHEMA}: its SHA-256 sum is not the manifest's")
    if data != read_bytes(VECTORS / SCHEMA):
        raise VectorError(f"{SCHEMA}: not the schema of {FORMAT}")
    return parse(SCHEMA, data)

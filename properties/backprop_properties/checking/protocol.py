"""What crosses the border to a program in any language: a JSON object a line, in the form of `protocol.json`.

Numbers travel to the bit: as hexadecimal floats in texts (`"0x1.8p+1"`, `"-inf"`, `"nan"`; integers as `"3"`), or as
the little-endian bytes of an array in base64. Answers may be in either form, arguments are in that which was agreed on.
"""

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import ml_dtypes
import msgspec
import numpy as np
from numpy.typing import NDArray

from .pipes import Broken

VERSION = 1
SCHEMA = Path(__file__).parent / "protocol.json"  # each message, in its `$defs`
LONGEST = 1 << 48  # of the axes of an array
LOOKED_AT = 100  # numbers of an array
HEX = re.compile(r"[-+]?(0x[0-9a-f]+(\.[0-9a-f]*)?(p[-+]?\d+)?|inf|infinity|nan)", re.IGNORECASE)
WHOLE = re.compile(r"[-+]?\d{1,19}")
DTYPES: Mapping[str, np.dtype[Any]] = {
    **{name: np.dtype(name).newbyteorder("<") for name in ("float64", "float32", "float16", "int64", "int32", "bool")},
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


class Array(msgspec.Struct):
    """An array: its numbers row by row."""

    shape: list[int]
    dtype: str
    data: list[str] | bytes


# ── Asked ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Start(msgspec.Struct, tag_field="do", tag="start"):
    """Who are you, and in which form do you want numbers?"""

    protocol: int = VERSION
    numbers: tuple[str, ...] = ("hex", "base64")


class Ask(msgspec.Struct, tag_field="do", tag="call"):
    """Call a function; the answer has the same id."""

    id: str
    function: str
    arguments: list[Array]


class Stop(msgspec.Struct, tag_field="do", tag="stop"):
    """There are no more calls."""


# ── Answered ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Ready(msgspec.Struct):
    """What a program is called, what it is written in, and the names of its functions, as in a Python file."""

    name: str
    language: str
    functions: list[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_]\w*$")]]
    numbers: Literal["hex", "base64"] = "hex"


class Answer(msgspec.Struct):
    """What came of a call: one of results (null for a gradient that is not given), a reason to skip it, an error."""

    id: str
    results: list[Array | None] | None = None
    skipped: str | None = None
    error: str | None = None


Message = Start | Ask | Stop
encoded = msgspec.json.Encoder().encode
_DECODERS = {kind: msgspec.json.Decoder(kind) for kind in (Ready, Answer)}


def decoded(line: bytes, kind: type[Ready] | type[Answer]) -> Any:
    """An answer; `Broken`, in the words that follow "it", if it is none.

    >>> decoded(b'{"id": "1"}', Answer)
    Traceback (most recent call last):
    backprop_properties.checking.pipes.Broken: answered with 0 of results, skipped and error, expected one of them
    """
    try:
        answer = _DECODERS[kind].decode(line)
    except msgspec.ValidationError as error:
        raise Broken(f"answered in another form: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise Broken(f"answered with broken JSON ({error}): {line[:60].decode(errors='replace')!r}") from None
    if isinstance(answer, Answer):
        given = [part for part in (answer.results, answer.skipped, answer.error) if part is not None]
        if len(given) != 1:
            raise Broken(f"answered with {len(given)} of results, skipped and error, expected one of them")
    return answer


@cache
def _validators() -> Any:
    import jsonschema

    schema = json.loads(SCHEMA.read_text("utf-8"))
    return {name: jsonschema.Draft202012Validator({**schema, "$ref": f"#/$defs/{name}"}) for name in schema["$defs"]}


def _beginning(found: dict[str, Any]) -> dict[str, Any]:
    """An array with its first numbers: `received` reads the others, which the schema has no time for."""
    return {**found, "data": found["data"][:LOOKED_AT]} if isinstance(found.get("data"), list) else found


def validate(line: bytes, name: str) -> None:
    """`Broken` for a line that is not of the published form of that name: a field that nobody knows, a number that is
    no text, and so on.
    """
    import jsonschema

    try:
        message = json.loads(line, object_hook=_beginning)
    except (ValueError, RecursionError):  # which `decoded` tells better
        return
    error = jsonschema.exceptions.best_match(_validators()[name].iter_errors(message))
    if error is not None:
        raise Broken(f"answered against protocol.json, at {error.json_path}: {error.message[:300]}")


# ── Arrays ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def sent(a: NDArray[Any], numbers: str) -> Array:
    """An array as a message.

    >>> sent(np.array([1.0, -np.inf], np.float32), "hex")
    Array(shape=[2], dtype='float32', data=['0x1.0000000000000p+0', '-inf'])
    """
    if numbers == "base64":
        dtype = DTYPES.get(a.dtype.name, a.dtype)
        return Array(list(a.shape), a.dtype.name, a.astype(dtype, copy=False).tobytes())
    if a.dtype.kind in "iub":
        return Array(list(a.shape), a.dtype.name, [str(int(v)) for v in a.ravel().tolist()])
    return Array(list(a.shape), a.dtype.name, [v.hex() for v in a.astype(np.float64, copy=False).ravel().tolist()])


def received(array: Array) -> NDArray[Any]:
    """The array of a message; `Broken`, in words for what came, if it is none.

    >>> received(Array([2], "float32", ["0x1.8p+1", "0x1.999999999999ap-4"]))
    Traceback (most recent call last):
    backprop_properties.checking.pipes.Broken: '0x1.999999999999ap-4', which is no float32
    """
    dtype, shape, data = DTYPES.get(array.dtype), tuple(array.shape), array.data
    if dtype is None:
        raise Broken(f"an array of dtype {array.dtype[:40]!r}, expected one of {', '.join(DTYPES)}")
    if len(shape) > 32 or not all(0 <= n < LONGEST for n in shape):
        raise Broken(f"an array of shape {shape}")
    count = math.prod(shape)
    if isinstance(data, bytes):
        if len(data) != count * dtype.itemsize:
            raise Broken(
                f"{len(data):,} bytes for the shape {shape} of {array.dtype}, expected {count * dtype.itemsize:,}"
            )
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    if len(data) != count:
        raise Broken(f"{len(data):,} numbers for the shape {shape}, expected {count:,}")
    whole = dtype.kind in "ib"
    form, example = (WHOLE, "an integer as '3'") if whole else (HEX, "a hexadecimal float as '0x1.8p+1'")
    exact = np.empty(count, np.int64 if whole else np.float64)
    for k, text in enumerate(data):
        try:
            if (whole or "0x" not in text) and not form.fullmatch(text):  # Python reads "0.1" as hexadecimal, too
                raise ValueError
            exact[k] = int(text) if whole else float.fromhex(text)
        except (ValueError, OverflowError):
            raise Broken(f"{text[:40]!r} as a number of {array.dtype}, expected {example}") from None
    with np.errstate(over="ignore"):
        result = exact.astype(dtype.newbyteorder("="))
    if (off := np.flatnonzero((result != exact) & ~np.isnan(exact))).size:
        raise Broken(f"{data[off[0]]!r}, which is no {array.dtype}")
    return result.reshape(shape)

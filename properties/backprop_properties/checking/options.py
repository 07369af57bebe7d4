"""The values that the arguments of `check` may have, and a one-line error for any other."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from backprop_oracle.definition import Definition
from backprop_oracle.rows import Row

DTYPES: Mapping[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
LEVELS: Mapping[str, str] = {
    "formula": "right in six digits at ordinary numbers",
    "standard": "what a careful framework reaches: a few roundings of the terms of the usual formula",
    "strict": "to the last digits, as the reference itself",
}


def dtype_names(dtypes: Any) -> tuple[str, ...]:
    """The names of one or several dtypes, which may be names, NumPy's types or its dtypes.

    >>> dtype_names("float32"), dtype_names([np.float64, "float", np.dtype(np.float16)])
    (('float32',), ('float64', 'float64', 'float16'))
    """
    found = []
    for dtype in dtypes if isinstance(dtypes, list | tuple) else [dtypes]:
        try:
            found.append(str(dtype) if dtype is None or str(dtype) in DTYPES else np.dtype(dtype).name)
        except TypeError:
            found.append(str(dtype))
    if not found or not set(found) <= set(DTYPES):
        raise ValueError(f"dtypes must be some of {', '.join(DTYPES)}, got {dtypes!r}")
    return tuple(found)


def refuse_the_unusable(
    row: Row, dtypes: Sequence[str], level: str, count: int, seed: object, functions: Mapping[str, Any]
) -> None:
    """One line, as ValueError or TypeError, for a call of `check` that cannot be carried out."""
    if row.name.startswith("<"):  # as Python's <lambda>
        raise ValueError("a Definition of a lambda has no name: give name=, or write a def")
    if not any(f is not None for f in functions.values()):
        raise ValueError(f"{row.name}: nothing to check; give forward=, vjp= or jacobian=")
    refuse_no_functions(row.name, functions)
    if level not in [*LEVELS]:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    if level == "strict" and not set(dtypes) <= {"float64", "float32"}:
        raise ValueError(f"level 'strict' judges float64 and float32, got {dtypes!r}")
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"max_examples must be a positive integer, got {count!r}")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be an integer from 0, got {seed!r}")
    if isinstance(row, Definition):
        row.examine()


def refuse_no_functions(name: str, functions: Mapping[str, Any]) -> None:
    """TypeError for what is given as a function, and is none."""
    for kind, f in functions.items():
        if f is not None and not callable(f):
            raise TypeError(f"{name}: {kind} must be a function, got {type(f).__name__}")


def some_of(given: Sequence[str] | str, known: Sequence[str], what: str) -> tuple[str, ...]:
    """Names that were given, in any spelling of blanks and hyphens, or ValueError with those that there are.

    >>> some_of("keeps the dtype", ["keeps_the_dtype", "nan_in_nan_out"], "waive")
    ('keeps_the_dtype',)
    """
    if not isinstance(given, str | Iterable):
        raise TypeError(f"{what}: expected names, as [{known[0]!r}], got {given!r}")
    names = [re.sub(r"[ -]", "_", str(name)) for name in ([given] if isinstance(given, str) else given)]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            raise ValueError(f"{what}: there is no {name!r}{hint}")
    return tuple(dict.fromkeys(names))

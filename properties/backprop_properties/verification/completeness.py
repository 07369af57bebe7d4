"""What a row of the table needs beside itself; what is left out is told by the file that lacks it."""

from functools import partial

import backprop_reference
from backprop_oracle.rows import definition
from backprop_reference import Operation

from ..cases.regimes import regimes_of
from ..laws.bounds import BOUNDS


def check_complete(row: Operation) -> None:
    """LookupError, in one line, for a row without a definition, without a bound for its promise, or not exported.

    >>> from dataclasses import replace
    >>> check_complete(replace(backprop_reference.OPERATIONS["softmax"], base="hardmax"))
    Traceback (most recent call last):
    LookupError: softmax has no definition: add 'hardmax' to DEFINITIONS in backprop_oracle/definitions.py
    """
    definition(row)
    regimes_of(row)
    if (row.promise, "u") not in BOUNDS:
        raise LookupError(f"{row.name}: no bounds for the promise {row.promise!r} in BOUNDS of laws/bounds.py")
    plain = row.forward.func if isinstance(row.forward, partial) else row.forward
    name = getattr(plain, "__name__", "")
    public = set(backprop_reference.__all__) & set(vars(backprop_reference))
    absent = [n for n in (name, f"{name}_jacobian", f"{name}_vjp") if n not in public]
    if absent and name == row.base:
        raise LookupError(f"{row.name}: {', '.join(absent)} is not exported; add it to backprop_reference/__init__.py")

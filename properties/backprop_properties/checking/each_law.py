"""A check as a parametrised test of pytest, with one test id for each law."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from backprop_oracle.rows import Row

from .asked import row_of
from .check import check
from .options import dtype_names, refuse_no_functions
from .python_files import SUFFIXES
from .report import NUMBERS, CheckFailed, Report

PREVIEW = 4  # cases: on the first ones every law is tried


def each_law(operation: str | Row, **how: Any) -> Any:
    """Parametrises a test by the laws of a check, which runs once, when the first of them is asked for.

    The arguments are those of `check`. Above `def test_softmax(law): law()` it gives the tests
    `test_softmax[forward_equals_jax]`, `test_softmax[vjp_equals_jax_vjp]` and so on; `law()` raises `CheckFailed`, with
    what that law has found. The ids depend on the arguments alone, never on what the functions do.

    >>> mark = each_law("square", vjp=lambda delta, x: delta * x)
    >>> laws = dict(zip(mark.kwargs["ids"], mark.args[1]))
    >>> laws["keeps_the_dtype"]()
    >>> laws["vjp_equals_jax_vjp"]()
    Traceback (most recent call last):
    backprop_properties.checking.report.CheckFailed: square: vjp WRONG: dx is 1/2 times what is...
    """
    import pytest

    laws = _laws(operation, **how)
    report = cache(lambda: check(operation, **how))
    return pytest.mark.parametrize("law", [partial(_holds, law, report) for law in laws], ids=laws)


def _laws(operation: str | Row, **how: Any) -> list[str]:
    """The laws that compare something when the reference's own functions stand in for those that are given."""
    row, count = row_of(operation, how.get("convention"), how.get("batch")), how.get("max_examples")
    refuse_no_functions(row.name, {kind: how.get(kind) for kind in SUFFIXES})
    standing_in = {kind: _rounded(getattr(row, kind)) for kind in SUFFIXES if how.get(kind) is not None}
    most = PREVIEW * len(dtype_names(how.get("dtypes", "float64")))
    few = min(count, most) if isinstance(count, int) else PREVIEW if count is None else count  # which `check` refuses
    preview = check(operation, **{**how, **standing_in, "max_examples": few})
    return list(dict.fromkeys(checked.law for checked in preview.checks if checked.entries))


def _rounded(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the reference, computed in float64, with arrays of the arguments' dtype as results."""

    def array(result: Any, dtype: Any) -> Any:
        return np.asarray(result.todense() if hasattr(result, "todense") else result, dtype)

    def call(*args: Any) -> Any:
        dtype = next(a.dtype for a in args if a.dtype.kind not in "iub")
        results = f(*(a if a.dtype.kind in "iub" else a.astype(np.float64) for a in args))
        if isinstance(results, tuple):
            return tuple(None if r is None else array(r, dtype) for r in results)
        return array(results, dtype)

    return call


def _holds(law: str, report: Callable[[], Report]) -> None:
    __tracebackhide__ = True  # pytest shows the report and not this frame
    import pytest

    whole = report()
    failures = tuple(failure for failure in whole.counted if failure.law == law)
    checks = tuple(checked for checked in whole.checks if checked.law == law)
    if failures or not any(checked.entries for checked in whole.checks if checked.law in NUMBERS):
        raise CheckFailed(replace(whole, failures=failures))
    if not any(checked.entries for checked in checks):
        why = "nothing to compare where a gradient is left out, a batch not taken, or few examples tried"
        pytest.skip(f"{law.replace('_', ' ')}: {why}")

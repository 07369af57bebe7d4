"""Is an implementation right? The laws of `verify`, on cases that are chosen for what people get wrong."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from backprop_reference import Operation

from ..cases.case import Case, directions
from ..cases.domains import domain_of
from ..cases.plan import Planned, made, ordinary_case, plan
from ..cases.shapes import LONG_TAIL
from ..hints.causes import hints
from ..hints.layers import first_wrong_layer
from ..laws.claims import Violation
from ..laws.failure import Failure, failure_at
from ..laws.points import Functions
from ..laws.table import LAWS
from ..laws.trial import EVERY_LAW, Trial
from ..laws.truth import TRUTH_LAWS
from ..verification.every_law import everywhere
from .costs import Cost, affordable, near
from .guard import Function, guarded, name_of, said
from .options import DTYPES, dtype_names, refuse_the_unusable
from .python_files import Implementation, operation_named
from .report import Checked, Report

ALWAYS = (  # on every case; the other laws on some of the small ones
    "forward_equals_jax",
    "jacobian_equals_jacrev",
    "vjp_equals_jax_vjp",
    "vjp_of_one_equals_jax_grad",
)
ON_LARGER = (  # and these on some tails
    "leaves_its_inputs_alone",
    "says_the_same_twice",
    "takes_any_memory_layout",
)
ABOUT_DERIVATIONS = "factors_equal_jax_and_multiply_to_the_jacobian"
EVERY = 6  # small cases for one on which all laws are tried


def check(
    operation: str,
    *,
    forward: Function | None = None,
    vjp: Function | None = None,
    jacobian: Function | None = None,
    dtypes: Sequence[str] = ("float64",),
    level: str = "standard",
    domain: Mapping[str, Any] | None = None,
    batch: bool = False,
    max_examples: int = 200,
    seed: int = 0,
) -> Report:
    """Whether somebody's functions of an operation are right: every law that they break, where, by how much, and why.

    `operation` is a name of `backprop list`. Give any of `forward(*args)`, `vjp(delta, *args)` (a tuple with one
    cotangent per argument, None for one that is not given; for one argument an array will do) and `jacobian(*args)`
    (likewise, dense). They get NumPy arrays, of single examples unless `batch` asks for leading batch axes, too.

    `dtypes`: float64, float32, float16, bfloat16; the truth is computed in float64 from the very numbers passed in.
    `level`: "standard", which careful frameworks reach, or "strict", which the reference reaches.
    `domain`: what is not promised, as `{"y": "one-hot", "n": "multiple of 8", "values": "finite"}`, and which promises
    are asked for that not every careful implementation makes, as `{"masks": True, "kinks": True}`.

    Raises ValueError or TypeError, in one line, for a call that cannot be understood.

    >>> def softmax_vjp(delta, x):
    ...     s = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
    ...     return s * delta - s * s * delta
    >>> report = check("softmax", vjp=softmax_vjp)
    >>> report.passed, report.failures[0].law, report.failures[0].argument
    (False, 'vjp_equals_jax_vjp', 'x')
    >>> from backprop_reference import softmax
    >>> check("softmax", forward=softmax).passed
    True
    """
    functions = {"forward": forward, "vjp": vjp, "jacobian": jacobian}
    return examined(operation, functions, dtypes, level, domain, batch, max_examples, seed)


@np.errstate(all="ignore")  # whatever the module that is checked has set: the numbers tried are extreme
def examined(
    operation: str,
    functions: Mapping[str, Function | None],
    dtypes: Sequence[str],
    level: str,
    domain: Mapping[str, Any] | None,
    batch: bool,
    max_examples: int,
    seed: int,
    *,
    shrink: bool = True,
) -> Report:
    """What `check` does; without `shrink`, failures are reported at the cases where they were found."""
    started, row = time.perf_counter(), operation_named(operation)
    dtypes = dtype_names(dtypes)
    refuse_the_unusable(row, dtypes, level, max_examples, seed, functions)
    trial = trial_of(row, functions, level, domain, batch)
    names = {kind: name_of(f, kind) for kind, f in functions.items() if f is not None}
    options: dict[str, Any] = {} if level == "standard" else {"level": level}
    options |= {"domain": dict(domain)} if domain else {}
    checks: dict[tuple[str, str], Checked] = {}
    failures: list[Failure] = []
    notes = list(trial.domain.words)
    if set(names) == {"forward"}:
        notes.append(f"{operation}: only a forward was given: no backward pass was judged")
    if not batch:
        notes.append("not tried: leading batch axes; ask with batch=True")
    for dtype in dict.fromkeys(dtypes):
        cases = plan(trial.domain, max(max_examples // len(set(dtypes)), 1))
        found = _tried(trial, cases, dtype, seed, checks, notes, careful=level == "standard", shrink=shrink)
        failures += [replace(failure, functions=names, options=options) for failure in found]
    unique = tuple(dict.fromkeys(notes))
    seconds = time.perf_counter() - started
    return Report(operation, level, tuple(dtypes), seed, tuple(failures), tuple(checks.values()), unique, seconds)


@np.errstate(all="ignore")
def replay(
    operation: str,
    law: str,
    delta: Any,
    *args: Any,
    forward: Function | None = None,
    vjp: Function | None = None,
    jacobian: Function | None = None,
    level: str = "standard",
    domain: Mapping[str, Any] | None = None,
    implementation: Functions | None = None,
) -> None:
    """One law at one case: raises what is wrong, or returns.

    On your functions, as `check` judges them; without any on the reference, or on another `implementation` held to it.

    >>> replay("dot", "vjp_equals_jax_vjp", 1.0, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    """
    row, functions = operation_named(operation), {"forward": forward, "vjp": vjp, "jacobian": jacobian}
    if any(functions.values()):
        trial = trial_of(row, functions, level, domain, batch=True)
    else:
        trial = Trial(implementation or row, everywhere(row), EVERY_LAW)
    if law not in trial.laws:
        raise ValueError(f"unknown law {law!r}; there are {', '.join(trial.laws)}")
    arrays = tuple(np.asarray(a) for a in args)
    violation = trial.first(Case(arrays, np.asarray(delta, arrays[0].dtype), directions(arrays)), law)
    if violation:
        raise violation


def trial_of(
    row: Operation,
    functions: Mapping[str, Function | None],
    level: str,
    domain: Mapping[str, Any] | None,
    batch: bool,
) -> Trial:
    """Somebody's functions of an operation, within a domain, and held to the laws that are asked for."""
    where = domain_of(row, domain)
    left_out = {ABOUT_DERIVATIONS}
    left_out |= {"batch_equals_the_loop"} if not batch else set()
    left_out |= {"masks_count_for_nothing"} if "masks" not in where.promises else set()
    left_out |= {"nan_in_nan_out"} if not where.nan else set()
    asked = {**LAWS, **(TRUTH_LAWS if level == "strict" else {})}
    laws = {name: law for name, law in asked.items() if name not in left_out}
    return Trial(guarded(row, Implementation(**functions)), where, laws, careful=True)


def _tried(
    trial: Trial,
    cases: Sequence[Planned],
    dtype: str,
    seed: int,
    checks: dict[tuple[str, str], Checked],
    notes: list[str],
    *,
    careful: bool,
    shrink: bool,
) -> list[Failure]:
    """One dtype: every case in turn; a law that has failed is not tried again."""
    failed: dict[str, tuple[Violation, Case]] = {}
    costs: dict[int, tuple[float, int]] = {}
    judged: set[str] = set()
    for k, planned in enumerate(cases):
        size = max(planned.sizes.values())
        if planned.part == "long" and not affordable(costs, size):
            notes.append(f"sizes from {size:,} are not tried: time or memory would grow too far")
            continue
        case = made(trial.domain, planned, DTYPES[dtype], seed, k, careful=careful)
        wanted = [law for law in trial.laws if law not in failed and _wanted(law, planned, k)]
        with Cost(costs, size, measure=size > 200 and (size in costs or not near(size, costs))):
            for law, what, found in trial.violations(case, wanted):
                judged |= {what} if law == "vjp_equals_jax_vjp" else set()
                if isinstance(found, Violation):
                    failed[law] = found, case
                checks[law, dtype] = checks.get((law, dtype), Checked(law, dtype)).after(found)
    if set(failed) > {"vjp_is_linear"} and _only_rounded(failed.get("vjp_is_linear"), DTYPES[dtype]):
        del failed["vjp_is_linear"]
        checks["vjp_is_linear", dtype] = replace(checks["vjp_is_linear", dtype], failed=False)
    if judged and "vjp_equals_jax_vjp" not in failed:
        missing = [f"d{name}" for name in trial.row.arguments if f"d{name}" not in judged]
        notes += [f"not judged, since vjp never gave it: {name}" for name in missing]
    told: Mapping[str, tuple[str, str]] = {}
    try:
        told = hints(trial, failed, DTYPES[dtype])
    except Exception as error:  # what failed matters more than why
        notes.append(f"no hints: the search for a cause stopped with {said(error)}")
    failures = [failure_at(trial.row.name, law, *failed[law]) for law in trial.laws if law in failed]
    return [_explained(trial, f, DTYPES[dtype], told.get(f.law, ("", "")), shrink) for f in failures]


def _only_rounded(failure: tuple[Violation, Case] | None, dtype: np.dtype[Any]) -> bool:
    """Whether results that a law compares with each other differ by a rounding: its bound is one for right numbers."""
    if failure is None or failure[0].actual is None or failure[0].expected is None:
        return False
    actual, expected = failure[0].actual, failure[0].expected
    return abs(actual - expected) <= 4 * float(ml_dtypes.finfo(dtype).eps) * max(abs(actual), abs(expected))


def _wanted(law: str, planned: Planned, k: int) -> bool:
    some, tail = k % EVERY == 0 or k < 4, planned.part == "tail"
    if law == "sees_what_changed_in_place" and tail:
        return max(planned.sizes.values()) >= LONG_TAIL or (some and max(planned.sizes.values()) <= 65)
    return law in ALWAYS or (some and (planned.part == "small" or (tail and law in ON_LARGER)))


def _explained(trial: Trial, failure: Failure, dtype: np.dtype[Any], hint: tuple[str, str], shrink: bool) -> Failure:
    """A failure at its smallest case, with its cause, and where in a network it comes from."""
    small = trial.shrunk(failure) if shrink else failure
    points = (trial.point(case) for case in (ordinary_case(trial.domain, dtype), small.case) if case)
    where = first_wrong_layer(trial.row, points, small.law)
    message = small.message.removeprefix("Unusable: ")
    return replace(small, message=message, where=where, cause=hint[0], hint=hint[1])

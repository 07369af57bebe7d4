"""Why is it wrong? A cause and a sentence for a failure, where an experiment or a candidate shows it; never a guess.

The experiments are made on the implementation after a check, at small cases of their own: does it remember, is it
always wrong in the same way, is it wrong at some sizes, at some magnitudes, at a kink? What a law says by itself, as
that an argument is written to, is told by the law.
"""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from ..cases.case import Case
from ..laws.claims import Violation
from ..laws.trial import Trial
from . import comparisons, experiments, ranges
from .candidates import candidates, forward_candidates
from .probe import OutOfTime, Probe, Seen, wrong_in
from .state import Found, state

SECONDS = 1.5
FORMULAS = ("forward_equals_jax", "jacobian_equals_jacrev", "vjp_equals_jax_vjp", "vjp_of_one_equals_jax_grad")
NUMBERS = (  # laws that fail because numbers are wrong
    *FORMULAS,
    "vjp_is_delta_times_jacobian",
    "vjp_is_linear",
    "zero_cotangent_gives_zeros",
    "vjp_is_the_transpose_of_jvp",
    "jacobians_have_the_slides_shapes",
    "softmax_ignores_a_shift",
)
ALONG = (  # laws that fail with them
    "sees_what_changed_in_place",
    "owes_nothing_to_the_last_forward",
    "takes_any_memory_layout",
    "batch_equals_the_loop",
)
MANNERS: tuple[tuple[str, str, str], ...] = (  # what a law's message looks like, cause, what to say of it
    (
        r"(\w+) of (\w+) returned (\w+)",
        "dtype",
        r"\1 computes in \3 where the arguments are \2: a number or an array of \3 takes part, or a cast is missing",
    ),
    (
        r"(\w+) wrote to its argument (.+)",
        "writes-input",
        r"\1 is to work on a copy of \2, or to write a = a + 1 for a += 1: the caller's numbers are gone",
    ),
    (r"(.* shares? memory.*)", "aliasing", r"\1: whoever changes the one changes the other; return a copy"),
)


def hints(trial: Trial, failed: Mapping[str, tuple[Violation, Case]], dtype: np.dtype) -> dict[str, Found]:
    """A cause and a sentence for each law that failed, as far as they are known."""
    until = time.perf_counter() + SECONDS
    found: dict[str, Found] = {}
    for kind in ("forward", "vjp", "jacobian"):
        laws = [law for law, (violation, _) in failed.items() if _kind(violation) == kind]
        if laws:
            with suppress(OutOfTime):
                found |= _of_one(trial, kind, {law: failed[law] for law in laws}, dtype, until)
    return found


def _kind(violation: Violation) -> str:
    """Which function a violation is about: its quantity is `u`, `dx`, `J_x`, or the function's name."""
    word = violation.what.split(" ")[0].split(",")[0]
    if word in ("forward", "vjp", "jacobian"):
        return word
    return "forward" if word == "u" else "jacobian" if word.startswith("J_") else "vjp"


def _of_one(
    trial: Trial, kind: str, failed: Mapping[str, tuple[Violation, Case]], dtype: np.dtype, until: float
) -> dict[str, Found]:
    def probe(kind: str, *, ones: bool = False) -> Probe:
        return Probe(trial.domain, trial.implementation, kind, dtype, until, ones)

    p = probe(kind)
    stale = state(p, probe("forward") if trial.implementation.forward else None)
    if stale:
        return dict.fromkeys(failed, stale)
    last = experiments.cotangent_last(p)
    if last:
        return dict.fromkeys(failed, last)
    found = {}
    for law, (violation, _) in failed.items():
        for pattern, cause, says in MANNERS:
            if match := re.match(pattern, violation.message):
                found[law] = cause, match.expand(says)
    rest = {law: pair for law, pair in failed.items() if law not in found}
    numbers = {law: pair for law, pair in rest.items() if law in NUMBERS}
    value = _value(trial, p, numbers) if numbers else None
    if value is None and "vjp_of_one_equals_jax_grad" in numbers:
        value = _always(probe(kind, ones=True))
        value = value and (value[0], f"for delta = 1, {value[1]}")
    if value:
        return found | {law: value for law in rest if law in NUMBERS or law in ALONG}
    if not numbers:
        found |= {law: told for law, (v, _) in rest.items() if (told := _of_a_law(p, law, v))}
    written = next((told for told in found.values() if told[0] == "writes-input"), None)
    return found | dict.fromkeys(rest, written) if written and not numbers else found


def _value(trial: Trial, p: Probe, failed: Mapping[str, tuple[Violation, Case]]) -> Found | None:
    """What is wrong with the numbers."""
    found = _always(p)
    if found:
        return found
    _, case = next(iter(failed.values()))
    if not all(map(p.right, p.ordinary())):
        found = comparisons.clipped(p, case) or comparisons.epsilon(p, case)
        return found or ranges.one_size(p, case) or ranges.tile(p, case) or ranges.overflow(p, case)

    def breaks(at: Case) -> bool:
        return any(trial.first(at, law) for law in failed if law in FORMULAS)

    return (
        _among(p, p.square())
        or comparisons.clipped(p, case)
        or ranges.wrong_at_one(p, case, breaks)
        or _single(p, case)
        or ranges.one_size(p, case)
        or ranges.tile(p, case)
        or ranges.kink(p, breaks)
        or ranges.overflow(p, case)
        or comparisons.epsilon(p, case)
    )


def _always(p: Probe) -> Found | None:
    """What is wrong with a function at ordinary cases, if it is at most of them."""
    seen = [p.see(case) for case in p.ordinary()]
    if not any(seen):  # it raises, unless matrices are square
        return _among(p, p.square())
    sure = [one for one in seen if one]
    if len(sure) < len(seen) or sum(bool(one.wrong) for one in sure) < len(sure) / 2:
        return None
    found = _formula(p, sure)  # even if a rectifier hides what is wrong at some
    if found or not all(one.wrong for one in sure):
        return found
    return (
        experiments.cotangent_takes_no_part(p, sure)
        or experiments.factor(p, sure)
        or comparisons.exchanged(p, sure)
        or comparisons.ratio(p, sure)
        or experiments.targets(p)
        or experiments.shorter_format(p, sure)
        or experiments.one_argument_rounded(p, sure)
        or experiments.single_entry(p, sure)
        or experiments.only_one(p)
    )


def _among(p: Probe, cases: Sequence[Case]) -> Found | None:
    seen = [p.see(case) for case in cases]
    return _formula(p, [one for one in seen if one]) if all(seen) else None


def _formula(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """The first candidate that gives the very numbers which are wrong."""
    for candidate in (forward_candidates if p.kind == "forward" else candidates)(p.row):
        if p.explained(partial(p.by, candidate.f), seen, clearly=candidate.clearly):
            return candidate.cause, f"{p.are(wrong_in(seen))} {candidate.says}"
    return None


def _single(p: Probe, failing: Case) -> Found | None:
    """At the sizes of a failing case, and a little beyond."""
    sizes = p.sizes(failing)
    seen = [p.see(p.case({letter: n + k for letter, n in sizes.items()}, k)) for k in range(4)]
    return experiments.single_entry(p, [one for one in seen if one]) if all(seen) else None


def _of_a_law(p: Probe, law: str, violation: Violation) -> Found | None:
    """What follows from a law that fails where the numbers of contiguous single examples are right."""
    if law == "takes_any_memory_layout" and violation.claim is not None and all(map(p.right, p.ordinary())):
        layout = violation.what.partition("arguments ")[2]
        return "layout", (
            f"right for contiguous arguments, wrong where they are {layout}: "
            "the memory is read as if it were contiguous, whatever the strides say"
        )
    return ranges.batch_mean(p) if law == "batch_equals_the_loop" else None

"""Why is it wrong? A cause and a sentence for a failure, where an experiment or a candidate shows it; never a guess.

The experiments are made on the implementation after a check, at small cases of their own: does it remember, is it
always wrong in the same way, is it wrong at some sizes, at some magnitudes, at a kink? What a law says by itself, as
that an argument is written to, is told by the law.
"""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from backprop_oracle.definition import Definition

from ..cases.case import Case
from ..cases.layouts import LAYOUTS, OVERLAPPING, REFUSABLE
from ..laws.claims import Violation
from ..laws.failure import function_of
from ..laws.points import FORMULAS
from ..laws.trial import Trial
from ..laws.truth import TRUTH_LAWS
from . import comparisons, digits, experiments, ranges
from .candidates import candidates, forward_candidates
from .changed_arguments import changed_arguments, changed_results
from .changed_programs import changed_program
from .constants import another_constant
from .probe import OutOfTime, Probe, Seen, wrong_in
from .state import Found, state

SECONDS = 4.0  # of a machine that may be busy; most causes are found in a tenth of it
NEVER_SEEN = 97  # of the cases of some sizes, one that nothing else draws
AS_CONTIGUOUS = "the memory is read as if it were contiguous, whatever the strides say"
READ: Mapping[str, str] = {  # how other memory is read
    "unaligned": "the memory is read as if it were aligned",
    "big-endian": "the bytes are read in the order of this machine",
    OVERLAPPING: "one is written to while another is read",
}
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
    (
        r"(\w+) returned (?:other bits|nothing) when another thread called (\w+)",
        "threads",
        r"\1 keeps numbers outside of the call, in a buffer, a global or an attribute, where a call of \2 by another "
        "thread replaces them: it is to work on arrays of its own, or to hold a lock until it returns",
    ),
)


def hints(trial: Trial, failed: Mapping[str, tuple[Violation, Case]], dtype: np.dtype) -> dict[str, Found]:
    """A cause and a sentence for each law that failed, as far as they are known."""
    until = time.perf_counter() + SECONDS
    found: dict[str, Found] = {}
    for kind in ("forward", "vjp", "jacobian"):
        laws = [law for law, (violation, _) in failed.items() if function_of(violation.what, violation.message) == kind]
        if laws:
            with suppress(OutOfTime):
                found |= _of_one(trial, kind, {law: failed[law] for law in laws}, dtype, until)
    return found


def _of_one(
    trial: Trial, kind: str, failed: Mapping[str, tuple[Violation, Case]], dtype: np.dtype, until: float
) -> dict[str, Found]:
    def probe(kind: str, *, ones: bool = False) -> Probe:
        return Probe(trial.domain, trial.implementation, kind, dtype, until, ones, trial.constants)

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
        found |= {law: told for law, pair in rest.items() if (told := _of_a_law(trial, p, law, *pair))}
    layout, batch = (rest.get(law) for law in ("takes_any_memory_layout", "batch_equals_the_loop"))
    if layout and batch and "takes_any_memory_layout" in found and " arguments " in batch[0].what:
        found["batch_equals_the_loop"] = found["takes_any_memory_layout"]  # a batch of contiguous arrays is right
    written = next((told for told in found.values() if told[0] == "writes-input"), None)
    return found | dict.fromkeys(rest, written) if written and not numbers else found


def _value(trial: Trial, p: Probe, failed: Mapping[str, tuple[Violation, Case]]) -> Found | None:
    """What is wrong with the numbers."""
    found = _always(p)
    if found:
        return found
    _, case = next(iter(failed.values()))

    def breaks(at: Case) -> bool:
        return any(trial.first(at, law) for law in failed if law in (*FORMULAS, *TRUTH_LAWS))

    if not all(map(p.right, p.ordinary())):
        found = comparisons.clipped(p, case) or comparisons.epsilon(p, case)
        return found or ranges.one_size(p, case) or ranges.tile(p, case) or ranges.overflow(p, case)

    return (
        _among(p, p.square())
        or comparisons.clipped(p, case)
        or ranges.wrong_at_one(p, case, breaks)
        or _single(p, case)
        or ranges.constant_integers(p)
        or ranges.one_size(p, case)
        or ranges.tile(p, case)
        or ranges.kink(p, breaks)
        or digits.extremes(p, case, breaks)
        or ranges.overflow(p, case)
        or comparisons.epsilon(p, case)
        or digits.rounding(p, case, breaks)
    )


def _always(p: Probe) -> Found | None:
    """What is wrong with a function at ordinary cases, if it is at most of them."""
    seen = [p.see(case) for case in p.ordinary()]
    if not any(seen):  # it raises, unless matrices are square
        return _among(p, p.square())
    sure = [one for one in seen if one]
    if p.row.integers:  # what a mask or labels make 0, and nothing makes wrong, tells nothing
        wrong = wrong_in(sure)
        sure = [one for one in sure if one.wrong or any(np.any(one.truth[i]) for i in wrong)]
    if None in seen or not wrong_in(sure) or sum(bool(one.wrong) for one in sure) < len(sure) / 2:
        return None
    found = _formula(p, sure)  # even if a rectifier hides what is wrong at some
    if found or not all(one.wrong for one in sure):
        found = found or changed_arguments(p, sure) or changed_program(p, sure) or changed_results(p, sure)
        return found or another_constant(p, sure)
    return (
        experiments.cotangent_takes_no_part(p, sure)
        or experiments.factor(p, sure)
        or comparisons.unsummed(p, sure)
        or comparisons.exchanged(p, sure)
        or comparisons.ratio(p, sure)
        or changed_arguments(p, sure)
        or changed_program(p, sure)
        or changed_results(p, sure)
        or experiments.targets(p)
        or experiments.shorter_format(p, sure)
        or experiments.one_argument_rounded(p, sure)
        or experiments.single_entry(p, sure)
        or experiments.single_slice(p, sure)
        or another_constant(p, sure)
        or experiments.only_one(p)
    )


def _among(p: Probe, cases: Sequence[Case]) -> Found | None:
    seen = [one for one in map(p.see, cases) if one]
    if len(seen) < len(cases):
        return None
    found = _formula(p, seen) or changed_arguments(p, seen) or changed_program(p, seen) or changed_results(p, seen)
    return found or (comparisons.exchanged(p, seen) if isinstance(p.row, Definition) and wrong_in(seen) else None)


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


def _of_a_law(trial: Trial, p: Probe, law: str, violation: Violation, case: Case) -> Found | None:
    """What follows from a law that fails where the numbers of contiguous single examples are right."""
    if law == "takes_any_memory_layout" and violation.claim is not None and all(map(p.right, p.ordinary())):
        return _layout(trial, p, violation, case)
    return ranges.batch_mean(p) if law == "batch_equals_the_loop" else None


def _layout(trial: Trial, p: Probe, violation: Violation, case: Case) -> Found | None:
    """Whether it is the layout that is read wrongly: not if the same numbers are as wrong in any other, nor if numbers
    that were never seen are right in this one.
    """
    name = violation.what.partition("arguments ")[2]
    points = [replace(case, args=tuple(args), delta=delta) for delta, *args in violation.at]
    if any(trial.first(at, formula) for at in points or [case] for formula in FORMULAS if formula in trial.laws):
        return None
    lay, fresh = {**LAYOUTS, **REFUSABLE}.get(name), p.case(p.sizes(case), NEVER_SEEN)
    if lay and p.right(fresh, lay):
        return None
    where = name if re.match("(where|that|whose|of which) ", name) else f"that are {name}"
    return "layout", f"right for contiguous arguments, wrong for those {where}: {READ.get(name, AS_CONTIGUOUS)}"

"""Why is it wrong? A cause and a sentence for a failure, where an experiment or a candidate shows it; never a guess.

The experiments are made on the implementation after a check, at small cases of their own: does it remember, is it
always wrong in the same way, is it wrong at some sizes, at some magnitudes, at a kink? What a law says by itself, as
that an argument is written to, is told by the law.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from ..claims import Violation
from ..inputs import Case
from . import experiments, ranges
from .candidates import candidates, forward_candidates
from .memory import Found, state
from .probe import OutOfTime, Probe

if TYPE_CHECKING:
    from .check import Trial

SECONDS = 1.5
FORMULAS = (
    "forward_equals_jax",
    "jacobian_equals_jacrev",
    "vjp_equals_jax_vjp",
    "vjp_of_one_equals_jax_grad",
)  # what they say is said by an experiment
MANNERS: Mapping[str, tuple[tuple[str, str, str], ...]] = {  # law: part of its message, cause, sentence
    "keeps_the_dtype": (
        ("returned", "dtype", "numbers are right, but they come in another dtype than the arguments'"),
    ),
    "leaves_its_inputs_alone": (
        ("wrote to", "writes-input", "an argument is written to, and the caller's numbers are gone: work on a copy"),
        (
            "share",
            "aliasing",
            "a result is the memory of something else: who changes one changes the other; return a copy",
        ),
    ),
}


def hints(trial: "Trial", failed: Mapping[str, tuple[Violation, Case]], dtype: np.dtype) -> dict[str, Found]:
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
    trial: "Trial", kind: str, failed: Mapping[str, tuple[Violation, Case]], dtype: np.dtype, until: float
) -> dict[str, Found]:
    def probe(kind: str, *, ones: bool = False) -> Probe:
        return Probe(trial.domain, trial.implementation, kind, dtype, until, ones)

    p = probe(kind)
    stale = state(p, probe("forward") if trial.implementation.forward else None)
    if stale:
        return dict.fromkeys(failed, stale)
    found = {}
    for law, (violation, _) in failed.items():
        for part, cause, says in MANNERS.get(law, ()):
            if part in violation.message:
                found[law] = cause, f"{violation.message}: {says}"
    rest = {law: pair for law, pair in failed.items() if law not in found}
    if not rest:
        return found
    value = _value(trial, p, rest)
    if value is None and kind == "vjp" and "vjp_of_one_equals_jax_grad" in rest:
        value = _always(probe(kind, ones=True))
        value = value and (value[0], f"for delta = 1, {value[1]}")
    if value:
        return found | dict.fromkeys(rest, value)
    for law, (violation, case) in rest.items():
        said = _of_a_law(p, law, violation, case, others=set(rest) - {law})
        if said:
            found[law] = said
    written = next((told for told in found.values() if told[0] == "writes-input"), None)
    return dict.fromkeys(failed, written) if written else found


def _value(trial: "Trial", p: Probe, failed: Mapping[str, tuple[Violation, Case]]) -> Found | None:
    """What is wrong with the numbers."""
    found = _always(p)
    if found:
        return found
    _, case = next(iter(failed.values()))
    if all(map(p.right, p.ordinary())):
        return (
            _formula(p, p.square())
            or ranges.wrong_at_one(p)
            or _single(p, case)
            or ranges.tile(p)
            or ranges.kink(p, lambda at: any(trial.first(at, law) for law in failed))
            or ranges.overflow(p, case)
        )
    return ranges.tile(p) or ranges.overflow(p, case)


def _always(p: Probe) -> Found | None:
    """What is wrong with a function at ordinary cases, if it is at most of them."""
    cases = p.ordinary()
    wrong = [p.wrong(case) for case in cases]
    if all(w is None for w in wrong):
        cases = p.square()
        wrong = [p.wrong(case) for case in cases]
    if None in wrong or sum(map(bool, wrong)) < len(cases) / 2:  # a rectifier may hide what is wrong
        return None
    found = _formula(p, cases)
    if found or not all(wrong):
        return found
    return (
        experiments.cotangent_takes_no_part(p, cases)
        or experiments.factor(p, cases)
        or experiments.targets(p)
        or experiments.shorter_format(p, cases)
        or experiments.one_argument_rounded(p, cases)
        or experiments.single_entry(p, cases)
        or experiments.only_one(p)
    )


def _formula(p: Probe, cases: list[Case]) -> Found | None:
    """The first candidate that gives the very numbers which are wrong."""
    for candidate in (forward_candidates if p.kind == "forward" else candidates)(p.row):
        if p.explains(candidate.f, cases, clearly=candidate.clearly):
            wrong = {i for case in cases for i in p.wrong(case) or ()}
            return candidate.cause, f"{p.are(wrong)} {candidate.says}"
    return None


def _single(p: Probe, failing: Case) -> Found | None:
    sizes = p.sizes(failing)
    return experiments.single_entry(p, [p.case({letter: n + k for letter, n in sizes.items()}, k) for k in range(4)])


def _of_a_law(p: Probe, law: str, violation: Violation, case: Case, others: set[str]) -> Found | None:
    """What follows from a law that fails where the numbers are right for fresh, contiguous single examples."""
    if others & set(FORMULAS):
        return None
    if law == "takes_any_memory_layout" and violation.claim is not None and all(map(p.right, p.ordinary())):
        layout = violation.what.partition("arguments ")[2]
        return "layout", (
            f"right for contiguous arrays, wrong where the arguments are {layout}: "
            "the memory is read as if it were contiguous, whatever the strides say"
        )
    if law == "batch_equals_the_loop" and violation.claim is not None:
        return ranges.batch_mean(p)
    return None

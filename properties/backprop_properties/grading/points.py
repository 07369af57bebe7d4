"""What was found of an exercise, in words, and the points for what holds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from ..checking.report import HANGS
from ..checking.tasks import FOLDER
from ..checking.verdict import PARTS, RIGHT, WRONG
from .assignment import CRITERIA, Exercise

if TYPE_CHECKING:
    from ..checking.report import Report
    from ..laws.failure import Failure

MISSING, NOT_REACHED, NOT_WRITTEN, CRASHED, TOO_SLOW = "missing", "not reached", "not written", "crashed", "too slow"
WRONG_FORM, INCOMPLETE, IN_PART = "wrong form", "incomplete", "right in part"
UNSTABLE, RUDE = "unstable", "bad manners"
NEVER_JUDGED = (MISSING, NOT_REACHED, NOT_WRITTEN, CRASHED, TOO_SLOW, WRONG_FORM)
MEANINGS: Mapping[str, str] = {  # of what is said of a function, the worst first: all that is told at the lowest level
    MISSING: "there is no function of this name",
    NOT_REACHED: "its file, or cell, fails before it is defined",
    NOT_WRITTEN: "it raises NotImplementedError, or returns None",
    CRASHED: "it raises at every argument, or ends its process",
    TOO_SLOW: "a call takes too long",
    WRONG_FORM: "it returns no array, or another number of results",
    WRONG: "its numbers are not the right ones",
    INCOMPLETE: "some gradients are not given",
    IN_PART: "its numbers are right for some arguments only, as for one-hot targets",
    UNSTABLE: "right for ordinary numbers, and not for large or small ones",
    RUDE: "right, but it surprises its callers, as by writing to its arguments",
    RIGHT: "",
}
WORDS = tuple(MEANINGS)
OF_STATES = {"raises": CRASHED, "does not return": CRASHED}  # words for what `check` says otherwise
PLACE = re.compile(rf"[^\s'\"]*/{FOLDER.format('[0-9]+')}[a-z0-9_]{{8}}/?")
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")  # of an object, another in every run


class Said(msgspec.Struct, frozen=True):
    """What is said of a function: a word, the parts of its verdict, and which of its gradients were not given.

    Of a vjp with some `wrong` gradients the parts are those of the others, and `others` is the word for these.
    """

    word: str
    formula: str = ""
    range: str = ""
    digits: str = ""
    manners: str = ""
    not_given: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    others: str = ""

    @property
    def ran(self) -> bool:
        """Whether there were numbers to judge."""
        return self.word not in NEVER_JUDGED


class Fault(msgspec.Struct, frozen=True):
    """A fault, and the more that one may see of it: its cause, where it shows, and all there is."""

    kind: str
    part: str
    cause: str = ""  # a short name
    hint: str = ""
    shown: str = ""
    whole: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What was found of an exercise: of each function that was asked for, and each fault; `lost` is why nothing was."""

    functions: Mapping[str, Said]
    faults: tuple[Fault, ...] = ()
    lost: str = ""

    @property
    def word(self) -> str:
        """The worst that is said of a function."""
        return min((said.word for said in self.functions.values()), key=WORDS.index)

    def with_more(self, other: "Outcome") -> "Outcome":
        """This, and what was found of other functions, or of the same without its wrong gradients."""
        known = {(fault.kind, fault.part, fault.cause or fault.hint) for fault in self.faults}
        more = [f for f in other.faults if (f.kind, f.part, f.cause or f.hint) not in known]
        return Outcome({**self.functions, **other.functions}, (*self.faults, *more), self.lost or other.lost)

    def without(self, wrong: Sequence[str]) -> "Outcome":
        """This, which is of a vjp without some gradients, as that of the vjp with them."""
        (said,) = self.functions.values()
        names = tuple(f"d{name}" for name in wrong)
        missing = tuple(d for d in said.not_given if d not in names)
        others = RIGHT if said.word == INCOMPLETE and not missing else said.word
        with_them = msgspec.structs.replace(said, word=WRONG, not_given=missing, wrong=names, others=others)
        return Outcome({"vjp": with_them}, self.faults, self.lost)


def outcome_of(report: "Report", exercise: Exercise, names: Mapping[str, str], seconds: float) -> Outcome:
    """The outcome of the functions that a check was given; what it did not hold against them is right.

    A call had so many `seconds`.
    """
    functions = {}
    groups = [group for group in report.groups() if group[0].part in (*report.held, "")]
    for kind in (kind for kind in names if kind in report.verdicts):
        verdict = report.verdicts[kind]
        held: dict[str, Any] = {part: getattr(verdict, part) if part in report.held else RIGHT for part in PARTS}
        word = OF_STATES.get(verdict.state, verdict.state)
        if any(f.cause == HANGS for f, *_ in groups if f.function == kind):
            word, held["formula"] = TOO_SLOW, _too_long(seconds)
        if word == WRONG and any(_of_form(f) for f, *_ in groups if f.function == kind):
            word, held["formula"] = WRONG_FORM, ""
        if word in (UNSTABLE, RUDE) and {*held.values()} == {RIGHT}:
            word = RIGHT
        not_given = tuple(d for d in report.missing if kind == "vjp" and d.removeprefix("d") in exercise.gradients)
        functions[kind] = Said(INCOMPLETE if word == RIGHT and not_given else word, **held, not_given=not_given)
    return Outcome(functions, tuple(_fault(first, seconds) for first, *_ in groups))


def wrong_gradient(report: "Report", judged: Sequence[str]) -> str:
    """The argument whose gradient is wrong, by the first failure that can be put on one of several; or nothing."""
    failures = [f for f in report.failures if (f.function, f.part) == ("vjp", PARTS[0])]
    no_arrays = [re.match(r"vjp returned as d(\w+) ", f.message) for f in failures]
    names = [found[1] if found else f.argument for found, f in zip(no_arrays, failures, strict=True)]
    return next((name for name in names if name in judged), "") if len(judged) > 1 else ""


def _of_form(failure: "Failure") -> bool:
    """Whether a failure is of a result that is no array, or not as many as were asked for."""
    return failure.part == PARTS[0] and failure.message.startswith(f"{failure.function} returned ")


def _fault(first: "Failure", seconds: float) -> Fault:
    """A fault, by the failure that shows it best. Where somebody's code hung is another line in every run."""
    first = replace(first, accepts="", hint=first.hint or (first.message if first.actual is None else ""))
    if first.cause == HANGS:
        first = replace(first, hint=_too_long(seconds), message="does not return")
    return Fault(
        first.function, first.part, first.cause, first.hint, steady(first.summary(hint=False)), steady(str(first))
    )


def _too_long(seconds: float) -> str:
    return f"a call takes more than {seconds:g} s"


def steady(text: str) -> str:
    """A text without what is another in every run: where an object is, and where a submission's files were."""
    return PLACE.sub("", ADDRESS.sub("0x…", text))


def held(exercise: Exercise, outcome: Outcome) -> dict[str, float]:
    """How much of each criterion holds, from 0 to 1.

    Of a function that gives wrong numbers neither stability nor manners count: something else is stable.
    """
    asked = {kind: outcome.functions.get(kind, Said(MISSING)) for kind in exercise.functions}
    formula = {kind: _formula(exercise, said) for kind, said in asked.items()}
    stable = {
        kind: formula[kind] * ((said.range == RIGHT) + (said.digits == RIGHT)) / 2 for kind, said in asked.items()
    }
    polite = {kind: formula[kind] * (said.manners == RIGHT) for kind, said in asked.items()}
    forward = {kind: share for kind, share in formula.items() if kind == "forward"}
    backward = {kind: share for kind, share in formula.items() if kind != "forward"}
    return dict(zip(CRITERIA, map(_mean, (forward, backward, stable, polite)), strict=True))


def _formula(exercise: Exercise, said: Said) -> float:
    """1 for right numbers; half of it if they are right for some arguments only, a share for some gradients only."""
    word = said.others or said.word
    if word in (*NEVER_JUDGED, WRONG):
        return 0.0
    lacking = len(said.not_given) + len(said.wrong)
    return (0.5 if word == IN_PART else 1.0) * (1 - lacking / len(exercise.gradients))


def _mean(shares: Mapping[str, float]) -> float:
    return sum(shares.values()) / len(shares) if shares else 0.0


def points(exercise: Exercise, outcome: Outcome) -> dict[str, tuple[float, float]]:
    """The points of each criterion that counts: those that are earned, and those that there are."""
    whole, shares = sum(exercise.weights.values()), held(exercise, outcome)
    most = {name: exercise.points * weight / whole for name, weight in exercise.weights.items() if weight}
    return {name: (most[name] * shares[name], most[name]) for name in CRITERIA if name in most}


def earned(exercise: Exercise, outcome: Outcome) -> float:
    """The points of an exercise, in hundredths: all of them are exactly what it is worth."""
    parts = points(exercise, outcome)
    if all(got == most for got, most in parts.values()):
        return exercise.points
    return min(round(sum(got for got, _ in parts.values()), 2), exercise.points)


def shown_points(number: float) -> str:
    """Points as people write them.

    >>> shown_points(2.5), shown_points(4.0), shown_points(1 / 3)
    ('2.5', '4', '0.33')
    """
    return f"{round(number, 2):.2f}".rstrip("0").rstrip(".")


def shown_of(got: float, most: float) -> str:
    """Points of those that there are: `2.6 of 9`."""
    return f"{shown_points(got)} of {shown_points(most)}"

"""The verdict on a function: on its formula, its range, its digits and its manners."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

PARTS = ("formula", "range", "digits", "manners")
HELD: Mapping[str, tuple[str, ...]] = {"formula": PARTS[:1], "standard": PARTS, "strict": PARTS}  # against it, by level
KINDS = ("forward", "jacobian", "vjp")
RIGHT, WRONG, NOT_JUDGED = "right", "wrong", "not judged"
NOISE = "noise"  # a cause: repeated calls differ, and chance decides on digits
NEVER_RAN = ("not written", "raises", "does not return")
NARROW, RUDE = "right in part", "bad manners"
STATES = (*NEVER_RAN, WRONG, NARROW, "unstable", RUDE, RIGHT, "missing")  # the worst first


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a function: a word for all of it, and of each part "right" or what is wrong there."""

    state: str = RIGHT  # or unstable, bad manners, wrong, raises, not written, missing
    formula: str = RIGHT
    range: str = RIGHT
    digits: str = RIGHT
    manners: str = RIGHT

    @property
    def word(self) -> str:
        """The state, in capitals where something is wrong."""
        return self.state if self.state == RIGHT else self.state.upper()

    def __str__(self) -> str:
        if self.state in NEVER_RAN:
            return f"{self.state}: {self.formula}"
        words = {part: getattr(self, part) for part in PARTS}
        if set(words.values()) == {RIGHT}:
            return RIGHT
        told = [part for part in PARTS if words[part] != NOT_JUDGED]
        said = [f"{part}{'' if words[part] in (RIGHT, WRONG) else ':'} {words[part]}" for part in told]
        left = [part for part in PARTS if part not in told]
        return "; ".join([*said[:1], *[f"{' and '.join(left)} {NOT_JUDGED}"] * bool(left), *said[1:]])

    def narrowed(self, words: str) -> "Verdict":
        """The verdict on a function that is right for some arguments only."""
        if self.formula != RIGHT:
            return self
        worse = STATES.index(self.state) < STATES.index(NARROW)
        return replace(self, state=self.state if worse else NARROW, formula=words)

    def rude(self, words: str) -> "Verdict":
        """The verdict on a function whose manners are bad, whatever else is to be said."""
        worse = STATES.index(self.state) < STATES.index(RUDE)
        return replace(self, state=self.state if worse else RUDE, manners=words)

    def to_dict(self) -> dict[str, str]:
        return {"state": self.state, **{part: getattr(self, part) for part in PARTS}}


def together(by_dtype: Mapping[str, Mapping[str, Verdict]]) -> dict[str, Verdict]:
    """A verdict on each function, of all dtypes: of each part what is wrong in the first that it is wrong in."""
    found: dict[str, Verdict] = {}
    for kind in KINDS:
        of = {dtype: said[kind] for dtype, said in by_dtype.items() if kind in said}
        if not of:
            continue
        worst = min((said.state for said in of.values()), key=STATES.index)
        parts = {}
        for part in PARTS:
            wrong = {dtype: getattr(said, part) for dtype, said in of.items() if getattr(said, part) != RIGHT}
            where = f" ({', '.join(wrong)})" if len(wrong) < len(of) else ""
            parts[part] = f"{next(iter(wrong.values()))}{where}" if wrong else RIGHT
        found[kind] = Verdict(worst, **parts)
    return found

"""One function of an implementation, compared with the right results: the tool of all experiments behind a hint.

A forward, a vjp and a Jacobian are probed alike, as functions of a cotangent and the arguments that return one array
for each quantity: a forward takes no notice of the cotangent, a Jacobian is multiplied by it. The right results are
the reference's, in float64.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from backprop_oracle.autodiff import evaluated
from backprop_oracle.definition import Definition

from ..cases.case import Array, Case, sizes_of
from ..cases.domains import Domain, into_the_domain
from ..cases.plan import ordinary_case
from ..cases.shapes import unequal_sizes
from ..laws.points import Functions

ORDINARY = 6  # cases
SECONDS = 10.0  # for each function, of a machine that may be very busy; it takes a few tenths of one
PREFIX = {"forward": "", "vjp": "d", "jacobian": "J_"}

Results = list[Array | None]


class Seen(NamedTuple):
    """Results at a case, the right ones, by number the wrong ones with a mask of their wrong entries, and the sizes of
    the terms that each is made of.
    """

    case: Case
    got: Results
    truth: list[Array]
    wrong: dict[int, Array]
    sizes: list[float]


def wrong_in(seen: Sequence[Seen]) -> set[int]:
    """The numbers of the results that are wrong at any of some cases."""
    return {i for one in seen for i in one.wrong}


class Probe:
    """The forward, vjp or jacobian (`kind`) of an implementation; `OutOfTime` after `until`; `ones`: `delta` is 1;
    `constants` are the numbers of its code.
    """

    def __init__(
        self,
        domain: Domain,
        implementation: Functions,
        kind: str,
        dtype: np.dtype[Any],
        until: float,
        ones: bool = False,
        constants: Sequence[float] = (),
    ) -> None:
        self.domain, self.row, self.implementation = domain, domain.operation, implementation
        self.kind, self.dtype, self.until, self.ones, self.constants = kind, dtype, until, ones, constants
        self.letters = self.row.letters
        self.names = ["u"] if kind == "forward" else [PREFIX[kind] + name for name in self.row.arguments]
        self.varied = (*self.row.arguments, *["delta"] * (kind == "vjp" and not ones))
        self.real = tuple(name for name in self.varied if name not in self.row.integers)  # not of integers
        self.largest = float(ml_dtypes.finfo(dtype).max)
        self.eps = float(ml_dtypes.finfo(dtype).eps)

    # ── Cases ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def case(self, sizes: Mapping[str, int], k: int = 0) -> Case:
        """Ordinary numbers of these sizes; letters that are not given are small and unequal."""
        return self.at(ordinary_case(self.domain, self.dtype, {**self.unequal(0), **sizes}, k))

    def unequal(self, k: int) -> dict[str, int]:
        return unequal_sizes(self.row, k)

    def ordinary(self) -> list[Case]:
        """Small cases of sizes that differ among the letters, and from case to case."""
        return [self.case(self.unequal(k), k) for k in range(ORDINARY)]

    def square(self) -> list[Case]:
        """Cases whose matrices are square."""
        return [self.case(dict.fromkeys(self.letters, n), n) for n in (4, 5, 6)]

    def at(self, case: Case, **changed: Array) -> Case:
        """A case with some arguments, or `delta`, replaced, and moved into the domain."""
        args = tuple(changed.get(name, a) for name, a in zip(self.row.arguments, case.args, strict=True))
        delta = np.ones_like(case.delta) if self.ones else changed.get("delta", case.delta)
        return into_the_domain(self.domain, replace(case, args=args, delta=delta))

    def array(self, case: Case, name: str) -> Array:
        """An argument of a case, or `delta`, by its name."""
        return case.delta if name == "delta" else case.args[self.row.arguments.index(name)]

    def changed(self, case: Case, name: str, change: Callable[[Array], Array]) -> Case:
        return self.at(case, **{name: change(self.array(case, name))})

    def scaled(self, case: Case, by: float) -> Case:
        """A case with all its arguments multiplied."""
        return self.at(case, **{n: self.array(case, n) * case.dtype.type(by) for n in self.real if n != "delta"})

    # ── Results ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def in_time(self) -> None:
        if time.perf_counter() > self.until:
            raise OutOfTime

    def raw(self, delta: Array, args: Sequence[Array]) -> Results:
        """What the implementation returns for these very arrays, not copies; `Raised` if it raises anything."""
        self.in_time()
        try:
            with np.errstate(all="ignore"):
                f = getattr(self.implementation, self.kind)
                if self.kind == "forward":
                    return [f(*args)]
                if self.kind == "vjp":
                    return list(f(delta, *args))
                return [None if J is None else _contracted(delta, J) for J in f(*args)]
        except Exception as error:
            raise Raised from error

    def ask(self, case: Case) -> Results | None:
        """The implementation's results on copies of the arguments, as float64; None if it raises."""
        try:
            results = self.raw(case.delta.copy(), [a.copy() for a in case.args])
        except Raised:
            return None
        return [None if r is None else np.array(r, np.float64) for r in results]

    def point(self, case: Case) -> list[Array]:
        """What goes into the definition's program: numbers in float64, integers as they are."""
        arrays = (case.delta, *case.args) if self.kind == "vjp" else case.args
        return [a if a.dtype.kind in "iub" else a.astype(np.float64) for a in arrays]

    def truth(self, case: Case) -> list[Array]:
        if self.kind == "forward":
            return self.by(lambda _, *args: (self.row.forward(*args),), case)
        return self.by(self.row.vjp, case)

    def by(self, f: Callable[..., Any], case: Case) -> list[Array]:
        """What a function of the cotangent and the arguments returns, in float64; nothing for integers."""
        delta, *args = map(_wide, (case.delta, *case.args))
        self.in_time()
        with np.errstate(all="ignore"):
            return [np.zeros(0) if r is None else np.asarray(r) for r in f(delta, *args)]

    def size(self, case: Case, truth: Array) -> float:
        """How large the terms of a result of the lecture's are: `max |truth|`, and for a number also `Σ |a ∂u/∂a|`,
        since they may cancel.
        """
        size = float(np.abs(truth).max(initial=0.0))
        if self.kind == "forward" and not truth.ndim:
            args = list(map(_wide, case.args))
            with np.errstate(all="ignore"):
                slopes = self.row.vjp(np.float64(1), *args)
                pairs = zip(args, slopes, strict=True)
                size += float(sum(np.abs(a * d).sum() for a, d in pairs if d is not None))
        return size

    def term_sizes(self, case: Case, truth: Sequence[Array]) -> list[float]:
        """How large each result's terms are; a definition's by what rounding may do to it, which is 8 eps of a few, as
        far as that is known: nothing would be seen to be wrong by an infinite one.
        """
        if not isinstance(self.row, Definition) or self.kind == "jacobian":
            return [self.size(case, t) for t in truth]
        largest = [float(np.max(bound, initial=0.0)) for bound in self.bounds(case, self.dtype)]
        pairs = zip(truth, (bound if np.isfinite(bound) else 0.0 for bound in largest), strict=True)
        return [max(float(np.abs(t).max(initial=0.0)), bound / (8 * self.eps)) for t, bound in pairs]

    def bounds(self, case: Case, dtype: Any = np.float64) -> list[Array]:
        """What rounding in a format may do to each result of a definition, entry by entry."""
        self.in_time()
        said = evaluated(self.row, case.delta, case.args, dtype=np.dtype(dtype), careful=True)
        answers = [said.forward] if self.kind == "forward" else said.vjp
        return [np.zeros(()) if a is None else np.asarray(a.bound) for a in answers]

    def off(self, case: Case, got: Array, want: Array, size: float) -> Array:
        """Which entries differ by more than rounding; all of them if the shapes do."""
        if got.shape != want.shape:
            return np.ones(want.shape, bool)
        longest = max((a.size for a in (*case.args, case.delta)), default=1)
        allowed = (8 * (8 + longest**0.5) if self.eps < 1e-6 else 16) * self.eps * size
        with np.errstate(invalid="ignore"):
            return ~((got == want) | (np.abs(got - want) <= allowed) | (np.isnan(got) & np.isnan(want)))

    def see(self, case: Case) -> "Seen | None":
        """The results at a case beside the right ones; None if the function raises."""
        got = self.ask(case)
        if got is None:
            return None
        truth = self.truth(case)
        sizes = self.term_sizes(case, truth)
        return Seen(case, got, truth, self.apart(case, got, truth, sizes), sizes)

    def apart(
        self, case: Case, got: Results, truth: Sequence[Array], sizes: Sequence[float] | None = None
    ) -> dict[int, Array]:
        """The wrong results, with a mask of their wrong entries."""
        found = {}
        sizes = self.term_sizes(case, truth) if sizes is None else sizes
        for i, (r, t) in enumerate(zip(got, truth, strict=True)):
            if r is not None:
                mask = self.off(case, r, t, sizes[i])
                if mask.any() or r.shape != t.shape:
                    found[i] = mask
        return found

    def right(self, case: Case, lay: Callable[[Array], Array] | None = None) -> bool:
        """Whether the results are right; with `lay`, those for the arguments in another memory layout."""
        if lay is None:
            seen = self.see(case)
            return seen is not None and not seen.wrong
        try:
            got = self.raw(lay(case.delta), [lay(a) for a in case.args])
        except Raised:
            return False
        return not self.apart(case, [None if r is None else np.array(r, np.float64) for r in got], self.truth(case))

    def explained(
        self, candidate: Callable[..., Sequence[Array]], seen: Sequence["Seen"], *, clearly: bool = True
    ) -> bool:
        """Whether a candidate gives the wrong results, to rounding; with `clearly` it must be far from right, too."""
        clear, wrong = set(), wrong_in(seen)
        for case, got, truth, _, sizes in seen:
            try:
                wanted = candidate(case)
            except ValueError:  # shapes that the candidate does not fit
                return False
            for i in wrong:
                result = got[i]
                size = max(sizes[i], float(np.abs(wanted[i]).max(initial=0.0)))
                if result is None or result.shape != wanted[i].shape:
                    return False
                if self.off(case, result, wanted[i], size).any():
                    return False
                clear |= {i} if self.differ(wanted[i], truth[i], size) else set()
        return bool(wrong) and (clear == wrong or not clearly)

    def confirmed(self, candidate: Callable[..., Sequence[Array]], seen: Sequence["Seen"]) -> bool:
        """Whether a candidate gives the wrong results at other numbers of the same sizes, and of other signs, too."""
        fresh = [self.case(self.sizes(one.case), 40 + k) for k, one in enumerate(seen)]
        again = [self.see(case) for case in (*fresh, *(self.scaled(one.case, -1) for one in seen))]
        return all(again) and all(self._given_by(candidate, one, wrong_in(seen)) for one in again if one)

    def _given_by(self, candidate: Callable[..., Sequence[Array]], one: "Seen", wrong: Collection[int]) -> bool:
        wanted = candidate(one.case)
        for i in wrong:
            result, size = one.got[i], max(one.sizes[i], float(np.abs(wanted[i]).max(initial=0.0)))
            if result is None or self.off(one.case, result, wanted[i], size).any():
                return False
        return True

    def differ(self, a: Array, b: Array, size: float) -> bool:
        """Whether two arrays differ by far more than rounding, at every dtype."""
        margin = 1e-3 if self.eps < 1e-6 else 64 * self.eps
        return a.shape != b.shape or bool(np.any(~(np.abs(a - b) <= margin * size)))

    def broken(self, case: Case) -> set[int]:
        """The results that are infinite or not a number where the right ones are well within the dtype's range."""
        got, largest = self.ask(case), self.largest / 4
        found = set()
        for i, (r, t) in enumerate(zip(got or [], self.truth(case), strict=bool(got))):
            if r is not None and r.shape == t.shape and np.any(~np.isfinite(r) & (np.abs(t) < largest)):
                found.add(i)
        return found

    def trivial(self, letter: str, results: Collection[int]) -> bool:
        """Whether results are the same at every case with a letter of size 1: the softmax of a single logit is 1."""
        truths = [self.truth(self.case(self.unequal(k) | {letter: 1}, k)) for k in range(4)]
        numbers = [np.concatenate([truth[i].ravel() for truth in truths]) for i in results]
        return all(np.ptp(v) < 1e-12 for v in numbers)

    def sizes(self, case: Case) -> Mapping[str, int]:
        return sizes_of(self.row, case)

    def are(self, indices: Collection[int]) -> str:
        """The beginning of a sentence on some results: "dx is", "dW and db are"."""
        return listed([self.names[i] for i in sorted(indices)]) + (" are" if len(indices) > 1 else " is")


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


class Raised(Exception):
    """The implementation raised something."""


class OutOfTime(Exception):
    """The time for hints is over."""


def _wide(a: Array) -> Array:
    return a if a.dtype.kind in "iub" else a.astype(np.float64)


def _contracted(delta: Array, J: Any) -> Array:
    dense = np.asarray(J.todense() if hasattr(J, "todense") else J)
    return np.tensordot(delta, dense, axes=delta.ndim)

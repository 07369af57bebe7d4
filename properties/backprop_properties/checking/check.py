"""Is an implementation right? The laws of `verify`, on cases that are chosen for what people get wrong."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np

from backprop_oracle.definition import Definition
from backprop_oracle.rows import Row

from ..cases.domains import domain_of, matters
from ..cases.plan import Planned, further, ordinary_case, plan
from ..laws.claims import Violation
from ..laws.failure import Failure, failure_at
from ..laws.manners import LOOKED_AT
from ..laws.points import Functions
from ..laws.trial import EVERY_LAW, Trial
from ..verification.every_law import everywhere
from .also_told import also_told
from .asked import BATCHES, PROMISED, row_of, trial_of
from .batches import judged_on_batches, takers
from .command import Remote
from .defaults import IN_A_TEST
from .elsewhere import elsewhere, limits_of, returned
from .examples import case_at, cases_of
from .floating_point import flushed
from .guard import Function, name_of
from .integrity import held, leaving_alone, put_back
from .narrow import Narrow, narrower
from .one_format import MOST_CALLS, counts_in, tried_in
from .options import DTYPES, dtype_names, refuse_no_functions, refuse_the_unusable
from .report import Checked, Report
from .source_code import Code, code_of, constants_of
from .verdict import HELD, PARTS, RIGHT, Verdict, together

MOST_AXES = 3  # of a batch
FLUSHED = "subnormal numbers were taken for 0, as by a library that was built with -Ofast; they count again"
SHOWN = 8  # numbers of a code
TWICE = "says_the_same_twice"
AT_FIRST = {"forward": "forward_equals_jax", "vjp": "vjp_equals_jax_vjp"}
ALONE = "leaves_the_judge_alone"  # a law of this process, and no claim about numbers


def check(
    operation: str | Row,
    *,
    forward: Function | None = None,
    vjp: Function | None = None,
    jacobian: Function | None = None,
    dtypes: Sequence[str] = ("float64",),
    level: str = "standard",
    domain: Mapping[str, Any] | None = None,
    batch: bool | str | None = None,
    max_examples: int | None = None,
    seed: int | None = None,
    may_write: Sequence[str] = (),
    waive: Sequence[str] = (),
    convention: Mapping[str, str] | None = None,
    pictures: bool = False,
    isolated: bool = False,
    timeout: float | None = None,
    memory: int | None = None,
) -> Report:
    """Whether somebody's functions of an operation are right: every law that they break, where, by how much, and why.

    `operation` is a name of `backprop list`, or a `Definition`: the forward in a line of `jax.numpy`. Give any of
    `forward(*args)`, `vjp(delta, *args)` (a tuple with one cotangent per argument, None for one that is not given; for
    one argument an array will do) and `jacobian(*args)` (likewise, dense). They get NumPy arrays, of single examples
    and, if they return right rows for a batch of ordinary ones, or if `batch` is True, with leading batch axes; with
    `batch=False` never. With `batch="only"` they get rows alone: data and the cotangent have one batch axis, the first.
    A `Definition` says itself what a batch is.

    `dtypes`: float64, float32, float16, bfloat16; the truth is computed in float64 from the very numbers passed in.
    `max_examples`: cases, 250 if not given; the numbers in the code of your functions, where branches hide, add three
    quarters at most. `seed`: another one draws other numbers than 0. In pytest, options and a marker of its plugin
    say both of calls that do not.
    `level`: "standard", which careful frameworks reach, "strict", which the reference reaches, or "formula": all is
    tried and told, and only a formula that is wrong at ordinary numbers, in six digits, is held against it.
    `domain`: what is not promised, as `{"y": "one-hot", "n": "multiple of 8", "values": "finite"}`, and which promises
    are asked for that not every careful implementation makes, as `{"masks": True, "kinks": True}`.
    The numbers of an argument, or delta, are "positive", "non-negative", "non-zero", "one-hot", "distribution",
    "integers" or "real"; a size is 8, (1, 5), "multiple of 8", "at least 2", "at most n", "even", "odd" or
    "power of two"; `values` are "finite" or "moderate"; promises are kinks (there the derivative is
    JAX's), masks (logits of -inf count for nothing), empty (sizes may be 0), aliasing (results in memory of their own),
    infinities (they give what the definition gives) and threads (another may call in the middle of a call). No function
    is called outside it.
    `may_write`: arguments that may be overwritten. `waive`: laws, or parts of the verdict (formula, range, digits,
    manners), that are not held against it; the report names them.
    `convention`: how you lay out one of the lecture's operations, as `{"batch": "first", "W": "in,out"}`; see
    `conventional`.
    `pictures`: the report also has what `backprop check --html` draws: graphs and Jacobians.
    `isolated`: your functions are called in another process, where they may crash, exit or hang; they are brought there
    by cloudpickle. Without it they share this one, and what one process cannot prevent is yours to trust: a crash or
    `os._exit` ends it, a call that hangs hangs it, and code that looks for this judge in its own process can find it,
    replace what it compares with, or read the expected numbers. SystemExit and KeyboardInterrupt that a function
    raises are failures of it; Ctrl-C is not. `backprop check` on a file is always isolated.
    `timeout`, of isolated functions: seconds for all of it, of which one call, or the import, gets a quarter; if not
    given, 60 a call. `memory`: megabytes that they may ask for, on Linux; if not given, 4096.

    Raises ValueError or TypeError, in one line, for a call that cannot be understood, and TimeoutError if `timeout` was
    too short for all of it.

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
    how = dtypes, level, domain, batch, max_examples, seed, may_write, waive, convention, pictures
    if isolated:
        limits = limits_of(timeout, memory)
        return elsewhere(operation, functions, limits, lambda code: examined(operation, functions, *how, code=code))
    if timeout is not None or memory is not None:
        raise ValueError("timeout and memory are limits of another process: expected isolated=True with them")
    if command := next((f.command for f in functions.values() if isinstance(f, Remote)), None):
        code, names = command.code(functions), {kind: name_of(f, kind) for kind, f in functions.items() if f}
        return returned(operation, names, lambda: examined(operation, functions, *how, code=code))
    return examined(operation, functions, *how)


# What `examined` is asked, if nobody says otherwise.
USUAL: Mapping[str, Any] = {
    name: value
    for name, value in (check.__kwdefaults__ or {}).items()
    if name not in ("forward", "vjp", "jacobian", "isolated", "timeout", "memory")
}


@np.errstate(all="ignore")  # whatever the module that is checked has set: the numbers tried are extreme
def examined(
    operation: str | Row,
    functions: Mapping[str, Function | None],
    dtypes: Sequence[str],
    level: str,
    domain: Mapping[str, Any] | None,
    batch: bool | str | None,
    max_examples: int | None,
    seed: int | None,
    may_write: Sequence[str] = (),
    waive: Sequence[str] = (),
    convention: Mapping[str, str] | None = None,
    pictures: bool = False,
    *,
    shrink: bool = True,
    code: Code | None = None,
) -> Report:
    """What `check` does; without `shrink`, failures are reported at the cases where they were found.

    `code` is that of functions which are in another process.
    """
    started, row, was_flushed = time.perf_counter(), row_of(operation, convention, batch), flushed()
    judging, replaced = held() if code is None else [], list[str]()
    dtypes, usual = dtype_names(dtypes), IN_A_TEST.get()
    max_examples = usual.examples if max_examples is None else max_examples
    seed = usual.seed if seed is None else seed
    refuse_the_unusable(row, dtypes, level, max_examples, seed, functions)
    if code is None:
        code = code_of(functions)
        watched = {kind: f and leaving_alone(f, judging, replaced) for kind, f in code.functions.items()}
        code = code._replace(functions=watched)
    constants = code.constants
    trial = trial_of(row, code.functions, level, domain, may_write, waive, code.untried)
    trial = replace(trial, constants=constants, interruption=code.interruption, ahead=code.ahead, meter=code.meter)
    at_first = _wrong_at_first(trial, DTYPES[dtypes[0]])
    trial = judged_on_batches(trial, batch, DTYPES[dtypes[0]])
    narrow, wide = narrower(trial, DTYPES[dtypes[0]]) if shrink else [], trial
    if narrow:
        targets = {"y": max(one.domain for one in narrow)}  # one-hot, if that is all that one of them takes
        trial = replace(trial, domain=domain_of(row, {**(domain or {}), **targets}, code.untried))
    names = {kind: name_of(f, kind) for kind, f in functions.items() if f is not None}
    options: dict[str, Any] = {} if level == "standard" else {"level": level}
    options |= {"domain": dict(domain)} if domain else {}
    options |= {"may_write": tuple(may_write)} if may_write else {}
    options |= {"convention": dict(convention)} if convention else {}
    definition = f"{row.name}_definition" if isinstance(operation, Definition) else ""
    checks: dict[tuple[str, str], Checked] = {}
    failures: list[Failure] = []
    not_given: dict[str, None] = {}
    verdicts: dict[str, Mapping[str, Verdict]] = {}
    notes = [FLUSHED] * was_flushed + list(trial.domain.words)
    notes += [f"tried at the numbers in the code, too: {_some(constants)}"] if constants else []
    if trial.waived:
        notes.append(f"waived: {', '.join(law.replace('_', ' ') for law in trial.waived)}")
    if set(names) == {"forward"}:
        notes.append(f"{row.name}: only a forward was given: no backward pass was judged")
    options |= {"batch": batch} if batch is not None else {}
    fewest = min(trial.batched.values(), default=MOST_AXES)
    if batch is None and any(row.is_data) and 0 < fewest < MOST_AXES:
        notes.append(f"not tried: batches on more than {fewest} leading axes; ask with batch=True")
    first = cases_of(usual.failed_before(), trial, options)
    notes += [f"tried first: {len(first)} example{'s' * (len(first) > 1)} that failed before"] if first else []
    for dtype in dict.fromkeys(dtypes):
        count = max(max_examples // len(set(dtypes)), 1)

        def cases(trial: Trial = trial, count: int = count) -> Iterator[Planned]:
            yield from plan(trial.domain, count, constants)
            yield from takewhile(lambda _: code.lines_left(), further(trial.domain, count, constants))

        how: Any = {"first": first, "careful": level != "strict", "shrink": shrink}
        before, said_before = dict(checks), list(notes)
        found, missing, said_of = tried_in(trial, cases(), dtype, seed, checks, notes, count, **how)
        if isinstance(row, Definition) and row.in_letters and (anew := _traced_anew(trial, row, found)):
            trial, checks, notes = anew, before, said_before  # one trace does not serve all sizes, after all
            found, missing, said_of = tried_in(trial, cases(trial), dtype, seed, checks, notes, count, **how)
        not_given |= dict.fromkeys(missing)
        verdicts[dtype] = said_of
        failures += [replace(f, functions=names, options=options, definition=definition) for f in found]
    replaced += put_back(judging)
    if replaced:
        told = _replaced(trial, names, replaced, DTYPES[dtypes[0]])
        failures.append(told)
        checks[ALONE, dtypes[0]] = Checked(ALONE, dtypes[0], 1, 1, failed=True)
    for failure in at_first:
        failures.append(replace(failure, functions=names, options=options, definition=definition))
        checks[TWICE, dtypes[0]] = replace(checks.get((TWICE, dtypes[0]), Checked(TWICE, dtypes[0])), failed=True)
    if not failures and not narrow:
        notes += [*also_told(trial, names, DTYPES[dtypes[0]]), _not_asked(dtypes, level)]
    right = [kind for kind, said in together(verdicts).items() if said.formula == RIGHT] if shrink else [*names]
    alone = [names[kind] for kind in right if kind != "jacobian" and kind not in trial.batched]
    if batch is True and not any(row.is_data):
        notes.append(
            "not tried: batch axes before the shapes: those of a definition are letters in its shapes, as (b,n)"
        )
    if any(row.is_data) and alone:
        why = "" if batch is False else f", of which {' and '.join(alone)} gave no right rows"
        notes.append(f"not tried: leading batch axes{why}; ask with batch=True")
    unique = tuple(dict.fromkeys([*notes, *code.unrun()]))
    seconds = time.perf_counter() - started
    failures += [replace(_of_targets(wide, one), functions=names, options=options) for one in narrow]
    failures.sort(key=lambda f: PARTS.index(f.part) if f.part else 0)
    found_of = tuple(failures), tuple(checks.values()), unique, seconds, tuple(not_given)
    judged = together(verdicts) if shrink else {}
    for one in narrow:
        judged[one.kind] = judged.get(one.kind, Verdict()).narrowed(f"right for y={one.domain} only")
    for failure in at_first:
        judged[failure.function] = judged.get(failure.function, Verdict()).rude("remembers earlier calls")
    if replaced:
        judged[told.what] = judged.get(told.what, Verdict()).rude("replaces what judges it")
    against = tuple(part for part in HELD[level] if part not in waive)
    promised = [law for promise, law in PROMISED.items() if promise in trial.domain.promises and matters(promise, row)]
    of_calls = bool({"forward", "vjp"} & {*names})  # of a Jacobian alone no other law says anything
    asked = tuple(law for law in [*[BATCHES] * (batch is True), *promised] if law in trial.laws and of_calls)
    report = Report(row.name, level, tuple(dtypes), seed, *found_of, verdicts=judged, held=against, asked=asked)
    if not (pictures and failures):
        return report
    from .pictured import pictured  # which few checks need

    return replace(report, pictures=pictured(trial, report))


def _wrong_at_first(trial: Trial, dtype: np.dtype[Any]) -> list[Failure]:
    """The failures of functions that are wrong at the first call of all, and right when they are called again."""
    case, found = ordinary_case(trial.domain, dtype), []
    for kind, law in AT_FIRST.items():
        violation = trial.first(case, law) if TWICE in trial.laws and law in trial.laws else None
        if violation and violation.actual is not None and trial.first(case, law) is None:
            message = f"{kind} returned other numbers at its first call: {violation.message}"
            failure = failure_at(trial.row, TWICE, Violation(kind, message), case)
            found.append(replace(failure, part="manners"))
    return found


def _replaced(trial: Trial, names: Mapping[str, str], replaced: Sequence[str], dtype: np.dtype[Any]) -> Failure:
    """The failure of functions that replaced something of NumPy, or of what judges them."""
    first, *more = dict.fromkeys(replaced)
    what = f"{first} and {len(more)} more were" if more else f"{first} was"
    kind = "vjp" if "vjp" in names else next(iter(names))
    message = f"{what} replaced while the functions ran: it judges them, and is put back"
    case, arguments = ordinary_case(trial.domain, dtype), trial.row.arguments
    found = Failure(trial.row.name, ALONE, kind, message, case=case, arguments=arguments, functions=names, call=kind)
    return replace(found, part="manners")


@np.errstate(all="ignore")
def replay(
    operation: str | Row,
    law: str,
    delta: Any,
    *args: Any,
    forward: Function | None = None,
    vjp: Function | None = None,
    jacobian: Function | None = None,
    level: str = "standard",
    domain: Mapping[str, Any] | None = None,
    batch: bool | str | None = None,
    may_write: Sequence[str] = (),
    convention: Mapping[str, str] | None = None,
    implementation: Functions | None = None,
) -> None:
    """One law at one case: raises what is wrong, or returns.

    On your functions, as `check` judges them; without any on the reference, or on another `implementation` held to it.

    >>> replay("dot", "vjp_equals_jax_vjp", 1.0, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    """
    row, functions = row_of(operation, convention, batch), {"forward": forward, "vjp": vjp, "jacobian": jacobian}
    refuse_no_functions(row.name, functions)
    if any(functions.values()):
        code = code_of(functions)
        trial = trial_of(row, code.functions, level, domain, may_write)
        trial = replace(trial, interruption=code.interruption)
    elif isinstance(row, Definition):
        raise ValueError(f"{row.name}: nothing to try; give forward=, vjp= or jacobian=")
    else:
        trial = Trial(implementation or row, everywhere(row), EVERY_LAW)
    if law == TWICE and np.size(delta) <= LOOKED_AT:
        trial = replace(trial, counts=(MOST_CALLS,))  # a failure may be of the last
    if law not in trial.laws:
        raise ValueError(f"unknown law {law!r}; there are {', '.join(trial.laws)}")
    case = case_at(row, delta, *args)
    if any(functions.values()) and law == BATCHES and not batch:
        counts = counts_in(constants_of(functions.values()))
        trial = replace(trial, batched=takers(trial, case.dtype) or trial.batched, counts=counts)
    violation = trial.first(case, law)
    if violation:
        raise violation


def _not_asked(dtypes: Sequence[str], level: str) -> str:
    """What a check that passes has not asked."""
    others = [dtype for dtype in DTYPES if dtype not in dtypes]
    asked = [f"{', '.join(others)}: ask with dtypes={others[0]!r}, …"] * bool(others)
    asked += ["the last digits: ask with level='strict'"] * (level != "strict")
    return f"not tried: {'; '.join(asked)}" if asked else "tried in every format, to the last digits"


def _some(numbers: Sequence[float]) -> str:
    """The first few of some numbers, as people write them."""
    return ", ".join([*(f"{number:g}" for number in numbers[:SHOWN]), *["…"] * (len(numbers) > SHOWN)])


def _traced_anew(trial: Trial, row: Definition, failures: Sequence[Failure]) -> Trial | None:
    """The trial with a trace for each size, if a failure is none there."""
    anew = replace(trial, domain=replace(trial.domain, operation=row.traced_anew))
    pairs = [(failure.case, failure.law) for failure in failures if failure.case is not None]
    doubtful = any(trial.first(case, law) and anew.first(case, law) is None for case, law in pairs)
    return anew if doubtful else None


def _of_targets(trial: Trial, one: Narrow) -> Failure:
    """The failure of a function that is right for some targets only."""
    small = trial.shrunk(failure_at(trial.row, one.law, one.violation, one.case))
    cause, hint = one.told
    return replace(small, cause=cause, hint=hint, part="formula", accepts=f"domain={{'y': '{one.domain}'}}")

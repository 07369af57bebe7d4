"""What comes out if one step of a definition's program is changed: the causes that need no table of operations.

The program of the vjp (or of the value) is run with one result replaced: by zeros, which takes a path out of the chain
rule; by its negative; by one of its operands, which leaves out a factor, a term or a mask; by another multiple, where a
mean is a sum, or is divided by another size. If that gives the very numbers that are wrong, the cause is known, and JAX
knows which part of the definition the step comes from. The steps of a loop's body are changed in every turn.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from backprop_oracle.definition import Definition
from backprop_oracle.floats import values
from backprop_oracle.moves import MOVES, SAME
from backprop_oracle.program import Equation, Program

from ..cases.case import Array, Case
from .changes import Change, Path, Place, Step, changes_of, changes_of_two
from .probe import OutOfTime, Probe, Seen, wrong_in
from .quotes import quoted
from .state import Found

PLAINEST = (
    *("missing-path", "mask", "missing-h-prime", "missing-factor", "factor", "sign", "transposed", "factor-n"),
    *("duplicates", "reordered", "axis", "integers", "turn-left-out", "input-for-output", "another-size"),
    "constant",
)


def changed_program(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """The plainest change of one step that explains what is wrong, of equal ones that next to the arguments."""
    if not isinstance(p.row, Definition) or p.kind == "jacobian":
        return None
    told: dict[tuple[float, int], Found] = {}
    first = [one for one in seen if one.wrong][:1]
    if not first:
        return None
    program, ran = _program(p, first[0].case), dict[Any, Any]()
    every = list(_places(program, p.row, p.kind == "vjp"))
    kept = {place.equation.results[0]: partial(_kept, ran, place.equation) for place in every}
    try:
        values(program, p.point(first[0].case), kept)
        single = ((place, change) for place in every for change in changes_of(place, every, ran))
        for place, change in chain(single, changes_of_two(every)):
            if change.also and told:
                break
            results = partial(_results, p, place, change)
            near = p.explained(results, first, clearly=False)
            if near and p.explained(results, seen, clearly=change.clearly) and p.confirmed(results, seen):
                told[_order(change)] = change.cause, change.says
    except OutOfTime:  # what is shown is shown
        if not told:
            raise
    if not told:
        return None
    cause, says = told[min(told)]
    return cause, f"{p.are(wrong_in(seen))} {says}"


def _order(change: Change) -> tuple[float, int]:
    """The plainest first; a term of the forward's part may be in a mask, and a mask for a factor: they come after."""
    after = PLAINEST.index("factor") + 0.5
    return max(PLAINEST.index(change.cause), after * (change.rank < 0)), -change.rank


def _kept(ran: dict[Any, Any], equation: Equation, result: Any, operands: Sequence[Array]) -> Any:
    """A change that changes nothing, and keeps what it sees."""
    ran[equation.results[0]] = result, list(operands)
    return result


def _program(p: Probe, case: Case) -> Program:
    row: Any = p.row
    found: Program = row.program("vjp" if p.kind == "vjp" else "value", (case.delta, *case.args))
    return found


def _results(p: Probe, place: Place, change: Change, case: Case) -> list[Array]:
    """What the changed program gives at a case."""
    p.in_time()
    program, inputs, sizes = _program(p, case), p.point(case), p.sizes(case)
    equation, met = _at(program, place.path), list[Array]()
    if equation.name != place.equation.name:
        raise ValueError("another program for other sizes")

    def changed(result: Any, operands: Sequence[Array]) -> Any:
        return change.change(Step(equation, result, operands, sizes, inputs, met))

    def meet(result: Any, operands: Sequence[Array]) -> Any:
        met[:] = operands
        return result

    changes: dict[Any, Callable[..., Any]] = {equation.results[0]: changed}
    if change.earlier:
        changes[_at(program, change.earlier).results[0]] = meet
    if change.also:
        changes[_at(program, change.also).results[0]] = lambda result, operands: np.zeros_like(result)
    with np.errstate(all="ignore"):
        found = values(program, inputs, changes)
    return [np.zeros(0) if d is None else d for d in found[1]] if p.kind == "vjp" else [found]


def _at(program: Program, path: Path) -> Equation:
    number, *within = path
    if number >= len(program.equations):
        raise ValueError("another program for other sizes")
    equation = program.equations[number]
    return _at(_within(equation)[within[0]][0], tuple(within[1:])) if within else equation


def _within(equation: Equation) -> list[tuple[Program, Sequence[Any]]]:
    """The programs that a step runs, each with the operands that it gets."""
    params, operands = equation.params, equation.operands
    if equation.name == "scan":
        return [(params["jaxpr"], operands)]
    if equation.name == "cond":
        return [(branch, operands[1:]) for branch in params["branches"]]
    return [(params["body_jaxpr"], operands[params["cond_nconsts"] :])] if equation.name == "while" else []


def _places(program: Program, row: Definition, is_vjp: bool) -> Iterator[Place]:
    names = ("delta", *row.arguments) if is_vjp else row.arguments
    pulled = {program.inputs[0]} if is_vjp else set()  # what depends on the cotangent
    known = program, row, names, dict(zip(program.inputs, names, strict=True))
    return _places_in(*known, pulled, (), fixed=False)


def _places_in(
    program: Program,
    row: Definition,
    names: Sequence[str],
    roots: Mapping[Any, str],
    pulled: set[Any],
    path: Path,
    fixed: bool,
) -> Iterator[Place]:
    roots = _roots(program, row, roots)
    for number, equation in enumerate(program.equations):
        back, here = not pulled.isdisjoint(equation.operands), (*path, number)
        for k, (inner, given) in enumerate(_within(equation)):
            called = {var: roots[o] for var, o in zip(inner.inputs, given, strict=False) if o in roots}
            depends = {var for var, o in zip(inner.inputs, given, strict=False) if o in pulled}
            if back and equation.name == "scan":
                depends |= _carried(equation, inner, depends)
            yield from _places_in(inner, row, names, called, depends, (*here, k), fixed or equation.fixed)
        pulled.update(equation.results if back else ())
        part = quoted(equation, row.f)
        yield Place(here, equation, back, pulled, roots, part, row.letters, names, fixed or equation.fixed)


def _carried(equation: Equation, inner: Program, depends: set[Any]) -> set[Any]:
    """Which inputs of a loop's body depend on the cotangent because the turn before makes them of it."""
    first, found = equation.params["num_consts"], set(depends)
    for _ in range(equation.params["num_carry"]):
        moved = set(found)
        for step in inner.equations:
            moved.update(step.results if not moved.isdisjoint(step.operands) else ())
        found |= {inner.inputs[first + k] for k in range(equation.params["num_carry"]) if inner.outputs[k] in moved}
    return found


def _roots(program: Program, row: Definition, called: Mapping[Any, str]) -> dict[Any, str]:
    """The argument that a number is, whatever its shape, by name; or a constant, or a part of the definition."""
    found = {name: f"{float(a.ravel()[0]):.6g}" for name, a in program.constants.items() if _is_number(a)}
    found |= called
    for equation in program.equations:
        moves = equation.name in (*MOVES, *SAME, "convert_element_type") and equation.name != "neg"
        if moves and equation.operands[0] in found:
            found[equation.results[0]] = found[equation.operands[0]]
        elif part := quoted(equation, row.f):
            found.update(dict.fromkeys(equation.results, part))
    return found


def _is_number(a: Any) -> bool:
    return np.size(a) == 1 and getattr(a, "dtype", np.dtype(object)).kind in "fiub"

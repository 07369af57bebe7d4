"""The changes of one step of a program that people make: a factor, a term, a mask or a path that is left out, another
size, other axes, another order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from backprop_oracle.control import scanned
from backprop_oracle.floats import evaluated, values
from backprop_oracle.moves import MOVES, contraction, places
from backprop_oracle.program import Equation, Program

from ..cases.case import Array

ELEMENTWISE = ("mul", "div", "add", "sub", "add_any", "neg")
ROOTS = ("sqrt", "rsqrt")
FACTORS, TERMS, JOINS = ("mul", "div"), ("add", "sub", "add_any"), ("concatenate", "pad", "split", "add_any")
Path = tuple[int, ...]  # of an equation: its number, and within a loop, that of the body, and its number there


class Step(NamedTuple):
    """A step of a program as it runs: its results (one, or a list), given its operands; the sizes of the case, the
    inputs of the program, and the operands of an earlier step.
    """

    equation: Equation
    result: Any
    operands: Sequence[Array]
    sizes: Mapping[str, int]
    inputs: Sequence[Array]
    earlier: Sequence[Array]


class Change(NamedTuple):
    """The cause, what to say of it, and what becomes of a step; of equally plain ones, the larger `rank` is told.

    `earlier` is the step whose operands the change needs, `also` another one that comes to zeros. What it makes is
    `clearly` another number than the right one, or need not be.
    """

    cause: str
    says: str
    change: Callable[[Step], Any]
    rank: int = 1
    earlier: Path | None = None
    also: Path | None = None
    clearly: bool = True


class Place(NamedTuple):
    """An equation, with what is known of its surroundings: which numbers depend on the cotangent, what each is called,
    the letters of the sizes, and the arguments' names in the order of the program's inputs.
    """

    path: Path
    equation: Equation
    back: bool
    pulled: set[Any]
    roots: Mapping[Any, str]
    part: str
    letters: Sequence[str]
    inputs: Sequence[str]
    fixed: bool


def changes_of(place: Place, every: Sequence[Place], ran: Mapping[Any, Any]) -> Iterator[Change]:
    """Every change of one step, those of the forward's part of a vjp among them."""
    equation = place.equation
    if place.fixed or equation.results[0] not in ran:
        return
    result, operands = ran[equation.results[0]]
    if equation.name == "scan":
        yield from _turns(place)
    if equation.name in OTHER_COMPARISON and all(a.dtype.kind in "iu" for a in operands):
        yield Change(
            "integers",
            f"computed with {OTHER_COMPARISON[equation.name]}{f' in {place.part}' * bool(place.part)}: off by one",
            _compared,
        )
    if len(equation.results) > 1 or getattr(result, "dtype", np.dtype(bool)).kind != "f":
        return
    part = place.part
    where = f" in {part}" if part else ""
    if place.back:
        const = f"if {part} were a constant" if part else "with one path of the chain rule left out"
        yield Change("missing-path", f"what comes out {const}", lambda s: np.zeros_like(s.result), 2)
        yield Change("sign", f"computed with a wrong sign in the step back through {part or 'one step'}",
                     lambda s: -s.result)  # fmt: skip
        yield from _without_derivative(place, every, ran)
    if equation.name in (*FACTORS, *TERMS, "select_n"):
        yield from _left_out(place, operands, result, where)
    if equation.name == "select_n":
        yield from _off_by_one(place, every, ran, where)
    if equation.name == "mul" and place.back:
        yield from _of_arguments(place, operands, where)
    if equation.name in FACTORS and np.size(operands[1]) == 1:
        yield from _other_sizes(place, where)
    if equation.name == "div" and np.size(operands[1]) == 1:
        yield from _other_means(float(np.ravel(operands[1])[0]), where)
    if equation.name in ROOTS:
        yield from _beside_the_root(place, every, ran, where)
    if equation.name == "dot_general":
        yield from _turned(place, operands, where)
    if place.back and equation.name == "transpose" and result.ndim == 2 and result.shape[0] == result.shape[1]:
        yield Change("transposed", f"computed without the transpose of {part or 'a matrix'}", lambda s: s.result.T)
    if place.back and equation.name in JOINS:
        yield from _reordered(result, part)
    if equation.name == "scatter-add":
        says = f"computed with places that occur more than once assigned to, where they are to be added up{where}"
        yield Change("duplicates", says, _assigned)
        for column in range(operands[1].shape[-1]):
            says = (
                f"computed with index 0 for every index along one axis, in the step back through {part or 'a choice'}"
            )
            yield Change("integers", says, partial(_all_at_zero, column))
    if place.back and equation.name.startswith("cum"):
        says = f"computed in the wrong direction in the step back through {part or 'one step'}"
        yield Change("reordered", says, _other_direction)
    if equation.name == "broadcast_in_dim":
        yield from _other_axes(place, every, ran, where)


def changes_of_two(every: Sequence[Place]) -> Iterator[tuple[Place, Change]]:
    """Two parts of a definition that are constants, as both statistics of a normalisation."""
    last = {place.part: place for place in every if place.back and place.part and not place.equation.fixed}
    for (one, place), (other, also) in combinations(list(last.items())[::-1], 2):
        says = f"what comes out if {other} and {one} were constants"
        if len(place.equation.results) == len(also.equation.results) == 1:
            yield place, Change("missing-path", says, lambda s: np.zeros_like(s.result), also=also.path)


def _left_out(place: Place, operands: Sequence[Array], result: Array, where: str) -> Iterator[Change]:
    """A factor, a term, or a choice left out: the result is one of the operands."""
    equation = place.equation
    indices = [1, 2] if equation.name == "select_n" else [0, 1]
    for kept, left in (indices, indices[::-1]):
        if operands[kept].shape != result.shape or (equation.name == "div" and kept == 1):
            continue
        if place.back and equation.operands[kept] not in place.pulled:  # a cotangent is part of every step back
            continue
        if equation.name == "select_n" and not place.back and not np.ptp(operands[kept]):  # always the same number
            continue
        name = place.roots.get(equation.operands[left], "")
        name = "" if name == place.part else name  # a part of a derivative, which has no words of its own
        sign = -1.0 if equation.name == "sub" and kept == 1 else 1.0
        if equation.name == "select_n":
            cause, says = "mask", f"computed without the mask{where}"
        elif equation.name == "div" and not name and operands[left].size == 1 and _whole(operands[left]):
            cause, says = "factor-n", f"computed with a sum for the mean{where}"
        elif equation.name in FACTORS:
            cause = "factor" if operands[left].size == 1 else "missing-factor"
            what = "division by" if equation.name == "div" else "factor"
            says = f"computed without the {what} {name}{where}" if name else _unnamed(place)
        elif place.back:
            cause, says = "missing-path", "what comes out with one path of the chain rule left out"
            says += f", at {place.part}" if place.part else ""
        else:
            cause, says = "missing-path", f"computed without the term {name or 'of one sum'}{where}"
        rank = -1 if cause == "missing-path" and not place.back else 1 if name or equation.name == "select_n" else 0
        yield Change(cause, says, partial(_operand, kept, sign), rank)
    if equation.name == "select_n" and operands[1].shape == operands[2].shape:
        yield Change("mask", f"computed with the mask inverted{where}", _inverted, -1)


def _without_derivative(place: Place, every: Sequence[Place], ran: Mapping[Any, Any]) -> Iterator[Change]:
    """The step back through a part of the definition that several equations make up: what goes in comes out."""
    made = {result: other for other in every for result in other.equation.results}
    own, outer, rest = {place.path: place}, dict[Any, tuple[Place, int]](), [place]
    while rest:
        one = rest.pop()
        if not place.part or one.equation.name not in ELEMENTWISE or one.equation.results[0] not in ran:
            return
        for k, operand in enumerate(one.equation.operands):
            maker = made.get(operand)
            if operand in one.pulled and maker and maker.back and maker.part == place.part:
                rest += [maker] if maker.path not in own else []
                own[maker.path] = maker
            elif operand in one.pulled:
                outer[operand] = one, k
    if len(outer) == 1 and len(own) > 1:
        ((given, (user, k)),) = outer.items()
        shapes = np.shape(ran[place.equation.results[0]][0]), np.shape(ran[user.equation.results[0]][1][k])
        if given not in place.equation.operands and shapes[0] == shapes[1]:
            says = f"computed without the derivative of {place.part} as a factor"
            yield Change("missing-h-prime", says, partial(_earlier, k), 2, user.path)


def _earlier(k: int, s: Step) -> Array:
    return s.earlier[k]


def _unnamed(place: Place) -> str:
    """A factor without a name: of a part of the definition, of its derivative, or of the step back through it."""
    if not place.part:
        return "computed without a factor of one step"
    if place.back:
        return f"computed without a factor of the step back through {place.part}"
    return f"computed without a factor of {place.part}" + " or of its derivative" * (place.inputs[0] == "delta")


def _operand(k: int, sign: float, s: Step) -> Array:
    return sign * s.operands[k]


def _inverted(s: Step) -> Array:
    return np.where(s.operands[0], s.operands[1], s.operands[2])


def _whole(a: Array) -> bool:
    n = float(np.ravel(a)[0])
    return n > 1 and n == int(n)


def _turned(place: Place, operands: Sequence[Array], where: str) -> Iterator[Change]:
    """A product with one of its matrices the other way round, where that is square."""
    for k, a in enumerate(operands):
        if a.ndim > 1 and a.shape[-1] == a.shape[-2] > 1:
            name = place.roots.get(place.equation.operands[k], "")
            name = "a factor" if name in ("", place.part) else name
            if place.back and place.equation.operands[k] in place.pulled:
                name, where = "the cotangent", f" in the step back through {place.part}" * bool(place.part)
            yield Change("transposed", f"what comes out with the transpose of {name}{where}", partial(_turned_at, k))


def _turned_at(k: int, s: Step) -> Array:
    a, b = (np.swapaxes(v, -1, -2) if i == k else v for i, v in enumerate(s.operands))
    return contraction(s.equation.params, a, b)


def _other_means(n: float, where: str) -> Iterator[Change]:
    """Of a quotient by a whole number, which is taken for a mean."""
    if n == int(n) and n > 1:
        yield Change("factor-n", f"computed with a sum for the mean{where}", lambda s: s.operands[0])
        yield Change("factor-n", f"computed with n − 1 for n in the mean{where}", _less_one)


def _less_one(s: Step) -> Any:
    return s.operands[0] / (s.operands[1] - 1)


def _other_sizes(place: Place, where: str) -> Iterator[Change]:
    """A division by a size, or by its root, in place of a number that everything is divided by or multiplied by."""
    for some in (some for count in (1, 2) for some in combinations(place.letters, count)):
        for power, words in ((1.0, "·".join(some)), (0.5, f"√({'·'.join(some)})" if len(some) > 1 else f"√{some[0]}")):
            name = place.roots.get(place.equation.operands[1], "")
            instead = f" in place of {name}" if name and name != place.part else ""
            says = f"computed with a division by {words}{instead or ' in place of what is right'}{where}"
            yield Change("another-size", says, partial(_over_sizes, some, power))


def _over_sizes(some: Sequence[str], power: float, s: Step) -> Any:
    return s.operands[0] / np.prod([float(s.sizes[letter]) for letter in some]) ** power


def _beside_the_root(place: Place, every: Sequence[Place], ran: Mapping[Any, Any], where: str) -> Iterator[Change]:
    """A number that is to be added under a root added to the root."""
    source = _source(place, every)
    if not source or source.equation.name != "add" or source.equation.results[0] not in ran:
        return
    for k, a in enumerate(ran[source.equation.results[0]][1]):
        if np.size(a) == 1 and source.equation.operands[k] in place.roots:
            says = f"computed with {float(np.ravel(a)[0]):g} added to the root, not under it{',' * bool(where)}{where}"
            added = partial(_added_to_the_root, place.equation.name, k)
            yield Change("constant", says, added, earlier=source.path, clearly=False)


def _added_to_the_root(root: str, k: int, s: Step) -> Array:
    result: Array = np.sqrt(s.earlier[1 - k]) + s.earlier[k]
    return result if root == "sqrt" else 1 / result


def _of_arguments(place: Place, operands: Sequence[Array], where: str) -> Iterator[Change]:
    """A factor of a step back that is an argument itself, not what the definition makes of it."""
    for k, other in ((0, 1), (1, 0)):
        if place.equation.operands[k] not in place.pulled or place.equation.operands[other] in place.pulled:
            continue
        for i, name in enumerate(place.inputs[1:], 1):
            says = f"computed with {name} itself as a factor of the step back{where.replace(' in ', ' through ', 1)}"
            yield Change("input-for-output", says, partial(_times_input, k, i))


def _times_input(k: int, i: int, s: Step) -> Array:
    a = s.inputs[i]
    if a.shape != s.operands[k].shape or a.dtype.kind != "f":
        raise ValueError("another shape")
    return s.operands[k] * a


def _reordered(result: Array, part: str) -> Iterator[Change]:
    """What is put together in another order: halves exchanged."""
    for axis, n in enumerate(result.shape):
        if n % 2 == 0 and n:
            says = f"computed with the two halves exchanged in the step back through {part or 'one step'}"
            yield Change("reordered", says, partial(_halves_exchanged, axis))


def _halves_exchanged(axis: int, s: Step) -> Array:
    return np.roll(s.result, s.result.shape[axis] // 2, axis)


def _other_direction(s: Step) -> Any:
    params = {**s.equation.params, "reverse": not s.equation.params["reverse"]}
    axis = params["axis"]
    flipped = np.flip(s.operands[0], axis) if params["reverse"] else s.operands[0]
    f = {"cumsum": np.add, "cumprod": np.multiply}.get(s.equation.name)
    if f is None:
        raise ValueError("no sum")
    found = f.accumulate(flipped, axis)
    return np.flip(found, axis) if params["reverse"] else found


def _all_at_zero(column: int, s: Step) -> Any:
    indices = np.array(s.operands[1])
    indices[..., column] = 0
    return evaluated(s.equation, [s.operands[0], indices, s.operands[2]])


OTHER_COMPARISON = {"lt": "≤ for <", "le": "< for ≤", "gt": "≥ for >", "ge": "> for ≥"}
COMPARED = {"lt": np.less_equal, "le": np.less, "gt": np.greater_equal, "ge": np.greater}


def _compared(s: Step) -> Any:
    return COMPARED[s.equation.name](*s.operands)


def _off_by_one(place: Place, every: Sequence[Place], ran: Mapping[Any, Any], where: str) -> Iterator[Change]:
    """A choice alone, not all that a comparison of integers decides, made by `≤` for `<`."""
    source = _source(place, every)
    name = source.equation.name if source else ""
    if not source or name not in COMPARED or source.equation.results[0] not in ran:
        return
    compared, operands = ran[source.equation.results[0]]
    if all(a.dtype.kind in "iu" for a in operands) and compared.shape == ran[place.equation.results[0]][1][0].shape:
        says = f"computed with a mask of {OTHER_COMPARISON[name]}{where}: off by one"
        yield Change("integers", says, partial(_chosen_by, name), earlier=source.path)


def _chosen_by(name: str, s: Step) -> Array:
    return np.where(COMPARED[name](*s.earlier), s.operands[2], s.operands[1])


def _source(place: Place, every: Sequence[Place]) -> Place | None:
    """The step that makes the first operand of another, but for what only moves it."""
    made = {result: other for other in every for result in other.equation.results}
    source = made.get(place.equation.operands[0])
    while source and source.equation.name in MOVES:
        source = made.get(source.equation.operands[0])
    return source


def _assigned(s: Step) -> Array:
    landed, where = places(s.equation, s.operands)
    result = np.array(s.operands[0]).ravel()
    result[where] = s.operands[2].ravel()[landed]
    return result.reshape(s.operands[0].shape)


def _other_axes(place: Place, every: Sequence[Place], ran: Mapping[Any, Any], where: str) -> Iterator[Change]:
    """A sum over other axes than those over which it is to be taken, before it is repeated along them."""
    source = _source(place, every)
    if not source or source.equation.name != "reduce_sum" or source.equation.results[0] not in ran:
        return
    (before,) = ran[source.equation.results[0]][1]
    axes = tuple(source.equation.params["axes"])
    if before.shape != ran[place.equation.results[0]][0].shape:
        return
    for others in combinations(range(before.ndim), len(axes)):
        if others != axes:
            says = (
                f"computed with a sum over axis {', '.join(map(str, others))}, not {', '.join(map(str, axes))}{where}"
            )
            yield Change("axis", says, partial(_summed_over, others), earlier=source.path)
    every_axis = tuple(range(before.ndim))
    if every_axis != axes:
        says = f"computed with a sum over all axes, not {', '.join(map(str, axes))} alone{where}"
        yield Change("axis", says, partial(_summed_over, every_axis), earlier=source.path)


def _summed_over(axes: tuple[int, ...], s: Step) -> Array:
    return np.broadcast_to(s.earlier[0].sum(axes, keepdims=True), s.earlier[0].shape)


def _turns(place: Place) -> Iterator[Change]:
    """A loop without its first or last turn: what is carried passes by, and nothing comes out of it."""
    for last, word in ((False, "first"), (True, "last")):
        direction = " back" if place.back else ""
        says = f"computed without the {word} turn of the loop{direction}"
        yield Change("turn-left-out", says + (f" in {place.part}" if place.part else ""), partial(_without_turn, last))


def _without_turn(last: bool, s: Step) -> list[Any]:
    params = s.equation.params
    left = 0 if last == params["reverse"] else params["length"] - 1

    def run(program: Program, given: Sequence[Any], turn: int) -> Sequence[Any]:
        results = list(values(program, given))
        if turn != left:
            return results
        first, count = params["num_consts"], params["num_carry"]
        return [*given[first : first + count], *(np.zeros_like(r) for r in results[count:])]

    return scanned(s.equation, s.operands, run, lambda x, i: x[i, ...], np.stack, np.asarray)

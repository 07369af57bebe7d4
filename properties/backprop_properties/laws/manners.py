"""What callers rely on and no formula states: results and their dtypes, memory, repeated calls."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from backprop_oracle.autodiff import Answers

from ..cases.layouts import LAYOUTS, REFUSABLE, SHARED, Together
from .claims import Array, Close, Holds
from .points import Claims, Point, as_it_is_now, in_turn, turn_of

LOOKED_AT = 1000  # entries; of two changes, an array with fewer gets one
RING = 10  # calls after which a result is looked at again: memory that is used in turn
BIRTHDAYS = 64  # other numbers, among which two are all but sure to have the same checksum, if that is a byte
CLOSE = 2.0**6  # units in the last place of a number that is almost another
OF_CALLS = (  # laws of what a call does beside returning numbers, none of which they compare with any
    "one_cotangent_for_each_argument",
    "keeps_the_dtype",
    "leaves_its_inputs_alone",
    "says_the_same_twice",
    "bears_another_thread",
)


def calls_of(p: Point) -> Iterator[tuple[str, Callable[..., list[Array]], tuple[Array, ...]]]:
    """The forward and the vjp, if given: the name, a function that returns a list of arrays, its arguments."""
    forward, vjp = p.forward, p.vjp
    if forward:
        yield "forward", lambda *args: [forward(*args)], p.args
    if vjp:
        yield "vjp", lambda *args: [d for d in vjp(*args) if d is not None], (p.delta, *p.args)


def one_cotangent_for_each_argument(p: Point) -> Claims:
    """A vjp returns a tuple with a cotangent for every argument, a Jacobian likewise."""
    count = len(p.operation.arguments)
    for name, f, args in (("vjp", p.vjp, (p.delta, *p.args)), ("jacobian", p.jacobian, p.args)):
        if f:
            result = f(*args)
            ok = isinstance(result, tuple) and len(result) == count
            yield Holds(name, ok, f"{name} must return a tuple of {count}, got {_describe(result)}")


def keeps_the_dtype(p: Point) -> Claims:
    """Results have the dtype of the arguments."""
    calls = list(calls_of(p))
    p.begin(*((name, args) for name, _, args in calls))
    for name, f, args in calls:
        for result in f(*args):
            got = getattr(result, "dtype", type(result).__name__)
            yield Holds(name, got == p.case.dtype, f"{name} of {p.case.dtype} returned {got}")


def leaves_its_inputs_alone(p: Point) -> Claims:
    """Nothing is written to an argument, and no result shares memory with one, with another result, or with what comes
    out of the next call.
    """
    for name, f, args in calls_of(p):
        names = p.operation.arguments if len(args) == len(p.args) else ("delta", *p.operation.arguments)
        before, copies = [_state(a) for a in args], [a.copy() for a in args]
        p.begin((name, args), *[(name, copies)] * ("aliasing" in p.promises))
        results = [np.asarray(r) for r in f(*args)]
        written = [n for n, a, b in zip(names, args, before, strict=True) if _state(a) != b]
        yield Holds(name, not written, f"{name} wrote to its argument {', '.join(written)}")
        if "aliasing" not in p.promises:
            continue
        shared = [n for r in results for n, a in zip(names, args, strict=True) if np.may_share_memory(r, a)]
        yield Holds(name, not shared, f"a result of {name} shares memory with its argument {', '.join(shared)}")
        twins = any(np.may_share_memory(r, s) for k, r in enumerate(results) for s in results[:k])
        yield Holds(name, not twins, f"two results of {name} share memory")
        again = [np.asarray(r) for r in f(*copies)]
        kept = any(np.may_share_memory(r, s) for r in results for s in again)
        yield Holds(name, not kept, f"a result of {name} shares memory with that of the call before")


def _state(a: Array) -> tuple[Any, ...]:
    """All of an array that a function could change: its bytes, its shape and strides, and whether it may be written."""
    return a.tobytes(), a.shape, a.strides, a.flags.writeable


def says_the_same_twice(p: Point) -> Claims:
    """A repeated call returns the same bits, however often, and no call changes what an earlier one returned."""
    between = RING if p.case.delta.size <= LOOKED_AT and in_turn(p, [RING]) else 1
    repeats = max(p.counts, default=1)
    for name, f, args in calls_of(p):
        turned = [a[..., ::-1].copy() if a.ndim else a for a in args]
        p.begin((name, args), *[(name, turned)] * between, *[(name, args)] * repeats)
        kept = f(*args)
        first = [np.array(r) for r in kept]
        for _ in range(between):
            f(*turned)
        lasting = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, kept, strict=True))
        yield Holds(name, lasting, f"a later call of {name} changed what it had returned before")
        for k in range(repeats):
            again = f(*args)
            same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, again, strict=True))
            when = f", the {k + 1}th time" if k else ""
            yield Holds(name, same, f"{name} returned other bits when called again with the same arguments{when}")


def sees_what_changed_in_place(p: Point) -> Claims:
    """If an array is overwritten in place (one entry, or its last digits), the results are those of the new numbers."""
    arrays = [p.delta, *p.args]
    p.begin(*p.both(arrays))
    changes = list(_changes(p))
    for f, args in ((p.forward, arrays[1:]), (p.vjp, arrays)):
        if f:
            f(*args)

    def change(k: int) -> None:
        if k < len(changes):
            for a, new in zip(arrays, changes[k][1], strict=True):
                a[...] = new
            p.begin(*p.both(arrays))

    change(0)
    asked = p.ask(*((a[0], a[1:]) for _, a in changes))
    for k, ((what, changed), said) in enumerate(zip(changes, asked, strict=True)):
        u, cotangents = as_it_is_now(_results(p, arrays))  # which may lie in the arrays
        change(k + 1)  # its calls are made while these results are judged
        if p.forward:
            yield Close(f"u after {what}", u, *said.forward, [changed])
        if p.vjp:
            for name, d, i in p.named("d", cotangents):
                yield Close(f"{name} after {what}", d, *said.vjp[i], [changed])


def _changes(p: Point) -> Iterator[tuple[str, list[Array]]]:
    """Changes, each on top of those before: its name, and copies of the cotangent and the arguments after it."""
    arrays = [p.delta, *p.args]
    for k, (a, old) in enumerate(zip(arrays[1:], p.args, strict=True)):
        a[...] = old if not a.ndim else np.roll(old, 1, -1) if k % 2 else old[..., ::-1]
    yield "a change in place", [a.copy() for a in arrays]
    total = sum(a.size for a in arrays)
    free = [name for name in ("delta", *p.operation.arguments) if name not in {*p.numbers, *p.operation.domain}]
    if free:
        turn = turn_of(p)
        name = free[turn // 3 % len(free)]
        a = arrays[("delta", *p.operation.arguments).index(name)]
        for said in _hardly_changed(a, turn, p.eps):
            yield f"{said} of {name}", [a.copy() for a in arrays]
    if p.counts and free:
        name = max(free, key=lambda name: name != "delta")
        a = arrays[("delta", *p.operation.arguments).index(name)]
        largest = int(np.argmax(np.abs(a))) if a.size else 0
        for _ in range(BIRTHDAYS if a.size else 0):
            a.flat[largest] *= _factor(a, 0.03).flat[largest]
            yield f"another number in {name}", [a.copy() for a in arrays]
    named = zip(itertools.count(), ("delta", *p.operation.arguments), arrays)
    for k, name, a in in_turn(p, [one for one in named if one[1] not in p.numbers]):  # the others have a domain
        if a.size and (a.size > LOOKED_AT or (total + k) % 2):
            a.flat[2 * a.size // 3] *= _factor(a, 0.25).flat[2 * a.size // 3]
            yield f"a change of one entry of {name}", [a.copy() for a in arrays]
        if a.size > LOOKED_AT or (total + k) % 2 == 0:
            a *= _factor(a, p.eps**0.75)
            yield f"a change of the last digits of {name}", [a.copy() for a in arrays]


def _hardly_changed(a: Array, k: int, eps: float) -> Iterator[str]:
    """What a memory may take for the same: a number of the same hash, the same sum, all digits but the last."""
    one, other = (k % a.size, (k + 1) % a.size) if a.size else (0, 0)
    if k % 3 == 0 and a.size:
        for number in (-1, -2):  # Python's hashes of the two are equal
            a.flat[one] = number
            yield f"{number} in place {one}"
    elif k % 3 == 1 and one != other:
        a.flat[one], a.flat[other] = a.flat[other], a.flat[one]
        yield "an exchange of two entries"
    else:
        a *= _factor(a, CLOSE * eps)
        yield "a change of the very last digits"


def _factor(a: Array, by: float) -> Array:
    """`1 ± by`, which brings each entry closer to ±1, so that ordinary numbers stay ordinary."""
    return np.where(np.abs(a) > 1, 1 - by, 1 + by).astype(a.dtype)


def owes_nothing_to_the_last_forward(p: Point) -> Claims:
    """A vjp is a function of its arguments, whatever the forward was called with last: with other numbers, or with one
    other argument among those of the vjp.
    """
    if not (p.forward and p.vjp):
        return
    every = range(len(p.case.args))
    others = [
        [a[..., ::-1].copy() if a.ndim and i in changed else a for i, a in enumerate(p.args)]
        for changed in in_turn(p, [every, *([i] for i in every if len(every) > 1)])
    ]
    first, pairs = p.args, [(args, [p.delta, *p.args]) for args in others]
    p.begin(("forward", first), *(call for args, own in pairs for call in (("forward", args), ("vjp", own))))
    p.forward(*first)
    for args, own in pairs:
        p.forward(*args)
        for name, d, i in p.named("d", p.vjp(*own)):
            yield Close(f"{name} after another forward", d, *p.said.vjp[i])


def takes_any_memory_layout(p: Point) -> Claims:
    """Results are the same for Fortran order, strides, odd offsets, read-only arrays, one array passed twice, another
    layout for each array, memory that arrays share, and a cotangent that is one number in memory.

    What NumPy itself takes for granted and other code may refuse, it may refuse: then there are no numbers to compare.
    """
    layouts = [(layout, [*map(np.asarray, lay([p.delta, *p.args]))]) for layout, lay in in_turn(p, _layouts(p))]
    p.begin(*p.both(*(arrays for _, arrays in layouts)))
    for layout, arrays in layouts:
        yield from _in_layout(p, layout, arrays, p.said)
    for layout, one in in_turn(p, [*REFUSABLE.items()]):
        with suppress(Exception):
            arrays = [one(a) for a in (p.delta, *p.args)]
            p.begin(*p.both(arrays))
            found = _results(p, arrays)
            yield from _found_in_layout(p, layout, *found, p.said)
    free = in_turn(p, _with_other_numbers(p))
    others = [(layout, [*map(np.asarray, lay([p.delta, *p.args]))]) for layout, lay in free]
    p.begin(*p.both(*(arrays for _, arrays in others)))
    asked = p.ask(*((arrays[0].copy(), [a.copy() for a in arrays[1:]]) for _, arrays in others)) if others else []
    for (layout, arrays), said in zip(others, asked, strict=True):
        yield from _in_layout(p, layout, arrays, said, elsewhere=True)


def _layouts(p: Point) -> list[tuple[str, Together]]:
    """Layouts of the arrays of a call."""
    every, in_order = list(LAYOUTS.values()), LAYOUTS["Fortran order"]

    def in_one(lay: Callable[[Array], Array]) -> Together:
        return lambda arrays: [lay(a) for a in arrays]

    def mixed(turn: int) -> Together:
        return lambda arrays: [every[(k + turn) % len(every)](a) for k, a in enumerate(arrays)]

    def shared(arrays: Sequence[Array]) -> list[Array]:
        first: dict[Any, Array] = {}
        return [first.setdefault((a.dtype, a.shape, a.tobytes()), a) for a in arrays]

    twice = len({id(a) for a in shared([p.delta, *p.args])}) <= len(p.case.args)
    return [
        *((layout, in_one(lay)) for layout, lay in LAYOUTS.items()),
        *[("one array where they are equal", shared)] * twice,
        *(("each in a layout of its own", mixed(turn)) for turn in (0, 2)),
        ("in Fortran order, but for delta", lambda arrays: [arrays[0], *map(in_order, arrays[1:])]),
        ("of which delta alone is in Fortran order", lambda arrays: [in_order(arrays[0]), *arrays[1:]]),
    ]


def _with_other_numbers(p: Point) -> list[tuple[str, Together]]:
    """Layouts in which arrays hold other numbers, where these are free."""

    def one_number(arrays: Sequence[Array]) -> list[Array]:
        return [np.broadcast_to(p.case.dtype.type(1), arrays[0].shape), *arrays[1:]]

    of_delta = [("where delta is one number for all entries", one_number)]
    free = not {*p.numbers, *p.operation.domain}
    return of_delta * bool(p.case.delta.ndim and "delta" not in p.numbers) + [*SHARED.items()] * free


def _results(p: Point, arrays: Sequence[Array]) -> tuple[Any, Any]:
    delta, *args = arrays
    return p.forward and p.forward(*args), p.vjp and p.vjp(delta, *args)


def _in_layout(p: Point, layout: str, arrays: Sequence[Array], said: Answers, *, elsewhere: bool = False) -> Claims:
    """The claims on a call with arrays in a layout; `elsewhere` they are other numbers than those of the case."""
    at = [[a.copy() for a in arrays]] if elsewhere else ()
    yield from _found_in_layout(p, layout, *_results(p, arrays), said, at)


def _found_in_layout(
    p: Point, layout: str, u: Any, cotangents: Any, said: Answers, at: Sequence[Sequence[Array]] = ()
) -> Claims:
    if p.forward:
        yield Close(f"u, arguments {layout}", u, *said.forward, at)
    if p.vjp:
        for name, d, i in p.named("d", cotangents):
            yield Close(f"{name}, arguments {layout}", d, *said.vjp[i], at)


def _describe(value: Any) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if hasattr(value, "__len__") else "")

"""What callers rely on and no formula states: dtypes, memory, repeated calls, batches; and NaN, shifts and masks."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from backprop_oracle.rounding import Answer

from ..cases.layouts import LAYOUTS
from .claims import Array, Close, Holds
from .points import Claims, Point, added_up

LOOKED_AT = 1000  # entries; of two changes, an array with fewer gets one

# ── Manners ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _calls(p: Point) -> Iterator[tuple[str, Callable[..., list[Array]], tuple[Array, ...]]]:
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
    for name, f, args in _calls(p):
        for result in f(*args):
            got = getattr(result, "dtype", type(result).__name__)
            yield Holds(name, got == p.case.dtype, f"{name} of {p.case.dtype} returned {got}")


def leaves_its_inputs_alone(p: Point) -> Claims:
    """Nothing is written to an argument, and no result shares memory with one, or with another result."""
    for name, f, args in _calls(p):
        names = p.operation.arguments if len(args) == len(p.args) else ("delta", *p.operation.arguments)
        before = [_state(a) for a in args]
        results = [np.asarray(r) for r in f(*args)]
        written = [n for n, a, b in zip(names, args, before, strict=True) if _state(a) != b]
        yield Holds(name, not written, f"{name} wrote to its argument {', '.join(written)}")
        if "aliasing" not in p.promises:
            continue
        shared = [n for r in results for n, a in zip(names, args, strict=True) if np.may_share_memory(r, a)]
        yield Holds(name, not shared, f"a result of {name} shares memory with its argument {', '.join(shared)}")
        twins = any(np.may_share_memory(r, s) for k, r in enumerate(results) for s in results[:k])
        yield Holds(name, not twins, f"two results of {name} share memory")


def _state(a: Array) -> tuple[Any, ...]:
    """All of an array that a function could change: its bytes, its shape and strides, and whether it may be written."""
    return a.tobytes(), a.shape, a.strides, a.flags.writeable


def says_the_same_twice(p: Point) -> Claims:
    """A repeated call returns the same bits, and no call changes what an earlier one returned."""
    for name, f, args in _calls(p):
        kept = f(*args)
        first = [np.array(r) for r in kept]
        f(*(a[..., ::-1].copy() if a.ndim else a for a in args))
        lasting = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, kept, strict=True))
        yield Holds(name, lasting, f"a later call of {name} changed what it had returned before")
        again = f(*args)
        same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, again, strict=True))
        yield Holds(name, same, f"{name} returned other bits when called again with the same arguments")


def sees_what_changed_in_place(p: Point) -> Claims:
    """If an array is overwritten in place (one entry, or its last digits), the results are those of the new numbers."""
    changes = list(_changes(p))
    arrays = [p.delta, *p.args]
    for f, args in ((p.forward, arrays[1:]), (p.vjp, arrays)):
        if f:
            f(*args)
    for (what, changed), said in zip(changes, p.ask(*((a[0], a[1:]) for _, a in changes)), strict=True):
        for a, new in zip(arrays, changed, strict=True):
            a[...] = new
        delta, *args = arrays
        if p.forward:
            yield Close(f"u after {what}", p.forward(*args), *said.forward)
        if p.vjp:
            for name, d, i in p.named("d", p.vjp(delta, *args)):
                yield Close(f"{name} after {what}", d, *said.vjp[i])


def _changes(p: Point) -> Iterator[tuple[str, list[Array]]]:
    """Changes, each on top of those before: its name, and copies of the cotangent and the arguments after it."""
    arrays = [p.delta, *p.args]
    for k, (a, old) in enumerate(zip(arrays[1:], p.args, strict=True)):
        a[...] = old if not a.ndim else np.roll(old, 1, -1) if k % 2 else old[..., ::-1]
    yield "a change in place", [a.copy() for a in arrays]
    total = sum(a.size for a in arrays)
    for k, (name, a) in enumerate(zip(("delta", *p.operation.arguments), arrays, strict=True)):
        if name in p.numbers:  # a domain says what they are
            continue
        if a.size and (a.size > LOOKED_AT or (total + k) % 2):
            a.flat[2 * a.size // 3] *= _factor(a, 0.25).flat[2 * a.size // 3]
            yield f"a change of one entry of {name}", [a.copy() for a in arrays]
        if a.size > LOOKED_AT or (total + k) % 2 == 0:
            a *= _factor(a, p.eps**0.75)
            yield f"a change of the last digits of {name}", [a.copy() for a in arrays]


def _factor(a: Array, by: float) -> Array:
    """`1 ± by`, which brings each entry closer to ±1, so that ordinary numbers stay ordinary."""
    return np.where(np.abs(a) > 1, 1 - by, 1 + by).astype(a.dtype)


def owes_nothing_to_the_last_forward(p: Point) -> Claims:
    """A vjp is a function of its arguments, whatever the forward was called with last."""
    if p.forward and p.vjp:
        p.forward(*p.args)
        p.forward(*(a[..., ::-1].copy() if a.ndim else a for a in p.args))
        for name, d, i in p.named("d", p.vjp(p.delta, *p.args)):
            yield Close(f"{name} after another forward", d, *p.said.vjp[i])


def takes_any_memory_layout(p: Point) -> Claims:
    """Results are the same for Fortran order, strides, odd offsets, read-only arrays, and one array passed twice."""
    layouts = [(layout, [lay(a) for a in (p.delta, *p.args)]) for layout, lay in LAYOUTS.items()]
    first: dict[Any, Array] = {}
    shared = [first.setdefault((a.shape, a.tobytes()), a) for a in (p.delta, *p.args)]
    if len(first) < len(shared):
        layouts.append(("one array where they are equal", shared))
    for layout, (delta, *args) in layouts:
        if p.forward:
            yield Close(f"u, arguments {layout}", p.forward(*args), *p.said.forward)
        if p.vjp:
            for name, d, i in p.named("d", p.vjp(delta, *args)):
                yield Close(f"{name}, arguments {layout}", d, *p.said.vjp[i])


def batch_equals_the_loop(p: Point) -> Claims:
    """A batch has the results of its examples, and the sum of their gradients by a parameter; it may be empty."""
    is_data = p.operation.is_data
    count = 3
    rows = [_example(p, is_data, k) for k in range(count)]
    said = p.ask(*((delta, args) for delta, *args in rows))
    for lead in ((count,), (1, count), (2, 17), *[(0,)] * ("empty" in p.promises)):
        turns = [k % count for k in range(int(np.prod(lead)))]
        picked, answers = [rows[k] for k in turns], [said[k] for k in turns]

        def stack(i: int, lead: tuple[int, ...] = lead, picked: list[Any] = picked) -> Array:
            parts = np.array([row[i] for row in picked], p.case.dtype)
            return parts.reshape(lead + rows[0][i].shape)

        delta = stack(0)
        args = [stack(i + 1) if data else p.args[i] for i, data in enumerate(is_data)]
        if p.forward:
            answer = [s.forward for s in answers]
            shape = lead + p.case.delta.shape
            yield Close(
                f"u of batch {lead}",
                p.forward(*args),
                np.array([a.value for a in answer]).reshape(shape),
                np.array([a.bound for a in answer]).reshape(shape),
            )
        if p.vjp:
            for name, d, i in p.named("d", p.vjp(delta, *args)):
                values = np.array([s.vjp[i].value for s in answers]).reshape(len(picked), *p.args[i].shape)
                bounds = np.array([s.vjp[i].bound for s in answers]).reshape(len(picked), *p.args[i].shape)
                if is_data[i]:
                    expected, bound = values.reshape(lead + p.args[i].shape), bounds.reshape(lead + p.args[i].shape)
                else:
                    expected, bound = added_up(lambda a: a.sum(0), values, bounds, len(picked), p.case.dtype)
                yield Close(f"{name} of batch {lead}", d, expected, bound)


def _example(p: Point, is_data: Sequence[bool], k: int) -> list[Array]:
    """The k-th example of a batch: the case, the case with its data reversed, or with its data halved."""
    half = p.case.dtype.type(0.5)

    def changed(a: Array, name: str) -> Array:
        turned = a[..., ::-1].copy() if a.ndim else a
        return a if k == 0 else a * half if k == 2 and name != "y" else turned

    names = p.operation.arguments
    data = [changed(a, name) if own else a for a, name, own in zip(p.args, names, is_data, strict=True)]
    return [changed(p.delta, "delta"), *data]


# ── Invariants ──────────────────────────────────────────────────────────────────────────────────────────────────────


def nan_in_nan_out(p: Point) -> Claims:
    """A NaN in an argument or in the cotangent is a NaN in every result that depends on it.

    Careful frameworks differ on the slope at NaN of a function with two branches, since NaN belongs to neither.
    """
    names = ("delta", *p.operation.arguments)
    spoiled = []
    for i, a in enumerate((p.delta, *p.args)):
        if a.size and names[i] not in p.numbers:
            points = [p.delta, *p.args]
            points[i].flat[0] = np.nan
            spoiled.append((i, points))
    if not spoiled:
        return
    for (i, (delta, *args)), said in zip(spoiled, p.ask(*((a[0], a[1:]) for _, a in spoiled)), strict=True):
        if p.forward:
            yield _nan("u", names[i], p.forward(*args), said.forward, p.said.forward, careful=False)
        if p.vjp and not (i and p.careful and p.operation.kinked):
            for name, d, k in p.named("d", p.vjp(delta, *args)):
                yield _nan(name, names[i], d, said.vjp[k], p.said.vjp[k], careful=p.careful)


def _nan(name: str, spoiled: str, actual: Any, expected: Answer, before: Answer, *, careful: bool) -> Holds:
    """The result is NaN where JAX's is, if JAX's was a number before the NaN was planted.

    A careful implementation is held to that where the result was clearly not 0: it may choose a slope of 0, and not
    multiply by it.
    """
    judged = np.isfinite(before.bound) & ((np.abs(before.value) > before.bound) | (not careful))
    got = np.asarray(actual, np.float64)
    lost = np.isnan(expected.value) & judged & ~np.isnan(got)
    if not lost.any():
        return Holds(name, True, "")  # texts are slow to make
    at = tuple(int(i) for i in np.argwhere(lost)[0])
    entry = f"{name}{list(at) if at else ''} = {float(np.broadcast_to(got, lost.shape)[at])!r}"
    return Holds(name, False, f"{name} hides a NaN: the first entry of {spoiled} is NaN, {entry}, expected nan")


def softmax_ignores_a_shift(p: Point) -> Claims:
    """`s(x + c) = s(x)`, where `x + c` is exact; and the vjp of a softmax sums to zero."""
    if p.operation.promise == "softmax" and p.eps < 1e-6:
        x = (np.round(np.clip(p.args[0], -500, 500) * 1024) / 1024).astype(p.case.dtype)
        shifts = {c: x + p.case.dtype.type(c) for c in (-1000, 1, 512)}
        said, *others = p.ask(*((p.delta, [a]) for a in (x, *shifts.values())))
        for (c, shifted), other in zip(shifts.items(), others, strict=True):
            if p.forward:
                yield Close(f"u of x + {c}", p.forward(shifted), said.forward.value, other.forward.bound)
        if p.vjp:
            (dx,) = p.vjp(p.delta, x)
            with np.errstate(invalid="ignore", over="ignore"):
                yield Close("sum(dx)", np.asarray(dx, np.float64).sum(), 0.0, said.vjp[0].bound.sum())


def masks_count_for_nothing(p: Point) -> Claims:
    """A logit of −inf has probability 0 and gradient 0, and the others are what they are without it."""
    if not p.operation.masks or p.case.args[0].size < 2:
        return
    x, *rest = p.args
    x, last = np.clip(x, -500, 500), x.size - 1
    x[last] = x[:last].max() - 3000  # far enough for exp to give 0, in every dtype
    for y in rest:
        y[last] = 0
    (said,) = p.ask((p.delta, [x, *rest]))
    x[last] = -np.inf
    if p.forward:
        yield Close("u with a mask", p.forward(x, *rest), *said.forward)
    if p.vjp:
        yield Close("dx with a mask", p.vjp(p.delta, x, *rest)[0], *said.vjp[0])


def _describe(value: Any) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if hasattr(value, "__len__") else "")

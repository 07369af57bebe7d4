"""What makes a wrong function out of a right one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_reference import OPERATIONS

from .table import Fault

Array = NDArray[Any]
Function = Callable[..., Any]

VJP = "vjp_equals_jax_vjp"
FORWARD = "forward_equals_jax"
JACOBIAN = "jacobian_equals_jacrev"
F32, F64 = ("float32",), ("float64",)


def forward(name: str) -> Function:
    return OPERATIONS[name].forward


def vjp(name: str) -> Function:
    return OPERATIONS[name].vjp


def dense(name: str) -> Function:
    """The reference's Jacobians as arrays."""
    return lambda *args: tuple(J.todense() for J in OPERATIONS[name].jacobian(*args))


def dashed(name: str) -> str:
    """An operation in the name of a row: `layer-norm`."""
    return name.replace("_", "-")


def faults_of(operation: str) -> Callable[..., Fault]:
    """`Fault` for an operation, whose name goes before that of each row."""

    def fault(what: str, *rest: Any, **how: Any) -> Fault:
        return Fault(operation, f"{dashed(operation)}-{what}", *rest, **how)

    return fault


def slope(dh: Function) -> Function:
    """A vjp, `δ ⊙ h′(x)`."""
    return lambda delta, x: (delta * dh(x),)


def sum_of_tiles(x: Array, tile: int, keepdims: bool = False) -> Any:
    """Entries past the last full tile, if there is a full one, are left out."""
    n = x.shape[-1]
    return x[..., : n if n < tile else n // tile * tile].sum(-1, keepdims=keepdims)


# ── Results changed ─────────────────────────────────────────────────────────────────────────────────────────────────


def changed(f: Function, change: Function, only: int | None = None) -> Function:
    """Every result of `f`, or only one, put through `change`."""

    def wrong(*args: Array) -> Any:
        results = f(*args)
        if not isinstance(results, tuple):
            return change(results)
        return tuple(change(r) if r is not None and only in (None, i) else r for i, r in enumerate(results))

    return wrong


def scaled(f: Function, factor: float, only: int | None = None) -> Function:
    return changed(f, lambda r: r * r.dtype.type(factor), only)


def by_size(f: Function, axis: int, power: int, only: int | None = None) -> Function:
    """Results times the size of one of their axes, or divided by it."""
    return changed(f, lambda r: r * r.dtype.type(float(max(r.shape[axis], 1)) ** power), only)


def turned_squares(f: Function, only: int | None = None) -> Function:
    """The last two axes exchanged, where that changes no shape."""
    return changed(f, lambda r: np.swapaxes(r, -1, -2).copy() if r.shape[-1] == r.shape[-2] else r, only)


def exchanged(f: Function, one: int, other: int) -> Function:
    """Two results in each other's place, where their shapes agree."""

    def wrong(*args: Array) -> Any:
        results = list(f(*args))
        if results[one].shape == results[other].shape:
            results[one], results[other] = results[other], results[one]
        return tuple(results)

    return wrong


def not_summed(f: Function, only: int) -> Function:
    """A parameter's gradient for each row of the cotangent, in place of their sum, if these are few."""

    def wrong(delta: Array, *args: Array) -> Any:
        if len(delta) > 64:
            return f(delta, *args)
        rows = [
            np.where((np.arange(len(delta)) == k).reshape(-1, *[1] * (delta.ndim - 1)), delta, 0 * delta)
            for k in range(len(delta))
        ]
        results = f(delta, *args)
        each = np.array([f(row, *args)[only] for row in rows]).astype(delta.dtype)
        return tuple(each if i == only else r for i, r in enumerate(results))

    return wrong


def picked(f: Function, order: Sequence[int]) -> Function:
    """Results of `f` in another order, or some of them twice."""
    return lambda *args: (lambda results: tuple(results[i].copy() for i in order))(f(*args))


def drop_tail(f: Function, tile: int, only: int | None = None, axis: int = -1) -> Function:
    """Zeros past the last full tile, if there is a full one."""

    def change(r: Array) -> Array:
        r = np.moveaxis(np.array(r), axis, -1)
        if r.shape[-1] > tile:
            r[..., r.shape[-1] // tile * tile :] = 0
        return np.moveaxis(r, -1, axis)

    return changed(f, change, only)


def first_tile(f: Function, tile: int, only: int | None = None) -> Function:
    """Zeros past the first tile: one block of threads and no loop."""
    return changed(f, lambda r: r * (np.arange(r.shape[-1]) < tile).astype(r.dtype), only)


def element(f: Function, index: tuple[int, ...], factor: float, only: int | None = None) -> Function:
    """One entry of a result multiplied by `factor`, where there is such an entry."""
    entry: Any = (..., *index)  # of the last axes

    def change(r: Array) -> Array:
        r = np.array(r)
        if all(-n <= i < n for i, n in zip(index, r.shape[r.ndim - len(index) :], strict=True)):
            r[entry] *= factor
        return r

    return changed(f, change, only)


def flushed(f: Function, below: float, only: int | None = None) -> Function:
    return changed(f, lambda r: np.where(np.abs(r) < below, r.dtype.type(0), r), only)


def float64_results(f: Function) -> Function:
    return changed(f, lambda r: np.asarray(r, np.float64))


def nan_to_zero(f: Function) -> Function:
    return changed(f, lambda r: np.where(np.isnan(r), r.dtype.type(0), r))


def noisy(f: Function) -> Function:
    """The last digits differ from call to call."""
    random = np.random.default_rng(0)
    return changed(f, lambda r: r + r * (np.finfo(r.dtype).eps * random.random(r.shape)).astype(r.dtype))


# ── Arguments changed ───────────────────────────────────────────────────────────────────────────────────────────────


def fed(f: Function, change: Function) -> Function:
    """`f(*change(*args))`."""
    return lambda *args: f(*change(*args))


def is_whole(a: Array) -> bool:
    """Whether an array has integers, which no format of floats concerns."""
    return a.dtype.kind in "biu"


def rounded(f: Function, dtype: Any) -> Function:
    """`f` of arguments rounded to a shorter format, and back."""
    return fed(f, lambda *args: [a if is_whole(a) else a.astype(dtype).astype(a.dtype) for a in args])


def computed_in(f: Function, dtype: Any) -> Function:
    """Everything in another format, the results in the dtype of the arguments."""

    def wrong(*args: Array) -> Any:
        own = next(a.dtype for a in args if not is_whole(a))
        return changed(f, lambda r: np.asarray(r).astype(own))(*(a if is_whole(a) else a.astype(dtype) for a in args))

    return wrong


def writing(f: Function, position: int) -> Function:
    """An argument is halved in place once the result is there."""

    def wrong(*args: Array) -> Any:
        result = f(*args)
        if args[position].flags.writeable:
            args[position][...] = args[position] / 2
        return result

    return wrong


def as_in_memory(a: Array) -> Array:
    """What a kernel sees that gets the buffer and the shape, and knows of no strides or offsets."""
    buffer = a if a.base is None else a.base
    return buffer.ravel(order="K")[: a.size].reshape(a.shape)


def scratch_in_the_cotangent(f: Function) -> Function:
    """The cotangent is written to in between, and as it was in the end: right, but where `x` lies there, too."""

    def vjp(delta: Array, *args: Array) -> Any:
        if not delta.flags.writeable:
            return f(delta, *args)
        np.negative(delta, out=delta)
        result = f(-delta, *args)
        np.negative(delta, out=delta)
        return result

    return vjp


def by_pointer(f: Function) -> Function:
    return fed(f, lambda *args: [as_in_memory(a) for a in args])


# ── State ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def shapes_of(args: Sequence[Array]) -> tuple[Any, ...]:
    return tuple((a.shape, a.dtype) for a in args)


def handed_out(f: Function) -> Function:
    """The right result for these very arguments, kept, and given to every caller to write to."""
    known: dict[Any, Any] = {}

    def call(*args: Array) -> Any:
        return known.setdefault(tuple((a.shape, a.dtype, a.tobytes()) for a in args), f(*args))

    return call


def remembered(f: Function) -> Function:
    """The result of the first call with these shapes, at every later one."""
    known: dict[Any, Any] = {}

    def wrong(*args: Array) -> Any:
        result = known.setdefault(shapes_of(args), f(*args))
        return changed(lambda: result, np.array)()

    return wrong


def captured(f: Function, positions: Sequence[int]) -> Function:
    """Some arguments are replaced by those of the first call with these shapes."""
    known: dict[Any, list[Array]] = {}

    def wrong(*args: Array) -> Any:
        first = known.setdefault(shapes_of(args), [a.copy() for a in args])
        return f(*(first[i] if i in positions else a for i, a in enumerate(args)))

    return wrong


def cached_by_identity(f: Function) -> Function:
    """The last result again, if the arguments are the same objects, whatever is in them by now."""
    last: list[Any] = [(), None]

    def wrong(*args: Array) -> Any:
        if len(args) != len(last[0]) or any(a is not b for a, b in zip(args, last[0], strict=True)):
            last[:] = args, f(*args)
        return changed(lambda: last[1], np.array)()

    return wrong


def remembered_by(key: Callable[..., Any], f: Function) -> Function:
    """The last result again, where the arguments have the same `key`."""
    last: list[Any] = [None, None]

    def cached(*args: Array) -> Any:
        if last[0] != key(*args):
            last[:] = key(*args), f(*args)
        return changed(lambda: last[1], np.array)()

    return cached


def bytes_of(args: Any, part: Function) -> Any:
    """A key of the shapes, and of what `part` takes of each argument."""
    return [(a.shape, a.dtype.name, part(a).tobytes()) for a in args]


def into_one_buffer(f: Function) -> Function:
    """Results overwrite those of the last call with these shapes."""
    buffers: dict[Any, tuple[Array, ...]] = {}

    def wrong(*args: Array) -> Any:
        results: tuple[Array, ...] = f(*args)
        kept = buffers.setdefault(shapes_of(args), results)
        for buffer, result in zip(kept, results, strict=True):
            buffer[...] = result
        return kept

    return wrong


def accumulated(f: Function, only: int) -> Function:
    """A gradient added to that of the calls before: the buffer is never set to zero."""
    buffers: dict[Any, Array] = {}

    def wrong(*args: Array) -> Any:
        results, key = list(f(*args)), shapes_of(args)
        buffers[key] = results[only] = results[only] + buffers.get(key, results[only].dtype.type(0))
        results[only] = results[only].copy()
        return tuple(results)

    return wrong


# ── Batches ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def batch_mean(f: Function, parameters: Sequence[int], output_axes: int) -> Function:
    """Gradients of parameters divided by the number of examples."""

    def wrong(delta: Array, *args: Array) -> Any:
        examples = max(int(np.prod(delta.shape[: delta.ndim - output_axes])), 1)
        results = f(delta, *args)
        return tuple(r / r.dtype.type(examples) if i in parameters else r for i, r in enumerate(results))

    return wrong

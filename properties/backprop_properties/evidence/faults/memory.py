"""Right for arrays that lie in memory as NumPy makes them, or nearly: what kernels assume that get pointers."""

from collections.abc import Iterator

import numpy as np

from . import makers as m
from .makers import Array, Function
from .sometimes import when
from .table import Fault
from .witnesses import corner, examples, laid_out, ordinary, vjp

ANY = "takes_any_memory_layout"
KIND = "memory layout"

# ── Layouts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def strided(a: Array) -> Array:
    """Every other entry of a wider array.

    >>> strided(np.ones(3)).strides
    (16,)
    """
    wide = np.zeros((*a.shape, 2), a.dtype)
    wide[..., 0] = a
    return wide[..., 0]


def padded_rows(a: Array) -> Array:
    """Rows of a wider array, each entry beside its neighbour.

    >>> padded_rows(np.ones((2, 3))).strides
    (48, 8)
    """
    wide = np.full((*a.shape[:-1], a.shape[-1] + 3), 9, a.dtype)
    wide[..., : a.shape[-1]] = a
    return wide[..., : a.shape[-1]]


def without_strides(a: Array) -> Array:
    """One number for all entries, as the cotangent of a sum is."""
    return np.broadcast_to(a.flat[0], a.shape)


def unaligned(a: Array) -> Array:
    """One byte past where such numbers start, as a field of a packed record.

    >>> unaligned(np.ones(3)).flags.aligned
    False
    """
    buffer = np.zeros(a.nbytes + 1, np.uint8)
    buffer[1:] = np.frombuffer(a.tobytes(), np.uint8)
    return buffer[1:].view(a.dtype).reshape(a.shape)


def big_endian(a: Array) -> Array:
    """The bytes of each number the other way round, as many files have them.

    >>> big_endian(np.ones(1)).dtype.str
    '>f8'
    """
    return a.astype(a.dtype.newbyteorder(">"))


def fortran(a: Array) -> Array:
    """Column by column."""
    return np.array(a, order="F")


# ── What assumes another ────────────────────────────────────────────────────────────────────────────────────────────


def _past_a_tile(f: Function, tile: int) -> Function:
    """Small arrays are copied into a tile, larger ones are read as they lie."""
    return m.fed(f, lambda *args: [m.as_in_memory(a) if a.shape and a.shape[-1] > tile else a for a in args])


def _packed(f: Function, position: int) -> Function:
    """An array with a stride of 0 is read as packed: behind its first number lie others."""

    def change(*args: Array) -> list[Array]:
        a = args[position]
        if any(stride == 0 and size > 1 for stride, size in zip(a.strides, a.shape, strict=True)):
            a, first = np.zeros(a.shape, a.dtype), a.flat[0]
            a.flat[0] = first
        return [a if i == position else b for i, b in enumerate(args)]

    return m.fed(f, change)


def _order_of_the_second(f: Function, position: int) -> Function:
    """The cotangent is walked through in the order of an argument, if that has another than its own."""

    def change(delta: Array, *args: Array) -> list[Array]:
        other = args[position]
        if delta.shape == other.shape and other.flags.fnc and delta.flags.c_contiguous:
            delta = delta.ravel().reshape(delta.shape, order="F")
        return [delta, *args]

    return m.fed(f, change)


def _aligned_loads(f: Function) -> Function:
    """Loads start at the last address that is aligned: one number early."""
    return m.fed(f, lambda *args: [a if a.flags.aligned else np.roll(a.copy(), 1) for a in args])


def _native(f: Function) -> Function:
    """The bytes are taken as those of this machine."""
    return m.fed(f, lambda *args: [a if m.is_whole(a) else a.view(a.dtype.newbyteorder("=")) for a in args])


def _own_rows(f: Function, position: int) -> Function:
    """The distance between rows is taken for their length."""

    def change(*args: Array) -> list[Array]:
        a = args[position]
        inner = a.ndim >= 2 and a.strides[-1] == a.itemsize and not a.flags.c_contiguous and a.base is not None
        apart = inner and a.strides[-2] > a.shape[-1] * a.itemsize and a.flags.aligned
        return [m.as_in_memory(b) if apart and i == position else b for i, b in enumerate(args)]

    return m.fed(f, change)


def _memory() -> Iterator[Fault]:
    for operation, letter in (("softmax", "n"), ("layer_norm", "n"), ("linear", "n"), ("tanh", "n")):
        first = laid_out(ordinary(operation, {letter: 300}), strided, 1)
        yield corner(operation, "contiguous-past-a-tile", KIND, ANY, first, "layout", sizes={letter: 300},
                     vjp=_past_a_tile(vjp(operation), 257))  # fmt: skip
    for operation in ("affine", "softmax", "log_softmax", "scaled_dot_product_attention"):
        spread = laid_out(ordinary(operation, {}), without_strides, 0)
        yield corner(operation, "cotangent-without-strides", KIND, ANY, spread, "layout",
                     vjp=_packed(vjp(operation), 0))  # fmt: skip
    spread = laid_out(ordinary("mse_loss", {}), lambda a: np.broadcast_to(a[:, :1], a.shape), 1)
    yield corner("mse_loss", "one-number-to-a-row", KIND, ANY, spread, "layout", vjp=_packed(vjp("mse_loss"), 1))
    for operation in ("log_softmax", "dropout"):
        turned = laid_out(ordinary(operation, {"b": 6, "n": 5}), fortran, 1)
        yield corner(operation, "cotangent-in-its-order", KIND, ANY, turned, "layout",
                     vjp=_order_of_the_second(vjp(operation), 0))  # fmt: skip
    turned = laid_out(examples("hadamard", (6,), {"n": 5}), fortran, 1)
    yield corner("hadamard", "cotangent-in-its-order", KIND, ANY, turned, "layout", asks="batch",
                 vjp=_order_of_the_second(vjp("hadamard"), 0))  # fmt: skip
    for operation in ("matvec", "rms_norm", "exp"):
        shifted = laid_out(ordinary(operation, {}), unaligned, 1)
        yield corner(operation, "unaligned", KIND, ANY, shifted, "layout", vjp=_aligned_loads(vjp(operation)))
    for operation in ("linear", "sigmoid", "cross_entropy"):
        swapped = laid_out(ordinary(operation, {}), big_endian, 1)
        yield corner(operation, "big-endian", KIND, ANY, swapped, "layout", vjp=_native(vjp(operation)))
    for operation, position in (("cross_entropy", 1), ("linear", 2), ("logsumexp", 1), ("matvec", 1), ("swiglu", 0)):
        wide = laid_out(ordinary(operation, {}), padded_rows, position)
        yield corner(operation, "rows-of-a-wider-array", KIND, ANY, wide, "layout",
                     vjp=_own_rows(vjp(operation), position))  # fmt: skip
    turned = laid_out(ordinary("linear", {"d": 40, "n": 30}), fortran, 2)
    yield corner("linear", "large-transposed-view", KIND, ANY, turned, "layout", sizes={"d": 40, "n": 30},
                 vjp=when(lambda d, x, W, b: W.size > 1000 and W.flags.fnc,
                          m.fed(vjp("linear"), lambda d, x, W, b: [d, x, m.as_in_memory(W), b]),
                          vjp("linear")))  # fmt: skip
    turned = laid_out(ordinary("conv2d", {"h": 9, "w": 8}), lambda a: np.moveaxis(
        np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1), 1)  # fmt: skip
    yield corner("conv2d", "channels-last", KIND, ANY, turned, "layout",
                 vjp=when(lambda d, x, W, b: x.strides[1] == x.itemsize and x.shape[1] > 1,
                          m.fed(vjp("conv2d"), lambda d, x, W, b: [d, m.as_in_memory(x), W, b]),
                          vjp("conv2d")))  # fmt: skip
    reversed_rows = laid_out(ordinary("tanh", {"n": 40}), lambda a: np.flip(np.flip(a).copy()), 1)
    yield corner("tanh", "stride-without-its-sign", KIND, ANY, reversed_rows, "layout", sizes={"n": 40},
                 vjp=when(lambda d, x: x.strides[0] < 0 and x.size > 33,
                          m.fed(vjp("tanh"), lambda d, x: [d, x[::-1]]), vjp("tanh")))  # fmt: skip


MEMORY = [*_memory()]

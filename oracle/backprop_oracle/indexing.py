"""Which entries gather, scatter and dynamic slices pick, by arithmetic of indices: XLA compiles for each shape.

Places are flat indices into an array, from 1; 0 is nowhere. As in XLA, a window that does not fit is moved inwards
where indices are clipped or promised to be inside, and is left out whole where they may be outside.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jax.lax import GatherScatterMode

from .program import Array, Params

Shape = Sequence[int]


def gather_places(params: Params, shape: Shape, indices: Array) -> Array:
    """Of each entry of a gather's result the place in an array of this shape.

    >>> import jax
    >>> from .program import traced
    >>> *_, last = traced(lambda x: x[jax.numpy.array([2, 0])], np.ones(3)).equations
    >>> gather_places(last.params, (3,), np.array([[2], [0]]))
    array([3, 1])
    """
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    whole = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    batching = numbers.operand_batching_dims, numbers.start_indices_batching_dims
    starts = _starts(shape, indices, numbers.start_index_map, *batching)
    drops = params["mode"] == GatherScatterMode.FILL_OR_DROP
    return _arranged(_cells(shape, starts, sizes, whole, drops=drops), indices, numbers.offset_dims)


def scatter_places(params: Params, shape: Shape, indices: Array, updates: Shape) -> Array:
    """Of each update of a scatter the place in an array of this shape."""
    numbers = params["dimension_numbers"]
    whole = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    spans = iter(updates[axis] for axis in numbers.update_window_dims)
    sizes = [1 if d in whole else next(spans) for d in range(len(shape))]
    batching = numbers.operand_batching_dims, numbers.scatter_indices_batching_dims
    starts = _starts(shape, indices, numbers.scatter_dims_to_operand_dims, *batching)
    drops = params["mode"] != GatherScatterMode.CLIP
    return _arranged(_cells(shape, starts, sizes, whole, drops=drops), indices, numbers.update_window_dims)


def _starts(shape: Shape, indices: Array, to: Shape, batching: Shape, along: Shape) -> list[Array]:
    """Along each axis, where the window of each index begins."""
    batch = indices.shape[:-1]
    starts = [np.zeros(batch, np.int64) for _ in shape]
    for k, d in enumerate(to):
        starts[d] = indices[..., k].astype(np.int64)
    for d, axis in zip(batching, along, strict=True):
        starts[d] = np.broadcast_to(
            np.arange(shape[d]).reshape([-1 if i == axis else 1 for i in range(len(batch))]), batch
        )
    return starts


def _cells(shape: Shape, starts: Sequence[Array], sizes: Shape, whole: Shape, *, drops: bool) -> Array:
    """The places of the entries of each window, along axes after those of the indices."""
    windows = [d for d in range(len(shape)) if d not in whole]
    inside = np.ones(starts[0].shape if starts else (), bool)
    place: Array = np.zeros([*inside.shape, *(1 for _ in windows)], np.int64)
    for d, (n, start, size) in enumerate(zip(shape, starts, sizes, strict=True)):
        inside = inside & (start >= 0) & (start <= n - size)
        begin = start if drops else np.clip(start, 0, max(n - size, 0))
        span = np.arange(size).reshape([size if d == w else 1 for w in windows])
        place = place * n + begin.reshape([*begin.shape, *(1 for _ in windows)]) + span
    outside = ~inside.reshape([*inside.shape, *(1 for _ in windows)])
    return np.where(outside, 0, place + 1) if drops else place + 1


def _arranged(cells: Array, indices: Array, axes: Shape) -> Array:
    """With the axes of a window where the result has them."""
    first = indices.ndim - 1
    return np.moveaxis(cells, range(first, cells.ndim), axes)


def _slice_places(params: Params, sources: Sequence[Array], *starts: Array) -> Array:
    (numbers,) = sources
    return numbers[_window(numbers.shape, params["slice_sizes"], starts)]


def _updated_places(params: Params, sources: Sequence[Array], *starts: Array) -> Array:
    numbers, update = sources
    found = numbers.copy()
    found[_window(numbers.shape, update.shape, starts)] = update
    return found


def _window(shape: Shape, sizes: Shape, starts: Sequence[Array]) -> tuple[slice, ...]:
    triples = zip(shape, sizes, map(int, starts), strict=True)
    begins = [(min(max(start + n * (start < 0), 0), n - size), size) for n, size, start in triples]
    return tuple(slice(begin, begin + size) for begin, size in begins)


def _gathered(params: Params, sources: Sequence[Array], indices: Array) -> Array:
    return np.append(0, sources[0])[gather_places(params, sources[0].shape, indices)]


def _scattered(params: Params, sources: Sequence[Array], indices: Array) -> Array:
    numbers, updates = sources
    where, found = scatter_places(params, numbers.shape, indices, updates.shape), numbers.ravel().copy()
    found[where[where > 0] - 1] = updates[where > 0]
    return found.reshape(numbers.shape)


PICKS: Mapping[str, Callable[..., Array]] = {  # of numbers that tell the entries apart, and indices
    "gather": _gathered,
    "scatter": _scattered,
    "dynamic_slice": _slice_places,
    "dynamic_update_slice": _updated_places,
}

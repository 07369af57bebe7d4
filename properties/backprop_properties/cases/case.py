"""A case: the arguments of an operation, a cotangent, and tangents. Some arguments may be integers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backprop_oracle import shapes

if TYPE_CHECKING:  # JAX takes half a second, and a report needs none of it
    from backprop_oracle.rows import Row

Array = NDArray[Any]
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Case:
    """The arguments of an operation (a single example), a cotangent, and a tangent for each argument."""

    args: tuple[Array, ...]
    delta: Array
    tangents: tuple[Array, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.delta.dtype


def sizes_of(operation: "Row", case: Case) -> dict[str, int]:
    """The sizes of a case by letter, in alphabetical order.

    >>> from backprop_reference import OPERATIONS
    >>> sizes_of(OPERATIONS["matvec"], Case((np.ones((2, 3)), np.ones(3)), np.ones(2), ()))
    {'d': 2, 'n': 3}
    """
    return dict(sorted(shapes.sizes_of(operation.cores[:-1], [a.shape for a in case.args]).items()))


def directions(args: Sequence[Array]) -> tuple[Array, ...]:
    """The usual tangents for arguments of these shapes: 1, −1, 2, 1, −1, 2, …"""
    return tuple(np.resize(np.array([1, -1, 2], a.dtype), a.shape) for a in args)

"""The public border: which numbers and shapes an operation takes, and one clear line when they do not fit.

A `Signature` stands beside each operation: NumPy's gufunc signature in the slides' letters. Data (`x`, `y`, `alpha`)
and the cotangent `delta` may carry leading batch axes, the same on all of them; parameters never do. Behind the
border arrays are C-contiguous and of one dtype, so a result never depends on a memory layout.
"""

import re
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32 or float64
Shape = tuple[int, ...]

# Of each argument: its place, that of an earlier one with the same shape, whether it is a parameter, its letters.
Core = tuple[int, int | None, bool, tuple[str, ...]]

_FLOATS = _SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def as_floating(value: object, name: str) -> Array:
    """`value` as a C-contiguous array: float32 and float64 keep their dtype, integers become float64.

    >>> as_floating([1, 2], "x")
    array([1., 2.])
    >>> as_floating(True, "x")
    Traceback (most recent call last):
    TypeError: x: expected float32, float64 or integers, got bool
    """
    if type(value) is np.ndarray and value.dtype in _FLOATS and value.flags.c_contiguous:
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        raise TypeError(
            f"{name}: expected a rectangular array of numbers, got a ragged {type(value).__name__}"
        ) from None
    dtype = array.dtype.newbyteorder("=")
    if array.dtype.kind in "iu":
        dtype = np.dtype(np.float64)
    elif dtype not in _FLOATS:
        raise TypeError(f"{name}: expected float32, float64 or integers, got {array.dtype}")
    return np.asarray(array, dtype, order="C")


def rows(a: Array) -> Array:
    """All batch axes as one, a view: `(…, n)` becomes `(batch, n)`."""
    return a.reshape(prod(a.shape[:-1]), a.shape[-1])


class Signature:
    """The names, letters and shapes of one operation.

    `parameters` names the arguments that take no batch axes, `positive` the letters that must not be 0.

    >>> affine = Signature("affine", "W x b", "(d,n),(n),(d)->(d)", parameters="W b")
    >>> W, x, b = affine.batched([[1, 2]], [3, 4], [5])
    >>> affine.batched([[1, 2]], [3, 4, 5], [5])
    Traceback (most recent call last):
    ValueError: affine: x must have shape (n) with n = 2 as in W, got (3)
    """

    def __init__(self, operation: str, names: str, text: str, *, parameters: str = "", positive: str = "") -> None:
        self.operation = operation
        self.arguments = tuple(names.split())
        self.text = text
        *self.inputs, self.output = [tuple(re.findall(r"\w+", core)) for core in re.findall(r"\(([^)]*)\)", text)]
        self.parameters, self.positive = tuple(parameters.split()), tuple(positive.split())
        own = [name in self.parameters for name in self.arguments]
        self._forward = _plan(own, self.inputs)
        self._backward = _plan([*own, False], [*self.inputs, self.output])

    def __repr__(self) -> str:
        return f"Signature({self.operation!r}, {' '.join(self.arguments)!r}, {self.text!r})"

    def batched(self, *values: object) -> list[Array]:
        """The arguments, checked; data may carry batch axes."""
        return self._as_they_are(self._forward, values) or self._checked(
            self.arguments, self.inputs, values, batches=True
        )

    def single(self, *values: object) -> list[Array]:
        """The arguments of a single example, checked."""
        arrays = self._as_they_are(self._forward, values)
        if arrays and all(a.ndim == len(core) for a, core in zip(arrays, self.inputs, strict=True)):
            return arrays
        return self._checked(self.arguments, self.inputs, values, batches=False)

    def pulled_back(self, delta: object, *values: object) -> list[Array]:
        """The cotangent, of the output's shape, and the arguments, checked; data and cotangent may carry batch axes."""
        *arrays, cotangent = self._as_they_are(self._backward, (*values, delta)) or self._checked(
            (*self.arguments, "delta"), [*self.inputs, self.output], (*values, delta), batches=True
        )
        return [cotangent, *arrays]

    def _as_they_are(self, cores: list[Core], values: tuple[Any, ...]) -> list[Array]:
        """The quick path of most calls: `values`, if they are C-contiguous, of one float dtype and fit; else `[]`.

        Then `_checked` converts the values, or raises an error that explains.
        """
        dtype = values[0].dtype if values and type(values[0]) is np.ndarray else None
        if (dtype is not _DOUBLE and dtype is not _SINGLE) or len(values) != len(cores):
            return []
        if len(cores) == 1:  # there is nothing to compare it with
            (x,), (_, _, parameter, core) = values, cores[0]
            fits = x.size and x.flags.c_contiguous and x.ndim >= len(core) and not parameter
            return [x] if fits else []
        arrays, shapes = list(values), []
        sizes: dict[str, int] = {}
        batch = None
        for i, like, parameter, core in cores:
            a = values[i]
            if type(a) is not np.ndarray:
                if core or type(a) is not dtype.type:
                    return []
                a = arrays[i] = np.asarray(a)
            if a.dtype is not dtype or not a.flags.c_contiguous:
                return []
            shape = a.shape
            shapes.append(shape)
            if like is not None:
                if shape != shapes[like]:
                    return []
                continue
            axes = len(shape) - len(core)
            if axes < 0 or (parameter and axes > 0):
                return []
            if not parameter:
                if batch is None:
                    batch = shape[:axes]
                elif shape[:axes] != batch:
                    return []
            for letter in core:
                if sizes.setdefault(letter, shape[axes]) != shape[axes]:
                    return []
                axes += 1
        for letter in self.positive:
            if sizes[letter] == 0:
                return []
        return arrays

    def _checked(
        self, names: tuple[str, ...], cores: list[tuple[str, ...]], values: tuple[object, ...], batches: bool
    ) -> list[Array]:
        if len(values) != len(names):
            raise TypeError(f"{self.operation}: expected {len(names)} arguments ({' '.join(names)}), got {len(values)}")
        arrays = [as_floating(value, f"{self.operation}: {name}") for name, value in zip(names, values, strict=True)]
        sizes: dict[str, tuple[int, str]] = {}
        batch: tuple[Shape, str] | None = None
        for name, core, a in zip(names, cores, arrays, strict=True):
            axes = a.ndim - len(core)
            for letter, size in zip(core, a.shape[max(axes, 0) :], strict=False):
                if axes < 0 or sizes.setdefault(letter, (size, name))[0] != size:
                    raise ValueError(self._misfit(name, core, a.shape, sizes))
            if axes < 0 or (axes > 0 and (not batches or name in self.parameters)):
                raise ValueError(self._misfit(name, core, a.shape, sizes))
            if batches and name not in self.parameters:
                batch = batch or (a.shape[:axes], name)
                if a.shape[:axes] != batch[0]:
                    raise ValueError(
                        f"{self.operation}: {name} must have the batch axes {_show(batch[0])} of {batch[1]}, "
                        f"got {_show(a.shape[:axes])} (shape {_show(a.shape)})"
                    )
        for letter in self.positive:
            if sizes[letter][0] == 0:
                raise ValueError(f"{self.operation}: {sizes[letter][1]} must not be empty, got {letter} = 0")
        own = [a for a, value in zip(arrays, values, strict=True) if type(value) not in (int, float)]
        dtype = np.result_type(*(own or arrays))  # Python's numbers take the dtype of the arrays, as in NumPy
        return [np.asarray(a, dtype) for a in arrays]

    def _misfit(self, name: str, core: tuple[str, ...], got: Shape, sizes: dict[str, tuple[int, str]]) -> str:
        known = ", ".join(
            f"{letter} = {sizes[letter][0]} as in {sizes[letter][1]}"
            for letter in dict.fromkeys(core)
            if letter in sizes and sizes[letter][1] != name
        )
        return (
            f"{self.operation}: {name} must have shape {_show(core)}{' with ' * bool(known)}{known}, got {_show(got)}"
        )


def _plan(parameters: list[bool], cores: list[tuple[str, ...]]) -> list[Core]:
    arguments = list(zip(parameters, cores, strict=True))
    firsts = [arguments.index(argument) for argument in arguments]
    return [(i, first if first < i else None, *arguments[i]) for i, first in enumerate(firsts)]


def _show(shape: tuple[object, ...]) -> str:
    return f"({','.join(map(str, shape))})"

"""Functions of a C library as what `check` takes: which pointer and which size goes where is said in names."""

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Function = Callable[..., Any]
Array = NDArray[Any]


def from_c(
    forward: Any, takes: str, backward: Any, backward_takes: str, *, shapes: str, real: Any = ctypes.c_double
) -> dict[str, Function]:
    """The forward and the vjp of two functions of a library that `ctypes` has loaded.

    `shapes` has the arguments, each with its shape in letters, and the output: `"x(B,n) W(n,d) b(d) -> out(B,d)"`. What
    a function takes is listed in those names: `"x W b out B n d"`, and for the backward `"dout x W dx dW db B n d"`. A
    name of an array is a pointer to its numbers, row by row, of the C type `real`, or `int32_t` for integers; a letter
    is an `int`. What a function writes to is an array of its own that begins with zeros. An output that is not listed
    is what the function returns, and a `dout` of no axes is a number and no pointer.
    """
    declared = re.findall(r"(\w+)\s*\(([^()]*)\)", shapes)
    if "->" not in shapes or len(declared) < 2:
        raise ValueError(f"from_c: shapes: expected as 'x(n) W(d,n) -> out(d)', got {shapes!r}")
    cores = {name: [size.strip() for size in core.split(",") if size.strip()] for name, core in declared}
    *names, out = cores
    letters = {size for core in cores.values() for size in core if not size.isdigit()}
    known = {*cores, *(f"d{name}" for name in cores), *letters}
    if both := letters & {*cores}:
        raise ValueError(f"from_c: {sorted(both)[0]!r} is an array and a size; call the size otherwise")
    for text in (takes, backward_takes):
        if other := [name for name in text.split() if name not in known]:
            raise ValueError(f"from_c: {other[0]!r} in {text!r} is none of {', '.join(sorted(known))}")
    dtype = np.dtype(real)

    def given(args: Sequence[Any]) -> tuple[dict[str, Array], dict[str, int]]:
        """The arguments as C has them, and the sizes of the letters."""
        if len(args) != len(names):
            raise TypeError(f"from_c: shapes has {len(names)} arguments ({' '.join(names)}), the operation {len(args)}")
        arrays: dict[str, Array] = {}
        sizes: dict[str, int] = {}
        for name, a in zip(names, map(np.asarray, args), strict=True):
            if a.ndim != len(cores[name]):
                raise TypeError(f"from_c: {name} has {a.ndim} axes, expected {name}({','.join(cores[name])})")
            arrays[name] = np.ascontiguousarray(a, np.int32 if a.dtype.kind in "iub" else dtype).reshape(a.shape)
            sizes |= dict(zip(cores[name], a.shape, strict=True))
        return arrays, sizes

    def shape(name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(int(size) if size.isdigit() else sizes[size] for size in cores[name])

    def called(function: Any, text: str, arrays: Mapping[str, Array], sizes: Mapping[str, int], result: Any) -> Any:
        function.restype = result
        passed = [
            ctypes.c_int(sizes[name]) if name in letters else _passed(arrays[name], real, name == f"d{out}")
            for name in text.split()
        ]
        return function(*passed)

    def value(*args: Any) -> Array:
        arrays, sizes = given(args)
        if out not in takes.split():
            return np.asarray(called(forward, takes, arrays, sizes, real), dtype)
        arrays[out] = np.zeros(shape(out, sizes), dtype)
        called(forward, takes, arrays, sizes, None)
        return arrays[out]

    def vjp(delta: Any, *args: Any) -> tuple[Array | None, ...]:
        arrays, sizes = given(args)
        asked = backward_takes.split()
        if out in asked:
            arrays[out] = value(*args)
        arrays[f"d{out}"] = np.ascontiguousarray(delta, dtype).reshape(np.shape(delta))
        arrays |= {f"d{name}": np.zeros(shape(name, sizes), dtype) for name in names if f"d{name}" in asked}
        called(backward, backward_takes, arrays, sizes, None)
        return tuple(arrays.get(f"d{name}") for name in names)

    return {"forward": lambda *args: value(*args), "vjp": vjp}  # in a reproduction it is called forward


def _passed(a: Array, real: Any, is_cotangent: bool) -> Any:
    """A pointer to an array's numbers; of a loss, the number that its cotangent is."""
    return real(float(a)) if is_cotangent and not a.ndim else ctypes.c_void_p(a.ctypes.data)

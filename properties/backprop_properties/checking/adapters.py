"""Functions of PyTorch, JAX and autograd as what `check` takes: NumPy arrays in, NumPy arrays out.

    check("softmax_cross_entropy", **from_torch(F.cross_entropy))

There are no Jacobians: these libraries compute them row by row from the vjp, which is judged itself.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from .layers import refuse_all_but_functions

Array = NDArray[Any]
Function = Callable[..., Any]
_programs: dict[Any, None] = {}  # that JAX has compiled, by function and shapes
MOST_PROGRAMS = 4000  # each maps memory three times, and a process of Linux may do so 65,530 times


def from_torch(function: Any) -> dict[str, Function]:
    """The forward and the vjp of a function of tensors, of a module without parameters, or of an `autograd.Function`.

    Gradients come from `torch.autograd.grad`; one that is None there (no backward reaches the argument, or it returns
    None) is not given here either. Where NumPy's memory is one that PyTorch can have, tensors share it, so that strides
    and writes to arguments are those of a caller in PyTorch. A function may take them to a device.

    Raises ModuleNotFoundError without PyTorch, TypeError for what cannot be called with tensors.

    >>> from_torch(abs)["forward"](np.array([-1.0, 2.0])).tolist()  # doctest: +SKIP
    [1.0, 2.0]
    """
    torch = _library("torch", "from_torch")
    function = _applied(function, torch)

    def forward(*args: Any) -> Array:
        with torch.no_grad():
            return array(_one(function(*map(tensor, args)), torch.Tensor))

    def vjp(delta: Any, *args: Any) -> tuple[Array | None, ...]:
        leaves = [tensor(a) for a in args]
        leaves = [leaf.requires_grad_(leaf.is_floating_point()) for leaf in leaves]
        u = _one(function(*leaves), torch.Tensor)
        asked = [leaf for leaf in leaves if leaf.requires_grad]
        found = torch.autograd.grad(u, asked, tensor(delta).to(u), allow_unused=True)
        by_leaf = {id(leaf): d for leaf, d in zip(asked, found, strict=True)}
        return tuple(None if by_leaf.get(id(leaf)) is None else array(by_leaf[id(leaf)]) for leaf in leaves)

    return {"forward": forward, "vjp": vjp}


def from_jax(function: Any, argnums: int | Sequence[int] | None = None) -> dict[str, Function]:
    """The forward and the vjp of a function of JAX arrays, by `jax.vjp`; custom rules are used.

    JAX has a gradient for every argument, 0 for one that plays no part: `argnums` names those that are meant, as in
    `jax.grad`; for the others the vjp returns None. The function is compiled once a shape, unless it needs the values
    of its arguments. It runs with JAX's usual promotion of dtypes and ranks and with 64-bit numbers.

    >>> import jax
    >>> parts = from_jax(lambda x, y: -(y * jax.nn.log_softmax(x)).sum(), argnums=0)
    >>> parts["vjp"](np.array(1.0), np.zeros(2), np.array([1.0, 0.0]))
    (array([-0.5,  0.5]), None)
    """
    refuse_all_but_functions("from_jax", function=function)
    jax = _library("jax", "from_jax")
    from backprop_oracle.autodiff import quick_compilation  # 64-bit numbers from here on

    def pulled(delta: Any, *args: Any) -> Any:
        u, pull_back = jax.vjp(function, *args)
        return pull_back(delta.astype(u.dtype))

    def called(f: Function) -> Function:
        compiled = jax.jit(f, compiler_options=quick_compilation())

        def g(*args: Any) -> Any:
            arrays = [jax.numpy.array(a) for a in args]
            _count(compiled, arrays)
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                try:
                    return compiled(*arrays)
                except jax.errors.JAXTypeError:  # a branch on a value, an array asked for as NumPy's
                    return f(*arrays)

        return g

    value, cotangents = called(function), called(pulled)
    return {
        "forward": lambda *args: np.asarray(_one(value(*args), jax.Array)),
        "vjp": lambda delta, *args: _picked(cotangents(delta, *args), argnums),
    }


def _count(compiled: Any, arrays: Sequence[Any]) -> None:
    """Counts the programs that were compiled, of all functions together; when there are many, all are given up."""
    _programs[compiled, tuple((a.shape, a.dtype) for a in arrays)] = None
    if len(_programs) > MOST_PROGRAMS:
        for f in {f for f, _ in _programs}:
            f.clear_cache()
        _programs.clear()


def from_autograd(function: Any, argnums: int | Sequence[int] | None = None) -> dict[str, Function]:
    """The forward and the vjp of a function of `autograd.numpy`; `argnums` as for `from_jax`."""
    refuse_all_but_functions("from_autograd", function=function)
    autograd = _library("autograd", "from_autograd")

    def vjp(delta: Any, *args: Any) -> tuple[Array | None, ...]:
        pull_back, u = autograd.make_vjp(function, tuple(range(len(args))))(*args)
        return _picked(pull_back(np.asarray(delta, u.dtype)), argnums)

    return {"forward": function, "vjp": vjp}


# ── PyTorch's tensors ───────────────────────────────────────────────────────────────────────────────────────────────


def tensor(a: Any) -> Any:
    """A tensor with an array's numbers, dtype and strides, of the same memory where PyTorch can have it.

    PyTorch knows no negative strides, and nothing that may not be written to: of such an array it gets a copy. NumPy
    knows bfloat16 from `ml_dtypes` alone: it goes over as 16 bits.
    """
    torch = _library("torch", "tensor")
    a = np.asarray(a)
    if not a.flags.writeable or any(stride < 0 or stride % a.itemsize for stride in a.strides):
        a = a.copy()
    if a.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(a)


def array(t: Any) -> Array:
    """An array of a tensor's numbers: of the same memory, or a copy of what lies on another device."""
    torch = _library("torch", "array")
    t = t.detach().cpu()
    return t.view(torch.int16).numpy().view(ml_dtypes.bfloat16) if t.dtype == torch.bfloat16 else t.numpy()


def _applied(function: Any, torch: Any) -> Function:
    is_class = isinstance(function, type)
    if is_class and issubclass(function, torch.autograd.Function):
        return function.apply
    if is_class or not callable(function):
        what = f"the class {function.__name__}" if is_class else f"a {type(function).__name__}"
        raise TypeError(f"from_torch: expected a function, a module or a torch.autograd.Function, got {what}")
    return function


# ── All of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def _library(name: str, what: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name != name:
            raise
        raise ModuleNotFoundError(
            f"{what} needs {name}, which is not installed: pip install {name}", name=name
        ) from None


def _one(result: Any, kind: type) -> Any:
    if not isinstance(result, kind):
        raise TypeError(f"the function returned a {type(result).__name__}, expected a {kind.__name__}")
    return result


def _picked(cotangents: Sequence[Any], argnums: int | Sequence[int] | None) -> tuple[Array | None, ...]:
    """The cotangents of the arguments `argnums` as arrays, None for the others."""
    asked = range(len(cotangents)) if argnums is None else np.atleast_1d(argnums) % len(cotangents)
    return tuple(np.asarray(d) if i in asked else None for i, d in enumerate(cotangents))

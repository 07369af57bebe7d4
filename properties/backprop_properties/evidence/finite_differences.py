"""Checks by finite differences, as other libraries have them, on the functions of a planted fault.

Each is used as documented, in float64: `torch.autograd.gradcheck`, `jax.test_util.check_grads` and
autograd's `check_grads`, these in reverse mode to the first order. A library that is not installed has no row.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS, Operation

from ..cases.case import Array
from ..cases.domains import domain_of
from ..cases.plan import Planned, made
from ..checking.adapters import array, tensor
from .faults import Fault

Function = Callable[..., Any]
INPUTS = 20  # of "many"


def torch_gradcheck(forward: Function, vjp: Function, shape: tuple[int, ...], args: Sequence[Array]) -> None:
    """`torch.autograd.gradcheck` of a custom `Function`."""
    import torch

    torch.set_num_threads(1)  # small numbers, and the other cores have work

    class Custom(torch.autograd.Function):  # type: ignore[misc]  # whether PyTorch is installed or not
        @staticmethod
        def forward(context: Any, *tensors: Any) -> Any:
            context.save_for_backward(*tensors)
            return tensor(forward(*map(array, tensors)))

        @staticmethod
        def backward(context: Any, delta: Any) -> Any:
            return tuple(map(tensor, vjp(array(delta), *map(array, context.saved_tensors))))

    torch.autograd.gradcheck(Custom.apply, [tensor(a).requires_grad_() for a in args])


def jax_check_grads(forward: Function, vjp: Function, shape: tuple[int, ...], args: Sequence[Array]) -> None:
    """`jax.test_util.check_grads` of a function with a custom vjp."""
    import jax
    from jax.test_util import check_grads

    def called(f: Function, *arguments: Any) -> Any:  # outside of jit, arguments are numbers here
        return jax.tree.map(jax.numpy.array, f(*map(np.array, arguments)))

    f = jax.custom_vjp(partial(called, forward))
    f.defvjp(lambda *a: (f(*a), a), lambda a, delta: tuple(called(vjp, delta, *a)))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        check_grads(f, args, order=1, modes=["rev"])


def autograd_check_grads(forward: Function, vjp: Function, shape: tuple[int, ...], args: Sequence[Array]) -> None:
    """autograd's `check_grads` of a primitive."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    f, every = primitive(forward), tuple(range(len(args)))
    defvjp(f, *(lambda u, *a, i=i: lambda delta: vjp(np.asarray(delta), *a)[i] for i in every))
    check_grads(f, every, modes=["rev"], order=1)(*args)


RIVALS: Mapping[str, tuple[str, Function]] = {
    "PyTorch's gradcheck": ("torch", torch_gradcheck),
    "JAX's check_grads": ("jax", jax_check_grads),
    "autograd's check_grads": ("autograd", autograd_check_grads),
}


def installed() -> tuple[str, ...]:
    """The rivals whose libraries are installed.

    >>> "JAX's check_grads" in installed()
    True
    """
    return tuple(name for name, (module, _) in RIVALS.items() if find_spec(module))


def rejections(name: str, fault: Fault) -> tuple[bool, bool] | None:
    """Whether a rival rejects a fault on one ordinary random input, and on one of many.

    None where it cannot see the fault: a wrong Jacobian, or one that only float32 has. A wrong forward without a vjp
    gets the right vjp, and the other way round; anything raised counts as a rejection.
    """
    if "float64" not in fault.dtypes or not (fault.forward or fault.vjp):
        return None
    module, rival = RIVALS[name]
    import_module(module)
    row = OPERATIONS[fault.operation]
    forward, vjp = fault.forward or row.forward, fault.vjp or row.vjp
    found = (_rejects(rival, forward, vjp, *_input(row, fault, k)) for k in range(INPUTS))
    first = next(found)
    return first, first or any(found)


def _rejects(rival: Function, forward: Function, vjp: Function, shape: tuple[int, ...], args: Sequence[Array]) -> bool:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            rival(forward, vjp, shape, args)
    except Exception:
        return True
    return False


def _input(row: Operation, fault: Fault, k: int) -> tuple[tuple[int, ...], list[Array]]:
    """Ordinary numbers, in a batch of three where the fault is one of batches: the output's shape and the arguments.

    Targets are distributions, and at every other input any numbers.
    """
    sizes = {letter: (3 + i, 1, 8, 12 - i)[k % 4] for i, letter in enumerate(row.letters)}  # few: JAX compiles for each
    planned, domain = Planned("small", sizes, "plain"), domain_of(row, None)
    cases = [made(domain, planned, np.dtype(np.float64), 10 * k + example, k) for example in range(3)]
    if fault.asks != "batch":
        return cases[0].delta.shape, list(cases[0].args)
    args = [
        np.array([case.args[i] for case in cases]) if data else cases[0].args[i] for i, data in enumerate(row.is_data)
    ]
    return (3, *cases[0].delta.shape), args

"""How backward passes are usually tested: each practice in a few lines, as a test of one ordinary input.

A practice gets a forward, a vjp and a sample, and raises where it rejects them. Checks by finite differences of other
libraries are used as documented, in reverse mode to the first order; a library that is not installed has no row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import numpy as np

from backprop_oracle.autodiff import quick_compilation

from ..cases.case import Array
from ..checking.adapters import array, tensor

Function = Callable[..., Any]
STEP = 1e-5  # of a central difference


@dataclass(frozen=True, eq=False)
class Framework:
    """What JAX says of one input of a forward in `jax.numpy`: the value, and the gradients by the floats."""

    definition: Function
    args: Sequence[Array]
    delta: Array

    @cached_property
    def expected(self) -> tuple[Array, ...]:
        return self._of(self.delta, self.args)

    @cached_property
    def expected_of_ones(self) -> tuple[Array, ...]:
        """For a cotangent of ones."""
        return self._of(np.ones_like(self.delta), self.args)

    @cached_property
    def exact(self) -> tuple[Array, ...]:
        """In float64, whatever the format of the numbers."""
        floats = [a.astype(np.float64) if is_float(a) else a for a in self.args]
        return self._of(self.delta.astype(np.float64), floats)

    def _of(self, delta: Array, args: Sequence[Array]) -> tuple[Array, ...]:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return tuple(map(np.asarray, _compiled(self.definition)(delta, args)))


@cache
def _compiled(definition: Function) -> Function:
    def ask(delta: Any, args: Sequence[Any]) -> tuple[Any, ...]:
        value, pullback = jax.vjp(definition, *args)
        return value, *(d for d, a in zip(pullback(delta), args, strict=True) if is_float(a))

    return jax.jit(ask, compiler_options=quick_compilation())


def is_float(a: Any) -> bool:
    """Whether an array holds floats."""
    return bool(np.issubdtype(a.dtype, np.floating))


class Sample(NamedTuple):
    """One input, which a function may write to: the arguments that are floats, and a cotangent; and what JAX says."""

    args: Sequence[Array]
    delta: Array
    jax: Framework


# ── Beside a framework ──────────────────────────────────────────────────────────────────────────────────────────────


def allclose(forward: Function, vjp: Function, s: Sample, tolerance: float) -> None:
    """The value and the gradients for a random cotangent are JAX's, up to a tolerance."""
    for actual, expected in zip((forward(*s.args), *vjp(s.delta, *s.args)), s.jax.expected, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def cotangent_of_ones(forward: Function, vjp: Function, s: Sample) -> None:
    """The same for a cotangent of ones, as `f(x).sum().backward()` has it."""
    found = forward(*s.args), *vjp(np.ones_like(s.delta), *s.args)
    for actual, expected in zip(found, s.jax.expected_of_ones, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def twice_the_frameworks_error(forward: Function, vjp: Function, s: Sample) -> None:
    """In float32, the largest error is at most twice that of JAX in float32, measured against JAX in float64."""
    found = forward(*s.args), *vjp(s.delta, *s.args)
    for ours, theirs, exact in zip(found, s.jax.expected, s.jax.exact, strict=True):
        assert np.abs(ours - exact).max() <= 2 * np.abs(theirs - exact).max()


# ── Finite differences of one's own ─────────────────────────────────────────────────────────────────────────────────


def numeric_gradient(loss: Function, args: Sequence[Array], i: int) -> Array:
    """Central differences of a number that depends on the arguments, by the entries of one of them."""
    found = np.zeros_like(args[i])
    for place in np.ndindex(args[i].shape):
        ends = []
        for step in (STEP, -STEP):
            moved = [a.copy() for a in args]
            moved[i][place] += step
            ends.append(loss(*moved))
        found[place] = (ends[0] - ends[1]) / (2 * STEP)
    return found


def sum_of_the_output(forward: Function, vjp: Function, s: Sample) -> None:
    """The gradients of `forward(x).sum()` are its central differences, up to 1e-4."""
    for i, d in enumerate(vjp(np.ones_like(s.delta), *s.args)):
        numeric = numeric_gradient(lambda *args: np.sum(forward(*args)), s.args, i)
        np.testing.assert_allclose(d, numeric, rtol=1e-4, atol=1e-4)


def relative_error(forward: Function, vjp: Function, s: Sample, most: float) -> None:
    """As in course notebooks: `|a − b| / max(1e-8, |a| + |b|)` between gradients and central differences."""
    for i, d in enumerate(vjp(s.delta, *s.args)):
        numeric = numeric_gradient(lambda *args: np.sum(forward(*args) * s.delta), s.args, i)
        assert np.max(np.abs(d - numeric) / np.maximum(1e-8, np.abs(d) + np.abs(numeric))) < most


# ── Finite differences of libraries ─────────────────────────────────────────────────────────────────────────────────


def torch_gradcheck(forward: Function, vjp: Function, s: Sample) -> None:
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

    torch.autograd.gradcheck(Custom.apply, [tensor(a).requires_grad_() for a in s.args])


def jax_check_grads(forward: Function, vjp: Function, s: Sample) -> None:
    """`jax.test_util.check_grads` of a function with a custom vjp."""
    from jax.test_util import check_grads

    def called(f: Function, *arguments: Any) -> Any:  # outside of jit, arguments are numbers here
        return jax.tree.map(jax.numpy.array, f(*map(np.array, arguments)))

    f = jax.custom_vjp(partial(called, forward))
    f.defvjp(lambda *a: (f(*a), a), lambda a, delta: tuple(called(vjp, delta, *a)))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        check_grads(f, s.args, order=1, modes=["rev"])


def autograd_check_grads(forward: Function, vjp: Function, s: Sample) -> None:
    """autograd's `check_grads` of a primitive."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    f, every = primitive(forward), tuple(range(len(s.args)))
    defvjp(f, *(lambda u, *a, i=i: lambda delta: vjp(np.asarray(delta), *a)[i] for i in every))
    check_grads(f, every, modes=["rev"], order=1)(*s.args)


# ── All of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Practice(NamedTuple):
    """A practice: what it is called in tables, the test, the library that it needs, and the format of its numbers."""

    title: str
    test: Callable[[Function, Function, Sample], None]
    library: str = "numpy"
    dtype: str = "float64"


FINITE_DIFFERENCES: Mapping[str, Practice] = {  # of libraries
    "gradcheck": Practice("PyTorch's gradcheck", torch_gradcheck, "torch"),
    "jax-check-grads": Practice("JAX's check_grads", jax_check_grads),
    "autograd-check-grads": Practice("autograd's check_grads", autograd_check_grads, "autograd"),
}
PRACTICES: Mapping[str, Practice] = {
    "allclose-1e-2": Practice("allclose with JAX, 1e-2", partial(allclose, tolerance=1e-2)),
    "allclose-1e-4": Practice("allclose with JAX, 1e-4", partial(allclose, tolerance=1e-4)),
    "allclose-1e-5": Practice("allclose with JAX, 1e-5", partial(allclose, tolerance=1e-5)),
    "ones": Practice("the same with a cotangent of ones", cotangent_of_ones),
    "twice": Practice("twice JAX's own error in float32", twice_the_frameworks_error, dtype="float32"),
    "sum": Practice("differences of the sum of the output", sum_of_the_output),
    "relative-1e-7": Practice("relative error of a notebook, 1e-7", partial(relative_error, most=1e-7)),
    "relative-1e-5": Practice("relative error of a notebook, 1e-5", partial(relative_error, most=1e-5)),
    **FINITE_DIFFERENCES,
}


def installed(practices: Mapping[str, Practice] = PRACTICES) -> tuple[str, ...]:
    """Those whose libraries are installed.

    >>> "jax-check-grads" in installed(FINITE_DIFFERENCES)
    True
    """
    return tuple(name for name, practice in practices.items() if find_spec(practice.library))

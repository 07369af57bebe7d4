"""Tensors that know how they came about as what `check` takes."""

import inspect
from typing import Any

import numpy as np

from .layers import Function, is_float, method_of, refuse_all_but_functions, title_of


def from_tape(
    function: Function,
    tensor: Function,
    *,
    data: str = "data",
    grad: str = "grad",
    backward: str | Function = "backward",
    each: bool = False,
) -> dict[str, Function]:
    """The forward and the vjp of a function of tensors that know how they came about: `out.backward()`, `x.grad`.

    `tensor(array)` makes one, of each argument that is of floats; with `each`, of every number, and the function gets
    arrays of them and may give a list. `data` and `grad` are the attributes. The cotangent is handed to `out.backward`
    if that takes one; else what goes back is the sum of `out * tensor(delta)`. A function `backward(out, delta)` does
    it in another way.

    >>> class Variable:  # of one operation
    ...     def __init__(self, data):
    ...         self.data, self.grad = data, 0.0
    ...     def doubled(self):
    ...         out = Variable(2 * self.data)
    ...         out.backward = lambda grad: setattr(self, "grad", self.grad + 2 * grad)
    ...         return out
    >>> from_tape(Variable.doubled, Variable)["vjp"](np.ones(2), np.array([3.0, 4.0]))
    (array([2., 2.]),)
    """
    refuse_all_but_functions("from_tape", function=function, tensor=tensor)

    def leaf(a: Any) -> Any:
        if not is_float(a):
            return a
        return np.array([tensor(v) for v in a.ravel().tolist()], object).reshape(a.shape) if each else tensor(a)

    def read(t: Any, attribute: str) -> Any:
        if each and isinstance(t, np.ndarray | list):
            t = np.array(t, object)
            return np.array([read(v, attribute) for v in t.ravel()], np.float64).reshape(t.shape)
        if not hasattr(t, attribute):
            raise TypeError(
                f"{title_of(function)}: a {type(t).__name__} has no {attribute!r}, expected a tensor that has"
            )
        value = getattr(t, attribute)
        return value if each or value is None or not isinstance(value, type(t)) else getattr(value, data)

    def vjp(delta: Any, *args: Any) -> tuple[Any, ...]:
        leaves = [leaf(a) for a in map(np.asarray, args)]
        out = function(*leaves)
        if callable(backward):
            backward(out, delta)
        elif each:
            terms = [t * d for t, d in zip(np.ravel(out), np.ravel(delta).tolist(), strict=True)]
            for total in _in_pairs(terms):
                method_of(total, backward)()
        elif _takes_a_cotangent(method_of(out, backward)):
            method_of(out, backward)(delta)
        else:
            method_of((out * tensor(delta)).sum(), backward)()
        return tuple(read(t, grad) if is_float(a) else None for t, a in zip(leaves, args, strict=True))

    return {"forward": lambda *args: read(function(*(leaf(a) for a in map(np.asarray, args))), data), "vjp": vjp}


def _in_pairs(terms: list[Any]) -> list[Any]:
    """The sum of some terms, if there are any: in pairs, so that no tape gets long."""
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + terms[len(terms) & ~1 :]
    return terms


def _takes_a_cotangent(backward: Function) -> bool:
    """Whether a backward has an argument that is not a switch."""
    try:
        first = next(iter(inspect.signature(backward).parameters.values()), None)
    except (TypeError, ValueError):
        return False
    return first is not None and not isinstance(first.default, bool)

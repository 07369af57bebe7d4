"""A step of a program as a formula of names: `v2 = exp(v1)`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from backprop_oracle.program import Equation

if TYPE_CHECKING:
    from .graphs import Wired

FORMULAS: Mapping[str, str] = {
    "add": "{0} + {1}",
    "add_any": "{0} + {1}",
    "sub": "{0} − {1}",
    "mul": "{0} × {1}",
    "div": "{0} / {1}",
    "neg": "−{0}",
    "square": "{0}²",
    "dot_general": "{0} · {1}",
    "reduce_sum": "Σ {0}",
    "reduce_max": "max {0}",
    "reduce_min": "min {0}",
    "reduce_prod": "Π {0}",
    "select_n": "{2} if {0}, else {1}",
    "pow": "{0} to the power {1}",
    "logistic": "sigmoid({0})",
    "rsqrt": "1/√{0}",
    "sqrt": "√{0}",
    "abs": "|{0}|",
    "gt": "{0} > {1}",
    "ge": "{0} ≥ {1}",
    "lt": "{0} < {1}",
    "le": "{0} ≤ {1}",
    "eq": "{0} = {1}",
    "ne": "{0} ≠ {1}",
    "and": "{0} and {1}",
    "or": "{0} or {1}",
    "not": "not {0}",
    "stop_gradient": "{0}, held constant",
    "scan": "a loop over {}",
    "while": "a loop over {}",
    "cond": "a branch of {}",
}
POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def named(graph: "Wired", arguments: Sequence[str], plain: bool) -> dict[Any, str]:
    """A name for every number: arguments have theirs, the output is u, the others are v1, v2, …"""
    names = dict(zip(graph.program.inputs, arguments, strict=True))
    taken = {"u", *arguments}
    free = (name for k in range(1, 10**6) if (name := f"v{k}") not in taken)
    for step in graph.steps:
        for result in step.results:
            names[result] = "u" if plain and result is graph.output.source else next(free)
    return names


def formula(step: Equation, graph: "Wired", names: Mapping[Any, str], axes: int) -> str:
    """What a step computes; the result has so many axes."""
    number = next(i for i, other in enumerate(graph.steps) if other is step)
    wires = {wire.operand: wire for wire in graph.wires if wire.step == number}

    def operand(k: int) -> str:
        if k not in wires:
            return _constant(graph.constants[step.operands[k]])
        turned = any(e.name == "transpose" for e in wires[k].through)
        return names[wires[k].source] + "ᵀ" * turned

    operands = [operand(k) for k in range(len(step.operands))]
    if step.name == "integer_pow":
        return f"{operands[0]}{str(step.params['y']).translate(POWERS)}"
    form = FORMULAS.get(step.name)
    if form and "{}" in form:
        return form.format(", ".join(operands))
    if form:
        return form.format(*operands) + (_along(step) if axes else "")
    inner = step.params.get("call_jaxpr")
    called = getattr(inner.jaxpr.debug_info, "func_name", step.name).strip("_") if inner else step.name
    return f"{called.replace('_', ' ')}({', '.join(operands)})"


def _along(step: Equation) -> str:
    """Along which axes a step adds up."""
    axes = step.params.get("axes")
    return f" along axis {', '.join(map(str, axes))}" if axes else ""


def _constant(a: Any) -> str:
    a = np.asarray(a)
    same = a.size > 0 and bool(np.all(a == a.flat[0]))
    return f"{float(a.flat[0]):.6g}" if same and a.dtype.kind in "fiu" else str(a.flat[0]) if same else "a constant"

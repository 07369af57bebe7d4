"""Loops and branches: programs within a program, run by whichever interpreter runs the program around them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .program import Array, Equation, Program

Run = Callable[[Program, Sequence[Any], int], Sequence[Any]]  # of a program, its inputs, and which turn it is


def scanned(
    equation: Equation,
    operands: Sequence[Any],
    run: Run,
    entry: Callable[[Any, int], Any],
    stacked: Callable[[Sequence[Any]], Any],
    constant: Callable[[Array], Any],
) -> list[Any]:
    """A `lax.scan`, step by step: what is carried flows through the inner program as through any other.

    `entry` takes the i-th part of an operand, `stacked` puts results of steps together, and `constant` takes arrays in.
    """
    params = equation.params
    fixed, carried, steps = params["num_consts"], params["num_carry"], range(params["length"])
    consts, carry = list(operands[:fixed]), list(operands[fixed : fixed + carried])
    xs, found = operands[fixed + carried :], []
    for i in reversed(steps) if params["reverse"] else steps:
        results = run(params["jaxpr"], [*consts, *carry, *(entry(x, i) for x in xs)], i)
        carry = list(results[:carried])
        found.append(results[carried:])
    if not found:
        return carry + [constant(np.zeros(*look)) for look in params["results"][carried:]]
    parts = zip(*(reversed(found) if params["reverse"] else found), strict=True)
    return carry + [stacked(part) for part in parts]


def looped(equation: Equation, operands: Sequence[Any], run: Run, decided: Callable[[Any], bool]) -> list[Any]:
    """A `lax.while_loop`, as long as its condition is `decided` to hold."""
    params = equation.params
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    asked, consts, carry, turn = operands[:first], operands[first:second], list(operands[second:]), 0
    while decided(run(params["cond_jaxpr"], [*asked, *carry], 2 * turn)[0]):
        carry = list(run(params["body_jaxpr"], [*consts, *carry], 2 * turn + 1))
        turn += 1
    return carry

"""The computation graph of a definition at a point, with the value and the cotangent of each edge.

The graph is that of the definition's program. What only copies or reshapes is part of an edge; a loop, or a function
with a derivative of its own, is one step. A zero is added to what each edge carries: the derivatives by these zeros are
the cotangents, and those on the edges that leave a node add up to its own. Over balls, where they decide; else float64.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flint import arb

from backprop_oracle.balls import over_balls
from backprop_oracle.definition import Definition
from backprop_oracle.enclosures import working_precision
from backprop_oracle.floats import values
from backprop_oracle.program import CALLS, CONTROL, Equation, Program, traced
from backprop_oracle.rows import Row, definition

from ..cases.case import Array
from ..hints.quotes import quoted
from .formulas import formula, named
from .numbers import numbers, shape_text
from .records import Edge, Graph, Node

WHOLE = tuple(name for name in (*CALLS, *CONTROL) if name not in ("jit", "pjit", "closed_call", "core_call"))
CARRIED = (  # by an edge: the same numbers in another shape
    *("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "convert_element_type", "copy", "copy_p"),
)
MOST_STEPS = 60  # that are drawn
BITS, SHARP, NOTHING = 200, arb(1e-9), arb(1e-40)  # of balls, and their radii: of a number, and of what is 0
MOST_BALLS = 3000


class Wire(NamedTuple):
    """An edge: a number of the program, what it goes through, and the step that takes it, at this operand."""

    source: Any
    through: tuple[Equation, ...]
    step: int
    operand: int


class Wired(NamedTuple):
    """A program as a graph: its steps, the edges by step and operand, and what is constant."""

    program: Program
    steps: Sequence[Equation]
    wires: Sequence[Wire]
    constants: Mapping[Any, Any]
    output: Wire


def wired(row: Row, args: Sequence[Array]) -> Wired:
    """The graph of a row's definition at arguments of these shapes."""
    given = [jax.ShapeDtypeStruct(a.shape, a.dtype if a.dtype.kind in "iub" else np.float64) for a in args]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        program = traced(definition(row), *given, whole=WHOLE)
    constants, carried = dict(program.constants), dict[Any, tuple[Any, tuple[Equation, ...]]]()
    steps: list[Equation] = []
    wires: list[Wire] = []

    def wire(operand: Any, step: int, k: int) -> Wire:
        source, through = carried.get(operand, (operand, ()))
        return Wire(source, through, step, k)

    for equation in program.equations:
        if equation.fixed:
            found = _bound(equation, [constants[o] for o in equation.operands])
            constants |= dict(zip(equation.results, found, strict=True))
        elif equation.name in CARRIED:
            source, through = carried.get(equation.operands[0], (equation.operands[0], ()))
            carried[equation.results[0]] = source, (*through, equation)
        else:
            wires += [wire(o, len(steps), k) for k, o in enumerate(equation.operands) if o not in constants]
            steps.append(equation)
    return Wired(program, steps, wires, constants, wire(program.outputs[0], len(steps), 0))


def _bound(equation: Equation, operands: Sequence[Any]) -> Sequence[Any]:
    """The results of a step, by JAX itself."""
    given = equation.primitive.get_bind_params(dict(equation.params))
    functions, params = given if isinstance(given, tuple) else ((), given)  # older versions of JAX give both
    found = equation.primitive.bind(*functions, *operands, **params)
    return found if equation.primitive.multiple_results else [found]


def through(wire: Wire, value: Any) -> Any:
    """What arrives of a value at the end of its edge."""
    return reduce(lambda v, equation: _bound(equation, [v, *equation.operands[1:]])[0], wire.through, value)


def walked(graph: Wired, args: Sequence[Any], change: Callable[[int, Any], Any]) -> tuple[Any, dict[Any, Any]]:
    """The output, and every number by its name; `change` says what becomes of a value on an edge, by its number."""
    known = {**graph.constants, **dict(zip(graph.program.inputs, args, strict=True))}
    by_place = {(wire.step, wire.operand): k for k, wire in enumerate(graph.wires)}

    def operand(step: int, k: int, name: Any) -> Any:
        number = by_place.get((step, k))
        if number is None:
            return known[name]
        return through(graph.wires[number], change(number, known[graph.wires[number].source]))

    for i, step in enumerate(graph.steps):
        operands = [operand(i, k, name) for k, name in enumerate(step.operands)]
        known |= dict(zip(step.results, _bound(step, operands), strict=True))
    return through(graph.output, change(len(graph.wires), known[graph.output.source])), known


def is_real(a: Any) -> bool:
    """Whether a number has a derivative."""
    return bool(jnp.issubdtype(jnp.asarray(a).dtype, jnp.floating))


# ── Numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _looked_at(graph: Wired, delta: Array, args: Sequence[Array]) -> tuple[dict[Any, Array], dict[int, Array], Array]:
    """Every value by its name, the cotangent of each edge by its number, and the output."""
    names: list[Any] = []
    edges: list[int] = []

    def look(delta: Any, *args: Any) -> Any:
        _, known = walked(graph, args, lambda k, v: v)
        names[:] = [*graph.program.inputs, *(name for step in graph.steps for name in step.results)]
        every = [*graph.wires, graph.output]
        edges[:] = [k for k, wire in enumerate(every) if is_real(known[wire.source])]
        zeros = {k: jnp.zeros_like(known[every[k].source]) for k in edges}

        def output(shifts: Mapping[int, Any]) -> Any:
            return walked(graph, args, lambda k, v: v + shifts[k] if k in shifts else v)[0]

        u, back = jax.vjp(output, zeros)
        found = back(delta)[0]
        return u, [known[name] for name in names], [found[k] for k in edges]

    given = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (delta, *args)]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        program = traced(look, *given)
    u, known, cotangents = _by_balls(program, [delta, *args])
    return dict(zip(names, known, strict=True)), dict(zip(edges, cotangents, strict=True)), u


def _by_balls(program: Program, point: Sequence[Array]) -> Any:
    """The outputs of a program to many digits, if balls decide, otherwise in float64."""
    with np.errstate(all="ignore"):
        found = values(program, point)
    leaves, structure = jax.tree.flatten(found)
    if sum(np.size(a) for a in leaves) > MOST_BALLS or not all(np.isfinite(a).all() for a in point):
        return found
    with suppress(Exception), working_precision(BITS):  # what balls cannot do, float64 can
        balls = jax.tree.leaves(over_balls(program, point), is_leaf=lambda a: isinstance(a, np.ndarray))
        if len(balls) == len(leaves):
            pairs = zip(leaves, balls, strict=True)
            leaves = [_rounded(np.asarray(a), np.asarray(b)) for a, b in pairs]
    return jax.tree.unflatten(structure, leaves)


def _rounded(a: Array, balls: Any) -> Any:
    """An array of floats by balls, where these are sharp; as text where they are beyond float64."""
    if balls.dtype != object or a.dtype.kind != "f":
        return a
    found = np.empty(balls.shape, object)
    for k, (number, ball) in enumerate(zip(a.ravel().tolist(), balls.ravel().tolist(), strict=True)):
        ball = arb(ball)
        if ball.is_finite() and ball.rad() < NOTHING and ball.contains(0):
            found.flat[k] = 0.0
        elif ball.is_finite() and ball.rad() <= SHARP * abs(ball.mid()):
            middle = float(ball.mid())
            found.flat[k] = middle if 0 < abs(middle) < np.inf else ball.mid().str(4, radius=False)
        else:
            found.flat[k] = number
    return found if any(isinstance(v, str) for v in found.ravel()) else found.astype(np.float64)


# ── Records ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def graph_of(
    row: Row,
    delta: Array,
    args: Sequence[Array],
    yours: Mapping[str, str] = {},
    factors: Mapping[int, float] = {},
) -> Graph:
    """The graph of a row's definition at a point, for drawing.

    `yours` are wrong results by the name of their argument, or of the output "u"; `factors` those of marked edges.

    >>> from backprop_oracle.rows import row_of
    >>> graph = graph_of(row_of("dot"), np.array(1.0), [np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    >>> [(node.name, node.formula, node.cotangent) for node in graph.nodes]
    [('x', 'x', '[3, 4]'), ('y', 'y', '[1, 2]'), ('u', 'x · y', '1')]
    >>> [(edge.source, edge.target, edge.value, edge.cotangent) for edge in graph.edges]
    [(0, 2, '[1, 2]', '[3, 4]'), (1, 2, '[3, 4]', '[1, 2]')]
    """
    wide = [a if a.dtype.kind in "iub" else a.astype(np.float64) for a in args]
    delta = np.asarray(delta, np.float64)
    graph = wired(row, wide)
    if len(graph.steps) > MOST_STEPS:
        left_out = f"The definition has {len(graph.steps)} steps: too many to draw, {MOST_STEPS} at most are."
        return Graph((), (), left_out=left_out)
    known, cotangents, u = _looked_at(graph, delta, wide)
    f = row.f if isinstance(row, Definition) else None
    plain = graph.output.source in {name for step in graph.steps for name in step.results} and not graph.output.through
    called = named(graph, row.arguments, plain)
    places = {name: i for i, name in enumerate(graph.program.inputs)}
    for i, step in enumerate(graph.steps):
        places |= dict.fromkeys(step.results, len(row.arguments) + i)

    def back_at(name: Any) -> str:
        every = [*graph.wires, graph.output]
        found = [d for k, d in cotangents.items() if every[k].source is name]
        return numbers(sum(found[1:], found[0])) if found and all(a.dtype != object for a in found) else ""

    nodes = [
        Node("argument", name, name, shape_text(a.shape), numbers(a), back_at(var), yours.get(name, ""))
        for name, a, var in zip(row.arguments, wide, graph.program.inputs, strict=True)
    ]
    for step in graph.steps:
        first, *others = step.results
        ends = plain and graph.output.source in step.results
        nodes.append(
            Node(
                "output" if ends else "step",
                ", ".join(called[name] for name in step.results),
                formula(step, graph, called, np.ndim(known[first])),
                shape_text(np.shape(known[first])),
                numbers(known[first]),
                "" if others else numbers(delta) if ends else back_at(first),
                yours.get("u", "") if ends else "",
                quoted(step, f) if f else "",
            )
        )
    edges = [_edge(graph, k, known, cotangents, places, factors) for k in range(len(graph.wires))]
    if not plain:
        told = called[graph.output.source]
        nodes.append(Node("output", "u", told, shape_text(np.shape(u)), numbers(u), numbers(delta), yours.get("u", "")))
        edges.append(_edge(graph, len(graph.wires), known, cotangents, places, factors))
    return Graph(tuple(nodes), tuple(edges))


def _edge(
    graph: Wired,
    k: int,
    known: Mapping[Any, Array],
    cotangents: Mapping[int, Array],
    places: Mapping[Any, int],
    factors: Mapping[int, float],
) -> Edge:
    wire = [*graph.wires, graph.output][k]
    back = numbers(cotangents[k]) if k in cotangents else ""
    target = len(graph.program.inputs) + wire.step
    return Edge(places[wire.source], target, numbers(known[wire.source]), back, factors.get(k))

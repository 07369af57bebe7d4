"""The graph of a definition: its numbers add up, and the edge that explains a wrong vjp is the one that is wrong."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from backprop_oracle.rows import row_of
from backprop_properties import Definition, check
from backprop_properties.pictures.graphs import graph_of
from backprop_properties.pictures.records import Graph


def rms_norm(x: Any, w: Any) -> Any:
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * w


def softplus_of_product(x: Any, y: Any) -> Any:
    return jnp.log(1.0 + jnp.exp(x * y)) + x


def _slope(x: Any, y: Any) -> Any:
    return 1 / (1 + np.exp(-x * y))


def first_marked(graph: Graph) -> tuple[str, str, float]:
    edge = max((e for e in graph.edges if e.factor is not None), key=lambda e: e.target)
    return graph.nodes[edge.source].name, graph.nodes[edge.target].name, edge.factor or 0.0


PLANTED = {
    "a path is left out": (lambda d, x, y: (d * _slope(x, y) * y, d * _slope(x, y) * x), ("x", "u", 0.0)),
    "a sign": (lambda d, x, y: (d - d * _slope(x, y) * y, -d * _slope(x, y) * x), ("v2", "v3", -1.0)),
    "a factor": (lambda d, x, y: (d + 3 * d * _slope(x, y) * y, 3 * d * _slope(x, y) * x), ("v4", "u", 3.0)),
    "twice": (lambda d, x, y: (2 * d + d * _slope(x, y) * y, d * _slope(x, y) * x), ("x", "u", 2.0)),
    "one factor of a product": (lambda d, x, y: (d + d * _slope(x, y) * y, 0 * d), ("y", "v1", 0.0)),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_the_edge_that_is_wrong_is_marked(planted: str) -> None:
    vjp, edge = PLANTED[planted]
    row = Definition(softplus_of_product, "(n),(n)")
    report = check(row, vjp=vjp, pictures=True, max_examples=20)
    assert report.pictures[0].graph
    assert first_marked(report.pictures[0].graph) == edge


def test_of_edges_that_do_the_same_those_at_the_part_that_the_hint_quotes_are_marked() -> None:
    def vjp(d: Any, x: Any, w: Any) -> Any:
        r = 1 / np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-6)
        return d * w * r, (d * x * r).sum(0)

    report = check(Definition(rms_norm, "(b,n),(n)"), vjp=vjp, pictures=True, max_examples=20)
    graph = report.pictures[0].graph
    assert graph
    assert "jnp.mean(x * x, -1, keepdims=True)" in report.failures[0].hint
    marked = {(graph.nodes[e.source].name, graph.nodes[e.target].name) for e in graph.edges if e.factor is not None}
    assert marked == {("v1", "v2"), ("v2", "v3"), ("v3", "v4")}
    assert graph.says.startswith("On the edge from v4 back to v3 the cotangent is lost")


def test_a_factor_may_be_another_at_each_size_and_a_jacobian_is_looked_at_as_a_vjp() -> None:
    def scaled(x: Any, y: Any) -> Any:
        return jnp.tanh(x * y / jnp.sqrt(1.0 * x.size)) + y

    def jacobian(x: Any, y: Any) -> Any:
        slope = 1 - np.tanh(x * y / np.sqrt(x.size)) ** 2
        return np.diag(slope * y), np.diag(slope * x) + np.eye(x.size)

    graph = check(Definition(scaled, "(n),(n)"), jacobian=jacobian, pictures=True, max_examples=20).pictures[0].graph
    assert graph
    assert np.isnan([edge.factor for edge in graph.edges if edge.factor is not None]).all()
    assert "the cotangent has a wrong factor, another at each size or input" in graph.says


def test_what_no_edge_explains_is_not_marked() -> None:
    def vjp(d: Any, x: Any, y: Any) -> Any:
        return d + d * _slope(x, y) * y + x, d * _slope(x, y) * x

    report = check(Definition(softplus_of_product, "(n),(n)"), vjp=vjp, pictures=True, max_examples=20)
    graph = report.pictures[0].graph
    assert graph
    assert not any(edge.factor is not None for edge in graph.edges)
    assert graph.says == "Marked: what comes back to x is wrong."
    assert [node.name for node in graph.nodes if node.yours] == ["x"]


def _number(text: str) -> Any:
    return np.array(eval(text.replace("−", "-"), {"inf": np.inf}))


@pytest.mark.parametrize("name", ["softmax", "softmax_cross_entropy", "layer_norm", "lstm_cell", "conv2d"])
def test_cotangents_of_a_node_are_the_sum_over_its_edges_and_those_of_arguments_the_vjp(name: str) -> None:
    row = row_of(name)
    if isinstance(row, Definition):
        delta, *args = row.some_point()
    else:
        *shapes, out = row.shapes_at(dict.fromkeys(row.letters, 3))
        args, delta = [np.arange(1.0, 1 + np.prod(s)).reshape(s) / 4 for s in shapes], np.ones(out)
    graph = graph_of(row, delta, args)
    for i, node in enumerate(graph.nodes):
        edges = [_number(e.cotangent) for e in graph.edges if e.source == i and e.cotangent]
        if edges and node.cotangent and "…" not in node.cotangent and node.kind != "output":
            shown = 1e-3 * max(np.abs(edge).max() for edge in edges)  # as texts of four digits have it
            np.testing.assert_allclose(sum(edges), _number(node.cotangent), rtol=1e-3, atol=shown)
    right = row.vjp(delta, *args)
    for node, d in zip(graph.nodes, right, strict=False):
        if d is not None and "…" not in node.cotangent:
            np.testing.assert_allclose(_number(node.cotangent), d, rtol=1e-3, atol=1e-9)


def test_a_definition_that_overflows_has_its_true_numbers() -> None:
    row = Definition(lambda x: jnp.log(jnp.sum(jnp.exp(x))), "(n)", name="log_sum_exp")
    graph = graph_of(row, np.array(1.0), [np.array([1000.0, 1000.0])])
    assert graph.nodes[1].value == "[1.970e+434, 1.970e+434]"
    assert graph.nodes[-1].value == "1001"
    assert graph.nodes[0].cotangent == "[0.5, 0.5]"


def test_loops_and_functions_with_a_rule_of_their_own_are_one_step() -> None:
    def running(x: Any) -> Any:
        return lax.scan(lambda h, v: (jnp.tanh(h + v), h), jnp.zeros(()), jax.nn.relu(x))[1]

    row = Definition(running, "(t)")
    delta, *args = row.some_point()
    graph = graph_of(row, delta, args)
    assert [node.formula for node in graph.nodes] == ["x", "relu(x)", "a loop over 0, v1"]


def test_a_definition_of_too_many_steps_is_not_drawn_and_says_so() -> None:
    def long(x: Any) -> Any:
        for _ in range(40):
            x = jnp.sin(x) * x
        return x

    graph = graph_of(Definition(long, "(n)"), np.ones(2), [np.ones(2)])
    assert not graph.nodes
    assert "80 steps" in graph.left_out

"""The chain rule over random compositions, fan-outs and networks; and a wrong rule of each kind is rejected."""

from dataclasses import replace
from functools import reduce

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backprop_oracle.program import traced
from backprop_oracle.rounding import Precision, bounded
from backprop_properties.laws import chains
from backprop_properties.laws.chain_rule import CHAIN_LAWS, multiply
from backprop_properties.laws.chains import MODERATE, draw_chain, forwards
from backprop_properties.laws.claims import Violation, judge
from backprop_reference import OPERATIONS, Diagonal, backpropagation, softmax

SEEDS = st.integers(0, 2**32 - 1)
EXAMPLES = max(settings.default.max_examples // 7, 1)  # JAX compiles for each of them: about 0.3 s


@pytest.mark.parametrize("name", CHAIN_LAWS)
def test_law_holds(name):
    entries = []

    @settings(max_examples=EXAMPLES)
    @given(SEEDS)
    def run(seed):
        entries.extend(judge(claim, np.float64).entries for claim in CHAIN_LAWS[name](seed))

    run()
    assert len(entries) >= EXAMPLES
    assert min(entries) > 0, "a claim compared nothing"


@pytest.mark.parametrize("name", CHAIN_LAWS)
def test_a_seed_draws_the_same_composition_again(name):
    first, again = ([(claim.what, np.asarray(claim[1])) for claim in CHAIN_LAWS[name](3)] for _ in range(2))
    assert [what for what, _ in first] == [what for what, _ in again]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))


def test_compositions_reach_every_slide_of_vectors():
    rng = np.random.default_rng(0)
    chains = [draw_chain(rng, np.ones(3), [1, 1, 1, 0]) for _ in range(150)]
    drawn = {int(step.operation.slide.split()[0]) for chain in chains for step in chain}
    assert drawn == set(range(1, 17))
    assert all(np.all(np.abs(u) <= MODERATE) for chain in chains for u in forwards(chain, np.ones(3)))


# ── Wrong rules ─────────────────────────────────────────────────────────────────────────────────────────────────────


def bias_gradient_of_the_output(layers, x, y, loss):
    """`∂L/∂bᴷ ← δ`, before `h′`."""
    right = backpropagation(layers, x, y, loss=loss)
    output = reduce(lambda h, layer: layer.h(h @ np.transpose(layer.W) + layer.b), layers, x)
    delta = loss.vjp(np.ones_like(right.loss), output, y)[0]
    return right._replace(layers=[*right.layers[:-1], (right.layers[-1][0], delta.reshape(-1, y.shape[-1]).sum(0))])


def forgets_the_first_layer(layers, x, y, loss):
    """The loop ends at `i = 2`."""
    right = backpropagation(layers, x, y, loss=loss)
    return right._replace(layers=[tuple(map(np.zeros_like, right.layers[0])), *right.layers[1:]])


def averages_over_the_batch(layers, x, y, loss):
    right, count = backpropagation(layers, x, y, loss=loss), np.prod(x.shape[:-1])
    return right._replace(layers=[(dW / count, db / count) for dW, db in right.layers])


def input_gradient_reversed(layers, x, y, loss):
    right = backpropagation(layers, x, y, loss=loss)
    return right._replace(dx=right.dx[..., ::-1])


WRONG = {
    "scalar_chain_rule": {
        "only the first term": lambda f, u: f.flat[0] * u.flat[0],
        "the last term dropped": lambda f, u: np.vdot(f.ravel()[:-1], u.ravel()[:-1]),
        "product of the sums": lambda f, u: f.sum() * u.sum(),
    },
    "vector_chain_rule": {
        "wrong order": lambda factors: multiply(factors[::-1]),
        "one factor dropped": lambda factors: multiply(factors[1:]),
        "transposed": lambda factors: multiply(factors).T,
        "entrywise product": lambda factors: reduce(np.multiply, factors),
        "each factor transposed": lambda factors: multiply([factor.T for factor in factors]),
    },
    "several_paths": {
        "one path dropped": lambda paths: sum(paths[1:], 0 * paths[0]),
        "mean of the paths": lambda paths: np.mean(paths, axis=0),
        "paths subtracted": lambda paths: reduce(np.subtract, paths),
        "product of the paths": lambda paths: reduce(np.multiply, paths),
    },
    "column_gradient": {
        "not transposed": lambda J, gradient: J @ gradient,
        "as a row": lambda J, gradient: gradient.T @ J,
        "only the diagonal": lambda J, gradient: np.diag(J)[:, None] * gradient,
    },
    "backpropagation_is_the_gradient": {
        "δ of the output for its bias": bias_gradient_of_the_output,
        "first layer forgotten": forgets_the_first_layer,
        "mean over the batch": averages_over_the_batch,
        "∂L/∂x the other way round": input_gradient_reversed,
    },
}


@pytest.mark.parametrize(("law", "rule"), [(law, rule) for law, rules in WRONG.items() for rule in rules])
def test_wrong_rule_is_rejected(law, rule):
    assert any(rejected(law, WRONG[law][rule], seed) for seed in range(12))


def rejected(law, rule, seed):
    try:
        for claim in CHAIN_LAWS[law](seed, rule):
            judge(claim, np.float64)
    except Violation:
        return True
    except ValueError:  # the rule itself fails on these shapes, which is not the law's merit
        return False
    return False


def test_every_law_has_wrong_rules():
    assert WRONG.keys() == CHAIN_LAWS.keys()


def test_a_wrong_operation_is_rejected(monkeypatch):
    """A softmax that forgets its rank-one path, in whatever composition it stands."""
    wrong = replace(OPERATIONS["softmax"], jacobian=lambda x: (Diagonal(softmax(x) * (1 - softmax(x))),))
    monkeypatch.setattr(chains, "OPERATIONS", {**OPERATIONS, "softmax": wrong})
    claims = (claim for seed in range(20) for claim in CHAIN_LAWS["vector_chain_rule"](seed))
    with pytest.raises(Violation, match="softmax by x"):
        list(map(lambda claim: judge(claim, np.float64), claims))


def test_a_product_of_square_matrices_keeps_what_its_operands_bring():
    """An entry without errors of its own still sums over others': once the bound forgot them, of equal shapes."""
    a, error, b = np.diag([1.0, 2.0]), np.diag([1e-3, 1e-3]), np.array([[0.0, 0.0], [3.0, 4.0]])
    exact = Precision(0.0, 0.0, 1e300)
    _, bound = bounded(traced(jnp.matmul, a, b), exact, [a, b], [error, np.zeros((2, 2))])
    assert np.allclose(bound, [[0, 0], [3e-3, 4e-3]])


def test_a_zero_of_zeros_leaves_no_doubt_and_one_that_underflowed_does():
    judged, x = Precision(0.0, 1e-30, 1e300), np.array([0.0, 1e-200])
    _, bound = bounded(traced(jnp.multiply, x, x), judged, [x, x], [np.zeros(2)] * 2)
    assert bound.tolist() == [0.0, 1e-30]

"""Real input: the network of `digits.py` learns to read, and its gradients are those of `jax.grad` at every step."""

import importlib.util
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backprop_oracle.autodiff import quick_compilation
from backprop_oracle.program import traced
from backprop_oracle.rounding import bounded
from backprop_oracle.rows import definition
from backprop_properties.laws.chain_rule import TWICE
from backprop_properties.laws.claims import Close, Violation, judge

_spec = importlib.util.spec_from_file_location("digits", Path(__file__).with_name("digits.py"))
digits = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(digits)


def summed_loss(parameters, x, y):
    """The definition's loss of a batch: the two-layer network, example by example."""
    each = jax.vmap(definition("two_layer_network[tanh]"), in_axes=(None, None, None, None, 0, 0))
    return jnp.sum(each(*parameters, x, y))


gradients = jax.jit(jax.grad(summed_loss), compiler_options=quick_compilation())


@cache
def program(*shapes):
    """`jax.grad` by W1, b1, W2 and b2 of arrays of these shapes, as a program with bounds."""
    *parameters, x, y = (jax.ShapeDtypeStruct(shape, np.float64) for shape in shapes)
    return traced(jax.grad(summed_loss), tuple(parameters), x, y)


def gradients_with_bounds(parameters, x, y):
    """`jax.grad`, and for each entry what rounding may have done to it."""
    args = [*parameters, x, y]
    answers = bounded(program(*(a.shape for a in args)), TWICE, args, [np.zeros(a.shape) for a in args])
    return gradients(parameters, x, y), [bound for _, bound in answers]


def compare(step):
    """The worst error of a step's gradients, as a share of its bound."""
    (W1, b1, _), (W2, b2, _) = step.before
    (dW1, db1), (dW2, db2) = step.gradients.layers
    expected, bounds = gradients_with_bounds((W1, b1, W2, b2), step.x, step.y)
    claims = map(Close, ("dW1", "db1", "dW2", "db2"), (dW1, db1, dW2, db2), expected, bounds)
    measures = [judge(claim, np.float64) for claim in claims]
    assert sum(measure.entries for measure in measures) == sum(a.size for a in (W1, b1, W2, b2))
    return max(measure.share for measure in measures)


def test_the_network_learns_and_every_gradient_is_that_of_jax():
    learned, tested = digits.load()
    layers = digits.start()
    assert digits.accuracy(layers, tested) < 0.3
    steps = list(digits.train(layers, learned))
    shares = [compare(step) for step in steps]
    assert len(shares) == digits.EPOCHS * -(-len(learned.x) // digits.BATCH)
    assert 0 < max(shares) <= 1
    assert digits.accuracy(steps[-1].after, tested) >= 0.95


def test_the_digits_to_be_tested_on_are_not_learned():
    learned, tested = digits.load()
    assert len(learned.x) + len(tested.x) == 1797
    assert not {row.tobytes() for row in learned.x} & {row.tobytes() for row in tested.x}
    np.testing.assert_array_equal(learned.y.argmax(-1), learned.digit)


def test_a_wrong_gradient_is_seen_at_the_first_step():
    """One part in 10¹⁰ of a single entry."""
    step = next(digits.train(digits.start(), digits.load()[0]))
    step.gradients.layers[0][0][3, 20] *= 1 + 1e-10
    with pytest.raises(Violation, match=r"dW1\[3, 20\]"):
        compare(step)

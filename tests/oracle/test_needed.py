"""A few entries of a large result are those of the whole, to the bit, and cost what they need."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backprop_oracle import needed
from backprop_oracle.certified import PrecisionCapReached, costs, value, vjp

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal


def normed(x, g, b):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * g + b


def attention(q, k, v):
    logits = q @ k.T / np.sqrt(q.shape[-1])
    return jax.nn.softmax(jnp.where(jnp.tril(jnp.ones(logits.shape, bool), 1), logits, -jnp.inf), axis=-1) @ v


def cross_entropy(x, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(x, -1), y[:, None], -1)[:, 0]


def stepped(x):
    return jax.lax.scan(lambda carry, row: (carry * row, jnp.sin(carry)), jnp.ones(x.shape[1:]), x)[1]


LABELS = np.array([0, 2, 1, 1])
FUNCTIONS = {
    "softmax": (lambda x: jax.nn.softmax(x, axis=-1), NORMAL((4, 5))),
    "softmax along columns": (lambda x: jax.nn.softmax(x, axis=0), NORMAL((4, 5))),
    "layer norm": (normed, NORMAL((4, 5)), NORMAL(5), NORMAL(5)),
    "attention": (attention, NORMAL((4, 3)), NORMAL((4, 3)), NORMAL((4, 2))),
    "cross-entropy": (cross_entropy, NORMAL((4, 3)), LABELS),
    "embedding": (lambda table, i: table[i], NORMAL((5, 3)), LABELS),
    "convolution": (lambda x, w: jax.lax.conv(x, w, (1, 1), "SAME"), NORMAL((2, 2, 4, 4)), NORMAL((3, 2, 3, 3))),
    "running sum": (lambda x: jnp.cumsum(x, 0), NORMAL((4, 3))),
    "sort": (lambda x: jnp.sort(x, 0) * jnp.maximum(x, 0), NORMAL((4, 3))),
    "pool": (lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (2, 2), (2, 2), "VALID"), NORMAL((4, 4))),
    "maximum": (lambda x: x[jnp.arange(4), jnp.argmax(x, 1)] - jnp.min(x, 1), NORMAL((4, 3))),
    "batches of products": (lambda a, b: jnp.einsum("bij,bkj->bki", a, b), NORMAL((2, 3, 4)), NORMAL((2, 3, 4))),
    "a vector's product": (lambda x, w: x @ w, NORMAL(4), NORMAL((4, 3))),
    "moves": (lambda x: jnp.pad(jnp.flip(x.T, 0)[1:], 1)[:, ::2] ** 3, NORMAL((4, 3))),
    "loop": (stepped, NORMAL((4, 3))),
    "one for all": (lambda x, c: jnp.concatenate([x, jnp.exp(x) * c]), NORMAL((4, 3)), NORMAL(())),
}


def ends(balls):
    return [(ball.mid().man_exp(), ball.rad().man_exp()) for ball in balls]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_chosen_entries_are_those_of_the_whole(name):
    f, *args = FUNCTIONS[name]
    whole = value(f, *args)
    at = [len(whole.balls) - 1, 0, len(whole.balls) // 2]
    assert ends(value(f, *args, at=at).balls) == ends([whole.balls[k] for k in at])
    delta = NORMAL(whole.shape)
    every = vjp(f, delta, *args)
    for i, cotangent in enumerate(every):
        for k in () if cotangent is None else {0, len(cotangent.balls) // 2, len(cotangent.balls) - 1}:
            some = vjp(f, delta, *args, at={i: [k]})
            assert ends(some[i].balls) == ends([cotangent.balls[k]])
            assert all(other is None or other.shape == (0,) for j, other in enumerate(some) if j != i)


def test_open_comparisons_are_the_same_in_every_equation():
    def odd(x):  # |x| by two comparisons of the same numbers, the second for some of its entries alone
        y = jnp.sin(x) ** 2 + jnp.cos(x) ** 2 - 1
        return jnp.where(y > 0, y, -y) + jnp.where((y > 0)[1:].sum() > 5, 1.0, 0.0)

    x = np.array([0.3, 0.5])
    assert value(odd, x, at=[1]).nearest() == value(odd, x).nearest()[1] == 0


def test_open_comparisons_of_two_entries_are_two():
    """Taken for one, either sign would be the other's, and their product certainly 1."""

    def signs(x):
        y = jnp.sin(x) ** 2 + jnp.cos(x) ** 2 - 1
        return jnp.where(y > 0, 1.0, -1.0) * jnp.where(y > 0, 1.0, -1.0)[::-1]

    with pytest.raises(PrecisionCapReached):
        value(signs, np.array([0.3, 0.5]), at=[1])


@pytest.mark.parametrize(
    ("name", "primitive"), [("softmax", "reduce_sum"), ("layer norm", "reduce_sum"), ("attention", "dot_general")]
)
def test_a_wrong_mask_is_found_out(name, primitive, monkeypatch):
    """Of a line that is summed only the first entry is there, and there is nothing to add."""
    right = needed._back

    def wrong(equation, look, masks):
        found = right(equation, look, masks)
        if equation.name != primitive:
            return found
        rows = np.broadcast_to(found[0], look.arrays[equation.operands[0]].shape)
        return [rows & (np.cumsum(rows, -1) < 2), *found[1:]]

    monkeypatch.setattr(needed, "_back", wrong)
    f, *args = FUNCTIONS[name]
    with pytest.raises(TypeError, match="NoneType"):
        value(f, *args, at=[0])


def test_a_row_costs_a_row_and_a_parameter_the_batch():
    x, g = NORMAL((200, 50)), NORMAL(50)
    at = {0: [0], 1: [0], 2: [0]}
    row, scale, shift = costs(normed, "vjp", x, x, g, g, at=at).values()
    assert row < 50 * 50
    assert shift < 500
    assert scale > 200 * 50
    assert costs(lambda x: jnp.cumsum(x, 0), "value", x, x, at={0: [0]})[0] >= 2 * x.size
    assert costs(stepped, "value", x, x, at={0: [0]})[0] == np.inf


def test_a_million_entries_take_seconds():
    x, g = NORMAL((1000, 1000)).astype(np.float32), NORMAL(1000).astype(np.float32)
    start, at = time.process_time(), [0, 123_456, 999_999]
    truth = value("layer_norm", x, g, g, at=at)
    dx, dg, db = vjp("layer_norm", x, x, g, g, at={0: at, 2: [7]})
    assert time.process_time() - start < 10
    assert (truth.dtype, len(dx.balls), len(dg.balls)) == (np.float32, 3, 0)
    rows = x.astype(np.float64)[[0, 123, 999]]
    normal = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-5) * g + g
    assert np.allclose(truth.nearest(np.float64), normal[[0, 1, 2], [0, 456, 999]], rtol=1e-10)
    assert np.allclose(db.nearest(np.float64), x[:, 7].sum(dtype=np.float64), rtol=1e-12)

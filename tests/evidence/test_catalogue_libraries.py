"""PyTorch's and JAX's own functions of the catalogue through `check`: they are right, in the dtypes that they take."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from backprop_oracle.catalogue import CATALOGUE
from backprop_properties import check, from_jax, from_torch
from catalogue_in_torch import torch_functions
from samples import sampled

BOTH, HALVES = ("float64", "float32"), ("float16", "bfloat16")
NORMS = ("layer_norm", "rms_norm", "batch_norm", "group_norm", "l2_normalize", "cosine_similarity")
ATTENTION = ("scaled_dot_product_attention", "causal_attention")
SOFTMAXES = ("log_softmax", "logsumexp", "cross_entropy", "label_smoothing_cross_entropy")
IN_HALVES = (*NORMS, *ATTENTION, *SOFTMAXES, "cross_entropy_with_ignore_index")
SAMPLE = ("layer_norm", "cross_entropy", "huber_loss", "glu")
DOMAIN = {
    "batch_norm": {"b": "at least 2"},  # one example has no variance: PyTorch refuses it
    "group_norm": {"s": "at least 2"},  # likewise
    "l2_normalize": {"x": "non-zero"},  # in float16 its epsilon is 0
    "cosine_similarity": {"values": "moderate"},  # PyTorch takes the slope of a norm, be it below epsilon
}
SQUARED = ("l2_normalize", "cosine_similarity")  # in half precision many a square is 0, or has few digits
CLEAR = [name for name in IN_HALVES if name not in SQUARED]
TAKEN = {  # of the halves
    "cosine_similarity": ("bfloat16",),  # as for l2_normalize, but zeros are moderate
    "label_smoothing_cross_entropy": ("bfloat16",),  # PyTorch adds up all rows before the mean: in float16 past 65,504
}
EXAMPLES = 60
COMPILED = 20  # for what JAX compiles anew at every shape


def standardised(x, axis, eps=1e-5):
    return (x - x.mean(axis, keepdims=True)) / jnp.sqrt(x.var(axis, keepdims=True) + eps)


def group_norm(x, weight, bias):
    b, c, s = x.shape
    grouped = standardised(x.reshape(b, 2, c // 2 * s), -1).reshape(x.shape)
    return grouped * weight[:, None] + bias[:, None]


def normalised(x, eps):
    return x * lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), eps * eps))


def attention(q, k, v, seen=None):
    scores = jnp.einsum("bmd,bnd->bmn", q, k) / q.shape[-1] ** 0.5
    scores = scores if seen is None else jnp.where(seen, scores, -jnp.inf)
    return jax.nn.softmax(scores, -1) @ v


def causal_attention(q, k, v):
    return attention(q, k, v, jnp.tri(q.shape[1], dtype=bool))


def rotated(x):
    half = x.shape[1] // 2
    angles = jnp.arange(x.shape[0])[:, None] * 10000.0 ** (-jnp.arange(half) / half)
    c, s = (jnp.tile(f(angles), 2).astype(x.dtype) for f in (jnp.cos, jnp.sin))
    return x * c + jnp.concatenate([-x[:, half:], x[:, :half]], -1) * s


def picked(x, labels):
    return jnp.take_along_axis(x, labels[:, None], 1)[:, 0]


def cross_entropy(x, labels):
    return -picked(jax.nn.log_softmax(x), labels).mean()


def smoothed(x, labels):
    targets = 0.9 * jax.nn.one_hot(labels, x.shape[-1], dtype=x.dtype) + 0.1 / x.shape[-1]
    return -(targets * jax.nn.log_softmax(x)).sum() / len(x)


def ignoring(x, labels):
    kept = labels != -100
    return -jnp.where(kept, picked(jax.nn.log_softmax(x), jnp.where(kept, labels, 0)), 0).sum() / kept.sum()


def hinge(x, labels):
    over = jnp.maximum(0, x - picked(x, labels)[:, None] + 1)
    return jnp.where(jax.nn.one_hot(labels, x.shape[-1], dtype=bool), 0, over).sum(-1).mean()


def huber(x, y):
    size = jnp.abs(x - y)
    near = jnp.minimum(size, 1)
    return (near * near / 2 + (size - near)).mean()


def convolved(x, weight, bias):
    one = (1,) * (x.ndim - 2)
    return lax.conv(x, weight, one, "VALID") + bias.reshape(-1, *one)


def pooled(x, start, by):
    return lax.reduce_window(x, start, by, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def lstm(x, h, c, W, U, bias):
    i, f, g, o = jnp.split(x @ W.T + h @ U.T + bias, 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jnp.stack([jax.nn.sigmoid(o) * jnp.tanh(c), c])


def gru(x, h, W, U, bias_x, bias_h):
    (r, z, n), (r_h, z_h, n_h) = jnp.split(x @ W.T + bias_x, 3, -1), jnp.split(h @ U.T + bias_h, 3, -1)
    z = jax.nn.sigmoid(z + z_h)
    n = jnp.tanh(n + jax.nn.sigmoid(r + r_h) * n_h)
    return n + z * (h - n)


def recurrent(x, h, W, U, bias):
    def step(h, x):
        h = jnp.tanh(x @ W.T + h @ U.T + bias)
        return h, h

    return lax.scan(step, h, x)[1]


JAX = {
    "layer_norm": lambda x, weight, bias: standardised(x, -1) * weight + bias,
    "rms_norm": lambda x, weight: x * lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6) * weight,
    "batch_norm": lambda x, weight, bias: standardised(x, 0) * weight + bias,
    "group_norm": group_norm,
    "l2_normalize": lambda x: normalised(x, 1e-12),
    "cosine_similarity": lambda x, y: (normalised(x, 1e-8) * normalised(y, 1e-8)).sum(-1),
    "scaled_dot_product_attention": attention,
    "causal_attention": causal_attention,
    "rotary_embedding": rotated,
    "cross_entropy": cross_entropy,
    "label_smoothing_cross_entropy": smoothed,
    "cross_entropy_with_ignore_index": ignoring,
    "nll_loss": lambda x, labels: -picked(x, labels).mean(),
    "binary_cross_entropy_with_logits": lambda x, y: (
        -(y * jax.nn.log_sigmoid(x) + (1 - y) * jax.nn.log_sigmoid(-x)).mean()
    ),
    "mse_loss": lambda x, y: jnp.square(x - y).mean(),
    "l1_loss": lambda x, y: jnp.abs(x - y).mean(),
    "huber_loss": huber,
    "hinge_loss": hinge,
    "kl_div": lambda x, y: (jax.scipy.special.xlogy(y, y) - y * x).sum() / len(x),
    "linear": lambda x, weight, bias: x @ weight.T + bias,
    "embedding": lambda indices, weight: weight[indices],
    "dropout": lambda x, mask: jnp.where(mask, x / 0.9, 0),
    "glu": jax.nn.glu,
    "swiglu": lambda x, W, V: jax.nn.silu(x @ W) * (x @ V),
    "log_softmax": jax.nn.log_softmax,
    "logsumexp": lambda x: jax.nn.logsumexp(x, -1),
    "conv1d": convolved,
    "conv2d": convolved,
    "max_pool2d": lambda x: pooled(x, -jnp.inf, lax.max),
    "avg_pool2d": lambda x: pooled(x, 0.0, lax.add) / 4,
    "lstm_cell": lstm,
    "gru_cell": gru,
    "rnn": recurrent,
}


@pytest.mark.parametrize("name", sampled(CATALOGUE, SAMPLE, list(CATALOGUE)[::2]))
def test_torch_is_right(name):
    report = check(name, **from_torch(torch_functions()[name]), dtypes=BOTH, domain=DOMAIN.get(name), max_examples=100)
    assert report.passed, report


@pytest.mark.parametrize("name", sampled(IN_HALVES, ("layer_norm",)))
def test_torch_is_right_in_half_precision(name):
    functions = from_torch(torch_functions()[name])
    dtypes = TAKEN.get(name, HALVES)
    report = check(name, **functions, dtypes=dtypes, domain=DOMAIN.get(name), max_examples=EXAMPLES)
    assert report.passed, report


@pytest.mark.parametrize("name", sampled(CATALOGUE, SAMPLE, list(CATALOGUE)[::2]))
def test_jax_is_right(name):
    report = check(name, **from_jax(JAX[name]), dtypes=BOTH, max_examples=COMPILED)
    assert report.passed, report


def as_flax_does(f):
    """`f` computed in float32 and rounded once: in float16 the transpose of `+ bias` rounds its sum at every row."""
    return lambda *args: f(*(a.astype(jnp.float32) for a in args)).astype(args[0].dtype)


@pytest.mark.parametrize("name", sampled(CLEAR, (), CLEAR[::2]))
def test_jax_is_right_in_half_precision(name):
    f = as_flax_does(JAX[name]) if name in NORMS else JAX[name]
    report = check(name, **from_jax(f), dtypes=HALVES, max_examples=COMPILED)
    assert report.passed, report


def test_every_name_has_its_functions():
    assert set(JAX) == set(torch_functions()) == set(CATALOGUE)

"""Every definition of the catalogue says what PyTorch's function says, and one trace with letters serves all shapes."""

import jax
import numpy as np
import pytest

from backprop_oracle.catalogue import (
    CATALOGUE,
    batch_norm,
    conv1d,
    conv2d,
    cross_entropy,
    cross_entropy_with_ignore_index,
    group_norm,
    hinge_loss,
    huber_loss,
    kl_div,
    l1_loss,
    l2_normalize,
    label_smoothing_cross_entropy,
    layer_norm,
    max_pool2d,
    mse_loss,
    nll_loss,
)
from backprop_reference import OPERATIONS
from catalogue_in_torch import torch_functions
from samples import sampled

torch = pytest.importorskip("torch")
F = torch.nn.functional


def channels_last(x, weight, bias):
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, 2, 1).permute(0, 2, 3, 1)


def smoothed(x, y):
    return F.cross_entropy(x, y, reduction="sum", label_smoothing=0.25)


TORCH = torch_functions()
VARIANTS = [
    (layer_norm(eps=0.5), lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b, 0.5)),
    (batch_norm(eps=0.5), lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=0.5)),
    (group_norm(groups=3), lambda x, w, b: F.group_norm(x, 3, w, b)),
    (l2_normalize(eps=100.0), lambda x: F.normalize(x, eps=100.0)),
    (cross_entropy(reduction="sum"), lambda x, y: F.cross_entropy(x, y, reduction="sum")),
    (cross_entropy(reduction="none"), lambda x, y: F.cross_entropy(x, y, reduction="none")),
    (label_smoothing_cross_entropy(0.25, "sum"), smoothed),
    (cross_entropy_with_ignore_index(1), lambda x, y: F.cross_entropy(x, y, ignore_index=1)),
    (cross_entropy_with_ignore_index(-100, "sum"), lambda x, y: F.cross_entropy(x, y, reduction="sum")),
    (nll_loss("sum"), lambda x, y: F.nll_loss(x, y, reduction="sum")),
    (mse_loss("none"), lambda x, y: F.mse_loss(x, y, reduction="none")),
    (l1_loss("sum"), lambda x, y: F.l1_loss(x, y, reduction="sum")),
    (huber_loss(delta=0.3), lambda x, y: F.huber_loss(x, y, delta=0.3)),
    (hinge_loss(margin=0.5), lambda x, y: F.multi_margin_loss(x, y, margin=0.5) * x.shape[1]),
    (kl_div("sum"), lambda x, y: F.kl_div(x, y, reduction="sum")),
    (conv1d(stride=2, padding=2), lambda x, w, b: F.conv1d(x, w, b, 2, 2)),
    (conv2d(stride=2, padding=1), lambda x, w, b: F.conv2d(x, w, b, 2, 1)),
    (conv2d(stride=2, padding=1, layout="NHWC"), channels_last),
    (max_pool2d(window=3), lambda x: F.max_pool2d(x, 3)),
]  # fmt: skip
SIZES = {"b": 3, "n": 5, "v": 4, "k": 3, "s": 4, "h": 4, "w": 5, "p": 2, "q": 3}
BY_SHAPE = {"conv1d", "conv2d"}  # JAX's vjp of a convolution asks what a size is


def drawn(row, seed=0, more=0):
    """A cotangent and arguments, some of whose entries are equal or 0."""
    random = np.random.default_rng(seed)
    sizes = row.nearest({letter: SIZES.get(letter, 2) + more for letter in row.letters})
    *shapes, output = row.shapes_at(sizes)
    args = [random.integers(-6, 7, shape) / 4 for shape in shapes]
    for i, name in enumerate(row.arguments):
        if name in row.integers:
            low, high, others = row.range_of(name, sizes)
            args[i] = random.choice([*range(low, high), *others], shapes[i]).astype(row.dtype_of(name, float))
        elif row.domain.get(name) == "positive":
            args[i] = np.abs(args[i]) + 0.25
    return [random.integers(-6, 7, output) / 4, *args]


def by_jax(row, delta, *args):
    floats = [i for i, name in enumerate(row.arguments) if name not in row.integers]

    def of_floats(*values):
        every = list(args)
        for i, value in zip(floats, values, strict=True):
            every[i] = value
        return row.f(*map(jax.numpy.asarray, every))

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        u, pull_back = jax.vjp(of_floats, *(args[i] for i in floats))
        return u, dict(zip(floats, pull_back(delta), strict=True))


def by_torch(function, delta, *args):
    leaves = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in args]
    u = function(*leaves)
    floats = [i for i, leaf in enumerate(leaves) if leaf.requires_grad]
    found = torch.autograd.grad(u, [leaves[i] for i in floats], torch.tensor(delta))
    return u.detach().numpy(), dict(zip(floats, found, strict=True))


def same(a, b):
    np.testing.assert_allclose(a, np.asarray(b), rtol=1e-12, atol=1e-12 * np.abs(b).max(initial=0.0))


ROWS = [(row, TORCH[name]) for name, row in CATALOGUE.items()] + VARIANTS


@pytest.mark.parametrize(("row", "function"), sampled(ROWS, ROWS[::3]))
def test_it_is_pytorchs(row, function):
    for seed in range(3):
        point = drawn(row, seed)
        (u, cotangents), (expected, by_leaf) = by_jax(row, *point), by_torch(function, *point)
        same(u, expected)
        for i, d in cotangents.items():
            same(d, by_leaf[i].numpy())


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in BY_SHAPE])
def test_one_trace_serves_all_shapes(name):
    row = CATALOGUE[name]
    assert "?" not in row.cores[-1]
    programs = [row.program("vjp", drawn(row, more=more)) for more in (0, 1)]
    assert programs[0] is not programs[1]
    assert programs[0].outputs == programs[1].outputs, "traced twice"


def test_nothing_but_ignored_labels_is_not_a_number():
    loss, _ = by_jax(CATALOGUE["cross_entropy_with_ignore_index"], np.ones(()), np.ones((2, 3)), np.array([-100, -100]))
    assert np.isnan(loss)


def test_a_short_vector_has_a_derivative():
    x, delta = np.zeros((1, 2)), np.array([[1.0, -2.0]])
    _, cotangents = by_jax(CATALOGUE["l2_normalize"], delta, x)
    same(cotangents[0], delta / 1e-12)


def test_no_name_is_taken_twice() -> None:
    assert not set(CATALOGUE) & {*OPERATIONS, *(row.base for row in OPERATIONS.values())}

"""The slips of the slides: each printed form is refuted by a small counterexample, each corrected form is JAX's."""

import numpy as np
import pytest

from backprop_oracle.autodiff import answers
from backprop_oracle.rows import definition
from backprop_properties.laws.claims import Close, Violation, judge
from backprop_reference import OPERATIONS, add_jacobian
from backprop_reference.derivations import derivation, product

x, y = np.array([0.5, -1.0, 2.0]), np.array([1.0, 3.0, -2.0])
W, b = np.array([[1.0, -0.5, 0.25], [0.5, 2.0, -1.0]]), np.array([0.5, -0.25])
one_hot = np.array([0.0, 1.0])


def jax_says(operation, argument, *args):
    """The Jacobian by `argument`, with its bound."""
    delta = np.zeros(np.shape(definition(operation)(*args)))
    return answers(operation, delta, args).jacobian[OPERATIONS[operation].arguments.index(argument)]


def equal(form, answer):
    """Whether a form is JAX's answer, entry by entry, as far as rounding goes."""
    try:
        return judge(Close("form", form, *answer), np.float64).entries > 0
    except Violation:
        return False


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


# ── Conventions ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_smallest_example_gradient_of_x_plus_y_is_1_1():
    """`f(x, y) = x + y` is `f(u)` with `u = [x y]ᵀ`: `∇ᵤf = [1 1]`."""
    u = np.array([3.0, 5.0])
    (by_u,) = answers("sum_reduction", 1.0, [u]).grad
    assert equal(np.array([1.0, 1.0]), by_u)
    by_x, by_y = add_jacobian(u[:1], u[1:])
    assert [by_x.todense().item(), by_y.todense().item()] == [1.0, 1.0]


# ── The slips, in slide order ───────────────────────────────────────────────────────────────────────────────────────


def test_addition_slide_prints_a_matrix_of_ones_for_the_identity():
    answer = jax_says("add", "y", x, y)
    assert not equal(np.ones((3, 3)), answer)
    assert equal(np.eye(3), answer)


def test_sum_reduction_slide_transposes_a_row_of_ones():
    answer = jax_says("sum_reduction", "x", x)
    row = np.ones((1, 3))
    assert row.T.shape != (1, 3) == (1, *answer.value.shape)  # 1_{1×n}ᵀ is n×1, a derivative of a vector by a number
    assert equal(np.ones((3, 1)).T[0], answer)


def test_softmax_slide_subtracts_where_it_multiplies_on_the_rank_one_path():
    """`∂t/∂h · ∂h/∂g` is `f · (−1/g²)`, `n×1`; printed is `(f − 1/g²)`, `1×1`."""
    f = np.exp(x)
    g = f.sum()
    answer = jax_says("softmax", "x", x)
    through_f = np.diag(np.full(3, 1 / g)) @ np.diag(f)
    printed, corrected = (f - 1 / g**2)[:, None], (f * (-1 / g**2))[:, None]
    rest = np.ones((1, 3)) @ np.diag(f)
    assert printed.shape == corrected.shape == (3, 1) != (1, 1)
    assert not equal(through_f + printed @ rest, answer)
    assert equal(through_f + corrected @ rest, answer)


def test_cross_entropy_slide_loses_the_sign_on_its_third_line():
    y_hat = softmax(x)
    answer = jax_says("softmax_cross_entropy", "x", x, y)
    printed = np.ones(3) @ np.diag(y / y_hat) @ (np.diag(y_hat) - np.outer(y_hat, y_hat))
    assert not equal(printed, answer)
    assert equal(-printed, answer)


def test_cross_entropy_slide_takes_sum_y_for_1_on_its_last_line():
    y_hat = softmax(x)
    answer = jax_says("softmax_cross_entropy", "x", x, y)
    assert not equal(y_hat - y, answer)
    assert equal(y.sum() * y_hat - y, answer)
    distribution = np.array([0.25, 0.5, 0.25])
    assert equal(y_hat - distribution, jax_says("softmax_cross_entropy", "x", x, distribution))


def test_logistic_regression_slide_prints_a_matrix_of_ones_for_the_derivative_by_b():
    """`∂u/∂b` is `I_{d×d}`: as a factor, and in `∂L/∂b = (ŷ − y)ᵀ I`."""
    delta = softmax(W @ x + b) - one_hot
    factor, answer = jax_says("affine", "b", W, x, b), jax_says("logistic_regression", "b", W, x, b, one_hot)
    assert not equal(np.ones((2, 2)), factor)
    assert not equal(delta @ np.ones((2, 2)), answer)
    assert equal(np.eye(2), factor)
    assert equal(delta @ np.eye(2), answer)


def test_logistic_regression_slide_takes_the_first_column_for_the_last_entry_of_the_derivative_by_x():
    delta = softmax(W @ x + b) - one_hot
    answer = jax_says("logistic_regression", "x", W, x, b, one_hot)
    printed = np.array([*(delta @ W)[:-1], delta @ W[:, 0]])
    corrected = np.array([*(delta @ W)[:-1], delta @ W[:, -1]])
    assert not equal(printed, answer)
    assert equal(corrected, answer)


def test_two_layer_network_slide_prints_a_column_over_a_brace_of_1_by_d():
    """`∂L/∂b²`: the column `ŷ − y` is `d×1` and cannot be `δ` in `δ W²`; the row `(ŷ − y)ᵀ` can, and is JAX's."""
    W2, b2 = np.array([[1.0, -1.0], [0.5, 2.0], [0.25, 1.0]]), np.array([0.5, 0.0, -0.5])
    target = np.array([0.0, 0.0, 1.0])
    said = answers("two_layer_network[tanh]", 1.0, [W, b, W2, b2, x, target])
    column = (softmax(W2 @ np.tanh(W @ x + b) + b2) - target)[:, None]
    assert column.shape == (3, 1)
    with pytest.raises(ValueError, match="matmul"):
        column @ W2
    assert equal(column.T, [part[None] for part in said.grad[3]])
    assert equal((column.T @ W2 * (1 - np.tanh(W @ x + b) ** 2))[0], said.grad[1])


def test_algorithm_1_prints_the_derivative_of_b_by_itself_on_line_9():
    """`∂bⁱ/∂bⁱ` is `I`, which would make `∂L/∂bⁱ = δ` whatever `hⁱ` is; `∂hⁱ/∂bⁱ` is `diag(h′)`."""
    target = np.array([0.25, 0.75])
    (_, answer, *_) = answers("backpropagation[tanh]", 1.0, [W, b, x, target]).grad
    delta = softmax(np.tanh(W @ x + b)) - target
    assert not equal(delta @ np.eye(2), answer)
    assert equal(delta @ np.diag(1 - np.tanh(W @ x + b) ** 2), answer)


# ── The project's own forms are the corrected ones ──────────────────────────────────────────────────────────────────


def test_the_derivations_have_the_corrected_shapes():
    (_, through_h) = derivation("softmax", x)["x"]
    assert [factor.jacobian.slide_shape for factor in through_h] == [(3, 1), (1, 1), (1, 3), (3, 3)]
    (path,) = derivation("logistic_regression", W, x, b, one_hot)["x"]
    assert equal(product(path)[0], jax_says("logistic_regression", "x", W, x, b, one_hot))

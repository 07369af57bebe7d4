"""The public contract: names, arguments, errors, numbers, Jacobians, memory, batches, and what an import costs."""

import inspect
import json
import subprocess
import sys
import tracemalloc
import types
import typing

import numpy as np
import pytest
from numpy.typing import ArrayLike

import backprop_reference
from backprop_properties.cases.layouts import LAYOUTS
from backprop_reference import (
    OPERATIONS,
    BlockRow,
    Column,
    Dense,
    Diagonal,
    DiagonalMinusOuter,
    Gradients,
    Jacobian,
    Layer,
    Operation,
    Row,
    ScalarFunction,
    ScaledIdentity,
    activation,
    activation_jacobian,
    activation_vjp,
    affine,
    affine_jacobian,
    affine_vjp,
    backpropagation,
    derivation,
    elementwise,
    elementwise_jacobian,
    elementwise_vjp,
    hadamard,
    identity,
    leaky_relu,
    matvec,
    matvec_jacobian,
    matvec_vjp,
    relu,
    scale_vjp,
    sigmoid,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_jacobian,
    softmax_cross_entropy_vjp,
    softmax_jacobian,
    softmax_vjp,
    squared_error,
    sum_reduction_jacobian,
    tanh,
    two_layer_network_vjp,
)
from backprop_reference.lecture import networks
from backprop_reference.lecture.functions import SCALAR_FUNCTIONS

FLOATS = [np.dtype(np.float32), np.dtype(np.float64)]
SIZES = {"n": 3, "d": 4, "k": 2, "m0": 3, "m1": 2, "m2": 4, "m3": 5}
W, b, x = np.array([[1.0, -0.5, 0.25], [0.5, 2.0, -1.0]]), np.array([0.5, -0.25]), np.array([0.5, -1.0, 2.0])


def arguments(operation, dtype=np.float64, batch=(), seed=0):
    """Positive numbers, which every operation takes; data with batch axes. The cotangent is last."""
    rng = np.random.default_rng(seed)
    shapes = [tuple(SIZES[letter] for letter in core) for core in operation.cores]
    names = [*operation.arguments, "delta"]
    lead = [() if name in operation.parameters else batch for name in names]
    return [np.asarray(rng.uniform(0.5, 2, (*axes, *shape)), dtype) for axes, shape in zip(lead, shapes, strict=True)]


def results(operation, *args):
    *args, delta = args
    return [operation.forward(*args), *operation.vjp(delta, *args)]


# ── Names and arguments ─────────────────────────────────────────────────────────────────────────────────────────────


def test_all_names_every_public_name_once():
    names = backprop_reference.__all__
    public = {
        name
        for name, value in vars(backprop_reference).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert len(names) == len(set(names))
    assert set(names) == public


def test_all_can_be_imported():
    scope = {}
    exec("from backprop_reference import *", scope)
    assert set(backprop_reference.__all__) <= set(scope)


FAMILIES = sorted({row.base for row in OPERATIONS.values()} & set(backprop_reference.__all__))
PLAIN = [name for name in FAMILIES if name in OPERATIONS and inspect.isfunction(getattr(backprop_reference, name))]
WITH_H = {"elementwise": "tanh", "activation": "activation[tanh]", "two_layer_network": "two_layer_network[tanh]"}


@pytest.mark.parametrize("name", [*PLAIN, *WITH_H])
def test_the_three_functions_take_the_same_arguments_delta_first(name):
    row = OPERATIONS[WITH_H.get(name, name)]
    h = {"two_layer_network": ["g"]}.get(name, ["h"]) if name in WITH_H else []
    forward, jacobian, vjp = (
        list(inspect.signature(getattr(backprop_reference, name + suffix)).parameters)
        for suffix in ("", "_jacobian", "_vjp")
    )
    assert forward == jacobian == [*h, *row.arguments]
    assert vjp == ["delta", *h, *row.arguments]


PUBLIC = [name for name in backprop_reference.__all__ if inspect.isfunction(getattr(backprop_reference, name))]


@pytest.mark.parametrize("name", PUBLIC)
def test_help_shows_a_signature_of_two_lines_at_most(name):
    function = getattr(backprop_reference, name)
    signature, hints = str(inspect.signature(function)), typing.get_type_hints(function)
    assert len(signature) <= 200
    assert "Union" not in signature
    assert ("ArrayLike" in signature) == (ArrayLike in hints.values())


def test_the_table_is_in_slide_order_named_by_its_keys_and_read_only():
    slides = [int(row.slide.split()[0]) for row in OPERATIONS.values() if row.slide[0].isdigit()]  # others are beyond
    assert slides == sorted(slides)
    assert set(slides) == set(range(1, 17))
    assert all(name == row.name for name, row in OPERATIONS.items())
    with pytest.raises(TypeError):
        OPERATIONS["add"] = OPERATIONS["dot"]
    with pytest.raises(AttributeError):
        OPERATIONS["add"].name = "sum"


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.__getitem__.__self__)
def test_one_result_for_each_argument_always_in_a_tuple(operation):
    *args, delta = arguments(operation)
    for got in (operation.jacobian(*args), operation.vjp(delta, *args)):
        assert type(got) is tuple
        assert len(got) == len(operation.arguments)
    assert [d.shape for d in operation.vjp(delta, *args)] == [a.shape for a in args]


# ── Errors: one clear line each ─────────────────────────────────────────────────────────────────────────────────────


def network(*shapes):
    return [Layer(np.ones(shape), np.ones(shape[0]), tanh) for shape in shapes]


ERRORS = {
    # wrong shapes
    "wrong shape": (lambda: affine([[1, 2]], [3, 4, 5], [5]), ValueError, "affine: x (n) n = 2 W got (3)"),
    "wrong shape of a parameter": (lambda: affine(W, x, [1.0]), ValueError, "affine: b (d) d = 2 W got (1)"),
    "too few axes": (lambda: matvec([1.0, 2.0], [1.0, 2.0]), ValueError, "matvec: W (d,n) got (2)"),
    "a number for a vector": (lambda: softmax(1.0), ValueError, "softmax: x (n) got ()"),
    "too many axes of a parameter": (lambda: matvec(np.ones((2, 4, 3)), x), ValueError, "matvec: W (d,n) got (2,4,3)"),
    "unequal vectors": (lambda: hadamard([1, 2], [1, 2, 3]), ValueError, "hadamard: y (n) n = 2 x got (3)"),
    "wrong cotangent": (lambda: matvec_vjp([1, 2, 3], W, x), ValueError, "matvec: delta (d) d = 2 W got (3)"),
    "wrong cotangent of a loss": (
        lambda: softmax_cross_entropy_vjp([1.0, 1.0], x, x),
        ValueError,
        "softmax_cross_entropy: delta batch axes () x got (2)",
    ),
    "empty softmax": (lambda: softmax([]), ValueError, "softmax: x not be empty n = 0"),
    "empty classes": (lambda: softmax_cross_entropy([], []), ValueError, "softmax_cross_entropy: x not be empty n = 0"),
    "empty rows of a batch": (lambda: softmax(np.ones((2, 0))), ValueError, "softmax: x not be empty n = 0"),
    # batches
    "mixed batch axes": (lambda: hadamard(np.ones((2, 3)), np.ones((4, 3))), ValueError, "hadamard: y (2) x got (4)"),
    "a batch and a single example": (lambda: hadamard(np.ones((2, 3)), x), ValueError, "hadamard: y (2) x got ()"),
    "cotangent without the batch": (lambda: softmax_vjp(x, np.ones((2, 3))), ValueError, "softmax: delta (2) x got ()"),
    "a batch in a Jacobian": (lambda: softmax_jacobian(np.ones((2, 3))), ValueError, "softmax: x (n) got (2,3)"),
    "a batch of parameters": (lambda: affine(W, x, np.ones((2, 2))), ValueError, "affine: b (d) d = 2 W got (2,2)"),
    # wrong kinds of numbers
    "bool": (lambda: softmax([True, False]), TypeError, "softmax: x: float32 float64 integers got bool"),
    "float16": (lambda: softmax(x.astype(np.float16)), TypeError, "softmax: x: float32 float64 integers got float16"),
    "long double": (lambda: softmax(x.astype(np.longdouble)), TypeError, "softmax: x: float32 float64 got float128"),
    "complex": (lambda: softmax(x + 1j), TypeError, "softmax: x: float32 float64 got complex128"),
    "objects": (lambda: softmax([None, 1]), TypeError, "softmax: x: float32 float64 got object"),
    "text": (lambda: hadamard(x, ["1", "2", "3"]), TypeError, "hadamard: y: float32 float64 got <U1"),
    "dates": (lambda: softmax(np.array(["2018-04-27"], "M8[D]")), TypeError, "softmax: x: float32 got datetime64"),
    "ragged list": (lambda: matvec([[1, 2], [3]], x), TypeError, "matvec: W: rectangular got ragged list"),
    "complex cotangent": (lambda: scale_vjp(x * 1j, x, 1.0), TypeError, "scale: delta: float32 float64 got complex128"),
    "complex in a scalar function": (lambda: tanh(1j), TypeError, "tanh: float32 float64 got complex128"),
    # wrong numbers of arguments
    "argument missing": (lambda: affine(W, x), TypeError, "affine() missing argument 'b'"),
    "argument too many": (lambda: softmax(x, x), TypeError, "softmax() takes 1 positional argument 2"),
    # Jacobians
    "wrong cotangent of a row": (lambda: b @ sum_reduction_jacobian(x)[0], ValueError, "Row: delta () got (2,)"),
    "wrong cotangent of a cube": (lambda: x @ matvec_jacobian(W, x)[0], ValueError, "BlockRow: delta (2,) got (3,)"),
    "text for a Jacobian": (lambda: ["a"] @ softmax_jacobian([1.0])[0], TypeError, "delta: float32 float64 got <U1"),
    "a Jacobian as an array": (lambda: np.asarray(Dense(W)), TypeError, "Dense not an array J.todense() (2, 3)"),
    # scalar functions and networks
    "h of another shape": (
        lambda: activation(ScalarFunction("total", np.sum, np.ones_like), W, x, b),
        ValueError,
        "total: shape (2,) got ()",
    ),
    "layers that do not fit": (
        lambda: backpropagation(network((2, 3), (4, 3)), x, np.ones(4)),
        ValueError,
        "backpropagation: W2 (m2,m1) m1 = 2 W1 got (4,3)",
    ),
    "input that does not fit": (
        lambda: backpropagation(network((2, 4)), x, np.ones(2)),
        ValueError,
        "backpropagation: x (m0) m0 = 4 W1 got (3)",
    ),
    "target that does not fit": (
        lambda: backpropagation(network((2, 3)), x, np.ones(3)),
        ValueError,
        "backpropagation: y (m1) m1 = 2 W1 got (3)",
    ),
    "network without an output": (
        lambda: backpropagation(network((0, 3)), x, []),
        ValueError,
        "softmax_cross_entropy: x not be empty n = 0",
    ),
}


@pytest.mark.parametrize("call", ERRORS)
def test_error_is_one_clear_line(call):
    function, error, words = ERRORS[call]
    with pytest.raises(error) as caught:
        function()
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words.split() if word not in message] == []


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: activation(np.tanh, W, x, b), "activation: h ScalarFunction got ufunc"),
        (lambda: elementwise("tanh", x), "elementwise: h ScalarFunction got str"),
        (lambda: backpropagation([(W, b, np.tanh)], x, b), "backpropagation: h ScalarFunction got ufunc"),
        (lambda: backpropagation([(W, b)], x, b), "backpropagation: layers Layer"),
        (lambda: backpropagation(network((2, 3)), x, b, squared_error), "loss Operation (d),(d)->() got function"),
        (lambda: backpropagation(network((2, 3)), x, b, OPERATIONS["add"]), "loss (d),(d)->() got (n),(n)->(n)"),
        (lambda: OPERATIONS["backpropagation[tanh]"].forward(W, b), "backpropagation: W1 b1 x y got 2"),
        (lambda: derivation("sofmax", x), "unknown sofmax"),
    ],
)
def test_error_will_be_one_clear_line(function, words):
    with pytest.raises((TypeError, ValueError, LookupError)) as caught:
        function()
    assert [word for word in words.split() if word not in str(caught.value)] == []


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda row: row.name)
def test_every_argument_of_every_operation_is_checked(operation):
    """Three axes too many, or the wrong kind of number: the message names the operation and the argument."""
    *args, delta = arguments(operation)
    names = [*operation.arguments, "delta"]
    values = [*args, delta]
    for i, name in enumerate(names):
        for wrong in (np.ones((2, 2, 2, *values[i].shape)), values[i] * 1j):
            spoiled = [*values[:i], wrong, *values[i + 1 :]]
            with pytest.raises((TypeError, ValueError), match=name) as caught:
                operation.vjp(spoiled[-1], *spoiled[:-1])
            assert str(caught.value).startswith(f"{operation.base}: ")


# ── Numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda row: row.name)
def test_floats_keep_their_dtype(operation, dtype):
    *args, delta = arguments(operation, dtype)
    jacobians = operation.jacobian(*args)
    assert {np.asarray(r).dtype for r in results(operation, *args, delta)} == {dtype}
    assert {J.todense().dtype for J in jacobians} == {dtype}
    assert {np.asarray(delta @ J).dtype for J in jacobians} == {dtype}


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, np.uint64, ">i4", ">f8", "<f4"])
def test_integers_become_float64_and_byte_order_does_not_matter(dtype):
    u = softmax(np.array([1, 2, 4], dtype))
    assert u.dtype == (np.float32 if dtype == "<f4" else np.float64)
    assert u.dtype.isnative
    np.testing.assert_array_equal(u, softmax(np.array([1, 2, 4], u.dtype)))


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda row: row.name)
def test_lists_are_arrays(operation):
    args = arguments(operation)
    for got, expected in zip(results(operation, *[a.tolist() for a in args]), results(operation, *args), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda row: row.name)
def test_results_have_the_same_bits_in_any_memory_layout(operation, layout):
    """Also of batches, whose products with a matrix go to BLAS."""
    for batch in ((), (5,), (2, 3)):
        args = arguments(operation, batch=batch)
        for got, expected in zip(
            results(operation, *map(LAYOUTS[layout], args)), results(operation, *args), strict=True
        ):
            assert np.asarray(got).tobytes() == np.asarray(expected).tobytes()


def test_nan_propagates():
    assert np.isnan(softmax([np.nan, 0.0])).all()
    assert np.isnan(softmax_vjp([1.0, 0.0], [np.nan, 0.0])[0]).all()
    assert np.isnan(relu([np.nan]))
    assert np.isnan(relu.derivative(np.nan))


def test_minus_infinity_masks_a_logit():
    """Probability 0, gradient 0, and the others are what they are without it."""
    masked, plain, y = np.array([1.0, -np.inf, 2.0]), np.array([1.0, 2.0]), np.array([0.0, 0.0, 1.0])
    assert softmax(masked).tolist() == [softmax(plain)[0], 0, softmax(plain)[1]]
    assert softmax_vjp([3.0, 5.0, 7.0], masked)[0][1] == 0
    without = softmax_cross_entropy(plain, y[[0, 2]])
    np.testing.assert_allclose(softmax_cross_entropy(masked, y), without, rtol=2 * np.finfo(float).eps)
    assert softmax_cross_entropy_vjp(1.0, masked, y)[0][1] == 0
    assert softmax_cross_entropy_jacobian(masked, y)[0].todense()[1] == 0
    assert softmax_cross_entropy(masked, [0.0, 1.0, 0.0]) == np.inf


def test_0_log_0_is_0():
    assert softmax_cross_entropy([0.0, -np.inf], [1.0, 0.0]) == 0
    assert softmax_cross_entropy([2000.0, 0.0], [1.0, 0.0]) == 0


def test_kinks_have_the_derivative_that_jax_takes():
    assert relu.derivative([0.0, -0.0]).tolist() == [0, 0]
    assert leaky_relu.derivative(0.0) == 1


@pytest.mark.parametrize("size", [1e-300, 1e-12, 1.0, 30.0])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda row: row.name)
def test_finite_results_come_without_warnings(operation, size):
    """pytest makes an error of any warning."""
    *args, delta = arguments(operation)
    if "non-zero" in operation.domain.values() and size == 1e-300:  # the derivative is beyond float64
        args = [1e150 * a for a in args]
    assert all(np.isfinite(result).all() for result in results(operation, *[a * size for a in args], delta))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("h", ["tanh", "sigmoid", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "gelu_tanh"])
def test_saturated_functions_come_without_warnings(h, dtype):
    largest = np.finfo(dtype).max
    z = np.array([-largest, -1000, -90, -1e-40, 0, 1e-40, 90, 1000, largest], dtype)
    for result in (OPERATIONS[h].forward(z), *OPERATIONS[h].vjp(np.ones_like(z), z)):
        assert np.isfinite(result).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("logits", [[1000, 0, -1000], [0, -np.inf, 5], [-1e38, -1e38, -1e38]], ids=str)
def test_confident_predictions_come_without_warnings(logits, dtype):
    x, y = np.array(logits, dtype), np.array([1, 0, 0], dtype)
    assert np.isfinite(softmax(x)).all()
    assert np.isfinite(softmax_vjp(y, x)[0]).all()
    assert np.isfinite(softmax_cross_entropy_vjp(dtype.type(1), x, y)[0]).all()
    assert np.isfinite(softmax_cross_entropy(x, y))


@pytest.mark.parametrize("dtype", [FLOATS[0], FLOATS[1]], ids=str)
def test_a_softmax_of_both_ends_of_the_range_comes_without_warnings(dtype):
    largest = np.finfo(dtype).max
    x = np.array([largest, 0, -largest])
    assert softmax(x).tolist() == [1, 0, 0]
    assert softmax_vjp(x / largest, x)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(7,), (50, 9), (40, 100)], ids=str)
def test_powers_of_two_pass_through_softmax_vjp(dtype, shape):
    """Cotangents in the middle of the range are not scaled, others are: the digits are the same."""
    draw = np.random.default_rng(0)
    x, delta = draw.normal(size=(2, *shape)).astype(dtype)
    delta[0] = 0
    far = dtype(2.0 ** (np.finfo(dtype).maxexp // 2))
    got = backprop_reference.softmax_vjp(delta, x)[0]
    for scale in (far, 1 / far):
        np.testing.assert_array_equal(backprop_reference.softmax_vjp(scale * delta, x)[0] / scale, got)


def test_empty_arrays_are_arrays():
    assert matvec(np.ones((2, 0)), []).tolist() == [0, 0]
    assert [d.shape for d in matvec_vjp([1.0, 1.0], np.ones((2, 0)), [])] == [(2, 0), (0,)]
    assert softmax(np.ones((0, 3))).shape == (0, 3)
    for n in (3, 300, 3000):  # longer than the blocks in which sums are added
        long, none = np.ones((2, n)), np.ones((0, n))
        assert matvec(long, none).shape == (0, 2)
        assert matvec(long[:0], long[0]).shape == (0,)
        assert [d.tolist() for d in affine_vjp(none, long.T, none[:, :2], long[0])] == [[[0, 0]] * n, [], [0] * n]
    assert backpropagation([], [1.0, 2.0], [1.0, 4.0], OPERATIONS["squared_error"]).dx.tolist() == [0, -4]


# ── Jacobians ───────────────────────────────────────────────────────────────────────────────────────────────────────

JACOBIANS = [
    ScaledIdentity(np.float64(3.0), 3),
    Diagonal(x),
    Dense(W),
    Row(x),
    Row(W),
    Row(np.float64(2.0)),
    Column(x),
    BlockRow(b, x),
    DiagonalMinusOuter(softmax(x), 1 - softmax(x)),
]


@pytest.mark.parametrize("J", JACOBIANS, ids=lambda J: f"{type(J).__name__}{J.shape}")
def test_structured_jacobian(J):
    out, dense = J.shape[: len(J.output_shape)], J.todense()
    assert isinstance(J, Jacobian)
    assert dense.shape == J.shape == J.output_shape + J.input_shape
    assert J.slide_shape == (J.output_shape or (1,)) + (J.input_shape or (1,))
    assert not np.may_share_memory(dense, J.todense())
    assert not any(np.may_share_memory(dense, field) for field in vars(J).values() if isinstance(field, np.ndarray))
    delta = np.random.default_rng(0).normal(size=out)
    expected = np.tensordot(delta, dense, axes=delta.ndim)
    np.testing.assert_allclose(delta @ J, expected, rtol=1e-15, atol=1e-15)
    assert np.shape(delta @ J) == J.input_shape
    assert np.array_equal(delta @ J, delta.tolist() @ J)
    assert not any(np.may_share_memory(delta @ J, field) for field in vars(J).values() if isinstance(field, np.ndarray))
    with pytest.raises(TypeError, match="not an array"):
        np.asarray(J)
    with pytest.raises(TypeError):
        J @ delta
    with pytest.raises(AttributeError):
        J.anything = 1
    with pytest.raises(ValueError, match="delta must have shape"):
        np.ones((*out, 7)) @ J


def test_a_chain_reads_as_on_the_slides():
    u = affine(W, x, b)
    (J_s,), (_, J_x, _) = softmax_jacobian(u), affine_jacobian(W, x, b)
    delta = np.array([1.0, -2.0])
    np.testing.assert_allclose(delta @ J_s @ J_x, affine_vjp(softmax_vjp(delta, u)[0], W, x, b)[1], rtol=1e-14)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda row: row.name)
def test_jacobians_stand_still_and_leave_the_arguments_alone(operation):
    args = arguments(operation)[:-1]
    before = [a.tobytes() for a in args]
    for J in operation.jacobian(*args):
        J.todense()[...] = 7
        np.asarray(np.ones(J.output_shape) @ J)[...] = 7
    assert [a.tobytes() for a in args] == before


# ── Memory ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def megabytes(function):
    """What a call has allocated at its peak."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


LARGE = 3000


def test_a_structured_jacobian_is_never_a_cube():
    """By W: 72 MB are the outer product itself; the cube would take 216 GB."""
    W, x, b, delta = np.ones((LARGE, LARGE)), np.ones(LARGE), np.zeros(LARGE), np.ones(LARGE)
    assert megabytes(lambda: delta @ matvec_jacobian(W, x)[0]) < 75
    assert megabytes(lambda: delta @ affine_jacobian(W, x, b)[0]) < 75
    assert megabytes(lambda: delta @ activation_jacobian(tanh, W, x, b)[0]) < 150  # and diag(h′) W, for ∂u/∂x
    assert megabytes(lambda: activation_vjp(delta, tanh, W, x, b)) < 75
    assert megabytes(lambda: delta @ matvec_jacobian(W, x)[1]) < 1


def test_a_structured_jacobian_of_vectors_is_never_a_matrix():
    x = np.linspace(0, 1, 1_000_000)
    assert megabytes(lambda: x @ softmax_jacobian(x)[0]) < 150
    assert megabytes(lambda: x @ elementwise_jacobian(tanh, x)[0]) < 150


def test_gradients_of_a_batch_are_never_one_matrix_per_example():
    W, x, b, delta = np.ones((300, 300)), np.ones((1000, 300)), np.zeros(300), np.ones((1000, 300))
    assert megabytes(lambda: activation_vjp(delta, tanh, W, x, b)) < 30  # per example they would take 720 MB


# ── The import ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_importing_the_reference_imports_numpy_and_the_standard_library_only():
    """Beyond what an interpreter of this environment has loaded before its program starts."""
    imported = modules_after("import backprop_reference") - modules_after("") - set(sys.stdlib_module_names)
    assert imported == {"backprop_reference", "numpy"}


def modules_after(program):
    program = f"import json, sys\n{program}\nprint(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(answer.stdout))


# ── What is the user's own ──────────────────────────────────────────────────────────────────────────────────────────

CUBE = ScalarFunction("cube", h=lambda x: x**3, derivative=lambda x: 3 * x**2)


def test_a_scalar_function_of_ones_own_works_wherever_h_stands():
    z = W @ x + b
    slope, delta = 3 * z**2, np.array([1.0, -2.0])
    np.testing.assert_array_equal(elementwise(CUBE, x), x**3)
    np.testing.assert_array_equal(elementwise_jacobian(CUBE, x)[0].todense(), np.diag(3 * x**2))
    np.testing.assert_array_equal(elementwise_vjp(x, CUBE, x)[0], x * (3 * x**2))
    np.testing.assert_array_equal(activation(CUBE, W, x, b), z**3)
    dW, dx, db = activation_vjp(delta, CUBE, W, x, b)
    np.testing.assert_array_equal(db, delta * slope)
    np.testing.assert_array_equal(dW, np.outer(delta * slope, x))
    np.testing.assert_allclose(dx, (delta * slope) @ W, rtol=1e-15)
    np.testing.assert_array_equal(delta @ activation_jacobian(CUBE, W, x, b)[2], delta * slope)
    got = backpropagation([Layer(W, b, CUBE)], x, [0.0, 0.0], OPERATIONS["squared_error"])
    np.testing.assert_allclose(got.layers[0][1], 2 * z**3 * slope, rtol=1e-15)
    W2, b2, y = np.array([[1.0, 2.0], [-1.0, 0.5]]), np.array([0.5, 0.25]), np.array([0.0, 1.0])
    by_hand = two_layer_network_vjp(1.0, CUBE, W, b, W2, b2, x, y)
    deep = backpropagation([Layer(W, b, CUBE), Layer(W2, b2, identity)], x, y)
    np.testing.assert_allclose(deep.layers[0][0], by_hand[0], rtol=1e-14)


def test_a_scalar_function_of_ones_own_gets_float32():
    assert elementwise(CUBE, np.ones(2, np.float32)).dtype == np.float32
    wide = ScalarFunction("wide", h=lambda x: x.astype(np.float64), derivative=lambda x: np.ones_like(x))
    assert wide(np.ones(2, np.float32)).dtype == np.float32


def test_a_scalar_function_that_returns_its_argument_shares_nothing():
    own = ScalarFunction("own", h=lambda x: x, derivative=np.ones_like)
    assert not np.may_share_memory(elementwise(own, x), x)
    assert not np.may_share_memory(own(x), x)


@pytest.mark.parametrize("h", SCALAR_FUNCTIONS.values(), ids=lambda h: h.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_scalar_function_of_an_array_without_axes_is_one_too(h, dtype):
    z = np.array(0.5, dtype)
    for result in (h.h(z), h.dh(z)):
        assert (type(result), result.shape, result.dtype) == (np.ndarray, (), dtype)
        assert not np.may_share_memory(result, z)


def absolute_error(x, y):
    return np.abs(np.subtract(x, y)).sum(-1)


ABSOLUTE_ERROR = Operation(
    name="absolute_error",
    slide="",
    arguments=("x", "y"),
    signature="(d),(d)->()",
    forward=absolute_error,
    jacobian=lambda x, y: (Row(np.sign(x - y)), Row(np.sign(y - x))),
    vjp=lambda delta, x, y: (
        np.asarray(delta)[..., None] * np.sign(x - y),
        np.asarray(delta)[..., None] * np.sign(y - x),
    ),
)


@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
def test_a_scalar_function_may_return_an_array_that_it_keeps(batch):
    """What is computed in place is never the user's."""
    ones, twos = np.ones((*batch, 2)), np.full((*batch, 2), 2.0)
    h = ScalarFunction("kept", lambda x: ones, lambda x: twos)
    layers = [Layer(np.eye(2), np.zeros(2), h)] * 2
    first = backpropagation(layers, np.ones((*batch, 2)), np.ones((*batch, 2)), OPERATIONS["softmax_cross_entropy"])
    again = backpropagation(layers, np.ones((*batch, 2)), np.ones((*batch, 2)), OPERATIONS["softmax_cross_entropy"])
    assert first.dx.tobytes() == again.dx.tobytes()
    assert (ones == 1).all()
    assert (twos == 2).all()


def own_loss(forward, gradient):
    return Operation(
        "own", "", ("x", "y"), "(d),(d)->()", forward, lambda x, y: (), lambda delta, x, y: (gradient(x, y), -x)
    )


@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
@pytest.mark.parametrize("gradient", [lambda x, y: 2.0 * (x - y).astype(float), lambda x, y: np.sign(x).astype(int)])
def test_gradients_have_the_dtype_of_the_network_whatever_the_loss(gradient, batch):
    W, x = np.ones((2, 2), np.float32), np.ones((*batch, 2), np.float32)
    loss = own_loss(lambda x, y: ((x - y) ** 2).sum(-1).astype(float), gradient)
    got = backpropagation([Layer(W, W[0], tanh)], x, x, loss)
    assert {a.dtype for a in (got.loss, *got.layers[0], got.dx)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("batch", [(), (3,), (30_000,)], ids=str)
def test_a_gradient_of_the_wrong_shape_is_one_clear_line(batch):
    x = np.ones((*batch, 2))
    loss = own_loss(lambda x, y: x.sum(-1), lambda x, y: x.sum(-1, keepdims=True))
    with pytest.raises(
        ValueError, match=r"^backpropagation: expected a gradient of own of shape \(.*2,?\), got \(.*1,?\)$"
    ):
        backpropagation([Layer(np.eye(2), np.ones(2), tanh)], x, x, loss)


def test_a_loss_that_is_a_part_of_y_shares_nothing_with_it():
    y = np.ones((3, 2))
    loss = own_loss(lambda x, y: y[..., 0], lambda x, y: x)
    got = backpropagation([Layer(np.eye(2), np.ones(2), tanh)], np.ones((3, 2)), y, loss)
    assert not np.shares_memory(got.loss, y)


def test_a_loss_of_ones_own_works_in_backpropagation():
    layers, y = [Layer(W, b, tanh)], np.array([0.5, -0.5])
    got = backpropagation(layers, x, y, loss=ABSOLUTE_ERROR)
    z = W @ x + b
    assert isinstance(got, Gradients)
    assert got.loss == absolute_error(np.tanh(z), y)
    np.testing.assert_allclose(got.layers[0][1], np.sign(np.tanh(z) - y) * (1 - np.tanh(z) ** 2), rtol=1e-13)
    batch = backpropagation(layers, np.tile(x, (4, 1)), np.tile(y, (4, 1)), loss=ABSOLUTE_ERROR)
    assert batch.loss.shape == (4,)
    np.testing.assert_allclose(batch.layers[0][0], 4 * got.layers[0][0], rtol=1e-14)


# ── Batches ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda row: row.name)
def test_data_has_a_gradient_for_each_example_and_parameters_one_for_all(operation):
    *args, delta = arguments(operation, batch=(2, 3))
    expected = [a.shape for a in args]
    assert [d.shape for d in operation.vjp(delta, *args)] == expected
    single = arguments(operation)[:-1]
    assert [a.shape for a in single] == [
        shape[2:] if data else shape for data, shape in zip(operation.is_data, expected, strict=True)
    ]
    assert operation.forward(*args).shape == delta.shape


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_batch_of_one_class_is_certain(dtype):
    x, y, one = np.full((3, 1), 5, dtype), np.full((3, 1), 2, dtype), np.ones(3, dtype)
    np.testing.assert_array_equal(softmax(x), np.ones((3, 1)))
    np.testing.assert_array_equal(softmax_cross_entropy(x, y), np.zeros(3))
    for gradient in (*softmax_vjp(y, x), *softmax_cross_entropy_vjp(one, x, y)):
        np.testing.assert_array_equal(gradient, np.zeros((3, 1)))


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda row: row.name)
def test_a_batch_is_its_examples(operation):
    """Up to the order of sums; one example taken for another would be off by far more than nine digits."""
    *args, delta = arguments(operation, batch=(3,))
    is_data = operation.is_data
    rows = [[a[i] if data else a for a, data in zip(args, is_data, strict=True)] for i in range(3)]
    each = [results(operation, *row, delta[i]) for i, row in enumerate(rows)]
    u, *cotangents = results(operation, *args, delta)
    np.testing.assert_allclose(u, [single[0] for single in each], rtol=1e-9)
    for i, (d, data) in enumerate(zip(cotangents, is_data, strict=True), start=1):
        singles = np.stack([single[i] for single in each])
        np.testing.assert_allclose(d, singles if data else singles.sum(0), rtol=1e-9)


def test_gradients_of_parameters_are_sums_over_the_batch():
    X, D = np.stack([x, -2 * x, x + 1]), np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])
    dW, dx, db = affine_vjp(D, W, X, b)
    each = [affine_vjp(delta, W, row, b) for delta, row in zip(D, X, strict=True)]
    np.testing.assert_allclose(dW, sum(one[0] for one in each), rtol=1e-15)
    np.testing.assert_allclose(dx, [one[1] for one in each], rtol=1e-15)
    np.testing.assert_allclose(db, sum(one[2] for one in each), rtol=1e-15)


def test_backpropagation_of_a_batch_has_a_loss_for_each_example():
    layers, X, Y = network((4, 3), (2, 4)), np.random.default_rng(0).normal(size=(2, 5, 3)), np.ones((2, 5, 2))
    got = backpropagation(layers, X, Y, OPERATIONS["squared_error"])
    assert got.loss.shape == (2, 5)
    assert got.dx.shape == X.shape
    assert [(dW.shape, db.shape) for dW, db in got.layers] == [((4, 3), (4,)), ((2, 4), (2,))]
    loss, gradients, dx = got
    assert loss is got.loss
    assert gradients is got.layers
    assert dx is got.dx


@pytest.mark.parametrize("batch", [(), (3,), (1,), (2, 2)], ids=str)
def test_a_network_is_its_layers_one_by_one(batch, monkeypatch):
    """Neighbours with one function get their slopes in one call, where layers are small; here they do not."""
    draw, widths = np.random.default_rng(0), (5, 4, 2, 4, 3, 6, 2)
    functions = [tanh, tanh, sigmoid, tanh, tanh, tanh]
    layers = [
        Layer(draw.normal(size=(d, n)), draw.normal(size=d), h)
        for d, n, h in zip(widths[1:], widths[:-1], functions, strict=True)
    ]
    X, Y = draw.normal(size=(*batch, 5)), draw.uniform(size=(*batch, 2))
    got = backpropagation(layers, X, Y)
    h = [X]
    for W, b, g in layers:
        h.append(activation(g, W, h[-1], b))
    ones = np.ones(batch)
    delta, _ = OPERATIONS["softmax_cross_entropy"].vjp(ones, h[-1], Y)
    for (W, b, g), h_i, pair in reversed(list(zip(layers, h[:-1], got.layers, strict=True))):
        dW, delta, db = activation_vjp(delta, g, W, h_i, b)
        np.testing.assert_allclose(pair[0], dW, rtol=1e-12)
        np.testing.assert_allclose(pair[1], db, rtol=1e-12)
    np.testing.assert_allclose(got.dx, delta, rtol=1e-12)
    monkeypatch.setattr(networks, "BLOCK", 0)
    alone = backpropagation(layers, X, Y)
    assert alone.dx.tobytes() == got.dx.tobytes()
    for pair, other in zip(got.layers, alone.layers, strict=True):
        assert [a.tobytes() for a in pair] == [a.tobytes() for a in other]


# ── Python's numbers ────────────────────────────────────────────────────────────────────────────────────────────────


def test_numbers_without_a_dtype_take_that_of_the_arrays() -> None:
    x = np.array([1.0, 2.0], np.float32)
    assert backprop_reference.scale(x, 2.0).dtype == np.float32
    assert backprop_reference.scale(x, np.float64(2.0)).dtype == np.float64
    assert [d.dtype for d in backprop_reference.softmax_cross_entropy_vjp(1.0, x, x)] == [np.float32] * 2
    assert (1.0 @ backprop_reference.sum_reduction_jacobian(x)[0]).dtype == np.float32

"""Files of layers, pairs and tensors: what is to be pasted, and that it is right as it is."""

from pathlib import Path

import pytest

from backprop_oracle.catalogue import CATALOGUE
from backprop_properties.checking.adapting import nearest
from backprop_properties.checking.run import run
from backprop_reference import OPERATIONS

KNOWN = [*OPERATIONS, *CATALOGUE]
PAIRS = """
import numpy as np

def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)

def affine_backward(dout, cache):
    x, w, _ = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)

def tanh(x):
    return np.tanh(x)

def tanh_backward(dout, x):
    return dout * (1 - np.tanh(x) ** 2)

def softmax_loss(x, y):
    z = x - x.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    dx = np.exp(log_p)
    dx[np.arange(len(y)), y] -= 1
    return -np.mean(log_p[np.arange(len(y)), y]), dx / len(y)
"""
WEIGHTS_FIRST = """
import numpy as np

def dense(W, x, b):
    return W @ x + b

def dense_backward(delta, W, x, b):
    return np.outer(delta, x), W.T @ delta, delta
"""
LAYERS = """
import numpy as np

class Layer_Dense:
    def __init__(self, n_inputs, n_neurons):
        self.weights = 0.01 * np.random.randn(n_inputs, n_neurons)
        self.biases = np.zeros((1, n_neurons))

    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.dot(inputs, self.weights) + self.biases

    def backward(self, dvalues):
        self.dweights = np.dot(self.inputs.T, dvalues)
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        self.dinputs = np.dot(dvalues, self.weights.T)

class Sigmoid:
    def __call__(self, x):
        with np.errstate(over="ignore"):
            self.s = np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))
        self.t = np.where(x < 0, 1, np.exp(-np.maximum(x, 0))) / (1 + np.exp(-np.abs(x)))
        return self.s

    def backward(self, grad):
        return grad * self.s * self.t

class MSELoss:
    def forward(self, pred, target):
        self.d = pred - target
        return np.mean(self.d**2)

    def backward(self):
        return 2 * self.d / self.d.size

class Dense:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.W_grad, self.b_grad = self.x.T @ dout, dout.sum(axis=0)
        return dout @ self.W.T
"""
TAPES = """
import math

class Value:
    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = data, 0.0, parents

    def __add__(self, other):
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, number):
        return Value(self.data * number, [(self, number)])

    def exp(self):
        try:
            e = math.exp(self.data)
        except OverflowError:
            e = math.inf
        return Value(e, [(self, e)])

    def backward(self, grad=1.0):
        self.grad += grad
        for parent, slope in self.parents:
            parent.backward(grad * slope)
"""


def ran(path: Path, text: str):
    path.write_text(text)
    return run([path], [], {"max_examples": 30}, {}, timeout=120, memory=4096, jobs=1)


def pasted(notes):
    return [note.partition("paste:\n")[2] for note in notes if "paste:\n" in note]


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        (PAIRS, {"affine", "tanh", "softmax_cross_entropy"}),
        (WEIGHTS_FIRST, {"affine"}),
        (LAYERS, {"affine", "dense", "sigmoid", "mse_loss"}),
        (TAPES, {"exp"}),
    ],
)
def test_what_is_pasted_is_right_as_it_is(tmp_path, text, operations):
    before = ran(tmp_path / "mine.py", text)
    lines = pasted(before.notes)
    assert len(lines) == len(operations), before.notes
    assert not any("did you mean" in line for line in (*before.notes, *before.unusable))
    after = ran(tmp_path / "mine.py", "\n".join([text, *lines]))
    assert not after.unusable
    assert {operation for _, operation in after.reports} == operations
    for report in after.reports.values():
        assert report.passed, report
        assert any("vjp" in checked.law for checked in report.checks)
    assert not pasted(after.notes)


BESIDE = """
import numpy as np

def affine(W, x, b):
    return W @ x + b

def affine_vjp(delta, W, x, b):
    return np.outer(delta, x), W.T @ delta, delta

def relu_vjp(delta, x):
    return delta * (x > 0)

class Linear:
    def __init__(self, n_in, n_out):
        self.W, self.b = np.zeros((n_in, n_out)), np.zeros(n_out)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(0)
        return dout @ self.W.T

class ReLU:
    def forward(self, x):
        self.x = x
        return np.maximum(x, 0)

    def backward(self, dout):
        return dout * (self.x > 0)
"""


def test_a_layer_beside_functions_that_are_checked_is_noted_and_checked_with_the_lines(tmp_path):
    before = ran(tmp_path / "mine.py", BESIDE)
    lines = pasted(before.notes)
    assert len(lines) == 2, before.notes
    after = ran(tmp_path / "mine.py", "\n".join([BESIDE, *lines]))
    assert not after.unusable
    assert {operation for _, operation in after.reports} == {"affine", "relu", "affine_layer", "relu_layer"}
    assert all(after.reports.values())
    assert not pasted(after.notes)


@pytest.mark.usefixtures("in_this_process")
def test_no_definition_is_made_up(tmp_path):
    text = "class Mystery:\n    def forward(self, q): return q\n    def backward(self, d): return d\n"
    found = ran(tmp_path / "mine.py", text)
    assert found.unusable == ["mine.py has none of softmax, softmax_jacobian, softmax_vjp, …"]
    assert found.notes == [
        """mine.py: to have Mystery checked, paste:
from backprop_properties import Definition, from_layer
mystery, mystery_vjp = from_layer(Mystery, data="q").values()
mystery_definition = Definition(mystery_in_jax_numpy, "(b,n),…")"""
    ]


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("ReLU", "relu"),
        ("LeakyReLU", "leaky_relu"),
        ("Activation_ReLU", "relu"),
        ("FullyConnectedLayer", "affine"),
        ("Loss_CategoricalCrossentropy", "softmax_cross_entropy"),
        ("LayerNorm", "layer_norm"),
        ("batchnorm", "batch_norm"),
        ("Conv2d", "conv2d"),
        ("Tokeniser", ""),
    ],
)
def test_the_nearest_operation(name, operation):
    assert nearest(name, KNOWN)[0] == operation


LINEAR = """
import numpy as np

class Parameter:
    def __init__(self, data):
        self.data, self.grad = data, None

class Linear:
    def __init__(self, n, m):
        {made}

    def forward(self, x):
        self.x = x
        return {forward}

    def backward(self, dout):
        {left}
        return {dx}
"""
PLAIN = {"forward": "x @ self.W + self.b", "dx": "dout @ self.W.T"}
BY_NAME = {"forward": 'x @ self.params["W"] + self.params["b"]', "dx": 'dout @ self.params["W"].T'}


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    "parts",
    [
        {
            **PLAIN,
            "made": "self.W = np.sqrt(2 / n) * np.random.randn(n, m); self.b = np.zeros(m)",
            "left": "self.db = dout.sum(0); self.dW = self.x.T @ dout",
        },
        {
            **PLAIN,
            "made": "self.W = np.random.normal(0, 0.1, (n, m)); self.b = np.zeros(m); self.grads = {}",
            "left": 'self.grads["W"] = self.x.T @ dout; self.grads["b"] = dout.sum(0)',
        },
        {
            **BY_NAME,
            "made": 'self.params = {"W": np.random.randn(n, m), "b": np.zeros((1, m))}',
            "left": 'self.grads = {"dW": self.x.T @ dout, "db": np.sum(dout, axis=0, keepdims=True)}',
        },
        {
            **BY_NAME,
            "made": 'self.params = {}; self.params["W"] = np.random.randn(n, m); self.params["b"] = np.zeros(m)',
            "left": "self.grad_W, self.grad_b = self.x.T @ dout, dout.sum(0)",
        },
        {
            "made": "self.W = np.random.randn(m, n); self.b = np.zeros(m); self.W_grad = np.zeros((m, n))",
            "forward": "x @ self.W.T + self.b",
            "left": "self.W_grad += dout.T @ self.x; self.b_grad = dout.sum(0)",
            "dx": "dout @ self.W",
        },
        {
            "made": "self.W = np.random.randn(m, n); self.b = np.zeros((m, 1))",
            "forward": "np.dot(self.W, x) + self.b",
            "left": "self.dW = dout @ self.x.T; self.db = dout.sum(1, keepdims=True)",
            "dx": "self.W.T @ dout",
        },
        {
            "made": "self.W = np.random.randn(m, n); self.b = np.zeros(m)",
            "forward": "self.W @ x + self.b",
            "left": "self.dW, self.db = np.outer(dout, self.x), dout",
            "dx": "self.W.T @ dout",
        },
        {
            "made": "self.W = Parameter(np.random.randn(n, m)); self.b = Parameter(np.zeros(m))",
            "forward": "x @ self.W.data + self.b.data",
            "left": "self.W.grad = self.x.T @ dout; self.b.grad = dout.sum(0)",
            "dx": "dout @ self.W.data.T",
        },
    ],
)
def test_a_layer_that_takes_sizes_is_right_with_the_lines_that_are_advised(tmp_path, parts):
    text = LINEAR.format(**parts)
    (code,) = pasted(ran(tmp_path / "mine.py", text).notes)
    assert "gradients=" in code
    found = ran(tmp_path / "mine.py", f"{text}\n{code}")
    assert found.exit_code == 0, [*found.unusable, *map(str, found.reports.values())]
    (report,) = found.reports.values()
    assert report.operation == "affine"
    assert not [note for note in report.notes if "not judged" in note]


@pytest.mark.usefixtures("in_this_process")
def test_each_size_of_a_constructor_comes_from_the_parameter_that_has_it(tmp_path):
    text = """
class Conv:
    def __init__(self, channels, filters, kernel, padding):
        self.W = np.random.randn(filters, channels, kernel, kernel)
        self.b = np.zeros((1, filters))

    def forward(self, x):
        return x

    def backward(self, dout):
        self.dW, self.db = dout, dout

class Base:
    def forward(self, x):
        raise NotImplementedError

    def backward(self, dout):
        raise NotImplementedError
"""
    (code,) = pasted(ran(tmp_path / "mine.py", text).notes)
    assert "lambda W, b: Conv(W.shape[1], W.shape[0], W.shape[2], padding)" in code

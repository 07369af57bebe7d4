"""Layers as people write them, in five manners: each is adapted in three lines at most, a right one is accepted, and of
a wrong one the argument is named.
"""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from backprop_oracle.conventions import conventional, elu, leaky_relu, squared_error
from backprop_properties import check, from_c, from_layer, from_pair, from_tape

ROWS = {"batch": "first", "W": "in,out"}
AFFINE = conventional("affine", **ROWS, order="x W b")
AFFINE_WITH_A_ROW = conventional("affine", **ROWS, b="1,out", order="x W b")
LOSS = conventional("softmax_cross_entropy", batch="first", reduction="mean", labels="index")
FEW = 40


def wrong_in(definition, functions, **how):
    """The argument of which a check says that its gradient is wrong."""
    report = check(definition, **functions, max_examples=FEW, **how)
    assert not report.passed
    return next(failure.argument for failure in report.failures if failure.law == "vjp_equals_jax_vjp")


def accepted(definition, functions, **how):
    report = check(definition, **functions, max_examples=FEW, **how)
    assert report.passed, report
    return True


# ── 1. A course's pairs: out, cache = forward(…), and backward(dout, cache) ─────────────────────────────────────────


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def affine_backward_without_a_sum(dout, cache):
    x, w, _ = cache
    return dout @ w.T, x.T @ dout, dout.mean(axis=0)


def softmax_loss(x, y):
    """The loss and its gradient in one."""
    shifted = x - x.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    dx = np.exp(log_p)
    dx[np.arange(len(y)), y] -= 1
    return -np.mean(log_p[np.arange(len(y)), y]), dx / len(y)


def test_pairs():
    assert accepted(AFFINE, from_pair(affine_forward, affine_backward))
    assert wrong_in(AFFINE, from_pair(affine_forward, affine_backward_without_a_sum)) == "b"


def test_pairs_in_the_order_of_the_lecture():
    rows = conventional("affine", **ROWS)
    assert accepted(rows, from_pair(affine_forward, affine_backward, order="w x b"))


def test_a_loss_that_returns_its_gradient():
    assert accepted(LOSS, from_pair(softmax_loss, lambda dout, dx: dout * dx))
    assert wrong_in(LOSS, from_pair(softmax_loss, lambda dout, dx: dout * dx * len(dx))) == "x"


def test_pairs_whose_backward_takes_the_arguments_and_gives_a_dict():
    def affine(x, w, b):
        return x @ w + b

    def backward(dout, x, w, b):
        return {"dw": x.T @ dout, "db": dout.sum(0), "dx": dout @ w.T}

    assert accepted(AFFINE, from_pair(affine, backward))


def test_a_forward_with_a_setting():
    def batchnorm_forward(x, gamma, beta, bn_param):
        mean, eps = x.mean(0), bn_param["eps"]
        deviation = np.sqrt(x.var(0) + eps)
        normal = (x - mean) / deviation
        return gamma * normal + beta, (normal, gamma, deviation)

    def batchnorm_backward(dout, cache):
        normal, gamma, deviation = cache
        d = dout * gamma
        dx = (d - d.mean(0) - normal * (d * normal).mean(0)) / deviation
        return dx, (dout * normal).sum(0), dout.sum(0)

    def scaled_too_much(dout, cache):
        dx, dgamma, dbeta = batchnorm_backward(dout, cache)
        return dx, dgamma / len(dout), dbeta

    forward = lambda x, w, b: batchnorm_forward(x, w, b, {"eps": 1e-5})  # noqa: E731
    finite = {"values": "moderate"}
    assert accepted("batch_norm", from_pair(forward, batchnorm_backward), domain=finite)
    assert wrong_in("batch_norm", from_pair(forward, scaled_too_much), domain=finite) == "weight"


def test_gradients_in_another_order():
    def backward(dout, cache):
        dx, dw, db = affine_backward(dout, cache)
        return db, dx, dw

    assert accepted(AFFINE, from_pair(affine_forward, backward, gradients="b x w"))


# ── 2. Layer objects ────────────────────────────────────────────────────────────────────────────────────────────────


class Linear:
    """Parameters in the constructor, gradients of parameters in attributes."""

    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return dout @ self.W.T


class WrongLinear(Linear):
    def backward(self, dout):
        dx = super().backward(dout)
        self.dW = self.dW / len(dout)
        return dx


class Dense:
    """Made from sizes, with outputs and all gradients in attributes, and a bias that is a row."""

    def __init__(self, inputs, outputs):
        self.weights, self.biases = np.zeros((inputs, outputs)), np.zeros((1, outputs))

    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.dot(inputs, self.weights) + self.biases

    def backward(self, dvalues):
        self.dweights = np.dot(self.inputs.T, dvalues)
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        self.dinputs = np.dot(dvalues, self.weights.T)


class ReLU:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dout):
        return dout * self.mask


class Accumulating:
    """A layer that adds to its gradients, which are in a dict."""

    def __init__(self, W, b):
        self.params, self.grads = {"W": W, "b": b}, {"W": np.zeros_like(W), "b": np.zeros_like(b)}

    def __call__(self, x):
        self.x = x
        return x @ self.params["W"] + self.params["b"]

    def backprop(self, dout):
        self.grads["W"] += self.x.T @ dout
        self.grads["b"] += dout.sum(axis=0)
        return dout @ self.params["W"].T


LEFT = {"W": "dW", "b": "db"}
IN_DENSE = {"x": "dinputs", "W": "dweights", "b": "dbiases"}


def test_layer_objects():
    assert accepted(AFFINE, from_layer(Linear, gradients=LEFT))
    assert wrong_in(AFFINE, from_layer(WrongLinear, gradients=LEFT)) == "W"
    assert accepted(conventional("affine", **ROWS), from_layer(Linear, gradients=LEFT, order="W x b"))
    assert accepted(conventional("relu", batch="first"), from_layer(ReLU), domain={"values": "finite"})


def dense(**how):
    set_later = {"W": "weights", "b": "biases"}
    make = lambda W, b: Dense(*W.shape)  # noqa: E731
    return from_layer(make, parameters=set_later, output="output", **how)


def test_layer_objects_made_from_sizes():
    assert accepted(AFFINE_WITH_A_ROW, dense(gradients=IN_DENSE))
    swapped = {**IN_DENSE, "b": "dvalues_summed"}
    with pytest.raises(TypeError, match="a Dense has no 'dvalues_summed'; it has weights, biases, inputs, output"):
        dense(gradients=swapped)["vjp"](np.ones((2, 1)), np.ones((2, 3)), np.ones((3, 1)), np.ones((1, 1)))


def test_gradients_that_add_up_in_a_dict():
    names = {"W": "grads.W", "b": "grads.b"}
    assert accepted(AFFINE, from_layer(Accumulating, gradients=names, forward="__call__", backward="backprop"))


# ── 3. A tensor class with a tape ───────────────────────────────────────────────────────────────────────────────────


class Tensor:
    """A tensor that adds up its gradient; `backward` starts from 1."""

    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = np.asarray(data), np.zeros_like(data), parents
        self.push = lambda: None

    def _made(self, data, parents, *pushed):
        out = Tensor(data, parents)

        def push():
            for parent, back in zip(parents, pushed, strict=True):
                parent.grad = parent.grad + back(out.grad)

        out.push = push
        return out

    def __matmul__(self, other):
        return self._made(self.data @ other.data, (self, other), lambda g: g @ other.data.T, lambda g: self.data.T @ g)

    def __add__(self, other):
        return self._made(self.data + other.data, (self, other), lambda g: g, lambda g: g.sum(0))

    def __mul__(self, other):
        return self._made(self.data * other.data, (self, other), lambda g: g * other.data, lambda g: g * self.data)

    def sum(self):
        return self._made(self.data.sum(), (self,), lambda g: np.broadcast_to(g, self.data.shape))

    def tanh(self):
        return self._made(np.tanh(self.data), (self,), lambda g: g * (1 - np.tanh(self.data) ** 2))

    def backward(self):
        self.back_from(np.ones_like(self.data))

    def back_from(self, grad):
        order = []

        def visit(t):
            if t not in order:
                for parent in t.parents:
                    visit(parent)
                order.append(t)

        visit(self)
        self.grad = grad
        for t in reversed(order):
            t.push()


class WrongTensor(Tensor):
    def _made(self, data, parents, *pushed):
        out = super()._made(data, parents, *pushed)
        out.__class__ = WrongTensor
        return out

    def __matmul__(self, other):
        """The gradient of the first factor is not transposed back where it can't be told by shapes."""
        back = lambda g: g @ other.data.T * (1 + (g.shape[1] > 1))  # noqa: E731
        return self._made(self.data @ other.data, (self, other), back, lambda g: self.data.T @ g)


class Seeded(Tensor):
    """Its `backward` takes the cotangent."""

    def _made(self, data, parents, *pushed):
        out = super()._made(data, parents, *pushed)
        out.__class__ = Seeded
        return out

    def backward(self, grad=None):
        self.back_from(np.ones_like(self.data) if grad is None else grad)


class Value:
    """One number, and its gradient."""

    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = data, 0.0, parents

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    __radd__, __rmul__ = __add__, __mul__

    def backward(self, grad=1.0):
        """Along each path on its own: slow, and right."""
        self.grad += grad
        for parent, slope in self.parents:
            parent.backward(grad * slope)


TANH = conventional("activation[tanh]", **ROWS, order="x W b")


def test_tapes():
    assert accepted(AFFINE, from_tape(lambda x, W, b: x @ W + b, Tensor))
    assert accepted(TANH, from_tape(lambda x, W, b: (x @ W + b).tanh(), Tensor))
    assert accepted(AFFINE, from_tape(lambda x, W, b: x @ W + b, Seeded))
    assert wrong_in(AFFINE, from_tape(lambda x, W, b: x @ W + b, WrongTensor)) == "x"


def test_tapes_of_single_numbers():
    few = {"n": "at most 8"}
    assert accepted("hadamard", from_tape(lambda x, y: x * y, Value, each=True), domain=few)
    assert accepted("dot", from_tape(lambda x, y: sum(x * y, Value(0.0)), Value, each=True), domain=few)
    lost = from_tape(lambda x, y: x * Value(1.0) * np.array([v.data for v in y], object), Value, each=True)
    assert wrong_in("hadamard", lost, domain=few) == "y"


def test_a_tape_with_a_start_of_its_own():
    def back(out, delta):
        (out * Tensor(delta)).sum().backward()

    assert accepted("hadamard", from_tape(lambda x, y: x * y, Tensor, backward=back))


# ── 4. Batch first, weights in,out, and a mean ──────────────────────────────────────────────────────────────────────


class SoftmaxRegression:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x, y):
        self.x = x
        loss, self.dscores = softmax_loss(x @ self.W + self.b, y)
        return loss

    def backward(self):
        self.dW, self.db = self.x.T @ self.dscores, self.dscores.sum(0)
        return self.dscores @ self.W.T


def test_a_mean_over_a_batch_of_labels():
    definition = conventional("logistic_regression", **ROWS, reduction="mean", labels="index", order="x labels W b")
    layer = from_layer(SoftmaxRegression, data="x y", gradients=LEFT, backward=lambda layer, dout: layer.backward())
    assert wrong_in(definition, layer) in {"x", "W", "b"}  # a cotangent that is left out

    def backward(layer, dout):
        layer.dscores = layer.dscores * dout
        return layer.backward()

    assert accepted(definition, from_layer(SoftmaxRegression, data="x y", gradients=LEFT, backward=backward))


# ── 5. A C library by ctypes ────────────────────────────────────────────────────────────────────────────────────────

C = r"""
void linear_forward(const double *x, const double *W, const double *b, double *out, int B, int n, int d) {
    for (int i = 0; i < B; i++) for (int j = 0; j < d; j++) {
        double u = b[j];
        for (int k = 0; k < n; k++) u += x[i*n + k] * W[k*d + j];
        out[i*d + j] = u;
    }
}
void linear_backward(const double *dout, const double *x, const double *W, double *dx, double *dW, double *db,
                     int B, int n, int d) {
    for (int i = 0; i < B; i++) for (int j = 0; j < d; j++) {
        double g = dout[i*d + j];
        db[j] += g;
        for (int k = 0; k < n; k++) { dx[i*n + k] += g * W[k*d + j]; dW[k*d + j] += g * x[i*n + k]; }
    }
}
void wrong_backward(const double *dout, const double *x, const double *W, double *dx, double *dW, double *db,
                    int B, int n, int d) {
    linear_backward(dout, x, W, dx, dW, db, B, n, d);
    for (int j = 0; j < d; j++) db[j] = dout[j];
}
double half_squares(const double *x, const double *y, int n) {
    double u = 0;
    for (int i = 0; i < n; i++) u += (x[i] - y[i]) * (x[i] - y[i]);
    return u / 2;
}
void half_squares_backward(double dout, const double *x, const double *y, double *dx, double *dy, int n) {
    for (int i = 0; i < n; i++) { dx[i] = dout * (x[i] - y[i]); dy[i] = -dx[i]; }
}
"""
SHAPES = "x(B,n) W(n,d) b(d) -> out(B,d)"
FORWARD, BACKWARD = "x W b out B n d", "dout x W dx dW db B n d"


def compiled(folder, text):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (folder / "layers.c").write_text(text)
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", "layers.so", "layers.c"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "layers.so"))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("c"), C)


def test_a_c_library(library):
    lib = library
    assert accepted(AFFINE, from_c(lib.linear_forward, FORWARD, lib.linear_backward, BACKWARD, shapes=SHAPES))
    wrong = from_c(lib.linear_forward, FORWARD, lib.wrong_backward, BACKWARD, shapes=SHAPES)
    assert wrong_in(AFFINE, wrong) == "b"


def test_a_c_library_of_floats(tmp_path):
    lib = compiled(tmp_path, C.replace("double", "float"))
    single = {"shapes": SHAPES, "real": ctypes.c_float}
    linear = from_c(lib.linear_forward, FORWARD, lib.linear_backward, BACKWARD, **single)
    assert accepted(AFFINE, linear, dtypes="float32")


def test_a_loss_in_c(library):
    lib, takes = library, "x y n"
    loss = from_c(lib.half_squares, takes, lib.half_squares_backward, "dout x y dx dy n", shapes="x(n) y(n) -> out()")
    assert accepted(squared_error(), loss)
    assert wrong_in("squared_error", loss) == "x"


def test_what_c_cannot_be_told():
    with pytest.raises(ValueError, match="'b' is an array and a size"):
        from_c(None, "x", None, "dx", shapes="x(b,n) b(n) -> out(b,n)")
    with pytest.raises(ValueError, match="'y' in 'x y' is none of dout, dx, n, out, x"):
        from_c(None, "x y", None, "dx", shapes="x(n) -> out(n)")


# ── One clear line for what does not fit ────────────────────────────────────────────────────────────────────────────

x, W, b = np.ones((2, 3)), np.ones((3, 4)), np.ones(4)


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        (
            lambda: from_pair(affine_forward, lambda dout, cache: (dout, dout)),
            r"returned 2 gradients, expected 3 \(dx, dw",
        ),
        (
            lambda: from_pair(affine_forward, lambda dout, cache: {"z": 1}),
            r"a gradient of 'z', expected some of x, w, b",
        ),
        (
            lambda: from_pair(lambda x, w, b: (1, 2, 3), affine_backward),
            r"a tuple of 3, expected out or \(out, cache\)",
        ),
        (lambda: from_pair(lambda x, w: x @ w, affine_backward), r"takes 2 arguments \(x w\), and the operation has 3"),
        (lambda: from_pair(affine_forward, affine_backward, order="x w z"), r"takes 'x w b', got 'x w z'"),
        (lambda: from_pair(affine_forward, None), r"backward must be a function or a class, got NoneType"),
        (lambda: from_layer(Linear, gradients={"W": "dW"}), r"takes 2 arguments \(x W\), and the operation has 3"),
        (lambda: from_layer(Linear, gradients={"W": "gW", "b": "db"}), r"a Linear has no 'gW'; it has W, b, x, dW, db"),
        (lambda: from_layer(lambda W, b: Dense(*W.shape), gradients=LEFT), r"forward returned None; output= names the"),
        (lambda: from_layer(Linear, gradients=LEFT, backward="back"), r"a Linear has no method 'back'"),
        (
            lambda: from_tape(lambda x, W, b: x.data @ W.data, Tensor),
            r"a ndarray has no 'sum'|has no method 'backward'",
        ),
    ],
)
def test_errors(functions, words):
    with pytest.raises((TypeError, ValueError), match=words):
        functions()["vjp"](np.ones((2, 4)), x, W, b)


def test_a_layer_without_gradients():
    class Forgetful(Linear):
        def backward(self, dout):
            super().backward(dout)

    with pytest.raises(TypeError, match="backward returned None, expected the gradient of x, or its attribute: "):
        from_layer(Forgetful, gradients=LEFT)["vjp"](np.ones((2, 4)), x, W, b)


# ── Conventions ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("slope", [0.2, -1.0])
def test_functions_with_another_parameter(slope):
    def leaky_vjp(delta, x):
        return np.where(x >= 0, delta, slope * delta)

    def elu_vjp(delta, x):
        return np.where(x > 0, delta, slope * np.exp(np.minimum(x, 0)) * delta)

    assert accepted(leaky_relu(slope), {"vjp": leaky_vjp})
    assert accepted(elu(slope), {"vjp": elu_vjp})
    assert wrong_in("leaky_relu", {"vjp": leaky_vjp}) == "x"
    assert wrong_in("elu", {"vjp": elu_vjp}) == "x"


def test_columns_are_examples():
    def vjp(delta, W, X, b):
        return delta @ X.T, W.T @ delta, delta.sum(1, keepdims=True)

    columns = conventional("affine", batch="last", b="out,1")
    assert columns.signature == "(d,n),(n,b),(d,1)->(d,b)"
    assert accepted(columns, {"forward": lambda W, X, b: W @ X + b, "vjp": vjp})


@pytest.mark.parametrize(
    ("operation", "convention", "words"),
    [
        ("softmax", {"W": "in,out"}, "softmax: convention has no 'W'; it may have batch: 'none', 'first', 'last'$"),
        ("affine", {"W": "out"}, "affine: W: expected 'out,in' or 'in,out', got 'out'"),
        ("affine", {"reduction": "mean"}, "affine: convention has no 'reduction'"),
        ("dot", {"reduction": "mean"}, "dot: a mean is over a batch; say batch='first' or 'last', too"),
        ("affine", {"order": "x W"}, "affine: order: expected 'W x b' in another order, got 'x W'"),
        ("layer_norm", {"batch": "first"}, "a batch would be the letter b, which its shapes have already"),
        ("softmaxx", {"batch": "first"}, "unknown operation 'softmaxx'"),
    ],
)
def test_conventions_that_make_no_sense(operation, convention, words):
    with pytest.raises(ValueError, match=words):
        conventional(operation, **convention)


def test_the_lectures_own_convention_is_the_lecture():
    rng = np.random.default_rng(0)
    W, x, b = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=4)
    assert conventional("affine").signature == "(d,n),(n),(d)->(d)"
    assert np.array_equal(conventional("affine").forward(W, x, b), W @ x + b)

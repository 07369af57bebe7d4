"""The slides' derivations: each Jacobian as products of factors, path by path, in the slide's order.

A factor is the Jacobian of an operation of the table at a point, so each can be verified on its own. The product of a
path is the product of its factors, the derivative is the sum over the paths:

    ∂u/∂x  =  Σ_paths  factor · factor · …
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from .jacobians import Jacobian
from .signature import Array
from .table import ACTIVATIONS, DEEP, HIDDEN, OPERATIONS


@dataclass(frozen=True)
class Factor:
    """One factor of a path: `symbol`, as `∂t/∂f`, is the Jacobian of `operation` by its `argument` at `inputs`."""

    symbol: str
    operation: str
    argument: str
    inputs: tuple[Array, ...]

    @property
    def jacobian(self) -> Jacobian:
        row = OPERATIONS[self.operation]
        return row.jacobian(*self.inputs)[row.arguments.index(self.argument)]


Path = list[Factor]


class Step(NamedTuple):
    """An intermediate of a derivation: its name, how it is computed, and its value."""

    name: str
    formula: str
    value: Array


class Derivation(dict[str, list[Path]]):
    """Argument → paths; `steps` are the intermediates in the order and by the names of the slide, the result last."""

    def __init__(self, paths: Mapping[str, list[Path]], *steps: tuple[str, str, Array]) -> None:
        super().__init__(paths)
        self.steps = [Step(*step) for step in steps]


def product(path: Path) -> Array:
    """The product of a path's factors, dense and in the slides' shapes.

    >>> path, = derivation("dot", np.array([1.0, 2.0]), np.array([3.0, 4.0]))["x"]
    >>> product(path)
    array([[3., 4.]])
    """
    factors = [factor.jacobian.todense().reshape(factor.jacobian.slide_shape) for factor in path]
    result = factors[0]
    for factor in factors[1:]:
        result = np.tensordot(result, factor, axes=1)
    return result


# ── 7 and 8: subtraction, x + g(y) with g(y) = −y; dot product, sum ∘ ⊙ ─────────────────────────────────────────────


def _subtract(x: Array, y: Array) -> Derivation:
    g = OPERATIONS["negate"].forward(y)
    paths = {
        "x": [[Factor("∂f/∂x", "add", "x", (x, g))]],
        "y": [[Factor("∂f/∂g", "add", "y", (x, g)), Factor("∂g/∂y", "negate", "x", (y,))]],
    }
    return Derivation(paths, ("g", "−y", g), ("f", "x + g", x + g))


def _dot(x: Array, y: Array) -> Derivation:
    g = x * y
    f = Factor("∂f/∂g", "sum_reduction", "x", (g,))
    paths = {
        "x": [[f, Factor("∂g/∂x", "hadamard", "x", (x, y))]],
        "y": [[f, Factor("∂g/∂y", "hadamard", "y", (x, y))]],
    }
    return Derivation(paths, ("g", "x ⊙ y", g), ("f", "Σ g", g.sum()))


# ── 9: linear regression, square ∘ (ŷ − y) ∘ dot; the squared error, sum ∘ square ∘ (x − y) ─────────────────────────


def _squared_error(x: Array, y: Array) -> Derivation:
    g = x - y
    outer = [Factor("∂h/∂f", "sum_reduction", "x", (g * g,)), Factor("∂f/∂g", "square", "x", (g,))]
    paths = {name: [[*outer, Factor(f"∂g/∂{name}", "subtract", name, (x, y))]] for name in ("x", "y")}
    return Derivation(paths, ("g", "x − y", g), ("f", "g²", g * g), ("h", "Σ f", (g * g).sum()))


def _linear_regression(w: Array, x: Array, y: Array) -> Derivation:
    y_hat, target = OPERATIONS["dot"].forward(w, x)[None], y[None]  # numbers as vectors of one entry
    error = y_hat - target
    f = Factor("∂f/∂g", "square", "x", (error,))
    g = Factor("∂g/∂ŷ", "subtract", "x", (y_hat, target))
    paths = {
        "w": [[f, g, Factor("∂ŷ/∂w", "dot", "x", (w, x))]],
        "x": [[f, g, Factor("∂ŷ/∂x", "dot", "y", (w, x))]],
        "y": [[f, Factor("∂g/∂y", "subtract", "y", (y_hat, target))]],
    }
    return Derivation(paths, ("ŷ", "wᵀ x", y_hat[0]), ("g", "ŷ − y", error[0]), ("f", "g²", error[0] ** 2))


# ── 10 and 11: affine map, (+ b) ∘ matvec; activation, h ∘ affine ───────────────────────────────────────────────────


def _affine(W: Array, x: Array, b: Array) -> Derivation:
    g = OPERATIONS["matvec"].forward(W, x)
    f = Factor("∂f/∂g", "add", "x", (g, b))
    paths = {
        "W": [[f, Factor("∂g/∂W", "matvec", "W", (W, x))]],
        "x": [[f, Factor("∂g/∂x", "matvec", "x", (W, x))]],
        "b": [[Factor("∂f/∂b", "add", "y", (g, b))]],
    }
    return Derivation(paths, ("g", "W x", g), ("f", "g + b", g + b))


def _activation(h: str, W: Array, x: Array, b: Array) -> Derivation:
    g = OPERATIONS["affine"].forward(W, x, b)
    f = Factor("∂f/∂g", h, "x", (g,))
    paths = {name: [[f, Factor(f"∂g/∂{name}", "affine", name, (W, x, b))]] for name in ("W", "x", "b")}
    return Derivation(paths, ("g", "W x + b", g), ("f", f"{h}(g)", OPERATIONS[h].forward(g)))


# ── 12: softmax, t = f h with f = exp(x), g = sum(f), h = g⁻¹: two paths from x to t ────────────────────────────────


def _softmax(x: Array) -> Derivation:
    f = OPERATIONS["exp"].forward(x)
    g = OPERATIONS["sum_reduction"].forward(f)[None]
    h = OPERATIONS["reciprocal"].forward(g)
    f_by_x = Factor("∂f/∂x", "exp", "x", (x,))
    through_f = [Factor("∂t/∂f", "scale", "x", (f, h[0])), f_by_x]
    through_h = [
        Factor("∂t/∂h", "scale", "alpha", (f, h[0])),
        Factor("∂h/∂g", "reciprocal", "x", (g,)),
        Factor("∂g/∂f", "sum_reduction", "x", (f,)),
        f_by_x,
    ]
    steps = ("f", "exp(x)", f), ("g", "Σ f", g[0]), ("h", "1/g", h[0]), ("t", "f h", f * h)
    return Derivation({"x": [through_f, through_h]}, *steps)


# ── 13 and 14: cross-entropy, t = −h, h = sum(g), g = y ⊙ f, f = log(ŷ), ŷ = s(x); logistic regression ──────────────


def _softmax_cross_entropy(x: Array, y: Array) -> Derivation:
    y_hat = OPERATIONS["softmax"].forward(x)
    f = OPERATIONS["log"].forward(y_hat)
    g = y * f
    h = OPERATIONS["sum_reduction"].forward(g)[None]
    outer = [Factor("∂t/∂h", "negate", "x", (h,)), Factor("∂h/∂g", "sum_reduction", "x", (g,))]
    inner = [Factor("∂f/∂ŷ", "log", "x", (y_hat,)), Factor("∂ŷ/∂x", "softmax", "x", (x,))]
    paths = {
        "x": [[*outer, Factor("∂g/∂f", "hadamard", "y", (y, f)), *inner]],
        "y": [[*outer, Factor("∂g/∂y", "hadamard", "x", (y, f))]],
    }
    steps = ("ŷ", "softmax(x)", y_hat), ("f", "log(ŷ)", f), ("g", "y ⊙ f", g), ("h", "Σ g", h[0]), ("t", "−h", -h[0])
    return Derivation(paths, *steps)


def _logistic_regression(W: Array, x: Array, b: Array, y: Array) -> Derivation:
    u = OPERATIONS["affine"].forward(W, x, b)
    L = Factor("∂L/∂u", "softmax_cross_entropy", "x", (u, y))
    paths = {name: [[L, Factor(f"∂u/∂{name}", "affine", name, (W, x, b))]] for name in ("W", "x", "b")}
    paths["y"] = [[Factor("∂L/∂y", "softmax_cross_entropy", "y", (u, y))]]
    loss = OPERATIONS["softmax_cross_entropy"].forward(u, y)
    return Derivation(paths, ("u", "W x + b", u), ("L", "L_SCE(u, y)", loss))


# ── 15 and 16: networks, from the loss back through the layers, δ growing by one factor a layer ─────────────────────


def _network(functions: Sequence[str], *arguments: Array) -> Derivation:
    *parameters, x, y = arguments
    h, points, steps = x, [], [("h0", "x", x)]
    for i, (g, W, b) in enumerate(zip(functions, parameters[::2], parameters[1::2], strict=True), start=1):
        points.append((_layer(g), (W, h, b)))
        h = OPERATIONS[_layer(g)].forward(W, h, b)
        inside = f"W{i} h{i - 1} + b{i}"
        steps.append((f"h{i}", inside if _layer(g) == "affine" else f"{g}({inside})", h))
    steps.append(("L", f"L_SCE(h{len(points)}, y)", OPERATIONS["softmax_cross_entropy"].forward(h, y)))
    delta, paths = [Factor(f"∂L/∂h{len(points)}", "softmax_cross_entropy", "x", (h, y))], {}
    for i, (layer, point) in reversed(list(enumerate(points, start=1))):
        paths[f"b{i}"] = [[*delta, Factor(f"∂h{i}/∂b{i}", layer, "b", point)]]
        paths[f"W{i}"] = [[*delta, Factor(f"∂h{i}/∂W{i}", layer, "W", point)]]
        delta = [*delta, Factor(f"∂h{i}/∂h{i - 1}", layer, "x", point)]
    paths |= {"x": [delta], "y": [[Factor("∂L/∂y", "softmax_cross_entropy", "y", (h, y))]]}
    return Derivation(paths, *steps)


def _layer(g: str) -> str:
    return "affine" if g == "identity" else f"activation[{g}]"


def _two_layers(g: str, *arguments: Array) -> Derivation:
    return _network([g, "identity"], *arguments)


# ── The table ───────────────────────────────────────────────────────────────────────────────────────────────────────

DERIVATIONS: Mapping[str, Callable[..., Derivation]] = {
    "subtract": _subtract,
    "dot": _dot,
    "squared_error": _squared_error,
    "linear_regression": _linear_regression,
    "affine": _affine,
    **{f"activation[{h}]": partial(_activation, h) for h in ACTIVATIONS},
    "softmax": _softmax,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "logistic_regression": _logistic_regression,
    **{f"two_layer_network[{g}]": partial(_two_layers, g) for g in HIDDEN},
    **{f"backpropagation[{','.join(names)}]": partial(_network, names) for names in DEEP},
}

# What the slides print and what it is, by the base of a row; each is shown by a counterexample in the tests.
CORRECTIONS: Mapping[str, Sequence[str]] = {
    "add": ["∂u/∂y is the identity I, n×n, where the slide prints a matrix of ones."],
    "sum_reduction": ["1ᵀ, 1×n, is a row as it stands: the slide transposes it once more."],
    "softmax": ["On the path through h the first factors are multiplied, f · (−1/g²), n×1; the slide subtracts them."],
    "softmax_cross_entropy": [
        "The sign stays on the third line, too: −1ᵀ diag(y/ŷ) ∂ŷ/∂x.",
        "(ŷ − y)ᵀ is the derivative where Σ y = 1; for any other y it is Σ y ŷ − y.",
    ],
    "logistic_regression": [
        "∂u/∂b is the identity I, d×d, where the slide prints a matrix of ones.",
        "The last entry of ∂L/∂x has the last column of W, where the slide prints the first.",
    ],
    "two_layer_network": ["∂L/∂b² is the row (ŷ − y)ᵀ, 1×d, where the slide prints the column."],
    "backpropagation": ["Line 9 of the algorithm has ∂hⁱ/∂bⁱ, where the slide prints ∂bⁱ/∂bⁱ."],
}


def derivation(operation: str, *args: Array) -> Derivation:
    """The slide's factors of each Jacobian of `operation` at `args`: argument → paths, each a list of factors.

    Arguments are those of the operation; a single example. Every operation from 7 to 16 of the slides has one.
    KeyError for an operation that a slide states without deriving it.

    >>> for path in derivation("softmax", np.array([0.0, 1.0]))["x"]:
    ...     print(" · ".join(f"{factor.symbol} {factor.jacobian.slide_shape}" for factor in path))
    ∂t/∂f (2, 2) · ∂f/∂x (2, 2)
    ∂t/∂h (2, 1) · ∂h/∂g (1, 1) · ∂g/∂f (1, 2) · ∂f/∂x (2, 2)
    """
    if operation not in DERIVATIONS:
        raise KeyError(f"no derivation of unknown or basic operation {operation!r}; there are {', '.join(DERIVATIONS)}")
    return DERIVATIONS[operation](*args)

"""`OPERATIONS`: every operation by name, in the slides' order. Oracles, inputs, laws, vectors and docs come from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from .lecture import losses, matrices, networks, vectors
from .lecture.functions import SCALAR_FUNCTIONS
from .operation import Affine, Operation
from .scalar_function import ScalarFunction
from .signature import Array, Signature

ACTIVATIONS = ["identity", "tanh", "sigmoid", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "gelu_tanh"]
HIDDEN = ["tanh", "sigmoid", "relu", "gelu"]
DEEP = [["tanh"], ["sigmoid", "identity"], ["tanh", "softplus", "identity"]]
IDENTITY, SQUARE = SCALAR_FUNCTIONS["identity"], SCALAR_FUNCTIONS["square"]
TARGET = {"y": "target"}


def _vjp_with(vjp: Callable[..., tuple[Array, ...]], h: object, delta: Array, *args: Array) -> tuple[Array, ...]:
    return vjp(delta, h, *args)


def _row(module: object, signature: Signature, slide: str, **facts: Any) -> Operation:
    """The three functions that `module` has under the signature's name."""
    functions = [getattr(module, signature.operation + suffix) for suffix in ("", "_jacobian", "_vjp")]
    facts = {"parameters": signature.parameters, "positive": signature.positive, **facts}
    return Operation(signature.operation, slide, signature.arguments, signature.text, *functions, **facts)


def _bound(row: Operation, name: str, h: ScalarFunction | Sequence[ScalarFunction], **facts: Any) -> Operation:
    """An operation of a scalar function (or one per layer) with it filled in."""
    return replace(
        row,
        name=name,
        forward=partial(row.forward, h),
        jacobian=partial(row.jacobian, h),
        vjp=partial(_vjp_with, row.vjp, h),
        functions=(h,) if isinstance(h, ScalarFunction) else tuple(h),
        **facts,
    )


def _of_a_function(h: ScalarFunction) -> Operation:
    return _bound(_ELEMENTWISE, h.name, h, domain={"x": h.domain} if h.domain else {})


def _of_an_activation(h: ScalarFunction) -> Operation:
    return _bound(_ACTIVATION, f"activation[{h.name}]", h, layers=(Affine("W", "b", h),))


def _of_two_layers(g: ScalarFunction) -> Operation:
    layers = Affine("W1", "b1", g), Affine("W2", "b2", IDENTITY)
    return _bound(_TWO_LAYERS, f"two_layer_network[{g.name}]", g, layers=layers)


def deep(names: Sequence[str]) -> Operation:
    """Back-propagation (algorithm 1) with the cross-entropy, as one operation of `W1 b1 … WK bK x y`.

    >>> deep(["tanh", "identity"])
    Operation('backpropagation[tanh,identity]', 'W1 b1 W2 b2 x y', '(m1,m0),(m1),(m2,m1),(m2),(m0),(m2)->()')
    """
    signature = networks.cross_entropy_network_signature(len(names))
    row = Operation(
        "backpropagation",
        "16 back-propagation",
        signature.arguments,
        signature.text,
        networks.deep_network,
        networks.deep_network_jacobian,
        networks.deep_network_vjp,
        parameters=signature.parameters,
        positive=signature.positive,
        domain=TARGET,
        promise="composition",
    )
    functions = [SCALAR_FUNCTIONS[name] for name in names]
    layers = tuple(Affine(f"W{i}", f"b{i}", h) for i, h in enumerate(functions, 1))
    return _bound(row, f"backpropagation[{','.join(names)}]", functions, layers=layers)


_ELEMENTWISE = _row(vectors, vectors.ELEMENTWISE, "4 scalar function of a vector", promise="function")
_ACTIVATION = _row(matrices, matrices.ACTIVATION, "11 activation", promise="composition")
_TWO_LAYERS = _row(networks, networks.TWO_LAYER_NETWORK, "15 two-layer network", domain=TARGET, promise="composition")
_W_x, _W_x_b = (Affine("W", "", IDENTITY),), (Affine("W", "b", IDENTITY),)
_w_x_minus_y = (Affine("w", "-y", SQUARE),)

_ROWS = [
    _row(vectors, vectors.SCALE, "1 vector–scalar product", promise="elementary"),
    _row(vectors, vectors.ADD, "2 addition", promise="elementary"),
    _row(vectors, vectors.HADAMARD, "3 Hadamard product", promise="elementary"),
    *map(_of_a_function, SCALAR_FUNCTIONS.values()),
    _row(vectors, vectors.SUM_REDUCTION, "5 sum reduction", promise="sum"),
    _row(matrices, matrices.MATVEC, "6 matrix–vector product", promise="sum", layers=_W_x),
    _row(vectors, vectors.SUBTRACT, "7 subtraction", promise="elementary"),
    _row(vectors, vectors.DOT, "8 dot product", promise="sum"),
    _row(losses, losses.SQUARED_ERROR, "9 linear regression", promise="sum"),
    _row(losses, losses.LINEAR_REGRESSION, "9 linear regression", promise="sum", layers=_w_x_minus_y),
    _row(matrices, matrices.AFFINE, "10 affine map", promise="sum", layers=_W_x_b),
    *(_of_an_activation(SCALAR_FUNCTIONS[name]) for name in ACTIVATIONS),
    _row(losses, losses.SOFTMAX, "12 softmax", promise="softmax", masks=("x",)),
    losses.CROSS_ENTROPY,
    _row(
        losses,
        losses.LOGISTIC_REGRESSION,
        "14 logistic regression",
        promise="composition",
        domain=TARGET,
        layers=_W_x_b,
    ),
    *(_of_two_layers(SCALAR_FUNCTIONS[name]) for name in HIDDEN),
    *(deep(names) for names in DEEP),
]

OPERATIONS: Mapping[str, Operation] = MappingProxyType({row.name: row for row in _ROWS})

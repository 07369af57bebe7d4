"""`OPERATIONS`: every operation by name, in the slides' order. Oracles, inputs, laws, vectors and docs come from it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from .lecture import losses, matrices, networks, vectors
from .lecture.functions import SCALAR_FUNCTIONS
from .operation import Operation
from .scalar_function import ScalarFunction
from .signature import Array, Signature

ACTIVATIONS = ["identity", "tanh", "sigmoid", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "gelu_tanh"]
HIDDEN = ["tanh", "sigmoid", "relu", "gelu"]
DEEP = [["tanh"], ["sigmoid", "identity"], ["tanh", "softplus", "identity"]]


def _vjp_with(vjp: Callable[..., tuple[Array, ...]], h: object, delta: Array, *args: Array) -> tuple[Array, ...]:
    return vjp(delta, h, *args)


def _plain(module: object, signature: Signature, slide: str) -> Operation:
    """The three functions that `module` has under the signature's name."""
    functions = [getattr(module, signature.operation + suffix) for suffix in ("", "_jacobian", "_vjp")]
    return Operation(signature.operation, slide, signature.arguments, signature.text, *functions)


def _bound(row: Operation, name: str, h: ScalarFunction | Sequence[ScalarFunction]) -> Operation:
    """An operation of a scalar function (or one per layer) with it filled in."""
    functions = partial(row.forward, h), partial(row.jacobian, h), partial(_vjp_with, row.vjp, h)
    return Operation(name, row.slide, row.arguments, row.signature, *functions)


def deep(names: Sequence[str]) -> Operation:
    """Back-propagation (algorithm 1) with the cross-entropy, as one operation of `W1 b1 … WK bK x y`.

    >>> deep(["tanh", "identity"])
    Operation('backpropagation[tanh,identity]', 'W1 b1 W2 b2 x y', '(m1,m0),(m1),(m2,m1),(m2),(m0),(m2)->()')
    """
    signature = networks.network_signature(len(names))
    row = Operation(
        "backpropagation",
        "16 back-propagation",
        signature.arguments,
        signature.text,
        networks.deep_network,
        networks.deep_network_jacobian,
        networks.deep_network_vjp,
    )
    return _bound(row, f"backpropagation[{','.join(names)}]", [SCALAR_FUNCTIONS[name] for name in names])


_ELEMENTWISE = _plain(vectors, vectors.ELEMENTWISE, "4 scalar function of a vector")
_ACTIVATION = _plain(matrices, matrices.ACTIVATION, "11 activation")
_TWO_LAYERS = _plain(networks, networks.TWO_LAYER_NETWORK, "15 two-layer network")

_ROWS = [
    _plain(vectors, vectors.SCALE, "1 vector–scalar product"),
    _plain(vectors, vectors.ADD, "2 addition"),
    _plain(vectors, vectors.HADAMARD, "3 Hadamard product"),
    *(_bound(_ELEMENTWISE, name, h) for name, h in SCALAR_FUNCTIONS.items()),
    _plain(vectors, vectors.SUM_REDUCTION, "5 sum reduction"),
    _plain(matrices, matrices.MATVEC, "6 matrix–vector product"),
    _plain(vectors, vectors.SUBTRACT, "7 subtraction"),
    _plain(vectors, vectors.DOT, "8 dot product"),
    _plain(losses, losses.SQUARED_ERROR, "9 linear regression"),
    _plain(losses, losses.LINEAR_REGRESSION, "9 linear regression"),
    _plain(matrices, matrices.AFFINE, "10 affine map"),
    *(_bound(_ACTIVATION, f"activation[{name}]", SCALAR_FUNCTIONS[name]) for name in ACTIVATIONS),
    _plain(losses, losses.SOFTMAX, "12 softmax"),
    losses.CROSS_ENTROPY,
    _plain(losses, losses.LOGISTIC_REGRESSION, "14 logistic regression"),
    *(_bound(_TWO_LAYERS, f"two_layer_network[{name}]", SCALAR_FUNCTIONS[name]) for name in HIDDEN),
    *(deep(names) for names in DEEP),
]

OPERATIONS: Mapping[str, Operation] = MappingProxyType({row.name: row for row in _ROWS})

"""Truth with a proof: values, Jacobians and vjps of every operation as enclosures.

Each definition below is the slide's forward over a commutative ring of truncated power series. Where an argument's
entry is `a + t`, the coefficient of `t` in the result is the derivative: it comes from the definition, not from a
rule of ours, and it comes as a ball with a bound that FLINT proves for every rounding (`enclosures.py`).

Proven, given FLINT and the definitions as they stand here: the real number lies in its ball; the ball is narrower
than 2^-24 units in the last place of the target format; `nearest` is the correctly rounded number.
Not proven: FLINT itself; that a definition says what the slide says (tests compare with mpmath); *exact* zeros that
cancel between transcendental numbers, such as a softmax vjp of a constant delta: their ball has a radius below
2^-24 of the smallest subnormal, so their nearest float is 0, whether they vanish or not.

Three identities stand between the slides and the text, each exact over the reals, since `exp` of 10^308 has no place
even in a ball: softmax(x) = softmax(x - c) for a constant c, log s(x) = x - c - log(sum(exp(x - c))), and
1 + tanh(v) = 2 sigmoid(2v). Signs are those that make `exp` small.

Conventions: inputs are taken exactly. NaN and infinite inputs raise ValueError, as do arguments outside a function's
domain, except that `-inf` logits of softmax and softmax_cross_entropy are masks: probability 0, gradient 0, and
0 · log 0 = 0 (so y = 0 there adds nothing to the loss, y > 0 makes it +inf, and ∂L/∂y there is +inf). At kinks
relu′(0) = 0, leaky_relu′(0) = 1, elu′(0) = 1, as in JAX. A zero entry of delta drops its output, 0 · inf too.

>>> import numpy as np
>>> loss = value("softmax_cross_entropy", np.array([0.0, 40.0]), np.array([0.0, 1.0]))
>>> loss.nearest()  # log(1 + exp(-40)), which plain float64 arithmetic takes for 0
array(4.24835426e-18)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flint import arb, fmpq

from .enclosures import Enclosures, PrecisionCapReached, Undecided

__all__ = [
    "FUNCTIONS",
    "OPERATIONS",
    "Enclosures",
    "PrecisionCapReached",
    "jacobian",
    "signature",
    "taylor",
    "value",
    "vjp",
]  # fmt: skip

Series = Any  # arb_series, or fmpq_series where a result is rational
Vector = list[Series]
Matrix = list[Vector]

# ---------------------------------------------------------------- scalar functions h

SLOPE = fmpq(*(0.01).as_integer_ratio())  # of leaky_relu: the double nearest 0.01, exactly
CUBIC = fmpq(*(0.044715).as_integer_ratio())  # of gelu_tanh: likewise


def exp(u: Series) -> Series:
    return u.exp()


def log(u: Series) -> Series:
    if u[0] <= 0:
        raise ValueError(f"log needs arguments > 0, got {_text(u)}")
    return u.log()


def reciprocal(u: Series) -> Series:
    if u[0] == 0:
        raise ValueError("reciprocal needs arguments other than 0")
    return u.inv()


def negate(u: Series) -> Series:
    return -u


def square(u: Series) -> Series:
    return u * u


def identity(u: Series) -> Series:
    return u


def tanh(u: Series) -> Series:
    if u[0] < 0:
        return -tanh(-u)
    t = (-u - u).exp()
    return (1 - t) * (1 + t).inv()


def sigmoid(u: Series) -> Series:
    if u[0] < 0:
        t = u.exp()
        return t * (1 + t).inv()
    return (1 + (-u).exp()).inv()


def relu(u: Series) -> Series:
    return u if _above(u) else 0 * u


def leaky_relu(u: Series) -> Series:
    return u * SLOPE if _above(-u) else u


def elu(u: Series) -> Series:
    return u if _above(u) else u.exp() - 1


def softplus(u: Series) -> Series:
    return u + softplus(-u) if u[0] > 0 else (1 + u.exp()).log()


def silu(u: Series) -> Series:
    return u * sigmoid(u)


def gelu(u: Series) -> Series:
    return u * (-u * arb(0.5).sqrt()).erfc() / 2


def gelu_tanh(u: Series) -> Series:
    v = (u + u * u * u * CUBIC) * (2 / arb.pi()).sqrt()
    return u * sigmoid(2 * v)


def _above(u: Series) -> bool:
    """Whether `u > 0`; at exactly 0 it is not."""
    if u[0] > 0:
        return True
    if u[0] <= 0:
        return False
    raise Undecided(f"a kink lies in {_text(u)}")


def _text(u: Series) -> str:
    return u[0].str(10) if isinstance(u[0], arb) else str(u[0])


FUNCTIONS: dict[str, Callable[[Series], Series]] = {
    h.__name__: h
    for h in (exp, log, reciprocal, negate, square, identity, tanh, sigmoid, relu, leaky_relu, elu, softplus, silu,
              gelu, gelu_tanh)
}  # fmt: skip

# ---------------------------------------------------------------- operations, in slide order


def scale(x: Vector, alpha: Series) -> Vector:
    return [x_i * alpha for x_i in x]


def add(x: Vector, y: Vector) -> Vector:
    return [x_i + y_i for x_i, y_i in zip(x, y, strict=True)]


def hadamard(x: Vector, y: Vector) -> Vector:
    return [x_i * y_i for x_i, y_i in zip(x, y, strict=True)]


def elementwise(h: str, x: Vector) -> Vector:
    return [FUNCTIONS[h](x_i) for x_i in x]


def sum_reduction(x: Vector) -> Series:
    return sum(x)


def matvec(W: Matrix, x: Vector) -> Vector:
    return [dot(row, x) for row in W]


def subtract(x: Vector, y: Vector) -> Vector:
    return [x_i - y_i for x_i, y_i in zip(x, y, strict=True)]


def dot(x: Vector, y: Vector) -> Series:
    return sum(hadamard(x, y))


def squared_error(x: Vector, y: Vector) -> Series:
    return sum(square(u) for u in subtract(x, y))


def linear_regression(w: Vector, x: Vector, y: Series) -> Series:
    return square(dot(w, x) - y)


def affine(W: Matrix, x: Vector, b: Vector) -> Vector:
    return add(matvec(W, x), b)


def activation(h: str, W: Matrix, x: Vector, b: Vector) -> Vector:
    return elementwise(h, affine(W, x, b))


def softmax(x: Vector) -> Vector:
    f = [exp(z) for z in _shifted(x)]
    g = sum(f)
    return scale(f, reciprocal(g))


def softmax_cross_entropy(x: Vector, y: Vector) -> Series:
    z = _shifted(x)
    log_sum = log(sum(exp(z_j) for z_j in z))
    # -sum(y ⊙ (z - log_sum)), distributed: for a y that sums to exactly 0, no ball is left around log_sum
    return sum(y) * log_sum - sum(_times(y_j, z_j) for y_j, z_j in zip(y, z, strict=True))


def _shifted(x: Vector) -> Vector:
    """`x - c` with the constant `c` near `max(x)`."""
    c = type(x[0])([max(x_j[0] for x_j in x)])
    return [x_j - c for x_j in x]


def _times(y: Series, z: Series) -> Series:
    """`y z`, where 0 times the `-inf` of a mask is 0 in every coefficient."""
    if z[0].is_finite():
        return y * z
    return arb_series([c * z[0] if c != 0 else 0 for c in (y[0], y[1])])


def logistic_regression(W: Matrix, x: Vector, b: Vector, y: Vector) -> Series:
    return softmax_cross_entropy(affine(W, x, b), y)


def two_layer_network(g: str, W1: Matrix, b1: Vector, W2: Matrix, b2: Vector, x: Vector, y: Vector) -> Series:
    return softmax_cross_entropy(affine(W2, activation(g, W1, x, b1), b2), y)


def backpropagation(gs: Sequence[str], *arguments: Any) -> Series:
    *parameters, h, y = arguments
    for g, W, b in zip(gs, parameters[0::2], parameters[1::2], strict=True):
        h = activation(g, W, h, b)
    return softmax_cross_entropy(h, y)


Definition = tuple[str, Callable[..., Any]]  # NumPy gufunc signature, forward

DEFINITIONS: dict[str, Definition] = {
    "scale": ("(n),()->(n)", scale),
    "add": ("(n),(n)->(n)", add),
    "hadamard": ("(n),(n)->(n)", hadamard),
    **{h: ("(n)->(n)", partial(elementwise, h)) for h in FUNCTIONS},
    "sum_reduction": ("(n)->()", sum_reduction),
    "matvec": ("(d,n),(n)->(d)", matvec),
    "subtract": ("(n),(n)->(n)", subtract),
    "dot": ("(n),(n)->()", dot),
    "squared_error": ("(d),(d)->()", squared_error),
    "linear_regression": ("(n),(n),()->()", linear_regression),
    "affine": ("(d,n),(n),(d)->(d)", affine),
    **{f"activation[{h}]": ("(d,n),(n),(d)->(d)", partial(activation, h)) for h in FUNCTIONS},
    "softmax": ("(n)->(n)", softmax),
    "softmax_cross_entropy": ("(n),(n)->()", softmax_cross_entropy),
    "logistic_regression": ("(d,n),(n),(d),(d)->()", logistic_regression),
    **{f"two_layer_network[{g}]": ("(k,n),(k),(d,k),(d),(n),(d)->()", partial(two_layer_network, g)) for g in FUNCTIONS},
}
MASKABLE = ("softmax", "softmax_cross_entropy")  # whose first argument may hold -inf


def definition(name: str) -> Definition:
    """Signature and forward of an operation; `backpropagation[g1,…,gK]` has one for every list of activations.

    >>> definition("backpropagation[tanh,identity]")[0]
    '(d1,n),(d1),(d2,d1),(d2),(n),(d2)->()'
    """
    if name in DEFINITIONS:
        return DEFINITIONS[name]
    bound = re.fullmatch(r"backpropagation\[(\w+(?:,\w+)*)\]", name)
    gs = bound[1].split(",") if bound else []
    if not gs or not set(gs) <= FUNCTIONS.keys():
        raise ValueError(f"unknown operation {name!r}; the certified oracle knows {', '.join(DEFINITIONS)} and "
                         "backpropagation[g1,...,gK] of its scalar functions")  # fmt: skip
    sizes = ["n", *(f"d{i + 1}" for i in range(len(gs)))]
    layers = [f"({d},{n}),({d})" for n, d in zip(sizes, sizes[1:], strict=False)]
    return f"{','.join(layers)},(n),({sizes[-1]})->()", partial(backpropagation, gs)


# ---------------------------------------------------------------- values and derivatives


@dataclass(frozen=True)
class Case:
    """An operation at a point: its forward, the shapes and the numbers of its arguments in C order."""

    name: str
    forward: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    numbers: tuple[list[float], ...]
    dtype: np.dtype[Any]


def value(name: str, *args: Any, dtype: Any = None, at: Sequence[int] | None = None) -> Enclosures:
    """The operation's result, sharp for `dtype` (by default that of the arguments).

    `at` selects entries by their index into the flat result, for long vectors; the result has shape `(len(at),)`.

    >>> value("softmax", np.zeros(3)).balls[0].str(20)
    '[0.33333333333333333333 +/- 3.34e-21]'
    """
    return _enclose(_case(name, args, dtype), "value", None, at)


def jacobian(
    name: str, *args: Any, dtype: Any = None, at: Mapping[int, Sequence[int]] | None = None
) -> tuple[Enclosures, ...]:
    """One Jacobian for each argument, of shape output + argument, as `jax.jacrev` gives it.

    `at` selects entries: it maps an argument's position to indices into its flat Jacobian; those of arguments that it
    does not name come back empty. One pass costs what the forward costs, and gives one column.

    >>> jacobian("hadamard", np.array([1.0, 2.0]), np.array([3.0, 4.0]))[0].nearest()
    array([[3., 0.],
           [0., 4.]])
    """
    return _derivatives(_case(name, args, dtype), "jacobian", at)


def vjp(
    name: str, delta: Any, *args: Any, dtype: Any = None, at: Mapping[int, Sequence[int]] | None = None
) -> tuple[Enclosures, ...]:
    """One cotangent for each argument, of its shape: the gradient of `sum_k delta_k f_k`, contracted in the series.

    `at` selects entries: it maps an argument's position to indices into that argument, flat.

    >>> vjp("softmax", np.array([1e9, 1e9]), np.array([3.0, -700.0]))[0].nearest()
    array([0., 0.])
    """
    case = _case(name, args, dtype)
    cotangent = np.asarray(delta)
    if cotangent.shape != case.output:
        raise ValueError(f"{name}: delta has shape {cotangent.shape}, the output has {case.output}")
    weights = [(k, arb_number) for k, arb_number in enumerate(_numbers(f"{name}: delta", cotangent)) if arb_number]

    def contracted(*arguments: Any) -> Series:
        outputs = _flat(case.forward(*arguments))
        return sum(outputs[k] * _exact(type(outputs[k]), weight) for k, weight in weights)

    return _derivatives(replace(case, forward=contracted, output=()), "vjp", at)


def taylor(name: str, x: Any, terms: int, *, dtype: Any = None) -> list[list[arb]]:
    """Coefficients `h(a), h′(a), h″(a)/2, …` of a scalar function at each entry `a` of the flat `x`.

    >>> [[float(c) for c in row] for row in taylor("square", np.array([3.0]), 4)]
    [[9.0, 6.0, 1.0, 0.0]]
    """
    case = _case(name, (np.ravel(x),), dtype)
    balls = []
    for i, a in enumerate(case.numbers[0]):
        point = arb(a)

        def evaluate() -> list[arb]:
            series = FUNCTIONS[name](arb_series([point, 1]))
            return [series[k] for k in range(terms)]

        balls.append(ziv(f"taylor of {name}", evaluate, case.dtype, lambda k: f"entry {i}, term {k}", terms))
    return balls


def _derivatives(case: Case, what: str, at: Mapping[int, Sequence[int]] | None) -> tuple[Enclosures, ...]:
    return tuple(
        _enclose(case, what, a, None if at is None else at.get(a, ())) for a in range(len(case.shapes))
    )


def _enclose(case: Case, what: str, argument: int | None, at: Sequence[int] | None) -> Enclosures:
    """The value (`argument` None) or the derivative with respect to an argument: one Ziv loop for each column."""
    inner = () if argument is None else case.shapes[argument]
    order = 0 if argument is None else 1
    columns, shape = math.prod(inner), case.output + inner
    entries = range(math.prod(shape)) if at is None else [int(i) for i in at]
    title = f"{what} of {case.name}" + ("" if argument is None else f" for argument {argument}")
    with working_precision(START):
        constants = _constants(case, arb_series)
    balls: list[arb] = [None] * len(entries)
    wanted: dict[int, list[int]] = {}
    for position, entry in enumerate(entries):
        wanted.setdefault(entry % columns, []).append(position)
    for column, positions in wanted.items():
        rows = [entries[position] // columns for position in positions]

        def evaluate() -> list[arb]:
            result = _run(case, constants, argument, column)
            return [_coefficient(result[row], order) for row in rows]

        def label(k: int) -> str:
            return f"entry {entries[positions[k]]} of the flat result"

        for position, ball in zip(positions, ziv(title, evaluate, case.dtype, label), strict=True):
            balls[position] = ball

    def refine(index: int, bits: int) -> arb:
        row, column = divmod(entries[index], columns)
        with working_precision(bits):
            try:  # exactly, where every series is rational
                return arb(_coefficient(_run(case, _constants(case, fmpq_series), argument, column)[row], order))
            except (AttributeError, OverflowError, TypeError, ValueError, ZeroDivisionError):
                return _coefficient(_run(case, constants, argument, column)[row], order)

    return Enclosures(title, shape if at is None else (len(entries),), tuple(balls), case.dtype, refine)


def _run(case: Case, constants: list[Vector], argument: int | None, column: int) -> Vector:
    """The forward with `t` added to one entry of one argument; a mask moves with nothing."""
    arguments = list(constants)
    if argument is not None and constants[argument][column][0] != -arb.pos_inf():
        moved = arguments[argument] = list(constants[argument])
        moved[column] = moved[column] + type(moved[column])([0, 1])
    nested = [_nested(flat, shape) for flat, shape in zip(arguments, case.shapes, strict=True)]
    return _flat(case.forward(*nested))


def _constants(case: Case, ring: Any) -> list[Vector]:
    return [[_exact(ring, number) for number in numbers] for numbers in case.numbers]


def _exact(ring: Any, number: float) -> Series:
    return ring([arb(number) if ring is arb_series else fmpq(*number.as_integer_ratio())])


def _nested(flat: Vector, shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    return flat if len(shape) == 1 else [flat[i * shape[1] : (i + 1) * shape[1]] for i in range(shape[0])]


def _flat(result: Any) -> Vector:
    return result if isinstance(result, list) else [result]


def _coefficient(u: Any, order: int) -> Any:
    return u[order] if not isinstance(u, int) else arb(u)  # an empty sum is the integer 0


# ---------------------------------------------------------------- arguments


def _case(name: str, args: Sequence[Any], dtype: Any) -> Case:
    """Checks and unpacks arguments."""
    text, forward = definition(name)
    inputs, output = text.split("->")
    wanted = [tuple(re.findall(r"\w+", core)) for core in re.findall(r"\(.*?\)", inputs)]
    arrays = [np.asarray(arg) for arg in args]
    if len(arrays) != len(wanted):
        raise ValueError(f"{name} takes {len(wanted)} arguments {text}, got {len(arrays)}")
    sizes: dict[str, int] = {}
    for i, (array, letters) in enumerate(zip(arrays, wanted, strict=True)):
        fits = len(array.shape) == len(letters)
        if not fits or any(sizes.setdefault(k, n) != n for k, n in zip(letters, array.shape, strict=True)):
            raise ValueError(f"{name} {text}: argument {i} has shape {array.shape}, expected ({','.join(letters)})"
                             f" with {sizes}")  # fmt: skip
    numbers = tuple(
        _numbers(f"{name}: argument {i}", array, masks=name in MASKABLE and i == 0) for i, array in enumerate(arrays)
    )
    if "softmax" in text_of_logits(name) and ...:
        ...
    target = np.result_type(*arrays) if dtype is None else np.dtype(dtype)
    shape = tuple(sizes[k] for k in re.findall(r"\w+", output))
    return Case(name, forward, tuple(array.shape for array in arrays), shape, numbers, target)


def _numbers(label: str, array: np.ndarray, masks: bool = False) -> list[float]:
    """The entries as Python floats, each exactly."""
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{label} has dtype {array.dtype}, expected float32 or float64")
    allowed = np.isfinite(array) | (masks & np.isneginf(array))
    if not allowed.all():
        raise ValueError(f"{label} holds {array[~allowed].flat[0]}, expected finite numbers")
    return list(array.ravel().tolist())

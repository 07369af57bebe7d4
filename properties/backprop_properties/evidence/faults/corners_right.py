"""Right neighbours of the corners: the same constant, batch, layout or cache singled out, and treated rightly."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...hints.textbook import softmax
from . import makers as m
from .attention import ATTENTION_RIGHT
from .kept import all_but, cached
from .layers import LAYERS_RIGHT
from .makers import Array, Function
from .neighbours import ALGEBRA
from .norms import NORMS_RIGHT
from .own_constants import PLACES
from .regressions import REGRESSIONS_RIGHT
from .sometimes import when
from .table import Neighbour
from .witnesses import forward, vjp

OTHERS = {row.name: row for row in (*ALGEBRA, *NORMS_RIGHT, *LAYERS_RIGHT, *ATTENTION_RIGHT, *REGRESSIONS_RIGHT)}
HALF = ("bfloat16", "float16")


def _named(operation: str, what: str, algebra: str, **how: Any) -> Neighbour:
    return Neighbour(operation, f"right-corner-{m.dashed(operation)}-{what}", algebra, **how)


# ── Own constants ───────────────────────────────────────────────────────────────────────────────────────────────────

ANOTHER = {  # where the constant stands, and what is done there
    "literal": "layer-norm-by-sums",
    "default": "tanh-textbook",
    "closure": "softmax-two-products",
    "module": "log-softmax-less-lse",
    "table": "dot-einsum",
    "set": "silu-of-the-output",
    "helper": "sigmoid-by-sign",
    "object": "matvec-einsum",
    "partial": "affine-bias-first",
    "folded": "gelu-erfc",
    "multiple": "reciprocal-quotient",
    "blocks": "linear-einsum",
    "exceeded": "logsumexp-online",
    "derived": "squared-error-dot",
}


def _at_a_size() -> Iterator[Neighbour]:
    """Another right formula at that size of the last argument."""
    for name, other in ANOTHER.items():
        row = OTHERS[other]
        if row.vjp is None:
            raise LookupError(f"{other} has no vjp")
        f = PLACES[name].plant(row.vjp, vjp(row.operation), _last_size)
        yield Neighbour(row.operation, f"right-corner-{name}-{other}", f"{row.algebra} at one size", vjp=f,
                        dtypes=row.dtypes, unpromised=row.unpromised)  # fmt: skip


def _last_size(*args: Array) -> int:
    return args[-1].shape[-1] if args[-1].ndim else 1


def _tiled(f: Function, tile: int) -> Function:
    """Tile after tile of the last axis, the last one as long as it is."""

    def right(*args: Array) -> Any:
        parts = [f(*(a[..., k : k + tile] for a in args)) for k in range(0, args[0].shape[-1] or 1, tile)]
        if isinstance(parts[0], tuple):
            return tuple(np.concatenate(part, -1) for part in zip(*parts, strict=True))
        return np.concatenate(parts, -1)

    return right


def _sech(delta: Array, x: Array) -> tuple[Array]:
    """`4 e / (1 + e)²` with `e = exp(−2|x|)`, far out."""
    e = np.exp(-2 * np.abs(x))
    return (np.where(np.abs(x) > 7.3, delta * (4 * e / (1 + e) / (1 + e)), vjp("tanh")(delta, x)[0]),)


def _sum_of_two(delta: Array, x: Array) -> tuple[Array]:
    return (np.where((x == np.round(x)) | ((x > 2.4) & (x < 2.5)), delta * (x + x), vjp("square")(delta, x)[0]),)


def _by_tiles(delta: Array, x: Array, weight: Array, bias: Array) -> tuple[Array, ...]:
    """The weight's gradient in tiles of 37 columns, the bias's in tiles of 33 rows."""
    dW = [delta.T @ x[:, k : k + 37] for k in range(0, x.shape[1] or 1, 37)]
    db = [delta[k : k + 33].sum(0) for k in range(0, len(x) or 1, 33)]
    return delta @ weight, np.concatenate(dW, 1), np.sum(db, 0).astype(bias.dtype)


OWN = [
    *_at_a_size(),
    _named("exp", "tiles-of-37", "tiles with their tail", forward=_tiled(forward("exp"), 37),
           vjp=_tiled(vjp("exp"), 37)),
    _named("hadamard", "tiles-of-1000", "tiles with their tail", vjp=_tiled(vjp("hadamard"), 1000)),
    _named("sigmoid", "tiles-of-784", "tiles with their tail", vjp=_tiled(vjp("sigmoid"), 784)),
    _named("linear", "tiles-of-37", "tiles with their tails", vjp=_by_tiles),
    _named("tanh", "sech-far-out", "4 e / (1 + e)² beyond 7.3", vjp=_sech),
    _named("square", "sum-at-integers", "x + x at integers, and between 2.4 and 2.5", vjp=_sum_of_two),
    _named("softmax", "spread-of-37", "shifted by a little more where logits are far apart",
           forward=lambda x: np.where(np.ptp(x, -1, keepdims=True) > 37, _less_half(x), softmax(x))
           if np.isfinite(x).all() and x.size else softmax(x)),
]  # fmt: skip


def _less_half(x: Array) -> Array:
    """The sum's largest term is not 1, but nothing over- or underflows that did not before."""
    z = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(z * (1 / z.sum(-1, keepdims=True)))


# ── Square matrices and batches ─────────────────────────────────────────────────────────────────────────────────────


def _rows_once(delta: Array, x: Array, weight: Array, bias: Array) -> tuple[Array, ...]:
    """Equal rows are looked up once, and their cotangents added."""
    dx, _, db = vjp("linear")(delta, x, weight, bias)
    if not np.isfinite(x).all():
        return vjp("linear")(delta, x, weight, bias)
    rows, which = np.unique(x, axis=0, return_inverse=True)
    if len(rows) == len(x):
        return vjp("linear")(delta, x, weight, bias)
    total = np.zeros((len(rows), delta.shape[1]), delta.dtype)
    np.add.at(total, which.ravel(), delta)
    return dx, total.T @ rows, db


def _in_parts(operation: str, rows: int) -> Function:
    """Batches of more rows part by part: each row is one by itself."""
    right = vjp(operation)

    def f(delta: Array, *args: Array) -> tuple[Array, ...]:
        parts = [right(delta[k : k + rows], *(a[k : k + rows] for a in args)) for k in range(0, len(delta), rows)]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    return f


def _square_by_columns(delta: Array, W: Array, x: Array) -> tuple[Array, ...]:
    """`Wᵀ δ` with the transpose in memory, where W is square."""
    dW, dx = vjp("matvec")(delta, W, x)
    return dW, (delta @ np.array(W, order="F") if W.shape[0] == W.shape[1] >= 6 else dx)


BATCHED = [
    _named("linear", "equal-rows-added", "equal rows once, with all their cotangents", vjp=_rows_once),
    _named("log_softmax", "parts-of-33", "33 rows at a time", vjp=_in_parts("log_softmax", 33)),
    _named("logsumexp", "parts-of-65", "65 rows at a time", vjp=_in_parts("logsumexp", 65)),
    _named("l2_normalize", "row-by-row", "a row at a time", vjp=_in_parts("l2_normalize", 1)),
    _named("matvec", "square-by-columns", "a square W column by column", vjp=_square_by_columns),
    _named("linear", "square-einsum", "einsum for as many rows as columns",
           vjp=when(lambda d, x, W, b: len(x) == x.shape[1],
                    lambda d, x, W, b: (np.einsum("bd,dn->bn", d, W), np.einsum("bd,bn->dn", d, x), d.sum(0)),
                    vjp("linear"))),
    _named("activation[tanh]", "square-weight-copied", "the transpose of the transpose",
           vjp=m.fed(vjp("activation[tanh]"), lambda d, W, x, b: [d, W.T.copy().T, x, b])),
]  # fmt: skip

# ── Memory and state ────────────────────────────────────────────────────────────────────────────────────────────────


def _packed(f: Function) -> Function:
    """Arrays are copied into C order, aligned, in this machine's order of bytes."""
    return m.fed(f, lambda *args: [np.array(a, a.dtype.newbyteorder("="), order="C") for a in args])


def _contiguous(f: Function) -> Function:
    return m.fed(f, lambda *args: [np.ascontiguousarray(a).reshape(a.shape) for a in args])


def _fortran_walked(delta: Array, x: Array) -> tuple[Array]:
    """Where x lies column by column, the cotangent is laid out like it."""
    if x.flags.fnc:
        delta = np.asfortranarray(delta)
    return vjp("log_softmax")(delta, x)


def _copied_out(f: Function) -> Function:
    """Results are worked out in a buffer that is used again, and handed out as copies."""
    buffers: dict[Any, tuple[Array, ...]] = {}

    def right(*args: Array) -> Any:
        results: tuple[Array, ...] = f(*args)
        kept = buffers.setdefault(m.shapes_of(args), tuple(np.array(r) for r in results))
        for buffer, result in zip(kept, results, strict=True):
            buffer[...] = result
        return tuple(buffer.copy() for buffer in kept)

    return right


def _layer(operation: str) -> dict[str, Function]:
    """An object that keeps its last input, and takes the output along with it only where it is the same."""
    left: dict[str, Any] = {}

    def keep(x: Array) -> Any:
        left["x"], left["u"] = (x.shape, x.dtype.name, x.tobytes()), forward(operation)(x)
        return left["u"].copy()

    def back(delta: Array, x: Array) -> Any:
        same = left.get("x") == (x.shape, x.dtype.name, x.tobytes())
        s = left["u"] if same else forward(operation)(x)
        return (s * (delta - (s * delta).sum(-1, keepdims=True)),)

    return {"forward": keep, "vjp": back}


def _not_in_place(delta: Array, x: Array) -> tuple[Array]:
    own = delta.copy()
    own *= np.exp(x)
    return (own,)


_EVERYTHING = all_but(lambda a: a.tobytes())
KEPT_RIGHT = [
    *(_named(operation, "packed-first", "copies in C order", vjp=_packed(vjp(operation)))
      for operation in ("rms_norm", "matvec", "swiglu")),
    *(_named(operation, "contiguous-first", "ascontiguousarray", vjp=_contiguous(vjp(operation)))
      for operation in ("softmax", "linear", "layer_norm")),
    _named("log_softmax", "cotangent-laid-out-alike", "both in the order of x", vjp=_fortran_walked),
    *(_named(operation, "kept-by-all", "every result kept by shapes, dtypes and bytes",
             vjp=cached(_EVERYTHING, vjp(operation))) for operation in ("softmax", "linear", "dot", "log_softmax")),
    *(_named(operation, "copied-out", "a buffer used again, and copied", vjp=_copied_out(vjp(operation)))
      for operation in ("softmax", "affine", "rms_norm")),
    _named("softmax", "layer-of-the-same", "the last output for the same input", **_layer("softmax")),
    _named("exp", "own-cotangent", "in place, in a copy", vjp=_not_in_place),
]  # fmt: skip

# ── Half precision ──────────────────────────────────────────────────────────────────────────────────────────────────

HALVES_RIGHT = [
    _named(operation, "float32-rounded-once", "computed in float32", dtypes=HALF,
           forward=m.computed_in(forward(operation), np.float32), vjp=m.computed_in(vjp(operation), np.float32))
    for operation in ("linear", "rms_norm", "layer_norm", "mse_loss", "cross_entropy", "scaled_dot_product_attention")
]  # fmt: skip

CORNERS_RIGHT: tuple[Neighbour, ...] = (*OWN, *BATCHED, *KEPT_RIGHT, *HALVES_RIGHT)

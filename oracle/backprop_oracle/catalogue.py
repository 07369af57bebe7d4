"""Definitions beyond the slides, with the conventions that frameworks have, by their usual names.

Each is a function that makes its `Definition`, so that an epsilon, a reduction or a layout is an argument away:
`layer_norm(eps=1e-6)`. `CATALOGUE` has the usual one of each. As in `definitions.py`, a softmax subtracts the largest
logit of its row, and a branch that is not taken never sees a number at which it would overflow.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial, reduce

import jax
import jax.numpy as jnp
from jax import Array, lax

from .definition import Definition, Function
from .definitions import log_sum_exp, softplus

# ── What several of them do ─────────────────────────────────────────────────────────────────────────────────────────


def _normalised(x: Array, axis: int | tuple[int, ...], eps: float) -> Array:
    """`(x − mean) / √(var + eps)`, with the mean of squares as variance."""
    centred = x - jnp.mean(x, axis, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred * centred, axis, keepdims=True) + eps)


def _of_length_one(x: Array, eps: float) -> Array:
    """`x / max(‖x‖, eps)`: at 0, where the norm has no slope, it is a product with 1/eps."""
    squares = jnp.sum(x * x, -1, keepdims=True)
    short = squares <= eps * eps
    return x / jnp.where(short, eps, jnp.sqrt(jnp.where(short, 1.0, squares)))


def _per_channel(parameter: Array, x: Array) -> Array:
    """A parameter of `(c)`, to be broadcast over `(b,c,…)`."""
    return parameter.reshape(1, parameter.shape[0], *(1 for _ in x.shape[2:]))


def _first_term(bias: Array, weight: Array) -> Array:
    """The bias, with what rounding does to it where a sum over the weight starts from it: each term rounds it again."""
    terms = jnp.sum((weight == weight).astype(weight.dtype), tuple(range(1, weight.ndim)))  # no constant: has an error
    return bias + lax.stop_gradient(bias * (terms / math.prod(weight.shape[1:]) - 1.0))


def _bias_first(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight.T + _first_term(bias, weight)


def _in_one_product(x: Array, h: Array, W: Array, U: Array, bias: Array) -> Array:
    """`[x h] [W U]ᵀ`, as one sum that starts from the bias."""
    return _bias_first(jnp.concatenate([x, h], -1), jnp.concatenate([W, U], -1), bias)


def _log_softmax(x: Array) -> Array:
    z = x - lax.stop_gradient(jnp.max(x, -1, keepdims=True))
    return z - jnp.log(jnp.sum(jnp.exp(z), -1, keepdims=True))


def _less_log_sum_exp(x: Array) -> Array:
    """The same as people write it with a rounded logarithm of the sum, which takes more digits of large logits."""
    return x - jax.vmap(log_sum_exp)(x)[:, None]


def _by_log_sum_exp(loss: Function) -> list[Function]:
    """A loss of labels with that logarithm."""
    return [partial(loss, log_softmax=_less_log_sum_exp)]


def _at(x: Array, labels: Array) -> Array:
    """The entry of each row that its label names."""
    return jnp.squeeze(jnp.take_along_axis(x, labels[:, None], -1, mode="promise_in_bounds"), -1)


def _magnitude(r: Array) -> Array:
    """`|r|`, whose slope at 0 is 0, as in PyTorch."""
    return jnp.where(r > 0, r, jnp.where(r < 0, -r, 0.0))


def _reduced(terms: Array, reduction: str) -> Array:
    """The "mean" or the "sum" of all terms, or, with "none", the terms."""
    return {"mean": jnp.mean, "sum": jnp.sum, "none": lambda t: t}[reduction](terms)


# ── Norms ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def layer_norm(eps: float = 1e-5) -> Definition:
    """`(x − mean) / √(var + eps) · weight + bias` over the last axis; `var` is the mean of squares, as in PyTorch."""

    def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
        return _normalised(x, -1, eps) * weight + bias

    return Definition(layer_norm, "(b,n),(n),(n)")


def rms_norm(eps: float = 1e-6) -> Definition:
    """`x / √(mean x² + eps) · weight` over the last axis."""

    def rms_norm(x: Array, weight: Array) -> Array:
        return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + eps) * weight

    return Definition(rms_norm, "(b,n),(n)")


def batch_norm(eps: float = 1e-5) -> Definition:
    """In training: mean and variance of each feature over the batch; the variance divides by b, not by b − 1."""

    def batch_norm(x: Array, weight: Array, bias: Array) -> Array:
        return _normalised(x, 0, eps) * weight + bias

    return Definition(batch_norm, "(b,n),(n),(n)")


def group_norm(groups: int = 2, eps: float = 1e-5) -> Definition:
    """The channels in `groups` of neighbours; mean and variance of each group, over its channels and all positions."""

    def group_norm(x: Array, weight: Array, bias: Array) -> Array:
        b, c, s = x.shape
        grouped = _normalised(x.reshape(b, groups, c // groups, s), (2, 3), eps)
        return grouped.reshape(b, c, s) * _per_channel(weight, x) + _per_channel(bias, x)

    return Definition(group_norm, f"(b,{groups}c,s),({groups}c),({groups}c)")


def l2_normalize(eps: float = 1e-12) -> Definition:
    """`x / max(‖x‖, eps)` over the last axis, as PyTorch's `normalize`."""

    def l2_normalize(x: Array) -> Array:
        return _of_length_one(x, eps)

    return Definition(l2_normalize, "(b,n)")


def cosine_similarity(eps: float = 1e-8) -> Definition:
    """The dot product of `x / max(‖x‖, eps)` and `y / max(‖y‖, eps)`, over the last axis."""

    def cosine_similarity(x: Array, y: Array) -> Array:
        return jnp.sum(_of_length_one(x, eps) * _of_length_one(y, eps), -1)

    return Definition(cosine_similarity, "(b,n),(b,n)")


# ── Attention ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _scores(q: Array, k: Array) -> Array:
    return jnp.einsum("bmd,bnd->bmn", q, k) / jnp.sqrt(q.shape[-1])


def scaled_dot_product_attention() -> Definition:
    """`softmax(q kᵀ / √d) v`, the softmax over the keys."""

    def scaled_dot_product_attention(q: Array, k: Array, v: Array) -> Array:
        scores = _scores(q, k)
        f = jnp.exp(scores - lax.stop_gradient(jnp.max(scores, -1, keepdims=True)))
        return jnp.einsum("bmn,bne->bme", f / jnp.sum(f, -1, keepdims=True), v)

    return Definition(scaled_dot_product_attention, "(b,m,d),(b,n,d),(b,n,e)")


def causal_attention() -> Definition:
    """The same for as many queries as keys, where the i-th query sees the first i keys."""

    def causal_attention(q: Array, k: Array, v: Array) -> Array:
        scores, places = _scores(q, k), jnp.arange(q.shape[1])
        seen = places[:, None] >= places
        largest = lax.stop_gradient(jnp.max(jnp.where(seen, scores, -jnp.inf), -1, keepdims=True))
        f = jnp.where(seen, jnp.exp(jnp.where(seen, scores - largest, 0.0)), 0.0)
        return jnp.einsum("bmn,bne->bme", f / jnp.sum(f, -1, keepdims=True), v)

    return Definition(causal_attention, "(b,n,d),(b,n,d),(b,n,e)")


def rotary_embedding(base: float = 10000.0) -> Definition:
    """Row p, entries i and d/2 + i turned by the angle `p · base^(−2i/d)`: halves, as GPT-NeoX, not neighbours."""

    def rotary_embedding(x: Array, one: Array | float = 1.0) -> Array:
        n, half = x.shape[0], x.shape[1] // 2
        frequencies = jnp.exp(-jnp.log(base) * (jnp.arange(half) / half) * one)
        angles = jnp.arange(n)[:, None] * frequencies
        c, s = jnp.cos(angles), jnp.sin(angles)
        a, b = jnp.split(x, 2, -1)
        return jnp.concatenate([a * c - b * s, b * c + a * s], -1)

    def with_rounded_angles(x: Array) -> Array:
        """In the arithmetic of x, as most people compute their tables: the angle of a far row has few digits."""
        return rotary_embedding(x, (x == x).astype(x.dtype)[:, : x.shape[1] // 2])

    return Definition(rotary_embedding, "(n,2d)", also=[with_rounded_angles])


# ── Losses ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def cross_entropy(reduction: str = "mean") -> Definition:
    """`−log softmax(logits)[label]` of each row."""

    def cross_entropy(logits: Array, labels: Array, log_softmax: Function = _log_softmax) -> Array:
        return _reduced(-_at(log_softmax(logits), labels), reduction)

    return Definition(cross_entropy, "(b,v),(b)", integers={"labels": "v"}, also=_by_log_sum_exp(cross_entropy))


def label_smoothing_cross_entropy(smoothing: float = 0.1, reduction: str = "mean") -> Definition:
    """The target is `1 − smoothing` at the label, and on top of it `smoothing / v` at each class, as in PyTorch."""

    def label_smoothing_cross_entropy(logits: Array, labels: Array, log_softmax: Function = _log_softmax) -> Array:
        log_s = log_softmax(logits)
        terms = (1.0 - smoothing) * -_at(log_s, labels) + smoothing * -jnp.mean(log_s, -1)
        return _reduced(terms, reduction)

    also = _by_log_sum_exp(label_smoothing_cross_entropy)
    return Definition(label_smoothing_cross_entropy, "(b,v),(b)", integers={"labels": "v"}, also=also)


def cross_entropy_with_ignore_index(ignore_index: int = -100, reduction: str = "mean") -> Definition:
    """Rows with the label `ignore_index` count for nothing; the mean is over the others, and NaN if there are none."""

    def cross_entropy_with_ignore_index(logits: Array, labels: Array, log_softmax: Function = _log_softmax) -> Array:
        kept = labels != ignore_index
        terms = jnp.where(kept, -_at(log_softmax(logits), jnp.where(kept, labels, 0)), 0.0)
        if reduction == "mean":
            return jnp.sum(terms) / jnp.sum(kept.astype(terms.dtype))
        return _reduced(terms, reduction)

    integers = {"labels": f"v or {ignore_index}"}
    also = _by_log_sum_exp(cross_entropy_with_ignore_index)
    return Definition(cross_entropy_with_ignore_index, "(b,v),(b)", integers=integers, also=also)


def nll_loss(reduction: str = "mean") -> Definition:
    """`−log_probs[label]` of each row."""

    def nll_loss(log_probs: Array, labels: Array) -> Array:
        return _reduced(-_at(log_probs, labels), reduction)

    return Definition(nll_loss, "(b,v),(b)", integers={"labels": "v"})


def binary_cross_entropy_with_logits(reduction: str = "mean") -> Definition:
    """`−y log σ(x) − (1 − y) log(1 − σ(x))`, which is `softplus(x) − x y`."""

    def binary_cross_entropy_with_logits(logits: Array, targets: Array) -> Array:
        return _reduced(softplus(logits) - logits * targets, reduction)

    def of_two_logarithms(logits: Array, targets: Array) -> Array:
        return _reduced(targets * softplus(-logits) + (1.0 - targets) * softplus(logits), reduction)

    return Definition(binary_cross_entropy_with_logits, "(b,n),(b,n)", also=[of_two_logarithms])


def mse_loss(reduction: str = "mean") -> Definition:
    """`(x − y)²`."""

    def mse_loss(x: Array, y: Array) -> Array:
        return _reduced((x - y) ** 2, reduction)

    return Definition(mse_loss, "(b,n),(b,n)")


def l1_loss(reduction: str = "mean") -> Definition:
    """`|x − y|`."""

    def l1_loss(x: Array, y: Array) -> Array:
        return _reduced(_magnitude(x - y), reduction)

    return Definition(l1_loss, "(b,n),(b,n)")


def huber_loss(delta: float = 1.0, reduction: str = "mean") -> Definition:
    """`½ r²` where `|r| ≤ delta`, else `delta (|r| − ½ delta)`, with `r = x − y`."""

    def huber_loss(x: Array, y: Array) -> Array:
        r = x - y
        near = jnp.abs(r) <= delta
        small = jnp.where(near, r, 0.0)
        return _reduced(jnp.where(near, 0.5 * small * small, delta * (jnp.abs(r) - 0.5 * delta)), reduction)

    def of_two_parts(x: Array, y: Array) -> Array:
        size = jnp.abs(x - y)
        small = jnp.where(size <= delta, size, delta)
        return _reduced(0.5 * small * small + delta * (size - small), reduction)

    return Definition(huber_loss, "(b,n),(b,n)", also=[of_two_parts])


def hinge_loss(margin: float = 1.0, reduction: str = "mean") -> Definition:
    """The multi-class SVM: `Σ max(0, margin + score − score[label])` over the other classes of each row."""

    def hinge_loss(scores: Array, labels: Array) -> Array:
        over = margin + scores - _at(scores, labels)[:, None]
        others = jnp.arange(scores.shape[-1]) != labels[:, None]
        return _reduced(jnp.sum(jnp.where(others & (over > 0), over, 0.0), -1), reduction)

    return Definition(hinge_loss, "(b,v),(b)", integers={"labels": "v"})


def kl_div(reduction: str = "batchmean") -> Definition:
    """`targets · (log targets − log_probs)`, summed and divided by b, as PyTorch's "batchmean"; 0 · log 0 = 0."""

    def kl_div(log_probs: Array, targets: Array) -> Array:
        some = targets > 0
        terms = jnp.where(some, targets * jnp.log(jnp.where(some, targets, 1.0)), 0.0) - targets * log_probs
        return jnp.sum(terms) / terms.shape[0] if reduction == "batchmean" else _reduced(terms, reduction)

    return Definition(kl_div, "(b,v),(b,v)", domain={"targets": "positive"})


# ── Layers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def linear() -> Definition:
    """`x weightᵀ + bias`."""

    def linear(x: Array, weight: Array, bias: Array) -> Array:
        return x @ weight.T + bias

    return Definition(linear, "(b,n),(d,n),(d)", also=[_bias_first])


def embedding() -> Definition:
    """The rows of a table that the indices name; a row named twice gets both cotangents."""

    def embedding(indices: Array, weight: Array) -> Array:
        places = jnp.broadcast_to(indices[:, None], (indices.shape[0], weight.shape[1]))
        return jnp.take_along_axis(weight, places, 0, mode="promise_in_bounds")

    return Definition(embedding, "(b),(v,d)", integers={"indices": "v"})


def dropout(p: float = 0.1) -> Definition:
    """In training: `x / (1 − p)` where the mask is True, 0 elsewhere."""

    def dropout(x: Array, mask: Array) -> Array:
        return jnp.where(mask, x / (1.0 - p), 0.0)

    return Definition(dropout, "(b,n),(b,n)", integers={"mask": bool})


def glu() -> Definition:
    """`a ⊙ σ(b)` of the two halves of the last axis."""

    def glu(x: Array) -> Array:
        a, b = jnp.split(x, 2, -1)
        return a * lax.logistic(b)

    return Definition(glu, "(b,2k)")


def swiglu() -> Definition:
    """`silu(x W) ⊙ x V`, with `silu(z) = z σ(z)`."""

    def swiglu(x: Array, W: Array, V: Array) -> Array:
        z = x @ W
        return z * lax.logistic(z) * (x @ V)

    return Definition(swiglu, "(b,n),(n,d),(n,d)")


def log_softmax() -> Definition:
    """`x − log Σ exp x` over the last axis."""

    def log_softmax(x: Array) -> Array:
        return _log_softmax(x)

    return Definition(log_softmax, "(b,n)", also=[_less_log_sum_exp])


def logsumexp() -> Definition:
    """`log Σ exp x` over the last axis."""

    def logsumexp(x: Array) -> Array:
        largest = lax.stop_gradient(jnp.max(x, -1, keepdims=True))
        return jnp.squeeze(largest + jnp.log(jnp.sum(jnp.exp(x - largest), -1, keepdims=True)), -1)

    return Definition(logsumexp, "(b,n)", also=[jax.vmap(log_sum_exp)])


# ── Convolutions ────────────────────────────────────────────────────────────────────────────────────────────────────


def conv1d(stride: int = 1, padding: int = 0) -> Definition:
    """A cross-correlation, as frameworks have it: the kernel is not flipped. Zeros at both ends, `padding` of them."""

    def conv1d(x: Array, weight: Array, bias: Array) -> Array:
        u = lax.conv_general_dilated(x, weight, (stride,), [(padding, padding)])
        return u + _per_channel(bias, u)

    def bias_first(x: Array, weight: Array, bias: Array) -> Array:
        return conv1d(x, weight, _first_term(bias, weight))

    sizes = {"k": _fitting("n", padding)}
    return Definition(conv1d, "(b,c,n),(o,c,k),(o)", sizes=sizes, also=[bias_first])


def conv2d(stride: int = 1, padding: int = 0, layout: str = "NCHW") -> Definition:
    """The same in two dimensions, channels first or, with "NHWC", last; the weight is `(o,c,p,q)` in both layouts."""

    def conv2d(x: Array, weight: Array, bias: Array) -> Array:
        u = lax.conv_general_dilated(
            x, weight, (stride, stride), [(padding, padding)] * 2, dimension_numbers=(layout, "OIHW", layout)
        )
        return u + (_per_channel(bias, u) if layout == "NCHW" else bias)

    def bias_first(x: Array, weight: Array, bias: Array) -> Array:
        return conv2d(x, weight, _first_term(bias, weight))

    image = ",".join({"N": "b", "C": "c", "H": "h", "W": "w"}[axis] for axis in layout)
    sizes = {"p": _fitting("h", padding), "q": _fitting("w", padding)}
    return Definition(conv2d, f"({image}),(o,c,p,q),(o)", sizes=sizes, also=[bias_first])


def _fitting(size: str, padding: int) -> str:
    """A kernel is no larger than what it slides over."""
    return f"at most {size}+{2 * padding}" if padding else f"at most {size}"


def _windows(x: Array, window: int) -> Array:
    """`(b,c,h,w)` in squares that do not overlap: `(b,c,h/window,w/window,window²)`, row by row."""
    b, c, h, w = x.shape
    split = x.reshape(b, c, h // window, window, w // window, window)
    return split.transpose(0, 1, 2, 4, 3, 5).reshape(b, c, h // window, w // window, window * window)


def max_pool2d(window: int = 2) -> Definition:
    """The largest entry of each square; among equals the first, row by row, gets the cotangent, as in PyTorch."""

    def max_pool2d(x: Array) -> Array:
        squares = _windows(x, window)
        entries = (lax.index_in_dim(squares, i, -1, keepdims=False) for i in range(window * window))
        return reduce(lambda a, b: jnp.where((b > a) | (b != b), b, a), entries)  # a NaN is the largest

    return Definition(max_pool2d, f"(b,c,{window}h,{window}w)")


def avg_pool2d(window: int = 2) -> Definition:
    """The mean of each square."""

    def avg_pool2d(x: Array) -> Array:
        return jnp.mean(_windows(x, window), -1)

    return Definition(avg_pool2d, f"(b,c,{window}h,{window}w)")


# ── Recurrent ───────────────────────────────────────────────────────────────────────────────────────────────────────


def lstm_cell() -> Definition:
    """h′ and c′ of one step, one after the other; the gates in PyTorch's order i f g o, and one bias."""

    def from_gates(z: Array, c: Array) -> Array:
        i, f, g, o = jnp.split(z, 4, -1)
        new = lax.logistic(f) * c + lax.logistic(i) * jnp.tanh(g)
        return jnp.concatenate([(lax.logistic(o) * jnp.tanh(new))[None], new[None]])

    def lstm_cell(x: Array, h: Array, c: Array, W: Array, U: Array, bias: Array) -> Array:
        return from_gates(x @ W.T + h @ U.T + bias, c)

    def in_one_product(x: Array, h: Array, c: Array, W: Array, U: Array, bias: Array) -> Array:
        return from_gates(_in_one_product(x, h, W, U, bias), c)

    return Definition(lstm_cell, "(b,n),(b,k),(b,k),(4k,n),(4k,k),(4k)", also=[in_one_product])


def gru_cell() -> Definition:
    """h′ of one step; the gates in PyTorch's order r z n, and r within n times `h Uᵀ` with its own bias."""

    def gru_cell(x: Array, h: Array, W: Array, U: Array, bias_x: Array, bias_h: Array) -> Array:
        (r, z, n), (r_h, z_h, n_h) = jnp.split(x @ W.T + bias_x, 3, -1), jnp.split(h @ U.T + bias_h, 3, -1)
        z = lax.logistic(z + z_h)
        n = jnp.tanh(n + lax.logistic(r + r_h) * n_h)
        return (1.0 - z) * n + z * h

    def biases_first(x: Array, h: Array, W: Array, U: Array, bias_x: Array, bias_h: Array) -> Array:
        return gru_cell(x, h, W, U, _first_term(bias_x, W), _first_term(bias_h, U))

    shapes = "(b,n),(b,k),(3k,n),(3k,k),(3k),(3k)"
    return Definition(gru_cell, shapes, also=[biases_first])


def rnn() -> Definition:
    """`h ← tanh(x Wᵀ + h Uᵀ + bias)` for each step in turn, and all of these h; long runs take the oracle long."""

    def rnn(x: Array, h: Array, W: Array, U: Array, bias: Array) -> Array:
        def step(h: Array, z: Array) -> tuple[Array, Array]:
            h = jnp.tanh(z + h @ U.T)
            return h, h

        return lax.scan(step, h, x @ W.T + bias)[1]

    def in_one_product(x: Array, h: Array, W: Array, U: Array, bias: Array) -> Array:
        def step(h: Array, x: Array) -> tuple[Array, Array]:
            h = jnp.tanh(_in_one_product(x, h, W, U, bias))
            return h, h

        return lax.scan(step, h, x)[1]

    return Definition(rnn, "(t,b,n),(b,k),(k,n),(k,k),(k)", sizes={"t": "at most 256"}, also=[in_one_product])


# ── The table ───────────────────────────────────────────────────────────────────────────────────────────────────────

_MAKERS: tuple[Callable[[], Definition], ...] = (
    *(layer_norm, rms_norm, batch_norm, group_norm, l2_normalize, cosine_similarity),
    *(scaled_dot_product_attention, causal_attention, rotary_embedding),
    *(cross_entropy, label_smoothing_cross_entropy, cross_entropy_with_ignore_index, nll_loss),
    *(binary_cross_entropy_with_logits, mse_loss, l1_loss, huber_loss, hinge_loss, kl_div),
    *(linear, embedding, dropout, glu, swiglu, log_softmax, logsumexp),
    *(conv1d, conv2d, max_pool2d, avg_pool2d),
    *(lstm_cell, gru_cell, rnn),
)
CATALOGUE: Mapping[str, Definition] = {row.name: row for row in (make() for make in _MAKERS)}

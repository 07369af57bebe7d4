"""LSTM and GRU cells and a recurrent network: right forms, and wrong ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...checking.python_files import Implementation
from . import makers as m
from .general import general
from .makers import F32, F64, FORWARD, VJP, Array, Function, dashed
from .table import Neighbour


def sigmoid(x: Array) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def split(a: Array, parts: int) -> list[Any]:
    found: list[Any] = np.split(a, parts, -1)
    return found


def joined(*parts: Array) -> Array:
    return np.concatenate(parts, -1)


def of_sigmoid(s: Array) -> Any:
    return s * (1 - s)


def of_tanh(t: Array) -> Any:
    return (1 - t) * (1 + t)


# ── LSTM, with a place for each usual mistake ───────────────────────────────────────────────────────────────────────


def gates(x: Array, h: Array, W: Array, U: Array, bias: Array) -> list[Array]:
    """i f g o."""
    i, f, g, o = split(x @ W.T + h @ U.T + bias, 4)
    return [sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)]


def lstm_from(gates: Function = gates, cell: Function = lambda i, f, g, c: f * c + i * g) -> Function:
    def forward(x: Array, h: Array, c: Array, W: Array, U: Array, bias: Array) -> Any:
        i, f, g, o = gates(x, h, W, U, bias)
        new = cell(i, f, g, c)
        return np.stack([o * np.tanh(new), new])

    return forward


def into_the_cell(dh: Array, dc: Array, o: Array, new: Array) -> Any:
    """The cotangent of c′, with what comes through h′."""
    return dc + dh * o * of_tanh(np.tanh(new))


def by_gates(dh: Array, dc: Array, i: Array, f: Array, g: Array, o: Array, c: Array, new: Array) -> list[Any]:
    """Those of the gates before they are squashed."""
    return [dc * g * of_sigmoid(i), dc * c * of_sigmoid(f), dc * i * of_tanh(g), dh * np.tanh(new) * of_sigmoid(o)]


def by_cell(dc: Array, f: Array) -> Any:
    return dc * f


def parameters(dz: Array, x: Array, h: Array) -> tuple[Any, ...]:
    return dz.T @ x, dz.T @ h, dz.sum(0)


def lstm_vjp(
    gates: Function = gates,
    into_the_cell: Function = into_the_cell,
    by_gates: Function = by_gates,
    by_cell: Function = by_cell,
    by_h: Function = lambda dz, U: dz @ U,
    parameters: Function = parameters,
    order: Sequence[int] = (0, 1, 2, 3),
) -> Function:
    def vjp(delta: Array, x: Array, h: Array, c: Array, W: Array, U: Array, bias: Array) -> Any:
        i, f, g, o = gates(x, h, W, U, bias)
        new = f * c + i * g
        dc = into_the_cell(delta[0], delta[1], o, new)
        found = by_gates(delta[0], dc, i, f, g, o, c, new)
        dz = joined(*(found[k] for k in order))
        return dz @ W, by_h(dz, U), by_cell(dc, f), *parameters(dz, x, h)

    return vjp


# ── GRU ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def gru(x: Array, h: Array, W: Array, U: Array, bias_x: Array, bias_h: Array) -> Any:
    """r, z, n, and what r multiplies."""
    (r, z, n), (r_h, z_h, n_h) = split(x @ W.T + bias_x, 3), split(h @ U.T + bias_h, 3)
    r, z = sigmoid(r + r_h), sigmoid(z + z_h)
    return [r, z, np.tanh(n + r * n_h), n_h]


def gru_forward(x: Array, h: Array, W: Array, U: Array, bias_x: Array, bias_h: Array) -> Any:
    _, z, n, _ = gru(x, h, W, U, bias_x, bias_h)
    return (1 - z) * n + z * h


def by_gru_gates(delta: Array, r: Array, z: Array, n: Array, n_h: Array, h: Array) -> tuple[Any, Any, Any]:
    """Those of r, z and n before they are squashed."""
    dn = delta * (1 - z) * of_tanh(n)
    return dn * n_h * of_sigmoid(r), delta * (h - n) * of_sigmoid(z), dn


def gru_vjp(
    by_gates: Function = by_gru_gates,
    of_n_h: Function = lambda dn, r: dn * r,
    direct: Function = lambda delta, z: delta * z,
    through: Function = lambda d_h, U: d_h @ U,
    gates: Function = gru,
) -> Function:
    def vjp(delta: Array, x: Array, h: Array, W: Array, U: Array, bias_x: Array, bias_h: Array) -> Any:
        r, z, n, n_h = gates(x, h, W, U, bias_x, bias_h)
        dr, dz, dn = by_gates(delta, r, z, n, n_h, h)
        of_x, of_h = joined(dr, dz, dn), joined(dr, dz, of_n_h(dn, r))
        dh = direct(delta, z) + through(of_h, U)
        return of_x @ W, dh, of_x.T @ x, of_h.T @ h, of_x.sum(0), of_h.sum(0)

    return vjp


# ── A recurrent network ─────────────────────────────────────────────────────────────────────────────────────────────


def rnn(x: Array, h: Array, W: Array, U: Array, bias: Array) -> Any:
    found = []
    for row in x:
        h = np.tanh(row @ W.T + h @ U.T + bias)
        found.append(h)
    return np.stack(found) if found else np.zeros((0, *h.shape), x.dtype)


def rnn_vjp(
    carried: Function = lambda dz, U, step: dz @ U,
    slope: Function = lambda u, x, before, W, U, bias: of_tanh(u),
    given: Function = lambda delta, step: delta[step],
    by_steps: Function = lambda delta, x, h, W, U, bias: rnn(x, h, W, U, bias),
    before: Function = lambda h, u, step: u[step - 1] if step else h,
    added: Function = lambda total, now: total + now,
) -> Function:
    """Back through time; `carried` is what a step hands to the one before it."""

    def vjp(delta: Array, x: Array, h: Array, W: Array, U: Array, bias: Array) -> Any:
        u = by_steps(delta, x, h, W, U, bias)
        dx, dh = np.zeros_like(x), np.zeros_like(h)
        dW, dU, dbias = np.zeros_like(W), np.zeros_like(U), np.zeros_like(bias)
        for step in reversed(range(len(x))):
            last = before(h, u, step)
            dz = (given(delta, step) + dh) * slope(u[step], x[step], last, W, U, bias)
            dx[step], dh = dz @ W, carried(dz, U, step)
            dW, dU, dbias = added(dW, dz.T @ x[step]), added(dU, dz.T @ last), added(dbias, dz.sum(0))
        return dx, dh, dW, dU, dbias

    return vjp


RIGHT: Mapping[str, Implementation] = {
    "lstm_cell": Implementation(lstm_from(), vjp=lstm_vjp()),
    "gru_cell": Implementation(gru_forward, vjp=gru_vjp()),
    "rnn": Implementation(rnn, vjp=rnn_vjp()),
}

# ── Right, by other algebra ─────────────────────────────────────────────────────────────────────────────────────────


def _in_one_product(x: Array, h: Array, W: Array, U: Array, bias: Array) -> list[Array]:
    """`[x h] [W U]ᵀ`."""
    i, f, g, o = split(joined(x, h) @ joined(W, U).T + bias, 4)
    return [1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), np.tanh(g), 1 / (1 + np.exp(-o))]


def _by_examples(dz: Array, x: Array, h: Array) -> tuple[Any, ...]:
    """A sum of outer products."""
    return np.einsum("bz,bn->zn", dz, x), np.einsum("bz,bk->zk", dz, h), np.einsum("bz->z", dz)


def _weights_at_the_end(delta: Array, x: Array, h: Array, W: Array, U: Array, bias: Array) -> Any:
    """The steps first; then each weight's gradient in one product over all of them."""
    u = rnn(x, h, W, U, bias)
    dz, dh = np.zeros_like(u), np.zeros_like(h)
    for step in reversed(range(len(x))):
        dz[step] = (delta[step] + dh) * (1 - u[step] ** 2)
        dh = dz[step] @ U
    before = np.concatenate([h[None], u[:-1]])
    dW, dU = np.einsum("tbk,tbn->kn", dz, x), np.einsum("tbk,tbj->kj", dz, before)
    return dz @ W, dh, dW, dU, dz.sum((0, 1))


RECURRENT_RIGHT = [
    *(Neighbour(name, f"{dashed(name)}-textbook", "as a textbook writes it", right.forward, vjp=right.vjp)
      for name, right in RIGHT.items()),
    *(Neighbour(name, f"{dashed(name)}-float64", "computed in float64", m.computed_in(
                right.forward, np.float64), vjp=m.computed_in(right.vjp, np.float64), dtypes=F32)
      for name, right in RIGHT.items() if right.forward and right.vjp),
    Neighbour("lstm_cell", "lstm-cell-one-product", "[x h] [W U]ᵀ", lstm_from(_in_one_product),
              vjp=lstm_vjp(_in_one_product, parameters=_by_examples)),
    Neighbour("gru_cell", "gru-cell-interpolated", "n + z (h − n)", lambda *args: (
              lambda r, z, n, n_h: n + z * (args[1] - n))(*gru(*args))),
    Neighbour("rnn", "rnn-weights-at-the-end", "one product over all steps", lambda x, h, W, U, bias: rnn(
              x @ W.T + bias, h, np.eye(len(W), dtype=W.dtype), U, 0 * bias), vjp=_weights_at_the_end),
]  # fmt: skip

# ── Wrong ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _reordered(*order: int) -> Function:
    """The gates' blocks in another order: sigmoid and tanh go with the names."""

    def wrong(x: Array, h: Array, W: Array, U: Array, bias: Array) -> list[Array]:
        z = split(x @ W.T + h @ U.T + bias, 4)
        i, f, g, o = (z[k] for k in order)
        return [sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)]

    return wrong


def _squashed(change: Function) -> Function:
    return lambda *args: change(*gates(*args))


def _but(k: int, change: Function) -> Function:
    """One of the gates' cotangents another way."""

    def wrong(dh: Array, dc: Array, i: Array, f: Array, g: Array, o: Array, c: Array, new: Array) -> list[Any]:
        found = by_gates(dh, dc, i, f, g, o, c, new)
        found[k] = change(dh, dc, i, f, g, o, c, new)
        return found

    return wrong


_LSTM, _GRU, _RNN = lstm_vjp(), gru_vjp(), rnn_vjp()

fault = m.faults_of("lstm_cell")
LSTM = [
    fault("order-backward", "argument order", VJP, vjp=lstm_vjp(order=(0, 1, 3, 2))),
    fault("order-forward", "argument order", FORWARD, forward=lstm_from(_reordered(0, 1, 3, 2))),
    fault("order-f-first", "argument order", FORWARD, forward=lstm_from(_reordered(1, 0, 2, 3))),
    fault("dc-ignored", "missing term", VJP, "missing-path",
          vjp=lstm_vjp(into_the_cell=lambda dh, dc, o, new: into_the_cell(dh, 0 * dc, o, new))),
    fault("dh-not-into-the-cell", "missing term", VJP, "missing-path",
          vjp=lstm_vjp(into_the_cell=lambda dh, dc, o, new: dc)),
    fault("output-gate-forgotten", "missing term", VJP, "missing-factor",
          vjp=lstm_vjp(into_the_cell=lambda dh, dc, o, new: dc + dh * of_tanh(np.tanh(new)))),
    fault("tanh-slope-forgotten", "missing term", VJP, "missing-h-prime",
          vjp=lstm_vjp(into_the_cell=lambda dh, dc, o, new: dc + dh * o)),
    fault("tanh-slope-of-the-cell", "h′ at the output", VJP, "h-prime-at-output",
          vjp=lstm_vjp(into_the_cell=lambda dh, dc, o, new: dc + dh * o * of_tanh(new))),
    fault("hidden-path", "missing term", VJP, "missing-path", vjp=lstm_vjp(by_h=lambda dz, U: 0 * (dz @ U))),
    fault("cell-path", "missing term", VJP, "missing-path", vjp=lstm_vjp(by_cell=lambda dc, f: 0 * dc)),
    fault("forget-gate-forgotten", "missing term", VJP, "missing-factor", vjp=lstm_vjp(by_cell=lambda dc, f: dc)),
    fault("input-gate-for-forget-gate", "formula", VJP,
          vjp=lstm_vjp(by_cell=lambda dc, f: dc * (1 - f))),
    fault("df-of-the-new-cell", "formula", VJP,
          vjp=lstm_vjp(by_gates=_but(1, lambda dh, dc, i, f, g, o, c, new: dc * new * of_sigmoid(f)))),
    fault("do-of-the-cell", "formula", VJP,
          vjp=lstm_vjp(by_gates=_but(3, lambda dh, dc, i, f, g, o, c, new: dh * new * of_sigmoid(o)))),
    fault("dg-by-sigmoid", "formula", VJP, "missing-path",
          vjp=lstm_vjp(by_gates=_but(2, lambda dh, dc, i, f, g, o, c, new: dc * i * of_sigmoid(g)))),
    fault("di-slope-forgotten", "missing term", VJP, "missing-factor",
          vjp=lstm_vjp(by_gates=_but(0, lambda dh, dc, i, f, g, o, c, new: dc * g))),
    fault("slopes-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=lstm_vjp(by_gates=_but(0, lambda dh, dc, i, f, g, o, c, new: dc * g * of_sigmoid(sigmoid(i))))),
    fault("weights-exchanged", "argument order", VJP, "exchanged", sizes={"n": 3, "k": 3},
          vjp=lambda *args: (lambda dx, dh, dc, dW, dU, db: (dx, dh, dc, dU, dW, db) if dW.shape == dU.shape
                             else (dx, dh, dc, dW, dU, db))(*_LSTM(*args))),
    fault("bias-twice", "factor", VJP, "factor", vjp=m.scaled(_LSTM, 2, only=5)),
    fault("bias-mean", "batch", VJP, "factor-n",
          vjp=lstm_vjp(parameters=lambda dz, x, h: (dz.T @ x, dz.T @ h, dz.mean(0, dtype=dz.dtype)))),
    fault("bias-per-example", "wrong shape", VJP,
          vjp=lstm_vjp(parameters=lambda dz, x, h: (dz.T @ x, dz.T @ h, dz))),
    fault("forget-bias-one", "formula", FORWARD, forward=lstm_from(lambda x, h, W, U, bias: gates(
          x, h, W, U, bias + np.repeat(np.array([0, 1, 0, 0], bias.dtype), len(bias) // 4)))),
    fault("sigmoid-for-tanh", "formula", FORWARD, "another-function",
          forward=lstm_from(_squashed(lambda i, f, g, o: [i, f, (g + 1) / 2, o]))),
    fault("coupled", "formula", FORWARD, forward=lstm_from(cell=lambda i, f, g, c: f * c + (1 - f) * g)),
    fault("stacked-the-other-way", "argument order", FORWARD, forward=lambda *args: lstm_from()(*args)[::-1]),
    fault("cotangents-exchanged", "argument order", VJP, vjp=lambda d, *args: _LSTM(d[::-1], *args)),
    fault("no-tanh", "missing term", FORWARD, forward=lambda *args: (lambda new, o: np.stack(
          [o * new, new]))(lstm_from()(*args)[1], gates(*args[:2], *args[3:])[3])),
    fault("naive-sigmoid", "some values", FORWARD, "overflow", dtypes=F32, forward=lstm_from(
          lambda x, h, W, U, bias: [*(np.exp(z) / (1 + np.exp(z)) if k != 2 else np.tanh(z) for k, z in enumerate(
              split(x @ W.T + h @ U.T + bias, 4)))])),
]  # fmt: skip


def _gru_gates(change: Function) -> Function:
    return lambda *args: change(*gru(*args))


def _gru_but(k: int, change: Function) -> Function:
    def wrong(*args: Array) -> tuple[Any, ...]:
        found = list(by_gru_gates(*args))
        found[k] = change(*args)
        return tuple(found)

    return wrong


def _z_first(*args: Array) -> Any:
    """The blocks are taken for z r n, as Keras has them."""
    x, h, W, U, bias_x, bias_h = args
    k = h.shape[-1]

    def swapped(a: Array) -> Array:
        return np.concatenate([a[k : 2 * k], a[:k], a[2 * k :]])

    return gru_forward(x, h, *map(swapped, (W, U, bias_x, bias_h)))


def _reset_first(x: Array, h: Array, W: Array, U: Array, bias_x: Array, bias_h: Array) -> Any:
    """r multiplies h before the product with U, as in the first paper."""
    r, z, _, _ = gru(x, h, W, U, bias_x, bias_h)
    k = h.shape[-1]
    n = np.tanh(x @ W[2 * k :].T + bias_x[2 * k :] + (r * h) @ U[2 * k :].T + bias_h[2 * k :])
    return (1 - z) * n + z * h


fault = m.faults_of("gru_cell")
GRU = [
    fault("order-z-r-n", "argument order", FORWARD, forward=_z_first),
    fault("order-backward", "argument order", VJP,
          vjp=gru_vjp(lambda *args: (lambda dr, dz, dn: (dz, dr, dn))(*by_gru_gates(*args)))),
    fault("reset-first", "formula", FORWARD, "another-function", forward=_reset_first),
    fault("z-the-other-way", "formula", FORWARD, forward=lambda *args: (
          lambda r, z, n, n_h: z * n + (1 - z) * args[1])(*gru(*args))),
    fault("dz-sign", "sign", VJP,
          vjp=gru_vjp(_gru_but(1, lambda d, r, z, n, n_h, h: d * (n - h) * of_sigmoid(z)))),
    fault("dz-without-n", "missing term", VJP, "missing-path",
          vjp=gru_vjp(_gru_but(1, lambda d, r, z, n, n_h, h: d * h * of_sigmoid(z)))),
    fault("direct-path", "missing term", VJP, "missing-path", vjp=gru_vjp(direct=lambda d, z: 0 * d)),
    fault("direct-path-unweighted", "missing term", VJP, "missing-factor", vjp=gru_vjp(direct=lambda d, z: d)),
    fault("direct-path-of-n", "formula", VJP, vjp=gru_vjp(direct=lambda d, z: d * (1 - z))),
    fault("hidden-path", "missing term", VJP, "missing-path", vjp=gru_vjp(through=lambda d_h, U: 0)),
    fault("reset-forgotten", "missing term", VJP, "missing-factor", vjp=gru_vjp(of_n_h=lambda dn, r: dn)),
    fault("reset-as-one-less", "formula", VJP, vjp=gru_vjp(of_n_h=lambda dn, r: dn * (1 - r))),
    fault("dr-of-h", "formula", VJP,
          vjp=gru_vjp(_gru_but(0, lambda d, r, z, n, n_h, h: d * (1 - z) * of_tanh(n) * h * of_sigmoid(r)))),
    fault("dr-forgotten", "missing term", VJP, "missing-path",
          vjp=gru_vjp(_gru_but(0, lambda d, r, z, n, n_h, h: 0 * d))),
    fault("dn-slope-forgotten", "missing term", VJP, "missing-h-prime",
          vjp=gru_vjp(lambda d, r, z, n, n_h, h: (d * (1 - z) * n_h * of_sigmoid(r), d * (h - n) * of_sigmoid(z),
                                                  d * (1 - z)))),
    fault("dn-slope-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=gru_vjp(_gru_but(2, lambda d, r, z, n, n_h, h: d * (1 - z) * of_tanh(np.tanh(n))))),
    fault("dn-by-z", "formula", VJP, vjp=gru_vjp(_gru_but(
          2, lambda d, r, z, n, n_h, h: d * z * of_tanh(n)))),
    fault("one-bias", "formula", VJP, "exchanged", vjp=lambda *args: (
          lambda dx, dh, dW, dU, bx, bh: (dx, dh, dW, dU, bx, bx.copy()))(*_GRU(*args))),
    fault("biases-exchanged", "argument order", VJP, "exchanged", vjp=m.picked(_GRU, [0, 1, 2, 3, 5, 4])),
    fault("bias-outside", "formula", FORWARD, forward=lambda x, h, W, U, bias_x, bias_h: gru_forward(
          x, h, W, U, bias_x + bias_h, 0 * bias_h)),
    fault("batch-mean", "batch", VJP, "factor-n", vjp=m.batch_mean(_GRU, [2, 3, 4, 5], 1)),
    fault("cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, *args: _GRU(np.ones_like(d), *args)),
    fault("float32", "precision", VJP, "lower-precision", dtypes=F64, vjp=m.computed_in(_GRU, np.float32)),
    fault("captured", "captured weights", VJP, "stale", vjp=m.captured(_GRU, [3, 4])),
]  # fmt: skip


def _without_the_first_step(delta: Array, x: Array, h: Array, *weights: Array) -> Any:
    """A loop back that stops one step too early."""
    if len(x) < 2:
        return _RNN(delta, x, h, *weights)
    dx, *rest = _RNN(delta[1:], x[1:], rnn(x[:1], h, *weights)[0], *weights)
    return np.concatenate([0 * x[:1], dx]), *rest


fault = m.faults_of("rnn")
RNN = [
    fault("hidden-path", "missing term", VJP, "missing-path", vjp=rnn_vjp(carried=lambda dz, U, step: 0 * (dz @ U))),
    fault("two-steps-back", "missing term", VJP,
          vjp=rnn_vjp(carried=lambda dz, U, step: dz @ U if step % 3 != 1 else 0 * (dz @ U))),
    fault("last-step-only", "missing term", VJP, "missing-path",
          vjp=rnn_vjp(given=lambda delta, step: delta[step] * (step == len(delta) - 1))),
    fault("h-not-reached", "missing term", VJP, "missing-path",
          vjp=rnn_vjp(carried=lambda dz, U, step: dz @ U if step else 0 * (dz @ U))),
    fault("u-turned", "transpose", VJP, "transposed", vjp=rnn_vjp(carried=lambda dz, U, step: dz @ U.T)),
    fault("carried-unweighted", "missing term", VJP, "missing-factor", vjp=rnn_vjp(carried=lambda dz, U, step: dz)),
    fault("slope-forgotten", "missing term", VJP, "missing-h-prime",
          vjp=rnn_vjp(slope=lambda u, *_: np.ones_like(u))),
    fault("slope-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=rnn_vjp(slope=lambda u, *_: of_tanh(np.tanh(u)))),
    fault("slope-at-input", "h′ at the output", VJP, "input-for-output",
          vjp=rnn_vjp(slope=lambda u, x, last, W, U, bias: 1 - (x @ W.T + last @ U.T + bias) ** 2)),
    fault("slope-of-the-step-before", "formula", VJP,
          vjp=rnn_vjp(slope=lambda u, x, last, W, U, bias: of_tanh(np.tanh(last)))),
    fault("du-of-this-step", "formula", VJP, vjp=rnn_vjp(before=lambda h, u, step: u[step])),
    fault("du-without-the-first", "missing term", VJP, "turn-left-out",
          vjp=rnn_vjp(before=lambda h, u, step: u[step - 1] if step else 0 * h)),
    fault("first-step-forgotten", "missing term", VJP, "turn-left-out", sizes={"t": 2}, vjp=_without_the_first_step),
    fault("gradients-overwritten", "missing term", VJP, vjp=rnn_vjp(added=lambda total, now: now)),
    fault("mean-over-steps", "factor", VJP, "factor-n", vjp=lambda d, x, *args: (
          lambda dx, dh, *rest: (dx, dh, *(r / r.dtype.type(max(len(x), 1)) for r in rest)))(*_RNN(d, x, *args))),
    fault("batch-mean", "batch", VJP, "factor-n", vjp=lambda d, x, h, *args: (
          lambda dx, dh, *rest: (dx, dh, *(r / r.dtype.type(max(len(h), 1)) for r in rest)))(*_RNN(d, x, h, *args))),
    fault("cotangents-turned", "formula", VJP, vjp=rnn_vjp(given=lambda delta, step: delta[-1 - step])),
    fault("backwards", "formula", FORWARD, forward=lambda x, *args: rnn(x[::-1], *args)[::-1].copy()),
    fault("h-zero", "missing term", FORWARD, forward=lambda x, h, *args: rnn(x, 0 * h, *args)),
    fault("no-memory", "missing term", FORWARD, forward=lambda x, h, W, U, bias: np.tanh(
          x @ W.T + h @ U.T + bias)),
    fault("last-step-everywhere", "formula", FORWARD,
          forward=lambda *args: (lambda u: np.broadcast_to(u[-1:], u.shape).copy())(rnn(*args))),
    fault("steps-past-8", "long vectors", FORWARD, "tile-tail", sizes={"t": 9},
          forward=m.drop_tail(rnn, 8, axis=0)),
    fault("cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, *args: _RNN(np.ones_like(d), *args)),
    fault("clipped-gradients", "clipping", VJP, vjp=m.changed(_RNN, lambda r: np.clip(r, -1, 1))),
    fault("float32", "precision", VJP, "lower-precision", dtypes=F64, vjp=m.computed_in(_RNN, np.float32)),
    fault("adds-up", "stale state", "says_the_same_twice", "stale", vjp=m.accumulated(_RNN, only=3)),
]  # fmt: skip

RECURRENT_WRONG = [
    *LSTM,
    *GRU,
    *RNN,
    *(fault for name, right in RIGHT.items() for fault in general(name, right)),
]

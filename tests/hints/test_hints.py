"""A hint names the cause of a planted fault, in a sentence, and is never given for what is right."""

import re
import time

import numpy as np
import pytest

from backprop_properties import check
from backprop_properties.checking.asked import trial_of
from backprop_properties.checking.python_files import operation_named
from backprop_properties.evidence.faults import CAUSES, FAULTS, NEIGHBOURS, Neighbour
from backprop_properties.hints.causes import SECONDS, _value, hints
from backprop_properties.hints.gradients import backward_order
from backprop_properties.hints.probe import Probe
from backprop_properties.hints.state import state
from backprop_properties.laws.claims import Violation
from backprop_reference import OPERATIONS
from samples import first_of_each, sampled

DOMAINS = {
    asks: {promise: True}
    for asks, promise in (
        ("kink", "kinks"),
        ("mask", "masks"),
        ("aliasing", "aliasing"),
        ("infinity", "infinities"),
    )
}

# A fault for each cause and family of operations, and what its hint must say.
TOLD = {
    "squared-error-sign": "dx and dy are exactly the negative",
    "softmax-plus": "s ⊙ (δ + sᵀδ)",
    "softmax-jacobian-sign": "J_x is s ⊙ (δ + sᵀδ)",
    "two-layers-relu-sign": "exactly the negative",
    "matvec-outer-product-turned": "dW is the transpose of what is right",
    "rms-norm-weight-from-x": "dweight is computed without the division by jnp.sqrt(",
    "dropout-mask-inverted": "dx is computed with mask inverted",
    "layer-norm-variance-constant": "if jnp.mean(centred * centred, axis, keepdims=True) were a constant",
    "matvec-w-turned": "dx is what comes out with the transpose of W",
    "matvec-guesses-the-layout": "u is what comes out with the transpose of W",
    "logistic-turned": "dW is the transpose",
    "two-layers-tanh-turned": "the transpose of W1 and W2 in the step back",
    "dot-cotangent-ignored": "whatever delta is",
    "identity-input": "the same for delta and -2 delta",
    "backpropagation-cotangent-ignored": "whatever delta is",
    "sum-mean": "dx is 1/n times what is right",
    "squared-error-mean-forward": "u is 1/d times what is right",
    "activation-identity-scaled": "dW is 1/n times what is right",
    "exp-missing": "without the factor exp′",
    "activation-relu-bias-missing": "db is computed without the factor relu′",
    "activation-elu-input-missing": "dx is computed without the factor elu′",
    "backpropagation-middle-slope-missing": "without the factor softplus′ of layer 2",
    "log-at-output": "log′ taken at the output log(z)",
    "softmax-at-output": "at the output s(x)",
    "two-layers-tanh-at-output": "tanh′ of layer 1 taken at the output",
    "add-one-path": "dy is all zeros",
    "silu-one-term": "only one term of the product rule",
    "softmax-diagonal": "the diagonal of the Jacobian only",
    "cross-entropy-no-softmax-path": "computed with −y as the gradient by the logits",
    "cross-entropy-sum-is-one": "s − y as the gradient by the logits",
    "cross-entropy-shortcut-for-one": "for delta = 1, dx is computed with s − y",
    "cross-entropy-normalised-target": "right where y sums to 1",
    "two-layers-tanh-sum-is-one": "right only where y sums to 1",
    "cross-entropy-of-the-class": "right where y is one-hot",
    "logistic-one-hot": "right where y is one-hot",
    "sum-tail-32": "right up to 32 and at multiples of 32, wrong at every other n",
    "square-first-256": "right up to n = 256",
    "matvec-rows-past-16": "multiples of 16, wrong at every other d",
    "two-layers-relu-hidden-past-64": "multiples of 64, wrong at every other k",
    "sum-from-one": "the first entry of x",
    "hadamard-last-entry": "dx[-1] alone is wrong",
    "softmax-unlucky-seven": "dx[7] alone is wrong",
    "matvec-element": "dW[-1, 0] alone is wrong",
    "dot-first-product": "right for n = 1 and wrong at every larger size",
    "dot-remembers": "taken from the first call with these shapes",
    "matvec-captured": "W is taken from the first call",
    "subtract-cached": "kept for an array",
    "softmax-one-buffer": "overwritten by the next call",
    "softmax-layer": "taken from the last call of forward",
    "affine-adds-up": "added to what earlier calls left",
    "affine-into-the-bias": "forward is to work on a copy of b",
    "softmax-in-place": "forward is to work on a copy of x",
    "dot-float32": "u is computed in float32",
    "hadamard-half": "float16",
    "leaky-relu-slope-of-float32": "the slope 0.01 rounded to float32",
    "softmax-bfloat16-weights": "float16",
    "softmax-naive": "numbers of about 709.8 in x",
    "tanh-exponentials": "numbers of about 354.9 in x",
    "identity-view": "shares memory",
    "affine-always-float64": "computes in float64 where the arguments are float32",
    "hadamard-by-pointer": "right for contiguous arguments",
    "dot-noise": "12 calls with the same arguments gave",
    "matvec-batch-mean": "dW is divided by the number of examples",
    "relu-nan-at-zero": "relu is exactly 0",
    "leaky-relu-at-zero": "leaky_relu is exactly 0",
    "leaky-relu-slope": "0.1 where the definition has 0.01",
    "relu-product-at-infinity": "u is NaN at -inf: 0 · ∞",
    "size-7": "wrong for n = 7 and right for 6, 8, 14",
    "sometimes-every-seventh": "of 12 calls with the same arguments",
    "log-epsilon": "1e-12 were added to x",
    "square-no-factor": "dx is 1/2 times what is right, everywhere",
    "cross-entropy-in-bits": "u is 1/log 2 times what is right",
    "hadamard-swapped": "dx is what is right for dy and dy is what is right for dx",
    "value-gradients-clipped-at-1e3": "dx and dy are cut off at ±1000",
    "cross-entropy-log-epsilon": "computed as if 1e-12 were added to the probabilities",
    "log-slope-at-least": "no less than 1e-12 were taken for x",
    "softmax-temperature": "u is computed with logits divided by 2",
    "activation-gelu-by-tanh": "computed with gelu_tanh′ in place of gelu′",
    "tanh-slope-of-the-input": "computed with 1 − z² for tanh′: its formula in terms of the output",
    "labels-off-by-one": "labels + 1 in place of labels",
    "conv1d-not-flipped-dx": "with weight the other way round along axis 2",
    "embedding-overwritten": "assigned to, where they are to be added up",
    "conv1d-dbias-over-channels": "the sum of what is right over all entries",
    "ignore-index-counted-in-the-slope": "a division by b in place of",
    "rnn-first-step-forgotten": "without the last turn of the loop back",
    "layer-norm-mean-of-squares": "differs by rounding alone",
    "layer-norm-both-constant": "and x - jnp.mean(x, axis, keepdims=True) were constants",
    "sometimes-same-digits-of-float32": "differs in its last digits",
    "sometimes-same-first-bytes": "differs in one entry",
}


def reported(fault, examples=60):
    functions = {"forward": fault.forward, "vjp": fault.vjp, "jacobian": fault.jacobian}
    return check(
        fault.operation,
        **functions,
        dtypes=fault.dtypes[:1],
        domain=DOMAINS.get(fault.asks),
        batch=fault.asks == "batch",
    )


def named(name):
    return next(row for row in FAULTS if row.name == name)


@pytest.mark.parametrize("name", sampled(TOLD, first_of_each(lambda name: named(name).cause, TOLD)[::3]))
def test_hint_names_the_cause(name):
    fault = named(name)
    failure = reported(fault).failures[0]
    assert failure.cause == fault.cause, failure.hint
    assert TOLD[name] in failure.hint
    assert f"hint: {failure.hint}" in str(failure)
    assert 4 < len(failure.hint.split()) < 45, "a sentence"
    assert not re.search(r"\bnp\.|array\(|Error|None|lambda", failure.hint), "of words"


def test_every_cause_is_named():
    assert {named(name).cause for name in TOLD} == set(CAUSES) - {"none"}


# ── Faults of no table ──────────────────────────────────────────────────────────────────────────────────────────────


def tanh_slope(x):
    return 1 - np.tanh(x) ** 2


def with_momentum():
    kept = {}

    def vjp(delta, x):
        kept[x.shape] = delta * tanh_slope(x) + 0.9 * kept.get(x.shape, 0)
        return kept[x.shape].copy()

    return vjp


def by_bytes(x):
    """A length counted in a byte."""
    return x[:255].sum() if len(x) > 255 else x.sum()


def clipped(delta, x, y):
    """Wrong where a probability is nearly 1, as the only one of a single class always is: that tells nothing of n."""
    log = np.log(np.clip(np.exp(x - x.max()) / np.exp(x - x.max()).sum(), 1e-7, 1 - 1e-7))
    return OPERATIONS["softmax_cross_entropy"].vjp(delta, x, y)[0], -delta * log


def last_of_128(delta, x):
    """Not one entry alone, and not all past a tile."""
    return OPERATIONS["sigmoid"].vjp(delta, x)[0] * (np.arange(len(x)) % 128 != 127)


OTHERS = {
    "squeezed": (
        "tanh",
        {"vjp": lambda d, x: np.squeeze(OPERATIONS["tanh"].vjp(d, x)[0])},
        "only-n-1",
        "wrong only for n = 1",
    ),
    "momentum": ("tanh", {"vjp": with_momentum()}, "stale", "1, 1.9, 2.71, … times"),
    "a byte": ("sum_reduction", {"forward": by_bytes}, "tile-tail", "right up to n = 255"),
    "reshaped": (
        "affine",
        {"vjp": lambda d, W, x, b: (np.outer(d, x), W.reshape(W.shape[::-1]) @ d, d)},
        "transposed",
        "made by reshape",
    ),
    "temperature of the root": (
        "softmax",
        {"vjp": lambda d, x: OPERATIONS["softmax"].vjp(d, x / len(x) ** 0.5)},
        "temperature",
        "logits divided by √n",
    ),
    "clipped": ("softmax_cross_entropy", {"vjp": clipped}, "clipped", "1e-07 to 1 − 1e-07 were taken for the prob"),
    "cut off": (
        "dot",
        {"vjp": lambda d, x, y: (np.clip(d * y, -1, 1), np.clip(d * x, -1, 1))},
        "clipped",
        "dx and dy are cut off at ±1:",
    ),
    "delta last": ("tanh", {"vjp": lambda x, d: d * tanh_slope(x)}, "exchanged", "right when called as vjp(x, delta)"),
    "delta last, raises": (
        "matvec",
        {"vjp": lambda W, x, d: (np.outer(d, x), d @ W)},
        "exchanged",
        "right when called as vjp(W, x, delta)",
    ),
    "two ratios": (
        "subtract",
        {"vjp": lambda d, x, y: (3 * d, -0.7 * d)},
        "factor",
        "dx is 3 times and dy is 0.7 times what is right",
    ),
    "the last of 128": ("sigmoid", {"vjp": last_of_128}, "", ""),
    "reinterpreted": (
        "matvec",
        {"vjp": lambda d, W, x: (np.outer(d, x), W.reshape(W.shape[1], W.shape[0]) @ d)},
        "transposed",
        "made by reshape",
    ),
    "not summed": (
        "linear",
        {"vjp": lambda d, x, W, b: (d @ W, d.T @ x, d)},
        "axis",
        "dbias is right but for a sum over the leading axes, which is missing",
    ),
    "decay": ("matvec", {"vjp": lambda d, W, x: (np.outer(d, x) + 0.1 * W, d @ W)}, "", ""),
}


@pytest.mark.parametrize("name", OTHERS)
def test_hint_on_what_no_table_has(name):
    operation, functions, cause, says = OTHERS[name]
    failure = check(operation, **functions, max_examples=100).failures[0]
    assert failure.cause == cause
    assert (says in failure.hint) if cause else failure.hint == ""


# ── No hint ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def probe(row, kind, dtype, seconds=60):
    functions = {kind: getattr(row, kind) for kind in ("forward", "vjp", "jacobian")}
    trial = trial_of(operation_named(row.operation), functions, "standard", None)
    return trial, Probe(trial.domain, trial.implementation, kind, np.dtype(dtype), time.perf_counter() + seconds)


@pytest.mark.parametrize("row", sampled(NEIGHBOURS, NEIGHBOURS[::4]))
def test_what_is_right_gets_no_hint(row):
    """Even if it is taken for wrong: every experiment comes out for it."""
    for kind in ("forward", "vjp", "jacobian"):
        if getattr(row, kind):
            trial, p = probe(row, kind, row.dtypes[0])
            law = {"forward": "forward_equals_jax", "vjp": "vjp_equals_jax_vjp", "jacobian": "jacobian_equals_jacrev"}
            failed = {law[kind]: (Violation("u", "taken for wrong"), p.case({}))}
            assert state(p, None) is None
            assert _value(trial, p, failed) is None


NOT_TOLD = [  # of no cause that has a name: a hint would be a guess
    "exp-clipped-at-88",
    "reciprocal-not-squared",
    "tanh-1e-9",
    "tanh-zero-nan",
    "sigmoid-clipped-logits",
    "relu-threshold",
    "relu-guided",
    "softmax-ties",
    "softmax-sum-unweighted",
    "softmax-epsilon",
    "linear-regression-1e-5",
    "affine-bias-times-b",
]


@pytest.mark.parametrize("name", NOT_TOLD)
def test_no_hint_is_better_than_a_guess(name):
    assert named(name).cause == "none"
    assert {(failure.cause, failure.hint) for failure in reported(named(name)).failures} == {("", "")}


def test_hints_take_no_longer_than_they_may():
    def slow(x):
        time.sleep(0.4)
        return -np.tanh(x)

    trial, p = probe(Neighbour("tanh", "slow", "none", forward=slow), "forward", float)
    started = time.perf_counter()
    assert hints(trial, {"forward_equals_jax": (Violation("u", "wrong"), p.case({}))}, np.dtype(float)) == {}
    assert time.perf_counter() - started < 2 * SECONDS


def test_an_implementation_that_always_raises_gets_no_hint():
    def raises(delta, x):
        raise RuntimeError("no kernel for this device")

    assert check("tanh", vjp=raises).failures[0].hint == ""


# ── Networks ────────────────────────────────────────────────────────────────────────────────────────────────────────

WHERE = {
    "two-layers-tanh-missing": "first wrong in backward order: db1 (layer 1); right so far: db2, dW2; dy is right",
    "two-layers-relu-sign": "first wrong in backward order: db2 (layer 2); right so far: nothing; dy is wrong",
    "two-layers-relu-target-missing": "only dy is wrong: the gradients of the layers are right",
    "backpropagation-middle-slope-missing": "db2 (layer 2); right so far: db3, dW3; dy is right",
    "backpropagation-input-missing": "first wrong in backward order: dx; right so far: db3, dW3, db2, dW2, db1, dW1",
    "backpropagation-element": "dW1 (layer 1); right so far: db2, dW2, db1",
    "two-layers-relu-twice": "",
}


@pytest.mark.parametrize("name", sampled(WHERE, ("two-layers-tanh-missing", "two-layers-relu-twice")))
def test_the_first_wrong_layer_is_named(name):
    failure = reported(named(name), 30).failures[0]
    assert WHERE[name] in failure.where
    assert failure.where in str(failure)
    assert bool(WHERE[name]) == bool(failure.where)


@pytest.mark.parametrize(
    ("vjp", "beside"),
    [
        (lambda delta, W, x: (np.outer(delta, 2 * x), W.T @ delta), "right beside it: dx"),
        (lambda delta, W, x: (np.outer(delta, x), 2 * W.T @ delta), "right beside it: dW"),
        (lambda delta, W, x: (np.outer(delta, 2 * x), 2 * W.T @ delta), ""),
    ],
)
def test_the_gradients_that_are_right_beside_a_wrong_one_are_named(vjp, beside):
    failure = check("matvec", vjp=vjp, max_examples=60).failures[0]
    assert failure.where == beside
    assert beside in failure.summary()


def test_backward_order_has_every_gradient_of_the_layers():
    for name, row in OPERATIONS.items():
        if name.startswith(("two_layer", "backprop")):
            assert set(backward_order(row)) == set(row.arguments) - {"y"}

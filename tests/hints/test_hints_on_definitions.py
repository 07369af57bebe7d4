"""Hints on definitions: a changed program, changed arguments, lost digits, and none where nothing is shown."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backprop_properties import Definition, check
from samples import sampled


def told(definition, vjp, dtype="float64"):
    report = check(definition, vjp=vjp, dtypes=(dtype,))
    assert not report.passed
    assert not [note for note in report.notes if note.startswith("no hints")]
    return report.failures[0].cause, report.failures[0].hint


def softmax(x):
    return (lambda e: e / e.sum(-1, keepdims=True))(np.exp(x - x.max(-1, keepdims=True)))


# ── One thing that is changed ───────────────────────────────────────────────────────────────────────────────────────

MASKED = Definition(lambda x, kept: jnp.where(kept, x * x, 0.0), "(n),(n)", name="masked", integers={"kept": bool})
LABELS = Definition(
    lambda x, y: -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], -1)),
    "(b,v),(b)",
    name="labels",
    integers={"y": "v"},
)


def upto(p, t, lengths):
    seen = jnp.arange(p.shape[1]) < lengths[:, None]
    return jnp.sum(jnp.where(seen, (p - t) ** 2, 0.0)) / jnp.sum(seen)


LENGTHS = Definition(upto, "(b,t),(b,t),(b)", integers={"lengths": (1, "t")})


def upto_vjp(delta, p, t, lengths, more=0, every=False):
    seen = np.arange(p.shape[1]) < lengths[:, None]
    d = np.where(np.arange(p.shape[1]) < lengths[:, None] + more, 2 * (p - t), 0)
    d = d * (delta / (seen.size if every else seen.sum()))
    return d, -d, None


def of_labels(change):
    def vjp(delta, x, y):
        d = softmax(x)
        d[np.arange(len(y)), change(y, x.shape[-1])] -= 1
        return d * (delta / len(y)), None

    return vjp


def correlated(x, w):
    return jnp.stack([jnp.sum(x[:, k : k + 4] * w, -1) for k in range(5)], -1)


def flipped_taps(delta, x, w):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for k in range(5):
        dx[:, k : k + 4] += delta[:, k, None] * w[::-1]
        dw += delta[:, k] @ x[:, k : k + 4]
    return dx, dw


def gated(x, w):
    a, b = jnp.split(x @ w, 2, -1)
    return a * jax.nn.sigmoid(b)


def halves_exchanged(delta, x, w):
    a, b = np.split(x @ w, 2, -1)
    s = 1 / (1 + np.exp(-b))
    d = np.concatenate([delta * a * s * (1 - s), delta * s], -1)
    return d @ w.T, x.T @ d


def assigned(delta, table, places):
    d = np.zeros_like(table)
    d[places] = delta
    return d, None


def recurrent(x, w, h):
    def step(h, row):
        h = jnp.tanh(row + h @ w)
        return h, h

    return jax.lax.scan(step, h, x)[1]


def recurrent_vjp(delta, x, w, h, until=0, slope=lambda h: 1 - h * h):
    states = [h]
    for row in x:
        states.append(np.tanh(row + states[-1] @ w))
    dx, dw, dh = np.zeros_like(x), np.zeros_like(w), np.zeros_like(h)
    for t in range(len(x) - 1, until - 1, -1):
        dx[t] = (delta[t] + dh) * slope(states[t + 1])
        dw += np.outer(states[t], dx[t])
        dh = w @ dx[t]
    return dx, dw, dh


RECURRENT = Definition(recurrent, "(t,n),(n,n),(n)")
SIGMOID = Definition(lambda x: 1 / (1 + jnp.exp(-x)), "(n)", name="sigmoid")
INSTANCE = Definition(lambda x: (x - jnp.mean(x, -1, keepdims=True)) ** 2, "(b,n)", name="about_the_mean")
WEIGHTS = Definition(lambda x, a: jnp.where(x > 0, x, a * x), "(b,n),(n)", name="prelu")


def prelu_vjp(delta, x, a):
    da = np.where(x > 0, 0, delta * x).sum()
    return np.where(x > 0, delta, a * delta), np.full_like(a, da)


def temperature_vjp(delta, x, t):
    s = softmax(x / t)
    d = s * (delta - (s * delta).sum(-1, keepdims=True))
    return d / t, -(d * x).sum() / t


CHANGED = {
    "a mask that is ignored": (MASKED, lambda d, x, kept: (2 * x * d, None), "mask", "kept were True everywhere"),
    "labels of 0": (LABELS, of_labels(lambda y, v: 0 * y), "integers", "y were 0 everywhere"),
    "labels off by one": (LABELS, of_labels(lambda y, v: (y + 1) % v), "integers", "off by one"),
    "lengths off by one": (LENGTHS, lambda *a: upto_vjp(*a, more=1), "integers", "≤ for <"),
    "padding in the slope": (
        LENGTHS,
        lambda *a: upto_vjp(*a, more=99),
        "mask",
        "without the mask in jnp.where(seen, (p - t) ** 2, 0.0)",
    ),
    "padding counted": (LENGTHS, lambda *a: upto_vjp(*a, every=True), "another-size", "a division by b·t in place of"),
    "flipped taps": (Definition(correlated, "(b,8),(4)"), flipped_taps, "reordered", "with w the other way round"),
    "halves exchanged": (Definition(gated, "(b,n),(n,2k)"), halves_exchanged, "reordered", "two halves exchanged"),
    "assigned": (
        Definition(lambda table, places: table[places], "(v,n),(b)", name="picked", integers={"places": "v"}),
        assigned,
        "duplicates",
        "assigned to, where they are to be added up",
    ),
    "last turn back": (RECURRENT, lambda *a: recurrent_vjp(*a, until=1), "turn-left-out", "the last turn of the loop"),
    "slope in a loop": (
        RECURRENT,
        lambda *a: recurrent_vjp(*a, slope=np.ones_like),
        "missing-h-prime",
        "without the derivative of jnp.tanh(row + h @ w)",
    ),
    "sum over all": (WEIGHTS, prelu_vjp, "axis", "da is the sum of what is right over all entries, repeated"),
    "temperature": (
        Definition(lambda x, t: jax.nn.softmax(x / t), "(b,n),()", name="warm", domain={"t": "positive"}),
        temperature_vjp,
        "factor",
        "dt is what is right times t",
    ),
    "cumulative": (
        Definition(lambda x: jnp.cumsum(x), "(n)", name="running"),
        lambda d, x: np.cumsum(d),
        "reordered",
        "in the wrong direction",
    ),
    "mean as a constant": (
        INSTANCE,
        lambda d, x: 2 * d * (x - x.mean(-1, keepdims=True)),
        "missing-path",
        "if jnp.mean(x, -1, keepdims=True) were a constant",
    ),
}


@pytest.mark.parametrize("name", sampled(CHANGED, list(CHANGED)[::3]))
def test_a_change_of_one_thing_is_named(name):
    definition, vjp, cause, says = CHANGED[name]
    found, hint = told(definition, vjp)
    assert found == cause, hint
    assert says in hint


# ── Sentences ───────────────────────────────────────────────────────────────────────────────────────────────────────


def gate(x, w):
    return x * jax.nn.sigmoid(w)


def test_no_expression_is_said_to_lack_itself():
    def vjp(delta, x, w):
        s = 1 / (1 + np.exp(-w))
        return delta * s, delta * x * s

    _, hint = told(Definition(gate, "(n),(n)"), vjp)
    assert hint == "dw is computed without a factor of jax.nn.sigmoid(w) or of its derivative"


# ── Nothing is remembered ───────────────────────────────────────────────────────────────────────────────────────────


def convolved(x, w):
    n = x.shape[-1] - w.shape[-1] + 1
    return sum(x[:, :, k : k + n] * w[:, k][None, :, None] for k in range(w.shape[-1]))


def without_the_last(delta, x, w):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for k in range(w.shape[-1]):
        part = slice(k, k + delta.shape[-1])
        dx[:, :, part] += delta * w[:, k][None, :, None]
        dw[:, k] = (delta * x[:, :, part]).sum((0, 2))
    dx[:, :, -1] = 0
    return dx, dw


@pytest.mark.parametrize("dtype", sampled(["float16", "bfloat16"], ["float16"]))
def test_a_function_without_state_is_not_said_to_have_any(dtype):
    definition = Definition(convolved, "(b,c,n),(c,k)", sizes={"k": "at most n"})
    cause, hint = told(definition, without_the_last, dtype)
    assert cause in ("", "single-element"), hint


def attended(s, v, kept):
    return jnp.matmul(jax.nn.softmax(jnp.where(kept, s, -1e9)), v)


def repeated_over_heads(delta, s, v, kept):
    """Wrong for any number of heads but 1; and NaN in a format that has no 1e9."""
    p = softmax(np.where(kept, s, s.dtype.type(-1e9)))
    dp = delta @ v.swapaxes(1, 2)
    dv = p.swapaxes(1, 2) @ delta
    ds = np.where(kept, p * (dp - (p * dp).sum(-1, keepdims=True)), 0).astype(s.dtype)
    return ds, dv.sum(0, keepdims=True) + 0 * dv, None


def test_what_is_wrong_at_every_size_is_not_said_to_be_wrong_at_one():
    definition = Definition(attended, "(h,t,s),(h,s,d),(s)", integers={"kept": bool})
    cause, hint = told(definition, repeated_over_heads, "float16")
    assert cause == "axis", hint


# ── Digits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def sigmoid_vjp(delta, x):
    s = 1 / (1 + np.exp(-x))
    return delta * s * (1 - s)


def swish_vjp(delta, x):
    s = 1 / (1 + np.exp(-x))
    return delta * s * (1 + x * (1 - s))


def softmax_vjp(delta, x):
    s = softmax(x)
    return s * (delta - (s * delta).sum(-1, keepdims=True))


SWISH = Definition(lambda x: x / (1 + jnp.exp(-x)), "(n)", name="swish")
UNSHIFTED = Definition(lambda x: jnp.exp(x) / jnp.sum(jnp.exp(x), -1, keepdims=True), "(b,n)", name="unshifted")


@pytest.mark.parametrize(
    ("definition", "vjp"),
    [(SIGMOID, sigmoid_vjp), (SWISH, swish_vjp), (UNSHIFTED, softmax_vjp)],
    ids=["sigmoid", "swish", "softmax"],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_right_formula_that_loses_digits_is_told_from_a_wrong_one(definition, vjp, dtype):
    cause, hint = told(definition, vjp, dtype)
    assert cause == "rounding"
    assert "right at ordinary numbers and differs by rounding alone, from about x = " in hint
    assert "also=" in hint


def test_also_is_what_accepts_it():
    definition = Definition(SWISH.f, "(n)", name="swish", also=[jax.nn.silu])
    assert check(definition, vjp=swish_vjp).passed


WRONG = {
    "past 20": lambda x: np.where(np.abs(x) > 20, 1e-6, 0),
    "past 5": lambda x: np.where(x > 5, 1e-6, 0),
    "more and more": lambda x: 1e-6 * x * x,
    "a little more": lambda x: 1e-9 * np.maximum(x - 3, 0),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_formula_that_is_wrong_by_little_is_not_said_to_be_rounded(name, dtype):
    def vjp(delta, x):
        return sigmoid_vjp(delta, x) * (1 + WRONG[name](x)).astype(x.dtype)

    assert told(SIGMOID, vjp, dtype)[0] != "rounding"


def test_clipped_logits_are_not_said_to_be_rounded():
    assert told(SIGMOID, lambda d, x: d * sigmoid_vjp(np.ones_like(x), np.clip(x, -20, 20)), "float32")[0] != "rounding"


def test_extreme_numbers_are_told_with_the_option_that_leaves_them_out():
    def vjp(delta, x, y):
        r = np.sqrt(x * x + y * y)
        return delta * ((x * r) / (r * r)), delta * ((y * r) / (r * r))

    positive = {"x": "positive", "y": "positive"}
    definition = Definition(lambda x, y: jnp.hypot(x, y), "(n),(n)", name="length", domain=positive)
    cause, hint = told(definition, vjp, "float32")
    assert cause == "overflow"
    assert "NaN" in hint
    asked = {"dtypes": ("float32",)}
    assert "domain={'values': 'moderate'}" in " ".join(str(check(definition, vjp=vjp, **asked)).split())
    assert check(definition, vjp=vjp, domain={"values": "moderate"}, **asked).passed


# ── No hint ─────────────────────────────────────────────────────────────────────────────────────────────────────────

NOT_TOLD = {
    "labels of the next row": (LABELS, of_labels(lambda y, v: (y * y + 1) % v)),
    "some lengths": (LENGTHS, lambda d, p, t, n: upto_vjp(d, p, t, np.where(n % 2 == 0, n + 1, n))),
    "a kept one": (MASKED, lambda d, x, kept: (np.where(kept | (np.arange(len(x)) % 3 == 0), 2 * x * d, 0), None)),
    "decay in a loop": (RECURRENT, lambda *a: recurrent_vjp(*a, slope=lambda h: 1 - h * h * h)),
}


@pytest.mark.parametrize("name", NOT_TOLD)
def test_nothing_is_said_of_what_no_experiment_shows(name):
    assert told(*NOT_TOLD[name]) == ("", "")

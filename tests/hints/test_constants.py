"""Another number where the definition has one: the hint names both, and no other wrong formula is taken for that."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from backprop_oracle.definition import Definition
from backprop_properties import check


def layer_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-3) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + eps) * weight + bias


def layer_norm_vjp(delta: Any, x: Any, weight: Any, bias: Any, eps: float = 1e-8) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    r = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + eps)
    h, g = centred * r, delta * weight
    dx = r * (g - g.mean(-1, keepdims=True) - h * (g * h).mean(-1, keepdims=True))
    return dx, (delta * h).sum(0), delta.sum(0)


def beside_the_root(x: Any, weight: Any, bias: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / (np.sqrt((centred * centred).mean(-1, keepdims=True)) + 1e-5) * weight + bias


def smoothed(logits: Any, labels: Any, alpha: float = 0.2) -> Any:
    m = logits.max(-1, keepdims=True)
    logs = logits - m - np.log(np.exp(logits - m).sum(-1, keepdims=True))
    n = logs.shape[-1]
    return -((np.eye(n)[labels] * (1 - alpha) + alpha / n) * logs).sum(-1).mean()


scaled_tanh = Definition(lambda x: 1.7159 * jnp.tanh(x / 3.0), "(n)", name="scaled_tanh")


@pytest.mark.parametrize(
    ("of", "functions", "hint"),
    [
        (
            "leaky_relu",
            {"vjp": lambda delta, x: delta * np.where(x < 0, 0.1, 1)},
            "with 0.1 where the definition has 0.01",
        ),
        ("leaky_relu", {"forward": lambda x: np.where(x < 0, 0.2 * x, x)}, "with 0.2 where the definition has 0.01"),
        (
            "gelu_tanh",
            {"forward": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.0447 * x**3)))},
            "with 0.0447 where the definition has 0.044715",
        ),
        ("layer_norm", {"forward": layer_norm}, "u is computed with 0.001 where the definition has 1e-05"),
        (
            "layer_norm",
            {"vjp": layer_norm_vjp},
            "dx and dweight are computed with 1e-08 where the definition has 1e-05",
        ),
        ("layer_norm", {"forward": partial(layer_norm, eps=0.0)}, "u is computed without the definition's 1e-05"),
        ("layer_norm", {"forward": beside_the_root}, "with 1e-05 added to the root, not under it"),
        (
            "rms_norm",
            {"forward": lambda x, w: x / (np.sqrt((x * x).mean(-1, keepdims=True)) + 1e-6) * w},
            "to the root",
        ),
        ("label_smoothing_cross_entropy", {"forward": smoothed}, "with 0.2 where the definition has 0.1"),
        (scaled_tanh, {"forward": lambda x: 1.7159 * np.tanh(x / 2.9)}, "with 2.9 where the definition has 3"),
    ],
)
def test_the_two_numbers_are_named(of: Any, functions: Any, hint: str) -> None:
    report = check(of, **functions)
    assert report.failures[0].cause == "constant"
    assert hint in str(report).splitlines()[0]


def test_of_code_that_cannot_be_read_a_power_of_ten_is_found() -> None:
    ufunc: Callable[..., Any] = np.frompyfunc(lambda x: 0.001 * x if x < 0 else x, 1, 1)

    class Compiled:
        __slots__ = ()

        def __call__(self, x: Any) -> Any:
            return ufunc(x).astype(x.dtype)

    report = check("leaky_relu", forward=Compiled(), isolated=False)
    assert report.failures
    assert "with 0.001 where the definition has 0.01" in report.failures[0].hint


@pytest.mark.parametrize(
    ("of", "functions"),
    [
        ("leaky_relu", {"vjp": lambda delta, x: delta * np.where(x < 0.1, 0.01, 1)}),
        ("layer_norm", {"forward": lambda x, w, b: layer_norm(x, w, b, 1e-5) + 1e-3}),
        (scaled_tanh, {"forward": lambda x: 1.7159 * np.tanh(x / 3) + 2.9}),
    ],
)
def test_a_number_that_is_elsewhere_is_no_other_number_of_the_definition(of: Any, functions: Any) -> None:
    report = check(of, **functions)
    assert report.failures
    assert "constant" not in {failure.cause for failure in report.failures}

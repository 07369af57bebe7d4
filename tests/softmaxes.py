"""A softmax as people write it: right, and with the gradient by the diagonal of its Jacobian alone."""

from typing import Any

import numpy as np


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_vjp(delta: Any, x: Any) -> Any:
    s = softmax(x)
    return s * (delta - (s * delta).sum())


def diagonal_alone(delta: Any, x: Any) -> Any:
    s = softmax(x)
    return s * (1 - s) * delta

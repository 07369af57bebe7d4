"""A two-layer network learns to read handwritten digits by `backpropagation`: an example to run and to read.

    python tests/reference/digits.py

The digits are the 1797 real ones, of 8×8 pixels, that scikit-learn carries.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from backprop_reference import Gradients, Layer, activation, backpropagation, identity, tanh

HIDDEN, EPOCHS, BATCH, RATE, TEST = 32, 20, 64, 0.2, 360


class Digits(NamedTuple):
    """Images as rows of 64 numbers from 0 to 1; `y` has a 1 where the digit is, `digit` is the digit."""

    x: np.ndarray
    y: np.ndarray
    digit: np.ndarray


class Step(NamedTuple):
    """One step of training: the examples, the gradients of their loss at `before`, and the layers it leads to."""

    epoch: int
    x: np.ndarray
    y: np.ndarray
    before: list[Layer]
    gradients: Gradients
    after: list[Layer]


def load(seed: int = 0) -> tuple[Digits, Digits]:
    """The digits to learn from, and those to be tested on."""
    images, digit = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(digit))
    digits = Digits(images[order] / 16, np.eye(10)[digit[order]], digit[order])
    return Digits(*(a[TEST:] for a in digits)), Digits(*(a[:TEST] for a in digits))


def start(seed: int = 0) -> list[Layer]:
    """`h¹ = tanh(W¹x + b¹)`, `h² = W²h¹ + b²`; the cross-entropy takes the softmax of `h²`."""
    rng = np.random.default_rng(seed)
    W1, W2 = rng.normal(size=(HIDDEN, 64)) / 64**0.5, rng.normal(size=(10, HIDDEN)) / HIDDEN**0.5
    return [Layer(W1, np.zeros(HIDDEN), tanh), Layer(W2, np.zeros(10), identity)]


def train(layers: list[Layer], digits: Digits, seed: int = 0) -> Iterator[Step]:
    """Gradient descent in small batches, step by step."""
    rng = np.random.default_rng(seed)
    for epoch in range(1, EPOCHS + 1):
        order = rng.permutation(len(digits.x))
        for batch in np.split(order, range(BATCH, len(order), BATCH)):
            x, y = digits.x[batch], digits.y[batch]
            gradients = backpropagation(layers, x, y)  # of the cross-entropy, summed over the batch
            after = descend(layers, gradients, RATE / len(batch))
            yield Step(epoch, x, y, layers, gradients, after)
            layers = after


def descend(layers: list[Layer], gradients: Gradients, rate: float) -> list[Layer]:
    """Every `W` and `b` moved against its gradient."""
    pairs = zip(layers, gradients.layers, strict=True)
    return [Layer(layer.W - rate * dW, layer.b - rate * db, layer.h) for layer, (dW, db) in pairs]


def accuracy(layers: list[Layer], digits: Digits) -> float:
    """How many of the digits are read right, from 0 to 1."""
    h = digits.x
    for layer in layers:
        h = activation(layer.h, layer.W, h, layer.b)
    return float(np.mean(h.argmax(-1) == digits.digit))


if __name__ == "__main__":
    learned, tested = load()
    for epoch, steps in groupby(train(start(), learned), key=lambda step: step.epoch):
        *_, last = steps
        print(f"epoch {epoch:2}: loss {last.gradients.loss.mean():.3f}, accuracy {accuracy(last.after, tested):.1%}")

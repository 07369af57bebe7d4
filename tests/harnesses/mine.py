"""The maths, in NumPy."""

import numpy as np


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_vjp(delta, x):
    s = softmax(x)
    return s * (delta - (s * delta).sum())


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def softmax_cross_entropy(x, y):
    return -np.where(y == 0, 0, y * log_softmax(x)).sum()


def softmax_cross_entropy_vjp(delta, x, y):
    log_s = log_softmax(x)
    return delta * (np.exp(log_s) * y.sum() - y), -delta * log_s


def affine(W, x, b):
    return W @ x + b


def affine_vjp(delta, W, x, b):
    return np.outer(delta, x), delta @ W, delta.copy()


def tanh(x):
    return np.tanh(x)


def tanh_vjp(delta, x):
    return delta / np.cosh(x) ** 2


def two_layer_network_tanh(W1, b1, W2, b2, x, y):
    return softmax_cross_entropy(affine(W2, np.tanh(affine(W1, x, b1)), b2), y)


def two_layer_network_tanh_vjp(delta, W1, b1, W2, b2, x, y):
    z1 = affine(W1, x, b1)
    h = np.tanh(z1)
    dz2, dy = softmax_cross_entropy_vjp(delta, affine(W2, h, b2), y)
    dW2, dh, db2 = affine_vjp(dz2, W2, h, b2)
    dz1 = tanh_vjp(dh, z1)
    dW1, dx, db1 = affine_vjp(dz1, W1, x, b1)
    return dW1, db1, dW2, db2, dx, dy

"""Structured Jacobians: what the slides write as `diag(y)`, `W`, `1ᵀ` or a `d×d×n` array, never built unless asked.

    delta @ J        the backward step: a cotangent through the Jacobian, at the cost of the structure
    J.todense()      the whole array, of shape output + input, as `jax.jacrev` gives it
    J.shape          that shape
    J.slide_shape    the same in the slides' convention: 1×1, 1×n, m×1, m×n, d×d×n, 1×d×n

`@` associates to the left, so a chain reads as on the slides: `delta @ J_h2 @ J_h1`. The fields are the data and not
copies of it; what `@` and `todense` return is always new.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Never

import numpy as np

from .numerics.errorfree import centre
from .numerics.products import product, sum_of_outer_products
from .numerics.range import dot_of, quiet
from .signature import Array, Shape, as_floating


class Jacobian(ABC):
    """What all structures share: their shapes, and the check of the cotangent's shape."""

    __array_ufunc__ = None  # so that `ndarray @ J` asks J, instead of looking for numbers in it

    @property
    @abstractmethod
    def output_shape(self) -> Shape: ...

    @property
    @abstractmethod
    def input_shape(self) -> Shape: ...

    @abstractmethod
    def todense(self) -> Array: ...

    @abstractmethod
    def _pull_back(self, delta: Any) -> Array: ...

    @property
    def shape(self) -> Shape:
        return self.output_shape + self.input_shape

    @property
    def slide_shape(self) -> Shape:
        return (self.output_shape or (1,)) + (self.input_shape or (1,))

    @quiet
    def __rmatmul__(self, delta: object) -> Array:
        cotangent = as_floating(delta, "delta")
        if cotangent.shape != self.output_shape:
            raise ValueError(
                f"delta @ {type(self).__name__}: delta must have shape {self.output_shape}, got {cotangent.shape}"
            )
        return self._pull_back(delta if type(delta) in (int, float) else cotangent)  # Python's numbers have no dtype

    def __array__(self, *_: object, **__: object) -> Never:
        raise TypeError(f"{type(self).__name__} is not an array; J.todense() builds one, of shape {self.shape}")


@dataclass(frozen=True, eq=False)
class ScaledIdentity(Jacobian):
    """`c I`, `n×n`: of addition, subtraction and the vector–scalar product.

    >>> [1.0, 2.0] @ ScaledIdentity(np.float64(3.0), 2)
    array([3., 6.])
    """

    c: Array
    n: int

    @property
    def output_shape(self) -> Shape:
        return (self.n,)

    @property
    def input_shape(self) -> Shape:
        return (self.n,)

    def _pull_back(self, delta: Any) -> Array:
        return delta * self.c

    def todense(self) -> Array:
        return np.diag(np.full(self.n, self.c))


@dataclass(frozen=True, eq=False)
class Diagonal(Jacobian):
    """`diag(d)`, `n×n`: of the Hadamard product and of entrywise functions.

    >>> [1.0, 2.0] @ Diagonal(np.array([3.0, 4.0]))
    array([3., 8.])
    """

    d: Array

    @property
    def output_shape(self) -> Shape:
        return self.d.shape

    @property
    def input_shape(self) -> Shape:
        return self.d.shape

    def _pull_back(self, delta: Any) -> Array:
        return delta * self.d

    def todense(self) -> Array:
        return np.diag(self.d)


@dataclass(frozen=True, eq=False)
class Dense(Jacobian):
    """A matrix `M`, `m×n`, as the `W` of `∂(Wx)/∂x`.

    >>> [1.0, 2.0] @ Dense(np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]]))
    array([1., 2., 8.])
    """

    M: Array

    @property
    def output_shape(self) -> Shape:
        return self.M.shape[:1]

    @property
    def input_shape(self) -> Shape:
        return self.M.shape[1:]

    def _pull_back(self, delta: Any) -> Array:
        return product(delta, self.M)

    def todense(self) -> Array:
        return self.M.copy()


@dataclass(frozen=True, eq=False)
class Row(Jacobian):
    """The derivative of a scalar, `1×n` (`1×d×n` by a matrix, `1×1` by a scalar); `v` has the input's shape.

    >>> 2.0 @ Row(np.array([1.0, 3.0]))
    array([2., 6.])
    """

    v: Array

    @property
    def output_shape(self) -> Shape:
        return ()

    @property
    def input_shape(self) -> Shape:
        return self.v.shape

    def _pull_back(self, delta: Any) -> Array:
        return delta * self.v

    def todense(self) -> Array:
        return np.array(self.v)


@dataclass(frozen=True, eq=False)
class Column(Jacobian):
    """The derivative of a vector by a scalar, `m×1`.

    >>> float([2.0, 1.0] @ Column(np.array([1.0, 3.0])))
    5.0
    """

    v: Array

    @property
    def output_shape(self) -> Shape:
        return self.v.shape

    @property
    def input_shape(self) -> Shape:
        return ()

    def _pull_back(self, delta: Any) -> Array:
        return dot_of(delta, self.v)

    def todense(self) -> Array:
        return self.v.copy()


@dataclass(frozen=True, eq=False)
class BlockRow(Jacobian):
    """`∂(diag(c) W x)/∂W`, `d×d×n`: entry `(i, j, k)` is `c_i x_k` if `i = j`, else 0.

    Row `i` of the output meets row `i` of `W` alone, so `delta @ J` is the outer product `(δ ⊙ c) xᵀ`.

    >>> [1.0, 2.0] @ BlockRow(np.ones(2), np.array([3.0, 4.0, 5.0]))
    array([[ 3.,  4.,  5.],
           [ 6.,  8., 10.]])
    """

    c: Array
    x: Array

    @property
    def output_shape(self) -> Shape:
        return self.c.shape

    @property
    def input_shape(self) -> Shape:
        return self.c.shape + self.x.shape

    def _pull_back(self, delta: Any) -> Array:
        return sum_of_outer_products(delta * self.c, self.x)

    @np.errstate(under="ignore")
    def todense(self) -> Array:
        dense = np.zeros(self.shape, np.result_type(self.c, self.x))
        i = np.arange(len(self.c))
        dense[i, i] = np.outer(self.c, self.x)
        return dense


@dataclass(frozen=True, eq=False)
class DiagonalMinusOuter(Jacobian):
    """`diag(s) − s sᵀ`, `n×n`, of the softmax: `s_i (1 − s_i)` on the diagonal, `−s_i s_j` off it.

    `rest` is `1 − s`, handed over because `1 - s` has no digits left where `s_i` is close to 1.

    >>> [1.0, 0.0] @ DiagonalMinusOuter(np.array([0.25, 0.75]), np.array([0.75, 0.25]))
    array([ 0.1875, -0.1875])
    """

    s: Array
    rest: Array

    @property
    def output_shape(self) -> Shape:
        return self.s.shape

    @property
    def input_shape(self) -> Shape:
        return self.s.shape

    def _pull_back(self, delta: Any) -> Array:
        dtype, k = np.result_type(delta, self.s), self.s.argmax()
        dx, s = np.array(delta, np.float64), np.array(self.s, np.float64)  # copies, since `centre` writes to both
        small = 2.0**-511
        scale = 1 / small if np.abs(dx).max() < small else 0.5
        dx *= scale  # no difference overflows, and no share of a mean is subnormal
        centre(dx, s, k, 1, np.empty_like(dx), out=dx)
        return np.asarray(dx * s / scale, dtype)

    @np.errstate(under="ignore")
    def todense(self) -> Array:
        dense = -np.outer(self.s, self.s)
        np.fill_diagonal(dense, self.s * self.rest)
        return dense

"""An operation's versions, right and wrong, as a test of a backward pass gets them: a forward and a vjp each."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import cloudpickle
import jax
import numpy as np

from backprop_oracle.catalogue import CATALOGUE
from backprop_oracle.rows import Row, definition
from backprop_reference import OPERATIONS

from ..cases.case import Array, Case
from ..cases.domains import domain_of
from ..cases.plan import Planned, made, ordinary_case
from ..checking import guard
from .audit_messages import REFERENCE
from .faults import Fault, Neighbour
from .faults.witnesses import RIGHT
from .practices import PRACTICES, Framework, Sample, is_float

Function = Callable[..., Any]
Test = Callable[[Function, Function], object]
INPUTS = 20  # of "many"
LARGEST_JACOBIAN = 10**6  # entries


class Version(NamedTuple):
    """A fault, whose `kind` it has, or a right implementation, which has none; a fault may show in batches alone."""

    name: str
    kind: str
    forward: Function
    vjp: Function
    batch: bool = False

    def fresh(self) -> "Version":
        """The same as if it had never been called: some faults remember calls, or count them."""
        return self._replace(**cloudpickle.loads(cloudpickle.dumps({"forward": self.forward, "vjp": self.vjp})))


def right_of(row: Row) -> Version:
    """The reference; of a definition of somebody's, what JAX makes of it."""
    known = RIGHT.get(row.name) if row in (OPERATIONS.get(row.name), CATALOGUE.get(row.name)) else None
    if known and known.forward and known.vjp:
        return Version(REFERENCE, "", known.forward, known.vjp)
    return Version(REFERENCE, "", row.forward, row.vjp)


UNSEEN = {"infinity"}  # of what a right version need not promise: where no test of numbers comes


def version_of(row: Row, tried: Fault | Neighbour, dtype: str = "float64") -> Version | None:
    """What a test sees of a fault or of a right neighbour: where only the forward or the vjp is given, the other is the
    right one.

    None where it sees nothing: of a Jacobian, of what another format than `dtype` has, or of one that is right for who
    asks for less.

    >>> from backprop_properties.evidence.faults import FAULTS
    >>> (fault,) = [fault for fault in FAULTS if fault.name == "exp-missing"]
    >>> version_of(OPERATIONS["exp"], fault).kind
    'missing term'
    """
    if dtype not in tried.dtypes or not (tried.forward or tried.vjp):
        return None
    right = right_of(row)
    forward, vjp = tried.forward or right.forward, tried.vjp or right.vjp
    if isinstance(tried, Neighbour):
        return None if {*tried.unpromised} - UNSEEN else Version(tried.name, "", forward, vjp)
    return Version(tried.name, tried.kind, forward, vjp, tried.asks == "batch")


def verdict(test: Test, forward: Function, vjp: Function) -> str:
    """Why a test rejects two functions, or nothing if it accepts them: it raises, or returns False.

    >>> verdict(lambda forward, vjp: forward(1) == 2, lambda x: 2 * x, lambda delta, x: 2 * delta)
    ''
    >>> verdict(lambda forward, vjp: forward(1) == 2, lambda x: x, lambda delta, x: 2 * delta)
    'returned False'
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = test(forward, vjp)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pytest's own are no Exception, nor is exit()
        return guard.said(error)
    return "returned False" if isinstance(result, bool | np.bool_) and not result else ""


# ── Practices ───────────────────────────────────────────────────────────────────────────────────────────────────────


def rejections(practice: str, row: Row, version: Version) -> tuple[bool, bool]:
    """Whether a practice rejects a version on one ordinary random input, and on one of many."""
    test, library, dtype = PRACTICES[practice][1:]
    import_module(library)
    version = version.fresh()

    def rejects(k: int) -> bool:
        by_jax = input_of(row, dtype, version.batch, k)
        sample = Sample([a.copy() for a in by_jax.args if is_float(a)], by_jax.delta.copy(), by_jax)
        return bool(
            verdict(lambda f, vjp: test(f, vjp, sample), *_of_floats(version.forward, version.vjp, by_jax.args))
        )

    first = rejects(0)
    return first, first or any(map(rejects, range(1, INPUTS)))


def _of_floats(forward: Function, vjp: Function, args: Sequence[Array]) -> tuple[Function, Function]:
    """The two as functions of those arguments that are floats; the integers stay what they are."""
    floats = [i for i, a in enumerate(args) if is_float(a)]

    def every(given: Sequence[Array]) -> list[Array]:
        by_place = dict(zip(floats, given, strict=True))
        return [by_place.get(i, a) for i, a in enumerate(args)]

    def cotangents(delta: Array, *given: Array) -> tuple[Any, ...]:
        found = vjp(delta, *every(given))
        return tuple(found[i] for i in floats)

    return lambda *given: forward(*every(given)), cotangents


@cache
def input_of(row: Row, dtype: str, batch: bool, k: int) -> Framework:
    """The `k`-th input: ordinary numbers, if asked for in a batch of three.

    Targets are distributions, and at every other input any numbers.
    """
    domain, examples = domain_of(row, None), range(3 if batch else 1)
    sizes = domain.nearest({letter: (3 + i, 1, 8, 12 - i)[k % 4] for i, letter in enumerate(row.letters)})
    while _jacobian(ordinary_case(domain, np.dtype(dtype), sizes)) > LARGEST_JACOBIAN:
        smaller = domain.nearest({letter: (size + 1) // 2 for letter, size in sizes.items()})
        if smaller == sizes:
            break
        sizes = smaller
    planned = Planned("small", sizes, "plain")  # few: JAX compiles for each
    cases = [made(domain, planned, np.dtype(dtype), 10 * k + example, k) for example in examples]
    args, delta = cases[0].args, cases[0].delta
    if not batch:
        return Framework(definition(row), args, delta)
    each = enumerate(row.is_data)
    together = [np.array([case.args[i] for case in cases]) if data else args[i] for i, data in each]
    return Framework(_batched(row), together, np.array([case.delta for case in cases]))


def _jacobian(case: Case) -> int:
    """The entries of the largest dense Jacobian, which finite differences make and keep a few times."""
    return case.delta.size * max(a.size for a in case.args)


@cache
def _batched(row: Row) -> Function:
    """The definition over a batch."""
    return jax.vmap(definition(row), in_axes=[0 if data else None for data in row.is_data])

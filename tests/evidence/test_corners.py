"""Each corner is wrong where its witness says, by `jax.vjp` of the definition, and right on ordinary inputs."""

import math

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from backprop_oracle.rows import definition, row_of
from backprop_properties.cases.domains import domain_of
from backprop_properties.cases.plan import ordinary_case
from backprop_properties.checking.asked import trial_of
from backprop_properties.checking.check import check
from backprop_properties.evidence.faults.corners import CORNERS, GROUPS
from backprop_properties.evidence.faults.own_constants import counted
from backprop_properties.evidence.faults.table import CAUSES, KINDS
from backprop_properties.laws.table import LAWS
from backprop_reference import OPERATIONS
from samples import sampled


def doubled(a):
    return a if a.dtype.kind in "biu" else a.astype(np.float64)


def pulled_back(operation, delta, args):
    """The value and the vjp, None by integers, of one example."""
    args = [jnp.asarray(doubled(a)) for a in args]
    floats = [i for i, a in enumerate(args) if a.dtype.kind == "f"]

    def f(*some):
        by_position = dict(zip(floats, some, strict=True))
        return definition(operation)(*(by_position.get(i, a) for i, a in enumerate(args)))

    with jax.numpy_rank_promotion("allow"):  # as definitions are traced
        value, back = jax.vjp(f, *(args[i] for i in floats))
    found = dict(zip(floats, back(jnp.asarray(doubled(delta))), strict=True))
    return np.asarray(value), [np.asarray(found[i]) if i in found else None for i in range(len(args))]


def expected(operation, delta, *args):
    """The same of one example, or of a batch with leading axes: one example after the other."""
    row = row_of(operation)
    lead = delta.shape[: delta.ndim - len(row.cores[-1])]
    if operation not in OPERATIONS or not lead:
        return pulled_back(operation, delta, args)
    count = math.prod(lead)
    flat = [a.reshape(count, *a.shape[len(lead) :]) if data else a for a, data in zip(args, row.is_data, strict=True)]
    deltas = delta.reshape(count, *delta.shape[len(lead) :])
    found = [
        pulled_back(operation, deltas[k], [a[k] if data else a for a, data in zip(flat, row.is_data, strict=True)])
        for k in range(count)
    ]
    value = np.array([u for u, _ in found])
    parts = [np.array(part) for part in zip(*(back for _, back in found), strict=True)]
    return value.reshape(lead + value.shape[1:]), [
        part.reshape(lead + part.shape[1:]) if data else part.sum(0)
        for part, data in zip(parts, row.is_data, strict=True)
    ]


def differs(actual, right, eps):
    """Whether a result is another: in its shape, its NaN, or by far more than rounding."""
    if actual is None or right is None:
        return (actual is None) != (right is None)
    actual = np.asarray(actual).astype(np.float64)
    if actual.shape != right.shape or (np.isnan(actual) != np.isnan(right)).any():
        return True
    with np.errstate(invalid="ignore"):
        off = np.where((actual == right) | np.isnan(right), 0, np.abs(actual - right))
    scale = np.abs(right[np.isfinite(right)]).max(initial=0)
    return bool((off > 16 * eps * scale).any())


def results(f, arguments):
    """What calls return, looked at after the last, and whether they wrote to their arguments."""
    before = [[a.tobytes() for a in some] for some in arguments]
    with np.errstate(all="ignore"):
        found = [f(*some) for some in arguments]
    return found, before != [[a.tobytes() for a in some] for some in arguments]


def shown(fault):
    """Whether the witness shows it: all forwards first, then all vjps."""
    calls = list(fault.witness())
    eps = float(ml_dtypes.finfo(np.dtype(fault.dtypes[0])).eps)
    copies = [[np.array(a) for a in call] for call in calls]
    right = {tuple(a.tobytes() for a in copy): expected(fault.operation, *copy) for copy in copies[-12:]}
    wanted = [right.get(tuple(a.tobytes() for a in copy)) for copy in copies]
    found = []
    if fault.forward:
        values, wrote = results(fault.forward, [call[1:] for call in calls])
        found += [wrote, *(differs(u, w[0], eps) for u, w in zip(values, wanted, strict=True) if w)]
    if fault.vjp:
        backs, wrote = results(fault.vjp, calls)
        found += [wrote]
        for back, w in zip(backs, wanted, strict=True):
            if w:
                found += [differs(d, e, eps) for d, e in zip(back, w[1], strict=True)]
    return any(found)


@pytest.mark.parametrize("fault", sampled(CORNERS, CORNERS[::12], CORNERS[::3]))
def test_the_witness_shows_the_fault(fault):
    assert shown(fault), f"{fault.name} is right at its witness"


@pytest.mark.parametrize("fault", sampled(CORNERS, CORNERS[::12], CORNERS[::3]))
def test_ordinary_inputs_do_not_show_the_fault(fault):
    functions = {"forward": fault.forward, "vjp": fault.vjp, "jacobian": fault.jacobian}
    trial = trial_of(row_of(fault.operation), functions, "standard", None)
    domain = domain_of(row_of(fault.operation), None)
    for k in range(3):
        case = ordinary_case(domain, np.dtype(fault.dtypes[0]), k=k)
        for law in ("vjp_equals_jax_vjp", "forward_equals_jax"):
            found = trial.first(case, law)
            assert found is None, f"{fault.name}: {found}"


ASKED = {"": {}, "batch": {"batch": True}} | {
    asks: {"domain": {promise: True}}
    for asks, promise in (
        ("kink", "kinks"),
        ("mask", "masks"),
        ("aliasing", "aliasing"),
        ("infinity", "infinities"),
    )
}


@pytest.mark.parametrize("fault", sampled(CORNERS[::6], CORNERS[::24], CORNERS[::12]))
def test_check_finds_the_fault(fault):
    fault = next((anew for anew in counted() if anew.name == fault.name), fault)
    functions = {"forward": fault.forward, "vjp": fault.vjp, "jacobian": fault.jacobian}
    assert not check(fault.operation, **functions, dtypes=fault.dtypes[:1], **ASKED[fault.asks])


@pytest.mark.parametrize("fault", sampled(GROUPS["not given"], GROUPS["not given"][:2]))
def test_what_is_not_given_is_told(fault):
    report = check(fault.operation, vjp=fault.vjp, dtypes=fault.dtypes[:1], max_examples=20)
    assert report.passed
    assert report.missing
    assert f"{report.missing[0]}" in str(report).splitlines()[0]


def test_the_table_is_whole():
    assert len(CORNERS) >= 90
    assert len({fault.name for fault in CORNERS}) == len(CORNERS)
    assert all(GROUPS.values())
    for fault in CORNERS:
        assert fault.witness, fault.name
        assert fault.law in LAWS, fault.name
        assert fault.kind in KINDS, fault.name
        assert fault.cause in CAUSES, fault.name
        assert set(fault.sizes) <= set(row_of(fault.operation).letters), fault.name
        assert fault.forward or fault.vjp, fault.name

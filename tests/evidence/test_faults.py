"""Every planted fault is rejected by the law that should reject it, every right neighbour is accepted by all laws, and
operations, definitions, domains, derivations and laws have the same names everywhere.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

from backprop_oracle.catalogue import CATALOGUE
from backprop_oracle.definitions import DEFINITIONS
from backprop_oracle.rows import row_of
from backprop_properties import check
from backprop_properties.cases.regimes import regime_case, regimes_of
from backprop_properties.cases.twists import ANYWHERE, twist_of, twisted
from backprop_properties.evidence.faults import ASKS, CAUSES, FAULTS, KINDS, MORE, NEIGHBOURS, implementation
from backprop_properties.evidence.selftest import tried
from backprop_properties.laws.claims import Violation
from backprop_properties.laws.table import LAWS, point
from backprop_properties.laws.trial import violations
from backprop_properties.verification.completeness import check_complete
from backprop_reference import OPERATIONS
from backprop_reference.derivations import DERIVATIONS
from samples import sampled

SIZES = {"n": 3, "d": 4, "k": 2, "m0": 3, "m1": 2, "m2": 4, "m3": 5}  # few shapes, since JAX compiles for each
EXAMPLES, ENOUGH = 60, 20
LAW_OF = {"batch": "batch_equals_the_loop", "mask": "masks_count_for_nothing"}
LAW_OF["infinity"] = "infinities_give_what_the_definition_gives"


def drawn(operation, dtype, count, sizes=()):
    """Cases from every regime in turn, of one shape; every fifth of size 1 throughout, if no sizes are asked for."""
    random = np.random.default_rng(0)
    regimes = [regime for regime in regimes_of(operation) if regime != "masks"]
    shape = {letter: SIZES[letter] for letter in operation.letters} | dict(sizes)
    for k in range(count):
        ones = dict.fromkeys(operation.letters, 1)
        case = regime_case(operation, regimes[k % len(regimes)], np.dtype(dtype), random,
                           ones if k % 5 == 4 and not sizes else shape)  # fmt: skip
        twist = twist_of(k) if twist_of(k) in ANYWHERE else ""
        case = twisted(operation, case, twist, k)
        yield replace(case, tangents=tuple(random.integers(-2, 3, a.shape).astype(a.dtype) for a in case.args))


def violation(row, laws, dtype, count, sizes=()):
    """The first violation of one of `laws` by an implementation, with the law's name, or None."""
    operation = OPERATIONS[row.operation]
    for case in drawn(operation, dtype, count, sizes):
        for law, _, found in violations(laws, point(operation, implementation(row), case)):
            if isinstance(found, Violation):
                return law, found
    return None


ORDINARY = [fault for fault in FAULTS if not fault.witness]  # the others have a test of their own
LECTURE = [fault for fault in ORDINARY if fault.operation in OPERATIONS]
CATALOGUED = [fault for fault in ORDINARY if fault.operation not in OPERATIONS]


@pytest.mark.parametrize("fault", sampled(LECTURE, LECTURE[::3]))
def test_fault_is_rejected(fault):
    for dtype in fault.dtypes:
        found = violation(fault, {fault.law: LAWS[fault.law]}, dtype, EXAMPLES, fault.sizes)
        assert found, f"{fault.law} accepts {fault.name} in {dtype}"
        assert not crashed(found[1]), f"{fault.name} is not wrong but broken: {found[1]}"


@pytest.mark.parametrize(
    "fault", sampled(CATALOGUED[::18], CATALOGUED[::100], CATALOGUED[::36])
)  # `backprop selftest` tries them all
def test_check_rejects_the_fault_of_a_definition(fault):
    outcome = tried(fault.name)
    assert fault.law in outcome.laws, f"{fault.law} accepts {fault.name}; rejected by {outcome.laws}"
    assert not re.match(r"\w+ raised ", outcome.message), f"{fault.name} is not wrong but broken: {outcome.message}"


def crashed(violation):
    return re.match(r"\w+Error: ", violation.message)


BY_LAWS = [row for row in NEIGHBOURS if row not in MORE and row.operation in OPERATIONS]
BY_CHECK = [row for row in NEIGHBOURS if row not in BY_LAWS]


@pytest.mark.parametrize("neighbour", sampled(BY_LAWS, BY_LAWS[::4]))
def test_neighbour_is_accepted(neighbour):
    unpromised = {LAW_OF[what] for what in neighbour.unpromised}
    laws = {name: law for name, law in LAWS.items() if name not in unpromised}
    for dtype in neighbour.dtypes:
        found = violation(neighbour, laws, dtype, ENOUGH)
        assert not found, f"{found[0]} rejects {neighbour.name} in {dtype}: {found[1]}"


SAMPLE = [*MORE[::8], *BY_CHECK[len(MORE) :: 30]]
TRIED = [row for k, row in enumerate(BY_CHECK) if row in MORE or row in SAMPLE or k % 4 == 0]  # the selftest tries all


@pytest.mark.parametrize("neighbour", sampled(TRIED, SAMPLE, TRIED[::2]))
def test_neighbour_passes_check(neighbour):
    functions = {"forward": neighbour.forward, "vjp": neighbour.vjp, "jacobian": neighbour.jacobian}
    batch = "batch" not in neighbour.unpromised
    report = check(neighbour.operation, **functions, dtypes=neighbour.dtypes, batch=batch)
    assert report.passed, report


# One takes memory that grows with the square of a size, the other returns a list of more rows than travel one by one.
FAR = ("softmax-by-outer", "matvec-loops")


@pytest.mark.parametrize("neighbour", sampled(NEIGHBOURS, [row for row in NEIGHBOURS if row.name in FAR]))
def test_neighbour_passes_check_in_another_process(neighbour):
    functions = {"forward": neighbour.forward, "vjp": neighbour.vjp, "jacobian": neighbour.jacobian}
    batch = "batch" not in neighbour.unpromised
    report = check(neighbour.operation, **functions, dtypes=neighbour.dtypes[:1], batch=batch or None, isolated=True)
    assert report.passed, report


# ── The tables ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_are_as_many_as_promised():
    assert len(FAULTS) >= 120
    assert len(NEIGHBOURS) >= 40


@pytest.mark.parametrize("table", [FAULTS, NEIGHBOURS], ids=["faults", "neighbours"])
def test_names_are_unique(table):
    assert len({row.name for row in table}) == len(table)


@pytest.mark.parametrize("table", [FAULTS, NEIGHBOURS], ids=["faults", "neighbours"])
def test_every_operation_has_its_rows(table):
    rows = [*OPERATIONS.values(), *CATALOGUE.values()]
    lacking = {row.base for row in rows} - {row_of(row.operation).base for row in table}
    assert not lacking, f"no planted fault, or no right neighbour, in evidence/faults of {', '.join(sorted(lacking))}"


def test_every_operation_has_a_fault():
    lacking = set(OPERATIONS) - {fault.operation for fault in FAULTS}
    assert not lacking, f"no planted fault in evidence/faults of {', '.join(sorted(lacking))}"


def test_every_law_kind_and_cause_has_a_fault():
    assert {fault.law for fault in FAULTS} == set(LAWS) - {"bears_another_thread"}  # tests/checking/test_threads.py
    assert {fault.kind for fault in FAULTS} == set(KINDS)
    assert {fault.cause for fault in FAULTS} == set(CAUSES)
    assert {fault.asks for fault in FAULTS} == {"", *ASKS}


def test_each_row_has_functions_and_sizes_of_its_operation():
    for row in (*FAULTS, *NEIGHBOURS):
        assert row.forward or row.jacobian or row.vjp, row.name
        assert set(getattr(row, "sizes", {})) <= set(row_of(row.operation).letters), row.name


def test_every_operation_has_all_that_its_row_needs():
    for row in OPERATIONS.values():
        check_complete(row)
    assert {row.base for row in OPERATIONS.values()} == set(DEFINITIONS)


def test_derivations_are_those_of_operations_and_facts_are_about_arguments():
    assert set(DERIVATIONS) <= set(OPERATIONS)
    for row in OPERATIONS.values():
        assert {*row.parameters, *row.domain, *row.masks} <= set(row.arguments)
        assert {name for layer in row.layers for name in (layer.W, layer.b.removeprefix("-")) if name} <= {
            *row.arguments
        }
        assert set(row.positive) <= set(row.letters)


# ── A wrong derivation ──────────────────────────────────────────────────────────────────────────────────────────────


def without_a_path(*args):
    return {"x": DERIVATIONS["softmax"](*args)["x"][:1]}


def with_a_factor_at_another_place(*args):
    first, (by_h, by_g, *rest) = DERIVATIONS["softmax"](*args)["x"]
    return {"x": [first, [by_h, replace(by_g, inputs=(2 * by_g.inputs[0],)), *rest]]}


def with_the_slides_lost_sign(*args):
    (path,) = DERIVATIONS["softmax_cross_entropy"](*args)["x"]
    return {"x": [path[1:]]}


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ("softmax", without_a_path),
        ("softmax", with_a_factor_at_another_place),
        ("softmax_cross_entropy", with_the_slides_lost_sign),
    ],
)
def test_a_wrong_derivation_is_rejected(monkeypatch, operation, wrong):
    monkeypatch.setattr("backprop_properties.laws.table.DERIVATIONS", {operation: wrong})
    law, row = "factors_equal_jax_and_multiply_to_the_jacobian", OPERATIONS[operation]
    found = [
        found
        for case in drawn(row, "float64", 10)
        for _, _, found in violations({law: LAWS[law]}, point(row, row, case))
        if isinstance(found, Violation)
    ]
    assert found
    assert not any(map(crashed, found)), found[0].message

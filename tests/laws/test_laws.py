"""Every law on every operation, argument and dtype: the same engine that `backprop verify` runs."""

import random

import pytest
from hypothesis import settings

from backprop_oracle.rows import definition
from backprop_properties.cases.shapes import shape_pool
from backprop_properties.laws.trial import EVERY_LAW
from backprop_properties.verification.every_law import try_operation
from backprop_reference import OPERATIONS
from backprop_reference.derivations import DERIVATIONS
from samples import FAMILIES, sampled


@pytest.mark.parametrize("name", sampled(OPERATIONS, FAMILIES[::3]))
def test_all_laws_hold(name: str) -> None:
    profile = settings()
    seed = 0 if profile.derandomize else random.SystemRandom().randrange(2**32)
    pool = shape_pool(OPERATIONS[name], seed, count=5)
    outcome = try_operation(OPERATIONS[name], examples=profile.max_examples, seed=seed, pool=pool)
    assert outcome.cases >= 0.9 * profile.max_examples
    assert not outcome.failures, "\n".join(f"{f.law}: {f.message}\n{f.reproduction}" for f in outcome.failures)


SUMS = ("scale", "add", "hadamard", "sum_reduction", "matvec", "subtract", "dot", "squared_error", "affine")


def laws_of(name: str) -> set[str]:
    """The laws that have something to say of an operation."""
    scalar = OPERATIONS[name].signature.endswith("->()")
    special = {"masks_count_for_nothing"} & (
        {"masks_count_for_nothing"} if name in ("softmax", "softmax_cross_entropy") else set()
    )
    special |= {"softmax_ignores_a_shift"} if name == "softmax" else set()
    special |= {"vjp_of_one_equals_jax_grad"} if scalar else set()
    special |= {"factors_equal_jax_and_multiply_to_the_jacobian"} if name in DERIVATIONS else set()
    special |= {"infinities_give_what_the_definition_gives"} if name != "logistic_regression" else set()  # NaN, mostly
    special |= {"sums_up_to_the_largest_are_numbers"} if name in SUMS else set()
    always = set(EVERY_LAW) - {
        "infinities_give_what_the_definition_gives",
        "bears_another_thread",  # whoever calls the reference, nothing interrupts it
        "sums_up_to_the_largest_are_numbers",
        "masks_count_for_nothing",
        "softmax_ignores_a_shift",
        "vjp_of_one_equals_jax_grad",
        "factors_equal_jax_and_multiply_to_the_jacobian",
    }
    return always | special


@pytest.mark.parametrize("name", ["softmax", "logistic_regression", "scale", "tanh", "two_layer_network[tanh]"])
def test_every_law_was_tried_and_compared_numbers(name: str) -> None:
    outcome = try_operation(OPERATIONS[name], examples=15)
    tried = {law for (law, _), tally in outcome.tallies.items() if tally.entries}
    assert tried == laws_of(name)


def test_every_slide_from_7_to_16_has_a_derivation() -> None:
    derived = {name for name, row in OPERATIONS.items() if row.slide[0].isdigit() and int(row.slide.split()[0]) >= 7}
    assert derived == set(DERIVATIONS)


def test_every_operation_has_a_definition() -> None:
    for name in OPERATIONS:
        assert callable(definition(name))

"""A slide's derivation at a point: it is the operation's, nothing vanishes, and what walks back is its vjp."""

import numpy as np
import pytest

from backprop_properties.pictures.derived import derived, lecture, point, shows, sizes_for
from backprop_properties.pictures.numbers import numbers
from backprop_reference import OPERATIONS
from backprop_reference.derivations import CORRECTIONS, DERIVATIONS


@pytest.mark.parametrize("name", OPERATIONS)
def test_steps_end_in_the_value_paths_add_up_to_the_jacobian_and_the_walk_back_is_the_vjp(name: str) -> None:
    row = OPERATIONS[name]
    found = derived(row)
    args = list(found.args.values())
    if name in DERIVATIONS:
        np.testing.assert_allclose(found.steps[-1].value, row.forward(*args), rtol=1e-12)
    for J, (argument, a) in zip(found.jacobians, found.args.items(), strict=True):
        if found.ways:
            total = sum(np.reshape(way.product.value, J.value.shape) for way in found.ways[argument])
            np.testing.assert_allclose(total, J.value, rtol=1e-9, atol=1e-12)
        assert found.cotangents[argument].shape == a.shape
    back = {node.name: node.cotangent for node in found.graph.nodes}
    assert {name: back[name] for name in found.args} == {name: numbers(d) for name, d in found.cotangents.items()}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_factor_names_two_steps_or_arguments(name: str) -> None:
    found = derived(OPERATIONS[name])
    known = {*found.args, *(step.name for step in found.steps)}
    for ways in found.ways.values():
        for factor in (factor for way in ways for factor in way.factors):
            assert set(factor.symbol[1:].split("/∂")) <= known, factor.symbol


def test_what_saturates_or_vanishes_shows_nothing() -> None:
    (tanh,) = OPERATIONS["tanh"].jacobian(np.array([1.0, 9.0]))
    (relu,) = OPERATIONS["relu"].jacobian(np.array([1.0, -1.0]))
    (right,) = OPERATIONS["tanh"].jacobian(np.array([1.0, -0.5]))
    assert (shows(tanh), shows(relu), shows(right)) == (False, False, True)


def test_a_point_keeps_to_the_domain() -> None:
    for row in OPERATIONS.values():
        sizes = sizes_for(row)
        assert len(set(sizes.values())) == len(sizes)
        for name, a in zip(row.arguments, point(row), strict=True):
            if row.domain.get(name) == "target":
                assert a.sum() == 1 and (a > 0).all()  # noqa: PT018
            if row.domain.get(name) == "positive":
                assert (a > 0).all()


def test_the_lecture_has_a_row_of_every_family_in_the_slides_order() -> None:
    slides = [int(OPERATIONS[name].slide.split()[0]) for name in lecture()]
    assert slides == sorted(slides)
    assert {OPERATIONS[name].base for name in lecture()} == {row.base for row in OPERATIONS.values()}


def test_corrections_are_of_families_that_there_are() -> None:
    assert set(CORRECTIONS) <= {row.base for row in OPERATIONS.values()}
    assert sum(map(len, CORRECTIONS.values())) == 9

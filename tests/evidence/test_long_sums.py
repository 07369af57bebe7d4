"""Sums of equal terms and of terms made for it, and products of wide matrices, where BLAS alone adds."""

import io
from fractions import Fraction

import numpy as np
import pytest
from rich.console import Console

from backprop_properties.evidence import long_sums
from backprop_properties.evidence.long_sums import EQUAL, MADE, SUMS, markdown, measure, print_sums
from backprop_properties.laws.bounds import BOUNDS
from backprop_properties.laws.ulp import ulp
from backprop_reference import matvec, matvec_vjp

WIDE = {"W x of 64", "δᵀ xᵀ of 5000, 64×64"}
DOTS = {"W x", "W x of 16", "W x of 100"}  # BLAS's dot has more chains, and shorter ones, the newer the processor is


@pytest.fixture(scope="module")
def sums():
    return measure()


def test_the_reference_is_within_its_bound_but_where_blas_alone_adds(sums):
    assert {m.sum for m in sums} == set(SUMS) > WIDE
    assert {m.sum for m in sums if m.terms == EQUAL and not m.errors["reference"] <= m.bound} <= WIDE
    assert all({"reference", "JAX"} <= set(m.errors) for m in sums)


def test_terms_made_for_it_find_the_chains_that_there_are(sums):
    """As the README says: 32 terms of `δ W` are BLAS's own, and all of wide products."""
    made = [m for m in sums if m.terms == MADE]
    assert {m.sum for m in made if not m.errors["reference"] <= m.bound} <= WIDE | {"δ W of 100"}
    assert all(m.errors["reference"] <= 2.5 * m.bound for m in made if m.sum not in WIDE)
    assert all(max(m.errors.values()) > 1 for m in made)
    assert all(m.errors["reference"] > 1 for m in made if m.sum not in DOTS)


def test_a_chain_is_not_within_the_bound(monkeypatch):
    chain = SUMS["sum(x)"]._replace(ours=lambda x: np.cumsum(x)[-1])
    monkeypatch.setattr(long_sums, "SUMS", {"chain": chain})
    for m in measure():
        assert m.errors["reference"] > 10 * m.bound


def test_operations_can_be_chosen():
    assert {m.sum for m in measure(["dot", "softmax"])} == {"xᵀy"}
    assert measure(["softmax"]) == []


def test_libraries_that_are_missing_are_left_out(monkeypatch):
    monkeypatch.setattr(long_sums, "find_spec", lambda module: None)
    assert [set(m.errors) for m in measure(["dot"])] == [{"reference", "JAX"}] * 4


def test_both_tables_have_every_sum(sums):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    print_sums(sums, console)
    lines = markdown(sums).splitlines()
    assert len(lines) == 2 + 2 * len(SUMS)
    assert len({line.count("|") for line in lines}) == 1
    for name in SUMS:
        assert name in markdown(sums)
    assert all(len(line) <= 80 for line in console.file.getvalue().splitlines())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("width", [1, 10, 17, 50, 64])
def test_short_sums_of_terms_made_for_it(width, dtype):
    """Chains of 128 terms in columns left over from fours once lost 63 units, `W x` 31.

    Of 255 terms, 15 are left over from the chains of BLAS's dot without AVX-512, and added one by one.
    """
    eps = float(np.finfo(dtype).eps)
    for n, times in ((32, 1), (33, 1), (48, 1), (63, 1), (100, 1), (128, 1), (255, 1.25), (300, 1), (1033, 1.25)):
        limit = times * BOUNDS["sum", "u"].limit(n)
        for place in (0, 1, n // 2, n - 1):
            terms = np.full(n, 1.01 * eps / 2, dtype)
            terms[place] = 1
            exact = (n - 1) * float(terms[1 if place != 1 else 0])
            W, batch = np.ones((width, n), dtype), np.tile(terms, (4, 1))
            dx = matvec_vjp(terms, np.ones((n, width), dtype), np.ones(width, dtype))[1]
            for u, most in ((matvec(W, terms), limit), (matvec(W[:1], batch), limit), (dx, 2.5 * limit)):
                assert np.abs(u.astype(np.float64) - 1 - exact).max() <= most * eps


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("draw", ["normal", "uniform"])
def test_wide_products_of_random_terms_are_within_the_bound(draw, dtype):
    rng, n = np.random.default_rng(0), 3000
    W, x = getattr(rng, draw)(size=(2, 64, n)).astype(dtype)
    u = matvec(W, x)
    for i, j in rng.integers(64, size=(20, 2)):
        terms = [Fraction(a) * Fraction(b) for a, b in zip(x[i].tolist(), W[j].tolist(), strict=True)]
        unit = Fraction(float(ulp(float(sum(map(abs, terms))), dtype)))
        assert abs(Fraction(float(u[i, j])) - sum(terms)) <= Fraction(BOUNDS["sum", "u"].limit(n)) * unit

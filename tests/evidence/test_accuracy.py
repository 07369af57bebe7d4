"""The comparison with other libraries: the same inputs, honest numbers, and every way in which they are shown."""

import io
import json
import math
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from backprop_properties.cases.regimes import regimes_of
from backprop_properties.commands.files import between_markers
from backprop_properties.evidence import libraries as peers
from backprop_properties.evidence.accuracy import (
    Row,
    libraries,
    markdown,
    plot,
    print_table,
    run,
    shown,
    to_dict,
    worst,
)
from backprop_reference import OPERATIONS

NAMES = ["softmax", "softmax_cross_entropy", "sigmoid", "dot"]


@pytest.fixture(scope="module")
def rows():
    return run(NAMES, cases=4, seed=0)


def test_every_operation_and_regime_is_measured(rows):
    measured = {(row.operation, row.regime, row.dtype) for row in rows if row.implementation == "reference"}
    for name in NAMES:
        regimes = set(regimes_of(OPERATIONS[name])) - {"single"}
        if name == "dot":
            regimes -= {"huge"}  # where the sum overflows
        for regime in regimes:
            assert {(name, regime, "float64"), (name, regime, "float32")} <= measured


def test_the_reference_is_within_its_bounds_and_others_are_not(rows):
    assert all(row.error <= row.bound for row in rows if row.implementation == "reference")
    jax = worst([row for row in rows if row.dtype == "float64"], "operation", "regime", "quantity")
    assert jax["softmax", "confident", "jacobian"]["JAX"] > 1e9
    assert jax["softmax_cross_entropy", "confident", "vjp"]["JAX"] > 1e9
    assert jax["dot", "ordinary", "value"]["JAX"] < 10


def test_the_same_seed_gives_the_same_numbers():
    assert run(["dot"], cases=2, seed=3) == run(["dot"], cases=2, seed=3) != run(["dot"], cases=2, seed=4)


def test_progress_is_told():
    told = []
    run(["negate", "add"], cases=1, progress=told.append)
    assert told == ["negate", "add"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_peers_compute_the_same_operation(name):
    """At an ordinary point every library agrees with the reference: value, Jacobians and vjp."""
    row, draw = OPERATIONS[name], np.random.default_rng(0)
    sizes = dict(zip(["n", "d", "k", "m0", "m1", "m2", "m3"], [3, 2, 2, 3, 2, 3, 2], strict=True))
    args = [np.abs(draw.normal(size=[sizes[letter] for letter in core])) + 0.1 for core in row.cores[:-1]]
    delta = draw.normal(size=row.forward(*args).shape)
    found = dict(peers.peers(row))
    assert "JAX" in found
    for implementation in found.values():
        np.testing.assert_allclose(implementation.forward(*args), row.forward(*args), rtol=1e-12)
        if implementation.vjp:
            for a, b in zip(implementation.vjp(delta, *args), row.vjp(delta, *args), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        if implementation.jacobian and name == "softmax":
            dense = row.jacobian(*args)[0].todense()
            np.testing.assert_allclose(implementation.jacobian(*args)[0], dense, rtol=1e-9)


def test_libraries_that_are_missing_are_left_out(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda module: None if module in ("torch", "scipy") else sys)
    assert list(dict(peers.peers(OPERATIONS["softmax"]))) == ["JAX"]
    assert libraries(run(["softmax"], cases=1)) == ["reference", "JAX"]


def test_json_has_no_infinities(rows):
    text = json.dumps(to_dict([*rows, replace(rows[0], error=math.inf)]), allow_nan=False)
    assert json.loads(text)["rows"][-1]["error"] == "inf"


def test_table(rows):
    console = Console(file=io.StringIO(), width=200, color_system=None)
    print_table(rows, console)
    text = console.file.getvalue()
    assert all(name in text for name in NAMES)
    assert "confident" in text
    assert "ours" in text
    assert "certified comparisons" in text


def test_markdown_is_a_table(rows):
    for lines in (markdown(rows).splitlines(), markdown(rows, every_regime=False).splitlines()):
        assert len({line.count("|") for line in lines}) == 1
        assert lines[1].startswith("|---|")
    assert len(lines) == 2 + len(NAMES)


def test_plot_is_an_svg_with_a_mark_for_each_number(rows):
    wrong = [replace(row, error=math.inf) for row in rows if row.implementation == "SciPy"]
    tree = ET.fromstring(plot([*rows, *wrong]))
    titles = [title.text for title in tree.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == sum(len(by) for by in worst([r for r in rows if r.dtype == "float64"], "operation").values())
    if wrong:
        assert "SciPy: wrong" in titles


def test_markers():
    text = "# Title\n<!-- accuracy -->\nold\n<!-- /accuracy -->\nend"
    once = between_markers(text, "new", "accuracy")
    assert (
        between_markers(once, "new", "accuracy") == once == "# Title\n<!-- accuracy -->\nnew\n<!-- /accuracy -->\nend"
    )
    with pytest.raises(ValueError, match="expected one <!-- accuracy -->"):
        between_markers("no markers", "new", "accuracy")


def test_numbers_are_short():
    assert [shown(e) for e in (0.0, 9.96, 99.5, 12345.0)] == ["0.0", "10.0", "100", "1e04"]
    row = Row("a", "r", "value", "float64", "JAX", math.inf, 1.0, 1)
    assert worst([row], "operation") == {("a",): {"JAX": math.inf}}

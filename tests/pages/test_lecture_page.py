"""Pages of the lecture: in the slides' order, every formula as MathML, small, and whole in a browser."""

import inspect
from pathlib import Path
from xml.etree.ElementTree import tostring

import pytest
from typer.testing import CliRunner

from backprop_oracle.catalogue import CATALOGUE
from backprop_properties.commands.app import app
from backprop_properties.pages.lecture import lecture_page, operation_page
from backprop_properties.pages.mathml import math
from backprop_properties.pages.page import LARGEST
from backprop_properties.pictures.derived import derived, lecture, row_named
from backprop_reference import OPERATIONS

from .browser import needs_chromium, seen
from .test_report_page import Tags, visible


def page_of_all() -> str:
    return lecture_page([derived(row) for name in lecture() if (row := row_named(name))])


def test_the_lecture_is_one_small_page_in_the_slides_order() -> None:
    page = page_of_all()
    assert len(page.encode()) < LARGEST
    places = [page.index(f">{OPERATIONS[name].slide}</h2>") for name in lecture()]
    assert places == sorted(places)
    tags = Tags()
    tags.feed(page)
    assert {"math", "mfrac", "msub", "msup", "svg"} <= tags.names
    assert not {"script", "link", "iframe", "img"} & tags.names


def test_an_operation_has_steps_factors_closed_form_vjp_graph_and_corrections() -> None:
    found = visible(operation_page(derived(OPERATIONS["softmax"])))
    pieces = ("A point at which nothing", "By x", "their product", "The sum of both paths", "In closed form")
    pieces += ("The cotangent walks back", "t = f h", "↑ δ = [1, −0.5, 0.25]", "Where the slide is to be corrected")
    places = [found.find(piece) for piece in pieces]
    assert -1 not in places, pieces[places.index(-1)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("formula", "markup"),
    [
        ("∂L/∂W¹", "<mfrac><mrow><mo>∂</mo><mi>L</mi></mrow><mrow><mo>∂</mo><msup><mi>W</mi><mn>1</mn></msup></mrow>"),
        ("∂L_SCE/∂u", "<mo>∂</mo><msub><mi>L</mi><mi>SCE</mi></msub>"),
        ("h′(x)", "<mi>h′</mi><mo>(</mo><mi>x</mi><mo>)</mo>"),
        ("Σ_j s_j", '<msub><mo>Σ</mo><mi>j</mi></msub><mspace width="0.15em" /><msub><mi>s</mi><mi>j</mi></msub>'),
        ("g⁻¹", "<msup><mi>g</mi><mrow><mo>−</mo><mn>1</mn></mrow></msup>"),
        ("mᵢ₋₁", "<msub><mi>m</mi><mrow><mi>i</mi><mo>−</mo><mn>1</mn></mrow></msub>"),
        ("W1 h0", '<msub><mi>W</mi><mn>1</mn></msub><mspace width="0.15em" /><msub><mi>h</mi><mn>0</mn></msub>'),
        ("(ŷ − y)ᵀ", "<msup><mo>)</mo><mi>T</mi></msup>"),
        ("a < b", "<mo>&lt;</mo>"),
    ],
)
def test_formulas_become_mathml(formula: str, markup: str) -> None:
    assert markup in tostring(math(formula), encoding="unicode")


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CATALOGUE)
def test_every_definition_of_the_catalogue_has_a_page(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["show", name, "--html", str(tmp_path / "page.html")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<svg" in page or "too many to draw" in page
    assert inspect.getsource(CATALOGUE[name].f).split("(")[0].split()[-1] in page


@needs_chromium
@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_the_lecture_without_errors_and_cuts_no_text(width: int) -> None:
    found, console = seen(page_of_all(), width)
    assert found == {"width": width, "cut": []}
    assert console == []

"""The page of a check: what it tells, whoever's texts are in it, however large the operation, in a browser."""

import html
import re
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from backprop_properties import Definition, check
from backprop_properties.cases.case import Case, directions
from backprop_properties.checking.asked import trial_of
from backprop_properties.checking.guard import Ended
from backprop_properties.checking.pictured import pictured
from backprop_properties.checking.report import Report
from backprop_properties.pages.page import CELLS, DARK, GROUNDS, LARGEST, LIGHT, TEXTS
from backprop_properties.pages.report import report_page

from .browser import Tags, needs_chromium, seen

FEW = {"max_examples": 20}


def rms_norm(x: Any, w: Any) -> Any:
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * w


def without_the_mean(delta: Any, x: Any, w: Any) -> Any:
    r = 1 / np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-6)
    return delta * w * r, (delta * x * r).sum(0)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


def diagonal_only(delta: Any, x: Any) -> Any:
    s = softmax(x)
    return s * (1 - s) * delta


@pytest.fixture(scope="module")
def wrong() -> list[tuple[str, Report]]:
    own = check(Definition(rms_norm, "(b,n),(n)"), vjp=without_the_mean, pictures=True, **FEW)
    return [
        ("mine.py", own),
        ("mine.py", check("softmax", forward=softmax, vjp=diagonal_only, pictures=True, **FEW)),
        ("other.py", check("square", forward=lambda x: x * x, pictures=True, **FEW)),
    ]


def visible(page: str) -> str:
    """The text of a page, without what it is marked up with."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.split("</style>")[1])).split())


def test_the_page_has_verdict_cause_graph_jacobian_input_and_code(wrong: list[tuple[str, Report]]) -> None:
    text = visible(report_page(wrong))
    for piece in (
        *("2 of 3 not right", "square forward ✓ right", "softmax vjp ✗ WRONG"),
        *("dx is what comes out if jnp.mean(x * x, -1, keepdims=True) were a constant", "u = v6 × w", "v5 = √v4"),
        *("On the edge from v4 back to v3 the cotangent is lost", "2 more marked edges would do the same"),
        *("∂u/∂x as it should be", "∂u/∂x as it is", "∂u/∂x the difference", "u[0, 1] by x[0, 0]: "),
        *("The smallest input that shows it", "dx, yours", "import numpy as np", "replay("),
    ):
        assert piece in text, piece


def test_without_pictures_the_page_has_the_rest() -> None:
    report = check("softmax", vjp=diagonal_only, **FEW)
    page = report_page([("mine.py", report)])
    assert not report.pictures
    assert "<svg" not in page
    assert "the diagonal of the Jacobian only" in visible(page)


def test_nothing_comes_from_elsewhere_and_nothing_is_run(wrong: list[tuple[str, Report]]) -> None:
    page = report_page(wrong)
    tags = Tags()
    tags.feed(page)
    assert not {"script", "link", "iframe", "img", "object", "use"} & tags.names
    assert not {"src", "href", "srcset", "action"} & tags.attributes
    assert not re.search(r"url\(|@import", page)
    assert "Content-Security-Policy" in page


def test_texts_of_others_are_texts() -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\x00\ud800"

    def vjp(delta: Any, x: Any) -> Any:
        if x.size > 1:
            raise ValueError(evil)
        return 3 * delta * x

    report = check("square", vjp=vjp, pictures=True, **FEW)
    first = report.failures[0]
    failures = (*report.failures, replace(first, law=evil, message=evil, hint=evil, where=evil, operation=evil))
    pictures = tuple(p._replace(note=evil) for p in report.pictures)
    page = report_page([(evil, replace(report, operation=evil, failures=failures, pictures=pictures))], [evil])
    tags = Tags()
    tags.feed(page)
    assert "alert(1)" in visible(page)
    assert not {"script", "img"} & tags.names
    assert not re.search("[\x00\ud800]", page)
    assert not any(name.startswith("on") for name in tags.attributes)


def test_an_operation_of_a_million_entries_has_a_small_page_that_says_what_is_left_out() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        return delta * np.cos(x) * (1 if x.size < 1000 else 2)

    row = Definition(lambda x: jnp.sin(x), "(n)", name="sine")
    report = check(row, vjp=lambda delta, x: 2 * delta * np.cos(x), **FEW)
    x = np.random.default_rng(0).standard_normal(10**6)
    case = Case((x,), np.ones_like(x), directions((x,)))
    failure = replace(report.failures[0], case=case, whole=None, index=(70_000,))
    trial = trial_of(row, {"forward": None, "vjp": vjp, "jacobian": None}, "standard", None)
    large = replace(report, failures=(failure,))
    large = replace(large, pictures=pictured(trial, large))
    page = report_page([("mine.py", large)])
    assert len(page.encode()) < LARGEST
    assert large.pictures[0].graph
    (matrix,) = large.pictures[0].matrices
    assert {"u[70000]", "x[70000]"} <= {*matrix.rows, *matrix.columns}, "around the wrong entry"
    assert matrix.actual not in (None, matrix.expected)
    for piece in ("1,000,000 numbers", "16 rows and 16 columns of 1000000×1000000 are shown", "Left out: the code"):
        assert piece in visible(page), piece


def test_who_ends_while_pictures_are_made_has_a_report(wrong: list[tuple[str, Report]]) -> None:
    def ends(delta: Any, x: Any, w: Any) -> Any:
        raise Ended("the process ended itself")

    report = wrong[0][1]
    trial = trial_of(
        Definition(rms_norm, "(b,n),(n)"), {"forward": None, "vjp": ends, "jacobian": None}, "standard", None
    )
    made = pictured(trial, report)
    assert [picture.note for picture in made] == ["no more pictures: Ended: the process ended itself"]
    assert "no more pictures" in visible(report_page([("mine.py", replace(report, pictures=made))]))


def test_many_reports_have_a_page_that_says_how_many_are_left_out(wrong: list[tuple[str, Report]]) -> None:
    page = report_page(wrong[:1] * 60)
    assert len(page.encode()) < LARGEST
    assert re.search(r"Left out, so that this page stays small: what is wrong with \d+ more", visible(page))


# ── To look at ──────────────────────────────────────────────────────────────────────────────────────────────────────


def luminance(colour: tuple[float, ...]) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """As WCAG 2 defines it.

    >>> round(contrast(rgb("#000000"), rgb("#ffffff")))
    21
    """
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(palette: dict[str, str]) -> None:
    for text in TEXTS:
        for ground in GROUNDS:
            assert contrast(rgb(palette[text]), rgb(palette[ground])) >= 4.5, (text, ground)
    for cell in CELLS:  # a number in a heat map, on whatever strength of its colour
        for strength in np.linspace(0, 1, 21):
            mixed = zip(rgb(palette[cell]), rgb(palette["paper"]), strict=True)
            assert contrast(rgb(palette["ink"]), tuple(strength * a + (1 - strength) * b for a, b in mixed)) >= 4.5, (
                cell
            )
    for drawn in ("line", "bad"):
        assert contrast(rgb(palette[drawn]), rgb(palette["paper"])) >= 3, drawn


@needs_chromium
@pytest.mark.parametrize("width", [360, pytest.param(1280, marks=pytest.mark.exhaustive)])
def test_a_browser_shows_the_page_without_errors_and_cuts_no_text(wrong: list[tuple[str, Report]], width: int) -> None:
    found, console = seen(report_page(wrong), width)
    assert found == {"width": width, "cut": []}
    assert console == []


@needs_chromium
@pytest.mark.exhaustive
def test_a_browser_would_see_a_text_that_is_cut_and_an_error(wrong: list[tuple[str, Report]]) -> None:
    page = report_page(wrong).replace("</main>", "<p style='white-space: nowrap'>" + "wide " * 99 + "</p></main>")
    found, console = seen(page.replace("</main>", "</main><script>broken(</script>"), 360)
    assert found["cut"]
    assert console


def test_what_is_to_be_pasted_keeps_its_lines() -> None:
    assert "a = 1\nb = 2</pre>" in report_page([], ["mine.py: to have it checked, paste:\na = 1\nb = 2"])

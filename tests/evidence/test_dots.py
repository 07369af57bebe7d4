"""Drawings: labels are whole, and no mark hides another, though all have the same number."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

from backprop_properties.evidence.dots import CHARACTER, Chart, Line, svg

NAMES = ["reference", "JAX", "PyTorch", "SciPy"]
CHART = Chart("Errors <in ULP>", NAMES, 0.1, 1e17, {1.0: "1", 1e2: "10^2"}, "limit")
LABELS = ["exp", "backpropagation[tanh,softplus,identity]"]
DRAWN = svg(CHART, [Line(label, dict.fromkeys(NAMES, 1.0), dict.fromkeys(NAMES, "1.0"), 0.5) for label in LABELS])
SPACE = "{http://www.w3.org/2000/svg}"


def test_no_mark_hides_another() -> None:
    marks = [group for group in ET.fromstring(DRAWN).iter(f"{SPACE}g") if group.find(f"{SPACE}title") is not None]
    heights = sorted(float(group.attrib["transform"].rstrip(")").split()[1]) for group in marks)
    assert len(heights) == 2 * len(NAMES)
    assert min(b - a for a, b in pairwise(heights)) >= 7


def test_labels_are_whole() -> None:
    for text in ET.fromstring(DRAWN).iter(f"{SPACE}text"):
        if text.text in LABELS:
            assert float(text.attrib["x"]) >= CHARACTER * len(text.text)


def test_what_is_infinite_is_a_cross_at_the_end() -> None:
    drawn = svg(CHART, [Line("exp", {"JAX": float("inf"), "SciPy": 1e17}, {"JAX": "wrong", "SciPy": "1e17"})])
    ends = re.findall(r'<g transform="translate\(([\d.]+) [\d.]+\)" (stroke|fill)="[^"]*"><title>', drawn)
    assert [paint for _, paint in ends] == ["stroke", "fill"]
    assert ends[0][0] == ends[1][0]

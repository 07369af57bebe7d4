"""What was measured, as a drawing: an SVG with a line for each cell and a mark for each contender."""

from collections.abc import Sequence

from backprop_properties.evidence import dots
from backprop_properties.evidence.dots import Chart, Line

from .cells import COPY, PRODUCT
from .contenders import REFERENCE
from .limits import limits
from .report import duration, names
from .turns import Measured

TITLE = "Time over that of the fastest peer: what is left of 1 is ahead of all"
TICKS = {times: f"{times:g}" for times in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)}


def svg(measured: Sequence[Measured]) -> str:
    """Times over the fastest peer's; a bar is the machine's limit."""
    shown = [m for m in measured if m.cell.kind not in (PRODUCT, COPY) and not m.cell.growth and _fastest(m)]
    limit = limits(measured)
    lines = [
        Line(
            m.cell.title,
            {name: seconds / _fastest(m) for name, seconds in m.seconds.items()},
            {name: duration(seconds) for name, seconds in m.seconds.items()},
            limit.seconds(m.cell) / _fastest(m) if limit else None,
        )
        for m in shown
    ]
    return dots.svg(Chart(TITLE, names(measured), 0.05, 50.0, TICKS, "the machine's limit"), lines)


def _fastest(m: Measured) -> float:
    return min((seconds for name, seconds in m.seconds.items() if name != REFERENCE.name), default=0.0)

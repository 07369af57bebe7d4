"""A drawing of numbers beside each other: a line for each thing measured, a mark for each of those that compete."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isinf, log10

COLOURS = ("#0a7f3f", "#c8324a", "#a86400", "#30638e")  # 3 : 1 and more on white
SHAPES = (  # around 0 0, each another form: readable without colour
    '<circle r="3.6"/>',
    '<path d="M-3.3-3.3h6.6v6.6h-6.6z"/>',
    '<path d="M0-4l4.4 7.5h-8.8z"/>',
    '<path d="M0-4.4l4.4 4.4l-4.4 4.4l-4.4-4.4z"/>',
)
CHARACTER, LANE, GAP, WIDTH, TOP = 7.2, 7, 9, 640, 64  # pixels: of a letter at most, of a mark, between lines


@dataclass(frozen=True)
class Line:
    """Numbers by the name of whom they are of, as positions and as words; `bar` is a number beside them."""

    label: str
    values: Mapping[str, float]
    words: Mapping[str, str]
    bar: float | None = None


@dataclass(frozen=True)
class Chart:
    """A logarithmic axis from `low` to `high` with the marks `ticks`; what is infinite is a cross at its end."""

    title: str
    names: Sequence[str]
    low: float
    high: float
    ticks: Mapping[float, str]
    bar: str = ""


def svg(chart: Chart, lines: Sequence[Line]) -> str:
    """The drawing. Each name has a height of its own in a line, so that no mark hides another.

    >>> chart = Chart("Errors", ["ours"], 0.1, 10, {1: "1"})
    >>> svg(chart, [Line("exp", {"ours": 1.0}, {"ours": "1.0 ULP"})]).count("<title>ours: 1.0 ULP</title>")
    1
    """
    left = 24 + CHARACTER * max(len(line.label) for line in lines)
    step = LANE * len(chart.names) + GAP
    width, height = round(left + WIDTH + 30), TOP + step * len(lines) + 30
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'role="img" aria-label="{escape(chart.title)}" font-family="system-ui, sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="10" y="20" font-size="14" font-weight="bold">{escape(chart.title)}</text>',
            *_legend(chart),
            *_ticks(chart, left, height),
            *(part for k, line in enumerate(lines) for part in _line(chart, line, left, TOP + step * k, step)),
            "</svg>",
            "",
        ]
    )


def _line(chart: Chart, line: Line, left: float, top: float, step: float) -> Iterator[str]:
    middle = top + step / 2
    yield f'<text x="{left - 10:.0f}" y="{middle + 4:.1f}" text-anchor="end">{escape(line.label)}</text>'
    yield f'<path d="M{left:.0f} {top + step:.1f}h{WIDTH}" stroke="#e4e4e4"/>'
    if line.bar is not None:
        yield f'<path d="M{_x(chart, line.bar, left):.1f} {top + 3:.1f}v{step - 6}" stroke="#555" stroke-width="3"/>'
    for k, name in enumerate(chart.names):
        if name in line.values:
            tip = f"<title>{escape(name)}: {escape(line.words[name])}</title>"
            value, y = line.values[name], top + GAP / 2 + LANE * (k + 0.5)
            yield _mark(k, _x(chart, value, left), y, tip, wrong=isinf(value))


def _mark(k: int, x: float, y: float, tip: str, wrong: bool = False) -> str:
    shape = '<path d="M-3.3-3.3l6.6 6.6m0-6.6l-6.6 6.6" stroke-width="2.5"/>' if wrong else SHAPES[k]
    paint = "stroke" if wrong else "fill"
    return f'<g transform="translate({x:.1f} {y:.1f})" {paint}="{COLOURS[k]}">{tip}{shape}</g>'


def _legend(chart: Chart) -> Iterator[str]:
    x = 16.0
    for k, name in enumerate(chart.names):
        yield _mark(k, x, 40, "") + f'<text x="{x + 11:.0f}" y="44">{escape(name)}</text>'
        x += 40 + CHARACTER * len(name)
    if chart.bar:
        yield f'<path d="M{x:.0f} 33v14" stroke="#555" stroke-width="3"/>'
        yield f'<text x="{x + 9:.0f}" y="44">{escape(chart.bar)}</text>'


def _ticks(chart: Chart, left: float, height: float) -> Iterator[str]:
    for value, label in chart.ticks.items():
        x = _x(chart, value, left)
        yield f'<path d="M{x:.1f} {TOP - 4}V{height - 26}" stroke="{"#888" if value == 1 else "#ddd"}"/>'
        base, _, power = label.partition("^")
        raised = f'<tspan dy="-4" font-size="9">{power}</tspan>' if power else ""
        yield f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{base}{raised}</text>'


def _x(chart: Chart, value: float, left: float) -> float:
    inside = min(max(value, chart.low), chart.high)
    return left + WIDTH * log10(inside / chart.low) / log10(chart.high / chart.low)

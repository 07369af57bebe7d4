"""What was measured, as a drawing: an SVG with a line for each cell and a dot for each contender."""

from collections.abc import Iterator, Sequence
from math import log10

from .cells import COPY, PRODUCT
from .contenders import REFERENCE
from .limits import limits
from .report import duration, names
from .turns import Measured

COLOURS = {REFERENCE.name: "#0a7f3f", "JAX": "#d1495b", "PyTorch": "#edae49", "autograd": "#30638e"}
LEFT, LINE, WIDTH, TOP = 330, 17, 640, 62  # pixels
LEAST, MOST = 0.05, 50.0  # ends of the axis, in times of the fastest peer


def svg(measured: Sequence[Measured]) -> str:
    """Times over the fastest peer's: a dot left of 1 is ahead of all peers; a bar is the machine's limit."""
    shown = [m for m in measured if m.cell.kind not in (PRODUCT, COPY) and not m.cell.growth and _fastest(m)]
    height = TOP + LINE * len(shown) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 40}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="20" font-size="14" font-weight="bold">Time over that of the fastest peer, and what the '
        "machine's limit would be</text>",
        *_legend(names(measured)),
        *_grid(height),
    ]
    limit = limits(measured)
    for i, m in enumerate(shown):
        y, fastest = TOP + LINE * i + LINE // 2 + 4, _fastest(m)
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{m.cell.title}</text>')
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y}" y2="{y}" stroke="#eee"/>')
        if limit:
            x = _x(limit.seconds(m.cell) / fastest)
            parts.append(f'<path d="M{x:.1f} {y - 6}v12" stroke="#555" stroke-width="3"/>')
        for name, seconds in reversed(m.seconds.items()):
            tip = f"<title>{name}: {duration(seconds)}</title>"
            centre = f'cx="{_x(seconds / fastest):.1f}" cy="{y}"'
            parts.append(f'<circle {centre} r="4.5" fill="{COLOURS[name]}" fill-opacity="0.9">{tip}</circle>')
    return "\n".join([*parts, "</svg>", ""])


def _fastest(m: Measured) -> float:
    return min((seconds for name, seconds in m.seconds.items() if name != REFERENCE.name), default=0.0)


def _x(times: float) -> float:
    return LEFT + WIDTH * log10(min(max(times, LEAST), MOST) / LEAST) / log10(MOST / LEAST)


def _legend(contenders: Sequence[str]) -> Iterator[str]:
    for i, name in enumerate(contenders):
        x = LEFT + 110 * i
        yield f'<circle cx="{x}" cy="38" r="4.5" fill="{COLOURS[name]}"/><text x="{x + 10}" y="42">{name}</text>'
    x = LEFT + 110 * len(contenders)
    yield f'<path d="M{x} 32v12" stroke="#555" stroke-width="3"/><text x="{x + 10}" y="42">limit</text>'


def _grid(height: int) -> Iterator[str]:
    for times in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20):
        x, colour = _x(times), "#888" if times == 1 else "#ddd"
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{height - 26}" stroke="{colour}"/>'
        yield f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{times}</text>'

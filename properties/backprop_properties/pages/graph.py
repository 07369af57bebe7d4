"""A computation graph as a drawing: arguments above, the output below, on each edge what goes down and what comes back.

Nodes are in layers, by the longest path from an argument; the text of an edge has a place of its own in the layer
between, so that no two texts meet. Within a layer the order follows that of the neighbours.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from ..pictures.numbers import digits
from ..pictures.records import Edge, Graph
from .elements import scrolling, table, tag

LETTER, LINE = 7.4, 16  # pixels of a character and of a line
MOST = 34  # characters of a line in the drawing
GAP, LAYER, EDGE = 18, 34, 9  # between places, between layers, and at most beside an edge
LEGEND = "↓ a value on its way forward, ↑ the cotangent that should come back; dotted: nothing comes back."
SMALLEST = 0.7  # of its size, on a page with little room; then it scrolls
ROUNDS = 6  # of putting places beside their neighbours


class Place(NamedTuple):
    """A node, a text of an edge, or where an edge passes by: its layer, lines with their classes, and its kind."""

    layer: int
    lines: Sequence[tuple[str, str, str]]  # what is shown, all of it, and the class
    kind: str
    wrong: bool = False

    @property
    def width(self) -> float:
        longest = max((len(line) for line, _, _ in self.lines), default=0)
        return max(longest * LETTER + 16, 14)

    @property
    def height(self) -> float:
        return LINE * len(self.lines) + 10 if self.lines else 4


def drawing(graph: Graph, label: str) -> Element:
    """The graph as SVG, and a table that says the same."""
    if not graph.nodes:
        return tag("p", graph.left_out)
    svg = _svg(graph, label)
    return tag(
        "figure",
        tag("figcaption", [graph.says, " ", graph.left_out, " ", tag("span", LEGEND, class_="faint")]),
        scrolling(svg, label),
        tag("details", tag("summary", "The same as a table"), _steps(graph), _edges(graph)),
    )


def _short(words: str) -> str:
    return words if len(words) <= MOST else f"{words[: MOST - 1].rstrip(' ,')}…"


def _line(words: str, kind: str) -> tuple[str, str, str]:
    return _short(words), words, kind


def _places(graph: Graph) -> tuple[list[Place], list[list[int]], list[tuple[Edge, list[int]]]]:
    """All places, those of each layer, and of each edge the places that it passes."""
    depth = [0] * len(graph.nodes)
    for edge in sorted(graph.edges, key=lambda edge: edge.target):
        depth[edge.target] = max(depth[edge.target], depth[edge.source] + 1)
    for k, node in enumerate(graph.nodes):  # an argument stands just above where it is first used
        used = [depth[edge.target] for edge in graph.edges if edge.source == k]
        depth[k] = min(used) - 1 if node.kind == "argument" and used else depth[k]
    places = []
    for node, layer in zip(graph.nodes, depth, strict=True):
        named = f"{node.name} = {node.formula}" if node.kind != "argument" and node.name != node.formula else node.name
        lines = [_line(named, "name"), _line(f"shape {node.shape}", "faint")]
        lines += [_line(f"= {node.value}", "value")] if node.kind == "output" else []
        back = "δ" if node.kind == "output" else f"d{node.name}"
        ends = node.kind in ("argument", "output")
        right = f"{back}, expected:" if node.yours else f"{back} ="
        lines += [_line(f"↑ {right} {node.cotangent}", "back")] if ends and node.cotangent else []
        lines += [_line(f"✗ yours: {node.yours}", "wrong")] if node.yours else []
        places.append(Place(2 * layer, lines, node.kind, bool(node.yours)))
    routes, first = [], first_wrong(graph)
    for edge in graph.edges:
        start, end = places[edge.source].layer, places[edge.target].layer
        route = [edge.source]
        for layer in range(start + 1, end):
            lines = _told(edge, edge is first) if layer == start + 1 else []
            route.append(len(places))
            places.append(Place(layer, lines, "text" if lines else "bend", edge.factor is not None))
        routes.append((edge, [*route, edge.target]))
    layers: list[list[int]] = [[] for _ in range(max(p.layer for p in places) + 1)]
    for k, place in enumerate(places):
        layers[place.layer].append(k)
    return places, layers, routes


def first_wrong(graph: Graph) -> Edge | None:
    """Of the edges that are marked, the first on the way back from the output."""
    return max((e for e in graph.edges if e.factor is not None), key=lambda edge: edge.target, default=None)


def _told(edge: Edge, first: bool) -> list[tuple[str, str, str]]:
    back = [_line(f"↑ {edge.cotangent}", "back")] if edge.cotangent else []
    wrong = [_line(f"✗ {'' if first else 'or '}{_does(edge)}", "wrong")] if edge.factor is not None else []
    return [_line(f"↓ {edge.value}", "value"), *back, *wrong]


def _does(edge: Edge) -> str:
    said = {0.0: "lost", -1.0: "wrong sign"}
    times = "a wrong factor" if edge.factor != edge.factor else f"{digits(edge.factor)} times that"
    return said.get(edge.factor or 0.0, times)


def _centres(places: Sequence[Place], layers: list[list[int]], routes: Sequence[Any]) -> list[float]:
    """The middle of each place, from left to right, near that of its neighbours in the layers above and below."""
    beside: list[list[int]] = [[] for _ in places]
    for _, route in routes:
        for a, b in pairwise(route):
            beside[a].append(b)
            beside[b].append(a)
    x = [0.0] * len(places)
    for layer in layers:
        _packed(layer, places, x, [float(k) for k in range(len(layer))])
    for turn in range(ROUNDS):
        for layer in layers if turn % 2 == 0 else layers[::-1]:
            wanted = [sum(x[o] for o in beside[k]) / len(beside[k]) if beside[k] else x[k] for k in layer]
            order = sorted(range(len(layer)), key=wanted.__getitem__)
            layer[:] = [layer[i] for i in order]
            _packed(layer, places, x, [wanted[i] for i in order])
    left = min(x[k] - places[k].width / 2 for k in range(len(places)))
    return [v - left + 4 for v in x]


def _packed(layer: Sequence[int], places: Sequence[Place], x: list[float], wanted: Sequence[float]) -> None:
    """Puts the places of a layer where they want to be, or as near as the room between them allows."""
    groups: list[tuple[float, float, list[tuple[int, float]]]] = []  # of each: middle, width, places from its left
    for k, middle in zip(layer, wanted, strict=True):
        width = places[k].width + GAP
        group = (middle, width, [(k, width / 2)])
        while groups and groups[-1][0] + groups[-1][1] / 2 > group[0] - group[1] / 2:
            before = groups.pop()
            both = before[1] + group[1]
            moved = [(j, offset + before[1]) for j, offset in group[2]]
            weights = len(before[2]), len(group[2])
            centre = (before[0] + group[1] / 2) * weights[0] + (group[0] - before[1] / 2) * weights[1]
            group = (centre / sum(weights), both, [*before[2], *moved])
        groups.append(group)
    for middle, width, members in groups:
        for k, offset in members:
            x[k] = middle - width / 2 + offset


def _svg(graph: Graph, label: str) -> Element:
    places, layers, routes = _places(graph)
    x = _centres(places, layers, routes)
    y, heights, top = [0.0] * len(places), [], 4.0
    for layer in layers:
        height = max(places[k].height for k in layer)
        for k in layer:
            y[k] = top + height / 2
        heights.append(height)
        top += height + LAYER
    width = max(x[k] + place.width / 2 for k, place in enumerate(places)) + 4
    edges = [_edge(edge, route, places, x, y) for edge, route in routes]
    boxes = [_box(place, x[k], y[k]) for k, place in enumerate(places) if place.lines]
    wide, high = round(width), round(top - LAYER + 4)
    fits = f"width: {wide}px; max-width: 100%; min-width: {round(SMALLEST * wide)}px; height: auto"
    return tag("svg", edges, boxes, role="img", aria_label=label, viewBox=f"0 0 {wide} {high}", style=fits)


def _edge(edge: Edge, route: Sequence[int], places: Sequence[Place], x: list[float], y: list[float]) -> list[Element]:
    """A line through the places of an edge, curved between them, with a head where it arrives."""
    first, *passed, last = route
    down = f"M{x[first]:.1f} {y[first] + places[first].height / 2:.1f}"
    at = x[first], y[first] + places[first].height / 2
    for k in (*passed, last):
        if places[k].kind == "bend":  # a straight line, until the arrow is near
            at = x[k], y[k]
            down += f" L{at[0]:.1f} {at[1]:.1f}"
            continue
        top = y[k] - places[k].height / 2 - (6 if k == last else 0)
        bend = (at[1] + top) / 2
        down += f" C{at[0]:.1f} {bend:.1f} {x[k]:.1f} {bend:.1f} {x[k]:.1f} {top:.1f}"
        at = x[k], y[k] + places[k].height / 2
        down += f" M{at[0]:.1f} {at[1]:.1f}" if k != last else ""
    wrong = " wrong" * (edge.factor is not None)
    still = " still" * (not edge.cotangent.strip("[]0, "))
    tip, end = x[last], y[last] - places[last].height / 2
    head = f"M{tip:.1f} {end:.1f} l-5 -9 l10 0 z"
    return [tag("path", class_=f"edge{wrong}{still}", d=down), tag("path", class_=f"head{wrong}", d=head)]


def _box(place: Place, x: float, y: float) -> Element:
    left, top = x - place.width / 2, y - place.height / 2
    shape = {"x": round(left, 1), "y": round(top, 1), "width": round(place.width, 1), "height": round(place.height, 1)}
    kind = "label" if place.kind == "text" else "box"
    lines = [
        tag(
            "text",
            tag("title", whole) if whole != shown else None,
            tag("tspan", shown),
            class_=style,
            x=round(x, 1),
            y=round(top + 5 + LINE * (k + 0.75), 1),
            text_anchor="middle",
        )
        for k, (shown, whole, style) in enumerate(place.lines)
    ]
    rect = tag("rect", class_=f"{kind}{' wrong' * (place.wrong and kind == 'box')}", rx=4, **shape)
    return tag("g", rect, lines)


def _steps(graph: Graph) -> Element:
    head = ["name", "computed as", "shape", "value", "cotangent", "yours", "in your definition"]
    rows = [
        [n.name, n.formula if n.kind != "argument" else "an argument", n.shape, n.value, n.cotangent, n.yours, n.part]
        for n in graph.nodes
    ]
    used = [k for k in range(len(head)) if k < 5 or any(row[k] for row in rows)]
    return table([head[k] for k in used], [[row[k] for k in used] for row in rows], "Arguments and steps")


def _edges(graph: Graph) -> Element:
    first = first_wrong(graph)
    rows = [
        [
            f"{graph.nodes[e.source].name} → {graph.nodes[e.target].name}",
            e.value,
            e.cotangent or "none",
            f"✗ {'' if e is first else 'or '}{_does(e)}" if e.factor is not None else "",
        ]
        for e in graph.edges
    ]
    return table(["edge", "↓ value", "↑ cotangent", "marked"], rows, "Edges")

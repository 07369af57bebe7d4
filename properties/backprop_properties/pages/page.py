"""The skeleton of a page: its head, its colours by day and by night, and its size."""

from collections.abc import Mapping
from typing import Any

from .elements import tag, text

LARGEST = 500_000  # bytes
LIGHT: Mapping[str, str] = {
    "paper": "#ffffff",
    "ink": "#1b1b1f",
    "faint": "#595962",
    "line": "#767680",
    "box": "#f3f3f7",
    "good": "#0b6b2f",
    "bad": "#b3001b",
    "value": "#0a4ea3",
    "back": "#8a3a00",
    "plus": "#ffb56b",
    "minus": "#8fc1ff",
}
DARK: Mapping[str, str] = {
    "paper": "#16161a",
    "ink": "#ececf1",
    "faint": "#b4b4bf",
    "line": "#8b8b97",
    "box": "#232329",
    "good": "#6fdc95",
    "bad": "#ff8a92",
    "value": "#8fc1ff",
    "back": "#ffb56b",
    "plus": "#7a4100",
    "minus": "#0f4585",
}
TEXTS = ("ink", "faint", "good", "bad", "value", "back")  # colours of what is read
GROUNDS = ("paper", "box")  # what it is read on
CELLS = ("plus", "minus")  # what the ink is read on, in a heat map
STYLE = """
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.3rem; margin-top: 2.2rem } h3 { font-size: 1.05rem }
a { color: var(--value) }
p, li { max-width: 46rem }
pre, code, .number, svg text { font-family: ui-monospace, "DejaVu Sans Mono", monospace }
pre { background: var(--box); padding: .7rem; font-size: .82rem; white-space: pre; overflow-x: auto }
.wide { overflow-x: auto; max-width: 100%; position: relative }
.wide:focus-visible, pre:focus-visible, summary:focus-visible
  { outline: 3px solid var(--value) }
table { border-collapse: collapse; margin: .6rem 0 } caption { text-align: left; color: var(--faint); padding: .2rem 0 }
th, td { border: 1px solid var(--line); padding: .2rem .5rem; text-align: left; vertical-align: top;
  overflow-wrap: normal }
td { font-variant-numeric: tabular-nums } thead th, tbody th { background: var(--box) }
@media (max-width: 30rem) { table { font-size: .82rem } th, td { padding: .15rem .3rem } h1 { font-size: 1.3rem } }
details { margin: .6rem 0 } summary { cursor: pointer; color: var(--value) }
.faint { color: var(--faint) } .good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 }
.aside { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
.cause { border-left: 4px solid var(--bad); padding-left: .8rem; margin: 1.6rem 0 }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem } figure { margin: .6rem 0; max-width: 100% }
figcaption { max-width: 46rem; padding-bottom: .3rem } .row figcaption { line-height: 2.4 }
svg { display: block } svg text { fill: var(--ink); font-size: 12px } svg .name { font-weight: 700 }
svg .value { fill: var(--value) } svg .back { fill: var(--back) } svg .wrong { fill: var(--bad); font-weight: 700 }
svg .faint { fill: var(--faint) }
svg .box { fill: var(--box); stroke: var(--line) } svg .box.wrong { stroke: var(--bad); stroke-width: 3 }
svg .edge { fill: none; stroke: var(--line); stroke-width: 1.5 } svg .edge.still { stroke-dasharray: 2 4 }
svg .edge.wrong { stroke: var(--bad); stroke-width: 4; stroke-dasharray: 9 4 }
svg .head { fill: var(--line) } svg .head.wrong { fill: var(--bad) }
svg .label { fill: var(--paper) }
svg .zero { fill: var(--paper) } svg .plus { fill: var(--plus) } svg .minus { fill: var(--minus) }
svg .cell { stroke: var(--line) } svg .off { fill: none; stroke: var(--bad); stroke-width: 3 }
math { font-size: 1.1em } math[display=block] { margin: .6rem 0 }
"""


def page(title: str, *content: Any) -> str:
    """A whole page, as text.

    >>> page("a < b", tag("p", "c")).count("&lt;")
    2
    """
    sheet = f":root {{ {_variables(LIGHT)} color-scheme: light dark }}\n@media (prefers-color-scheme: dark) "
    sheet += f"{{ :root {{ {_variables(DARK)} }} }}{STYLE}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        tag("title", title),
        tag("style", sheet),
    )
    body = tag("body", tag("main", tag("h1", title), *content))
    return f"<!DOCTYPE html>\n{text(tag('html', head, body, lang='en'))}\n"


def _variables(colours: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())

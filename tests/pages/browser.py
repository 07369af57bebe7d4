"""A page: its elements; and in headless Chromium what it says on its console, and which texts are cut."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
# A text is cut where it ends beyond the page, and no box scrolls to it; or beyond its drawing.
LOOK = """
const cut = [];
document.querySelectorAll("details").forEach(d => d.open = true);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const parent = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || parent.closest("script, title, annotation")) continue;
  const range = document.createRange();
  range.selectNodeContents(walker.currentNode);
  const box = range.getBoundingClientRect(), svg = parent.closest("svg"), wide = parent.closest(".wide, pre");
  const inside = svg ? svg.getBoundingClientRect() : document.documentElement.getBoundingClientRect();
  const scrolls = wide && ["auto", "scroll"].includes(getComputedStyle(wide).overflowX);
  if (box.left < inside.left - 1 || ((svg || !scrolls) && box.right > inside.right + 1)) cut.push(parent.textContent);
}
if (document.documentElement.scrollWidth > innerWidth) cut.push("the page is wider than its window");
parent.document.body.textContent = "FOUND" + JSON.stringify({width: innerWidth, cut: cut}) + "END";
"""


class Tags(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.attributes = set[str](), set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


def seen(page: str, width: int) -> tuple[dict[str, object], list[str]]:
    """What is measured of a page in a window of this width, and the lines on its console."""
    assert CHROMIUM
    with TemporaryDirectory() as folder:
        plain, looked_at = Path(folder, "plain.html"), Path(folder, "looked_at.html")
        plain.write_text(page, encoding="utf-8")
        open_to_us = re.sub(r"<meta http-equiv=[^>]*>", "", page).replace("</body>", f"<script>{LOOK}</script></body>")
        frame = f'<iframe style="border: 0; width: {width}px; height: 900px" srcdoc="{html.escape(open_to_us)}">'
        looked_at.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frame}</iframe></body>", encoding="utf-8")
        window = (CHROMIUM, *QUIET, f"--window-size={width},900", "--enable-logging=stderr")
        outputs = [
            subprocess.run(
                [*window, f"--user-data-dir={folder}/{file.stem}", "--dump-dom", file.as_uri()],
                capture_output=True,
                text=True,
                timeout=240,
                check=True,
            )
            for file in (plain, looked_at)
        ]
        console = [line for line in outputs[0].stderr.splitlines() if "CONSOLE" in line]
        told = re.search(r"FOUND(.*)END", outputs[1].stdout, re.DOTALL)
        assert told, outputs[1].stdout[-500:]
        return json.loads(html.unescape(told[1])), console

"""The README shows what is really printed: `python tests/test_readme.py` writes it anew."""

import re
import tempfile
from pathlib import Path

from typer.testing import CliRunner

from backprop_properties.commands.app import app

README = Path(__file__).parents[1] / "README.md"
MINE = """import numpy as np


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_vjp(delta, x):
    s = softmax(x)
    return s * (1 - s) * delta
"""


def section() -> str:
    """The wrong softmax, and what `backprop check` says of it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mine.py"
        file.write_text(MINE, encoding="utf-8")
        printed = CliRunner().invoke(app, ["check", str(file)], env={"COLUMNS": "80"}).stdout
    lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return f"```python\n{MINE}```\n\n```\n$ backprop check mine.py\n{lines}\n```"


def between_markers(text: str) -> str:
    found = re.search(r"(?<=<!-- check -->\n).*(?=\n<!-- /check -->)", text, re.DOTALL)
    assert found, "README.md has no <!-- check --> … <!-- /check -->"
    return found[0]


def judged(text: str) -> str:
    """The report without the table and the counts, which depend on what long vectors the machine can afford."""
    report = text.partition("────\n")[2].partition("\n  not tried")[0]
    return re.sub(r"[\d,]+ checks on [\d,]+\s+numbers", "", report)


def test_the_report_in_the_readme_is_what_is_printed() -> None:
    shown, printed = between_markers(README.read_text("utf-8")), section()
    assert shown.partition("$ ")[0] == printed.partition("$ ")[0]
    assert judged(shown) == judged(printed)
    assert "replay('softmax'" in judged(shown)


if __name__ == "__main__":
    before, _, rest = README.read_text("utf-8").partition("<!-- check -->")
    after = rest.partition("<!-- /check -->")[2]
    README.write_text(f"{before}<!-- check -->\n{section()}\n<!-- /check -->{after}", encoding="utf-8")

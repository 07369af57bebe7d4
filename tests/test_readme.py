"""The pages show what is really printed: `python tests/test_readme.py` writes what is generated in the pages anew.

Their Python examples run as doctests; here the commands, the other blocks of Python and the links are tried.
"""

import re
import shlex
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backprop_properties.commands.app import app
from backprop_properties.commands.files import with_parts
from backprop_reference import softmax, softmax_vjp

TOP = Path(__file__).parents[1]
README = TOP / "README.md"
ROOMS = ("reference/README.md", "oracle/README.md", "properties/README.md", "tests/README.md", "properties/PIPES.md")
PAGES = [README, *(TOP / page for page in ROOMS)]
MINE = """import numpy as np


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_vjp(delta, x):
    s = softmax(x)
    return s * (1 - s) * delta
"""
CHECKS = """import numpy as np


def gradients_agree(forward, vjp):
    x = np.linspace(-2, 2, 9)
    numeric = (forward(x + 1e-6) - forward(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(vjp(np.ones(9), x)[0], numeric, rtol=1e-5)
"""
RUN_WHOLE = ("backprop list", "backprop show softmax")  # the others take long: as `--help`
RUN_ELSEWHERE = ("cc", "./softmax_check", "node", "python", "python3")  # the readers of vectors, the digits, and venv


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Every command that a page shows, in words, whether in a block or in a line of text."""
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    shown = [line.removeprefix("$ ") for line in lines if re.match(r"\$ |backprop ", line)]
    said = re.findall(r"`((?:backprop|make) [^`]*)`", page.read_text("utf-8"))
    yield from (shlex.split(line, comments=True) for line in (*shown, *said))


def printed() -> str:
    """What `backprop check` says of the wrong softmax."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mine.py"
        file.write_text(MINE, encoding="utf-8")
        said = CliRunner().invoke(app, ["check", str(file)], env={"COLUMNS": "80"}).stdout
    lines = "\n".join(line.rstrip() for line in said.strip().splitlines())
    return f"```python\n{MINE}```\n\n```\n$ backprop check mine.py\n{lines}\n```"


def audited() -> str:
    """What `backprop audit` says of a test by finite differences."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checks.py"
        file.write_text(CHECKS, encoding="utf-8")
        call = ["audit", f"{file}::gradients_agree", "silu", "--jobs", "1"]
        said = CliRunner().invoke(app, call, env={"COLUMNS": "80"}).stdout
    lines = "\n".join(line.rstrip() for line in said.strip().splitlines())
    return f"```python\n{CHECKS}```\n\n```\n$ backprop audit checks.py::gradients_agree silu\n{lines}\n```"


def proof() -> str:
    """The last row of the selftest's table, which one command writes into the page of the properties."""
    table = between_markers(PAGES[3].read_text("utf-8"), "selftest")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    found = dict(zip(rows[0], next(row for row in rows if row[0] == "all"), strict=True))
    rivals = {
        name.removesuffix(", many"): f"{n} of {found['drawn']}" for name, n in found.items() if name.endswith(", many")
    }
    right = re.search(r"(\d+ of \d+) right neighbours rejected", table)
    assert right
    cells = {"planted faults": found["faults"], "`check` rejects": found["check"], **rivals}
    cells |= {"right ones that `check` rejects": right[1]}
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells, ["--:"] * len(cells), cells.values()))


def between_markers(text: str, name: str) -> str:
    found = re.search(rf"(?<=<!-- {name} -->\n).*(?=\n<!-- /{name} -->)", text, re.DOTALL)
    assert found, f"there is no <!-- {name} --> … <!-- /{name} -->"
    return found[0]


def judged(text: str) -> str:
    """What is said of the function, without the table and the seconds, which depend on the machine."""
    return text.partition("verdict\n")[2].partition("\n\n")[2].partition("\n1 of 1")[0]


def test_the_report_in_the_readme_is_what_is_printed() -> None:
    shown, now = between_markers(README.read_text("utf-8"), "check"), printed()
    assert shown.partition("$ ")[0] == now.partition("$ ")[0]
    assert judged(shown) == judged(now)
    assert judged(shown).startswith("softmax: vjp WRONG: dx is computed with the diagonal of the Jacobian only")
    assert len(shown.partition("$ ")[2].splitlines()) <= 15 + 2  # the command, and the end of the block


@pytest.mark.exhaustive
def test_the_audit_on_the_page_is_what_is_printed() -> None:
    shown, now = (
        [line for line in text.splitlines() if not line.startswith("    ")]  # inputs, whose size depends on the time
        for text in (between_markers(PAGES[3].read_text("utf-8"), "audit"), audited())
    )
    assert shown == now


def test_the_proof_in_the_readme_is_the_last_row_of_the_selftest() -> None:
    assert between_markers(README.read_text("utf-8"), "proof") == proof()


def test_the_readme_is_read_in_one_go() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_command_is_taken(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extras = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    targets = re.findall(r"^([\w-]+):", (TOP / "Makefile").read_text("utf-8"), re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    tried = 0
    for program, *words in commands(page):
        tried += 1
        if program == "backprop":
            whole = " ".join([program, *words]) in RUN_WHOLE
            result = CliRunner().invoke(app, words if whole else [*words, "--help"])
            assert result.exit_code == 0, (words, result.output)
        elif program == "make":
            assert words[0] in targets, words
        elif program == "pip":
            assert set(re.findall(r"\[(\w+)\]", words[1])) <= set(extras), words
        else:
            assert program in RUN_ELSEWHERE, f"no way to try {program} {' '.join(words)}"
    assert tried


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_block_of_python_runs(page: Path) -> None:
    names: dict[str, object] = {"softmax": softmax, "softmax_vjp": softmax_vjp}
    for block in blocks(page, "python"):
        if ">>>" not in block:
            exec(compile(block, page.name, "exec"), names)
    for name, test in names.items():
        if name.startswith("test_") and not hasattr(test, "pytestmark"):
            test()  # type: ignore[operator]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)]*)\)", page.read_text("utf-8")):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)", path.read_text("utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles], anchor


if __name__ == "__main__":
    README.write_text(with_parts(README, {"check": printed(), "proof": proof()}), encoding="utf-8")
    PAGES[3].write_text(with_parts(PAGES[3], {"audit": audited()}), encoding="utf-8")

"""GRADING.md shows what is really written: `python tests/grading/test_page.py` writes it anew."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from backprop_properties.commands.app import app
from backprop_properties.grading.assignment import EXAMPLES, OF_AN_ASSIGNMENT, OF_AN_EXERCISE, SEEDS, WEIGHTS, Exercise
from backprop_properties.grading.points import MEANINGS

PAGE = Path(__file__).parents[2] / "properties" / "GRADING.md"
FEEDBACK = re.compile(r"(?<=<!-- feedback.md -->\n```markdown\n).*(?=```\n<!-- /feedback.md -->)", re.DOTALL)


def written(text: str, folder: Path) -> list[str]:
    """Writes the files of the example, and gives the arguments of the command."""
    for name, code in re.findall(r"<!-- (hw3.toml|anna.py) -->\n```\w+\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(code, encoding="utf-8")
    return ["grade", str(folder / "hw3.toml"), str(folder / "anna.py"), "--out", str(folder / "grades")]


@pytest.mark.usefixtures("graded_here")
def test_the_page_shows_what_a_student_gets(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    result = CliRunner().invoke(app, written(text, tmp_path))
    assert result.exit_code == 0, result.output
    (shown,) = FEEDBACK.findall(text)
    assert shown == (tmp_path / "grades" / "submissions" / "anna" / "feedback.md").read_text("utf-8")
    for path in (tmp_path / "grades").rglob("*.*"):
        assert f"`{path.name}`" in text or path.name in text, path


def test_the_page_has_every_key_and_every_word() -> None:
    text = PAGE.read_text("utf-8")
    for key in {**OF_AN_ASSIGNMENT, **OF_AN_EXERCISE}:
        assert f"`{key}`" in text or f"[[{key}]]" in text, key
    for word, meaning in MEANINGS.items():
        assert f"| {word} | {meaning} |".replace("  ", " ") in text, word
    usual: Any = Exercise.__dataclass_fields__
    assert f"| {EXAMPLES} |" in text
    assert f"| {usual['timeout'].default:g} and {usual['memory'].default} |" in text
    assert ", ".join(f"{n}" for n in [*WEIGHTS["standard"].values()][:3]) in text
    assert f"{{ practice = {SEEDS['practice']}, grading = {SEEDS['grading']} }}" in text


def test_the_page_has_no_dead_example_of_gradescope() -> None:
    (script,) = re.findall(r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert "submissions/submission/results.json" in script  # the folder's name is that of the submission


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "backprop_properties.commands.main", *written(text, Path(name))]
        subprocess.run(command, check=True)
        feedback = (Path(name) / "grades" / "submissions" / "anna" / "feedback.md").read_text("utf-8")
    PAGE.write_text(FEEDBACK.sub(lambda _: feedback, text), encoding="utf-8")

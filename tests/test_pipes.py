"""What properties/PIPES.md says works, and shows what is printed: `python tests/test_pipes.py` writes that anew."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from backprop_properties.checking import protocol
from backprop_properties.commands.app import app
from backprop_reference import softmax

PAGE = Path(__file__).parents[1] / "properties" / "PIPES.md"


def part(name: str) -> str:
    """What stands between two markers, in the code block there."""
    text = PAGE.read_text("utf-8").partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
    return re.sub(r"\A```\w*\n|```\s*\Z", "", text)


def printed(program: str) -> str:
    """What `backprop check` says of a program in JavaScript."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mine.mjs"
        file.write_text(program, encoding="utf-8")
        run = CliRunner().invoke(app, ["check", "--command", f"node {file}", "--validate"], env={"COLUMNS": "80"})
    return "\n".join(line.rstrip() for line in run.stdout.strip().splitlines())


def section() -> str:
    return f"```\n$ backprop check --command 'node mine.mjs' --validate\n{printed(part('program'))}\n```\n"


def judged(text: str) -> str:
    """What is said of the functions, without the table and the seconds, which depend on the machine."""
    return text.partition("verdict")[2].partition("\n\n")[2].partition("\n1 of 1")[0]


@pytest.fixture(autouse=True)
def _node() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")


def test_what_is_said_is_what_the_program_answers(tmp_path: Path) -> None:
    lines = part("said").splitlines()
    asked, answers = ([line[2:] for line in lines if line[0] == arrow] for arrow in "→←")
    assert len(asked) == len(answers) + 1 == 4
    (tmp_path / "mine.mjs").write_text(part("program"), encoding="utf-8")
    ran = subprocess.run(
        ["node", "mine.mjs"], input="\n".join(asked) + "\n", capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert ran.stdout.splitlines() == answers
    assert asked[0] == protocol.encoded(protocol.Start()).decode()
    for name, line in zip(("start", "call", "call", "stop"), asked, strict=True):
        protocol.validate(line.encode(), name)
        assert json.dumps(json.loads(line), separators=(",", ":")) == line


def test_the_call_in_hex_is_what_is_sent_and_its_answer_is_right() -> None:
    asked, answered = (line[2:].encode() for line in part("hex").splitlines())
    x = np.array([0.0, -np.inf])
    assert asked == protocol.encoded(protocol.Ask("1", "softmax", [protocol.sent(x, "hex")]))
    protocol.validate(answered, "answer")
    (result,) = protocol.decoded(answered, protocol.Answer).results
    assert protocol.received(result).tolist() == softmax(x).tolist()
    for java in ("Infinity", "-Infinity", "NaN"):  # what its `toHexString` writes
        protocol.validate(answered.replace(b"0x0p+0", java.encode()), "answer")
        assert not np.isfinite(protocol.received(protocol.Array([1], "float64", [java]))).any()


def test_the_wrong_program_is_told_as_the_page_shows() -> None:
    shown, now = judged(part("check")), judged(section())
    assert shown == now
    assert shown.startswith("softmax: vjp WRONG: dx is computed with the diagonal of the Jacobian only")


def test_the_right_program_is_right() -> None:
    wrong = re.search(r"^const softmax_vjp = .*$\n", part("program"), re.MULTILINE)
    assert wrong
    found = printed(part("program").replace(wrong[0], part("right")))
    assert "all 1 right" in found, found


if __name__ == "__main__":
    before, _, rest = PAGE.read_text("utf-8").partition("<!-- check -->\n")
    after = rest.partition("<!-- /check -->")[2]
    PAGE.write_text(f"{before}<!-- check -->\n{section()}<!-- /check -->{after}", encoding="utf-8")

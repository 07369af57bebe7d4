"""`backprop matrix`: operations and implementations beside each other, on a terminal, for a machine and on a page."""

import html
import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from backprop_properties.checking.matrix import MISSING, WORDS, Matrix, matrix_of
from backprop_properties.checking.report import Checked, Report
from backprop_properties.checking.run import Run, path_of
from backprop_properties.checking.tasks import Found, Task
from backprop_properties.checking.verdict import KINDS, STATES, Verdict
from backprop_properties.commands.app import app
from backprop_properties.commands.matrix_output import SCHEMA, print_matrix, to_dict
from backprop_properties.laws.failure import Failure
from backprop_properties.pages.matrix import matrix_page
from backprop_reference import OPERATIONS
from pages.browser import Tags, needs_chromium, seen

DIAGONAL = "dx is computed with the diagonal of the Jacobian only"


def report(operation: str, state: str = "right", hint: str = "", kinds: tuple[str, ...] = KINDS[::2]) -> Report:
    """The report of a vjp in some state."""
    law, part = "vjp_equals_jax_vjp", "formula" if state in ("wrong", "raises", "does not return") else "digits"
    failed = state != "right"
    failures = (Failure(operation, law, "dx", f"vjp {state}", hint=hint, part=part),) if failed else ()
    verdicts = {**dict.fromkeys(kinds, Verdict()), **({"vjp": Verdict(state, **{part: state})} if failed else {})}
    checks = (Checked(law, "float64", 1, 1, failed=failed), Checked("forward_equals_jax", "float64", 1, 1))
    return Report(operation, "standard", ("float64",), 0, failures, checks, verdicts=verdicts)


def run_of(cells: dict[tuple[str, str], Any], called: dict[str, str] | None = None) -> Run:
    """A run with reports, with why there is none, or with None for what was begun only, by file and operation."""
    run, paths = Run(), {file: Path(file) for file, _ in cells}
    run.names = {path: file for file, path in paths.items()}
    for (file, operation), found in cells.items():
        if operation:
            run.found[paths[file]] = Found({}, {}, frozenset(), (), called=(called or {}).get(file, ""))
            run.tasks.append(Task(paths[file], operation, 1.0))
        if isinstance(found, Report):
            run.reports[paths[file], operation] = found
        elif found:
            run.unchecked[paths[file], operation or None] = found
    return run


def beside(run: Run, **given: str) -> Matrix:
    return matrix_of(run, {path: given.get(path.stem, path.stem) for path in run.names})


def printed(matrix: Matrix, run: Run, width: int = 80, **how: Any) -> str:
    console = Console(file=StringIO(), width=width, highlight=False, **how)
    print_matrix(matrix, run, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def words(matrix: Matrix) -> dict[tuple[str, str], str]:
    return {key: cell.word for key, cell in matrix.cells.items()}


@pytest.fixture
def run() -> Run:
    return run_of(
        {
            ("a.py", "softmax"): report("softmax"),
            ("a.py", "tanh"): report("tanh", "wrong", DIAGONAL),
            ("b.py", "softmax"): report("softmax", "unstable", "NaN"),
            ("b.py", "add"): "b.py: add is slow",
            ("c.py", ""): "there is no file c.py",
        }
    )


# ── What is said ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_word_has_a_mark_and_a_meaning() -> None:
    said = {Verdict(state).word for state in STATES if state != MISSING}
    assert said | {"NOTHING COMPARED", "not judged", MISSING} == set(WORDS)
    assert len({mark for mark, _ in WORDS.values()}) == len(WORDS)
    assert all(len(mark) == 1 and meaning for mark, meaning in WORDS.values())
    cells = json.loads(SCHEMA.read_text("utf-8"))["properties"]["cells"]["items"]["properties"]
    assert set(cells["word"]["enum"]) == set(WORDS)
    assert set(cells["functions"]["additionalProperties"]["enum"]) == set(STATES)


def test_a_cell_is_the_verdict_or_why_there_is_none(run: Run) -> None:
    matrix = beside(run)
    assert matrix.operations == ("add", "tanh", "softmax")  # as on the slides
    assert words(matrix) == {
        **{("add", "a"): "missing", ("add", "b"): "not judged", ("add", "c"): "not judged"},
        **{("tanh", "a"): "WRONG", ("tanh", "b"): "missing", ("tanh", "c"): "not judged"},
        **{("softmax", "a"): "right", ("softmax", "b"): "UNSTABLE", ("softmax", "c"): "not judged"},
    }
    assert matrix.cells["tanh", "a"].functions == {"forward": "right", "vjp": "wrong", "jacobian": "missing"}
    assert matrix.causes == [
        "c: there is no file c.py",
        "add, b: add is slow",
        f"tanh, a: vjp WRONG: {DIAGONAL}",
        "softmax, b: vjp UNSTABLE: digits: unstable; NaN",
    ]
    assert run.exit_code == 1


def test_a_right_cell_that_says_less_tells_it() -> None:
    nothing = Report("tanh", "standard", ("float64",), 0, verdicts={"vjp": Verdict()})
    formula = run_of({("a.py", "add"): report("add", "unstable", "NaN")}).reports[Path("a.py"), "add"]
    run = run_of(
        {
            ("a.py", "softmax"): report("softmax", kinds=("forward",)),
            ("a.py", "tanh"): nothing,
            ("a.py", "add"): Report(**{**vars(formula), "held": ("formula",), "level": "formula"}),
        }
    )
    matrix = beside(run)
    assert words(matrix) == {("add", "a"): "right", ("tanh", "a"): "NOTHING COMPARED", ("softmax", "a"): "right"}
    assert matrix.causes == [
        "add, a: vjp UNSTABLE, which is not asked for: digits: unstable; NaN",
        "tanh, a: nothing was compared",
        "softmax, a: a forward alone: no backward pass was judged",
    ]


def test_what_was_asked_for_has_a_row_and_what_was_begun_is_not_missing() -> None:
    run = run_of({("a.py", "softmax"): report("softmax"), ("a.py", "add"): None})
    run.wanted, run.interrupted = ["tanh", "softmax"], True
    matrix = beside(run)
    assert words(matrix) == {("add", "a"): "not judged", ("tanh", "a"): "missing", ("softmax", "a"): "right"}
    assert "interrupted; of 3 cells 1 right, 1 not judged, 1 missing" in printed(matrix, run)


def test_names_are_given_or_said_and_told_apart() -> None:
    cells = {(file, "softmax"): report("softmax") for file in ("a.py", "b", "c", "d")}
    run = run_of(cells, called={"b": "mine", "c": "mine"})
    matrix = matrix_of(run, {Path("a.py"): "mine", Path("b"): "", Path("c"): "", Path("d"): ""})
    assert [(one.name, one.source) for one in matrix.implementations] == [
        *(("mine", "a.py"), ("mine 2", "b"), ("mine 3", "c"), ("d", "d"))
    ]
    assert path_of(["node", "my file.mjs"]) == Path("node 'my file.mjs'")


# ── Where it is shown ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_terminal_has_words_a_legend_and_a_line_for_each_cause(run: Run) -> None:
    text = printed(beside(run), run)
    lines = [line.split() for line in text.splitlines()]
    assert lines[:4] == [
        ["operation", "a", "b", "c"],
        ["add", "-", "not", "judged", "not", "judged"],
        ["tanh", "WRONG", "-", "not", "judged"],
        ["softmax", "right", "UNSTABLE", "not", "judged"],
    ]
    assert "WRONG: at ordinary numbers, in six digits" in text
    assert "- missing: has no such function" in " ".join(text.split())
    assert f"\ntanh, a: vjp WRONG: {DIAGONAL}\n" in text
    assert "\na: a.py\n" in text
    assert "of 9 cells 1 right, 1 WRONG, 1 UNSTABLE, 4 not judged, 2 missing, in 0.0 s" in text
    narrow = printed(beside(run), run, width=40, force_terminal=True, color_system=None)
    assert max(map(len, narrow.splitlines()[5:-1])) <= 40  # prose, too, where a terminal would break it


@pytest.mark.parametrize(
    ("count", "name", "first"),
    [
        (3, "mine", ["operation", "mine0", "mine1", "mine2"]),
        (7, "mine", ["operation", *(f"mine{k}" for k in range(7))]),
        (14, "mine", ["operation", *map(str, range(1, 15))]),
        (2, "a-name-that-is-as-long-as-half-a-terminal-or-so", ["operation", "1", "2"]),
        (2, "名" * 20, ["operation", "1", "2"]),
    ],
)
def test_the_table_fits_into_80_columns(count: int, name: str, first: list[str]) -> None:
    rows = ("two_layer_network[leaky_relu]", "softmax")
    files = [f"{name}{k}.py" for k in range(count)]
    run = run_of({(file, operation): report(operation, "unstable", "NaN") for file in files for operation in rows})
    run.reports[Path(files[1]), "softmax"] = report("softmax")
    text = printed(beside(run), run)
    table = text.split("\n\n")[0].splitlines()
    assert table[0].split() == first
    assert max(map(len, table)) <= 80
    marked = count > 3
    assert table[1].split()[:3] == ["softmax", *(["U", "."] if marked else ["UNSTABLE", "right"])]
    assert ("U UNSTABLE: a range" in text) == marked
    if first[1] == "1":
        assert f"\n1 {name}0: {name}0.py\n" in text


def test_a_machine_reads_each_cell(run: Run) -> None:
    run.notes.append("a note")
    found = to_dict(beside(run), run)
    jsonschema.validate(json.loads(json.dumps(found)), json.loads(SCHEMA.read_text("utf-8")))
    assert len(found["cells"]) == 9
    assert found["passed"] is False
    wrong = {"operation": "tanh", "implementation": "a", "word": "WRONG", "cause": f"vjp WRONG: {DIAGONAL}"}
    assert {**wrong, "functions": {"forward": "right", "vjp": "wrong", "jacobian": "missing"}} in found["cells"]
    assert found["implementations"][2] == {"name": "c", "source": "c.py", "problem": "there is no file c.py"}


def test_the_page_tells_a_cells_cause_to_eyes_and_ears(run: Run) -> None:
    evil = "<script>alert(1)</script>\x00"
    run.reports[Path("a.py"), "add"] = report("add", "wrong", evil)
    page = matrix_page(beside(run, b="<b>"), ["a note\ncode"])
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.split("</style>")[1])).split())
    assert "backprop matrix: 1 right, 2 WRONG, 1 UNSTABLE, 4 not judged, 1 missing" in text
    assert f"✗ WRONG : vjp WRONG: {DIAGONAL}" in text
    assert f'title="vjp WRONG: {DIAGONAL}"' in page
    assert f'<span class="aside">: vjp WRONG: {DIAGONAL}</span>' in page
    assert 'scope="row">softmax</th>' in page
    assert "c: there is no file c.py" in text
    tags = Tags()
    tags.feed(page)
    assert not {"script", "b"} & tags.names
    assert "&lt;b&gt;" in page
    assert not re.search(r"url\(|@import|\ssrc=|\shref=", page)
    assert "note: a note" in text


# ── The command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def backprop(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["matrix", *arguments], env={"COLUMNS": "80"})


@pytest.mark.usefixtures("in_this_process")
def test_files_beside_each_other_and_json_alone_on_standard_output(tmp_path: Path) -> None:
    for name, text in (("old.py", "x * x"), ("new.py", "2 * x")):
        (tmp_path / name).write_text(f"def square(x):\n    return {text}\n", encoding="utf-8")
    given = ("--python", str(tmp_path / "old.py"), "--python", f"now={tmp_path / 'new.py'}")
    result = backprop(*given, "--examples", "4", "--json", "-")
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    jsonschema.validate(found, json.loads(SCHEMA.read_text("utf-8")))
    assert [(cell["implementation"], cell["word"]) for cell in found["cells"]] == [("old", "right"), ("now", "WRONG")]
    assert "square" in result.stderr


@pytest.mark.exhaustive
@needs_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_the_page_whole(width: int) -> None:
    files = [f"implementation-{k}.py" for k in range(12)]
    run = run_of({(file, op): report(op, "wrong", f"{DIAGONAL}: {op} " * 9) for file in files for op in OPERATIONS})
    found, console = seen(matrix_page(beside(run)), width)
    assert found == {"width": width, "cut": []}
    assert not console

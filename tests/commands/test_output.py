"""What the command prints fits a terminal of 80 columns, and what has a name is called by all of it."""

import re
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from backprop_oracle.catalogue import CATALOGUE
from backprop_oracle.kinds import KINDS
from backprop_properties.cases.domains import EVERYWHERE, PROMISES
from backprop_properties.checking.run import told_apart
from backprop_properties.commands import check_output, console
from backprop_properties.commands.app import app
from backprop_reference import OPERATIONS
from samples import sampled

COMMANDS = ["selftest", "verify", "check", "matrix", "audit", "accuracy", "list", "show"]
COMMANDS += [f"vectors {name}" for name in ("path", "check", "write", "add", "diff", "export")]


def backprop(*arguments: str, **options: Any) -> Any:
    return CliRunner().invoke(app, arguments, **options)


def terminal(width: int = 80) -> Console:
    return Console(file=StringIO(), width=width, force_terminal=True, color_system=None)


def lines_of(screen: Console) -> list[str]:
    assert isinstance(screen.file, StringIO)
    return re.sub(r"\x1b\[[\d?;]*[a-zA-Z]", "\n", screen.file.getvalue()).replace("\r", "\n").splitlines()


@pytest.mark.parametrize("width", [80, 60, 30])
def test_names_are_never_broken_in_two(width: int) -> None:
    screen, table = terminal(width), Table(box=None)
    table.add_column("file", no_wrap=True)
    table.add_column("operation", no_wrap=True)
    table.add_column("words")
    names = [*OPERATIONS, *CATALOGUE, "a_name_of_somebody_that_is_far_too_long_for_any_column_of_a_table"]
    for name in names:
        table.add_row("a/very/deep/folder/mine.py", name.replace("[", r"\["), "two words")
    console.print_table(table, screen)
    text = "\n".join(lines_of(screen))
    assert all(f" {name} " in text for name in names)


def test_the_table_of_a_check_has_whole_names() -> None:
    name = "softmax_cross_entropy_with_label_smoothing_and_z_loss"
    report = SimpleNamespace(dtypes=["float64"], checks=[], seconds=1.0, passed=True, missing=(), failures=(), word="")
    tasks = [SimpleNamespace(path=Path(f"/somewhere/{k}/mine.py"), operation=name) for k in range(2)]
    run: Any = SimpleNamespace(
        names=told_apart([task.path for task in tasks]), ordered=lambda: [(task, report) for task in tasks]
    )
    screen = terminal()
    console.print_table(check_output._table(run), screen)
    assert sum(f"{k}/mine.py  {name}" in line for k in range(2) for line in lines_of(screen)) == 2


def test_progress_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal()
    monkeypatch.setattr(console, "errors", screen)
    with console.live_line("verifying", 100) as update:
        said = "99%: 1,234,567 cases, 12,345 cases/s, 0 failures"
        update(advance=1, said=said, description="; ".join(["softmax_cross_entropy: 1,204 calls of vjp, 12 s"] * 4))
    found = [line for line in lines_of(screen) if "verifying" in line]
    assert found
    assert all(len(line.rstrip()) <= 80 for line in found)
    assert any(said in line for line in found)


def test_what_is_slow_is_a_line_for_each_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=StringIO(), width=80)
    monkeypatch.setattr(check_output, "errors", screen)
    monkeypatch.setattr(check_output, "SLOW", -1.0)
    state = "softmax_cross_entropy: 1,204 calls of vjp, 120 s of at most 240"
    judge: Any = SimpleNamespace(state=state)
    with check_output.watched() as (_, _, on_wait):
        on_wait([judge, judge, judge])
    lines = lines_of(screen)
    assert lines == [f"backprop: {state}"] * 3
    assert all(len(line) <= 80 for line in lines)


def test_files_of_one_name_are_told_apart_in_every_line(tmp_path: Path) -> None:
    texts = {"a": "1 / 0", "b": "x = 1", "c": "def softmax(x):\n    return x\ndef sofmax_vjp(d, x):\n    return x\n"}
    files = []
    for folder, text in texts.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(text)
        files.append(str(tmp_path / folder / "mine.py"))
    out = tmp_path / "out.xml"
    result = backprop("check", *files, "--examples", "3", "--junit", str(out))
    assert result.exit_code == 1
    said = result.stderr
    assert "backprop: a/mine.py can't be imported, line 1" in said
    assert "backprop: b/mine.py has none of" in said
    assert "note: c/mine.py: sofmax_vjp is not checked" in said
    assert {"a/mine.py", "b/mine.py", "c/mine.py"} <= set(re.findall(r"[abc]/mine\.py", out.read_text()))
    assert told_apart([Path("/a/x.py"), Path("/a/y.py")]) == {Path("/a/x.py"): "x.py", Path("/a/y.py"): "y.py"}


# ── Help ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_every_exit_code_within_80_columns(command: str) -> None:
    result = backprop(*command.split(), "--help", terminal_width=80)
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "Exit code 0: " in text
    assert "2: " in text.partition("Exit code 0: ")[2]
    assert all(len(line) <= 80 for line in result.stdout.splitlines()), result.stdout


def test_help_names_all_that_a_domain_may_say() -> None:
    text = " ".join(backprop("check", "--help").stdout.split())
    rules = text.partition("A RULE of --domain")[2].partition("Exit code")[0]
    sizes = ("multiple of", "at least", "at most", "even", "odd", "power of two")
    for word in (*KINDS, *EVERYWHERE, *PROMISES, *sizes):
        assert word in rules, word


def test_the_version_is_told() -> None:
    from backprop_reference import __version__

    assert backprop("--version").stdout == f"backprop-reference {__version__}\n"


# ── Completion ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "expected"),
    sampled(
        [
            ("backprop ch", ["check"]),
            ("backprop show sof", ["softplus", "softmax", "softmax_cross_entropy"]),
            ("backprop show layer_n", ["layer_norm"]),
            ("backprop verify --operations add,sigm", ["add,sigmoid"]),
            ("backprop check mine.py --operations had", ["hadamard"]),
            ("backprop check --may", ["--may-write"]),
            ("backprop check mi", []),  # the shell's own, which completes files
        ],
        [],
    ),
)
def test_a_shell_completes_commands_options_and_operations(words: str, expected: list[str]) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "_BACKPROP_COMPLETE": "complete_bash"}
    result = CliRunner().invoke(app, prog_name="backprop", env=asked)
    assert result.stdout.split() == expected
    script = CliRunner().invoke(app, prog_name="backprop", env={"_BACKPROP_COMPLETE": "source_bash"}).stdout
    assert "complete -o default" in script


# ── What a function may say of itself in one option ─────────────────────────────────────────────────────────────────

IN_PLACE = "def relu_vjp(delta, x):\n    delta[x <= 0] = 0\n    return delta\n"
ROUNDS = "import numpy as np\ndef square(x):\n    return np.square(x.astype(np.float32))\n"
ROUNDS += "def square_vjp(delta, x):\n    return (2 * x * delta).astype(np.float32)\n"


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("text", "told", "option"),
    [(IN_PLACE, "--may-write delta", "--may-write delta"), (ROUNDS, "computes in float32", "--dtype float32")],
    ids=["in place", "float32 only"],
)
def test_an_option_accepts_what_is_promised(text: str, told: str, option: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    call = ["check", str(tmp_path / "mine.py"), "--examples", "30"]
    refused = backprop(*call)
    assert refused.exit_code == 1
    assert told in " ".join(refused.stdout.split())
    assert backprop(*call, *option.split()).exit_code == 0

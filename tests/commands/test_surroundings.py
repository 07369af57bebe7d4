"""The command where encodings, disks, widths and links are not what they should be: one line, or all of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from samples import sampled

SOFTMAX = """
import numpy as np
def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()
"""
FULL = "backprop: standard output: No space left on device"


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(text: str = SOFTMAX, name: str = "mine.py") -> str:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def backprop(*arguments: str, stdout: Any = subprocess.PIPE, cwd: Any = None, **environment: str) -> Any:
    """The command in a process of its own, as a shell starts it; its output as bytes of its own encoding."""
    return subprocess.run(
        [sys.executable, "-m", "backprop_properties", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        cwd=cwd,
        timeout=300,
    )


COMMANDS = [
    "show softmax",
    "--help",
    "check --help",
    "list",
    "list --json",
    "check FILE --examples 3",
    "check FILE --examples 3 --json -",
    "vectors check",
    "verify --operations add --examples 3 --jobs 1",
]


def called(command: str, path: str) -> list[str]:
    return command.replace("FILE", path).split()


# ── Encodings and widths ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", sampled(["ascii", "cp1252"], ["ascii"]))
@pytest.mark.parametrize("command", sampled(COMMANDS, [COMMANDS[0], COMMANDS[5]]))
def test_an_encoding_that_lacks_a_character_has_it_escaped(command: str, encoding: str, file: Any) -> None:
    result = backprop(*called(command, file()), PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr
    assert b"Traceback" not in result.stderr
    text = result.stdout.decode(encoding, "replace")  # of `--help` typer writes UTF-8 instead of ASCII
    if "show" in command:
        assert r"\u03a3_j exp(x_j)" in text  # Σ
    if "--json" in command:
        assert json.loads(text)


@pytest.mark.parametrize("columns", sampled(["0", "1", "-5", "many", ""], ["0"]))
def test_a_width_that_is_none_is_that_of_no_terminal(columns: str, file: Any) -> None:
    result = backprop("check", file(), "--examples", "3", COLUMNS=columns)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.decode().splitlines()
    assert 60 < max(map(len, lines)) <= 80


# ── Output that cannot be written ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
@pytest.mark.parametrize("command", sampled(COMMANDS, COMMANDS[:1]))
def test_a_full_disk_under_standard_output_is_one_line(command: str, file: Any) -> None:
    with open("/dev/full", "w") as full:
        result = backprop(*called(command, file()), stdout=full)
    assert result.returncode == 2
    assert result.stderr.decode().splitlines()[-1] == FULL
    assert b"Traceback" not in result.stderr
    assert b"Exception ignored" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
def test_reports_are_written_whatever_becomes_of_standard_output(file: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with open("/dev/full", "w") as full:
        result = backprop("check", file(), "--examples", "3", "--json", str(out), stdout=full)
    assert result.returncode == 2
    assert json.loads(out.read_text())["passed"] is True


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as pipe:
        result = backprop("show", "softmax", stdout=pipe)
    assert result.stderr == b""


# ── Folders that are full, or no more ───────────────────────────────────────────────────────────────────────────────


def test_no_temporary_folder_is_needed(file: Any, tmp_path: Path) -> None:
    result = backprop("check", file(), "--examples", "3", TMPDIR=str(tmp_path / "none"))
    assert result.returncode == 0, result.stderr


def test_a_temporary_folder_may_go_while_the_file_is_checked(file: Any, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    remove = f"\nimport shutil\nshutil.rmtree({str(folder)!r}, ignore_errors=True)\n"
    result = backprop("check", file(SOFTMAX + remove), "--examples", "3", TMPDIR=str(folder))
    assert not folder.exists()
    assert result.returncode == 0, result.stderr
    assert "all 1 right" in result.stdout.decode()


def test_a_current_folder_that_is_no_more_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n"
    code += "import sys; sys.argv = ['backprop', 'check', 'mine.py']\n"
    code += "from backprop_properties.commands.main import main; main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert result.stderr == "backprop: the current folder: No such file or directory\n"


@pytest.fixture
def loop(tmp_path: Path) -> str:
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    return str(tmp_path / "loop.py")


def test_a_symbolic_link_to_itself_is_one_line(file: Any, loop: str) -> None:
    from typer.testing import CliRunner

    from backprop_properties.commands.app import app

    path = file()
    for arguments in (
        ["check", loop],
        ["check", path, "--definitions", loop],
        ["check", path, "--junit", loop.replace(".py", ".xml")],
        ["verify", "--json", loop],
        ["accuracy", "--plot", loop],
        ["selftest", "--json", loop],
    ):
        Path(loop.replace(".py", ".xml")).unlink(missing_ok=True)
        Path(loop.replace(".py", ".xml")).symlink_to("loop.xml")
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, arguments
        assert result.stderr.strip().endswith("is a symbolic link to itself"), arguments
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_report_goes_through_a_link_to_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    from backprop_properties.commands.files import check_writable

    link = tmp_path / "out.json"
    link.symlink_to(tmp_path / "new.json")
    check_writable([link])
    link.unlink()
    link.symlink_to(tmp_path / "nowhere" / "new.json")
    with pytest.raises(OSError, match=r"there is no folder .*nowhere"):
        check_writable([link])


# ── Limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has no limit for the memory of a process")
@pytest.mark.parametrize(
    "big", sampled(["__import__('numpy').ones(1 << 27)", "[bytearray(1 << 20) for _ in range(1024)]"], [])
)
def test_memory_at_import_is_under_the_limit(big: str, file: Any) -> None:
    path = file(f"{SOFTMAX}\nbig = {big}\n")
    result = backprop("check", path, "--memory", "256", "--examples", "3")
    assert result.returncode == 2
    (line,) = result.stderr.decode().strip().splitlines()
    assert line.startswith("backprop: mine.py can't be imported, line 7: MemoryError")
    assert line.endswith("; --memory gives it more")
    assert backprop("check", path, "--memory", "2048", "--examples", "3").returncode == 0


@pytest.mark.parametrize(
    ("limit", "number"),
    sampled(
        [("--timeout", "inf"), ("--timeout", "1e308"), ("--memory", "99999999999999999"), ("--memory", str(2**62))],
        [("--memory", str(2**62))],
    ),
)
def test_a_limit_beyond_all_is_none_and_no_fault_of_the_file(limit: str, number: str, file: Any) -> None:
    result = backprop("check", file(), "--examples", "3", limit, number)
    assert result.returncode == 0, result.stderr

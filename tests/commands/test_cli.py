"""The `backprop` command as a user meets it: what it prints, its exit codes, and what it says of a wrong call."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from backprop_oracle.catalogue import CATALOGUE
from backprop_properties.checking import python_files
from backprop_properties.commands import files
from backprop_properties.commands import verify as verify_command
from backprop_properties.commands.app import app
from backprop_properties.pictures.derived import LECTURE, lecture, point
from backprop_properties.verification import every_law, workers
from backprop_properties.verification import run as verification
from backprop_reference import OPERATIONS
from backprop_reference.derivations import DERIVATIONS


def backprop(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100"})


# ── verify ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_verify_prints_a_line_for_each_argument_and_a_closing_line() -> None:
    result = backprop("verify", "--operations", "add,affine", "--examples", "5", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()[2:9]] == ["add", "x", "y", "affine", "W", "x", "b"]
    assert "all laws hold: 10 cases" in result.output
    assert "cases/s" in result.output


def test_verify_writes_everything_as_json(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    result = backprop("verify", "--operations", "softmax", "--examples", "5", "--jobs", "1", "--json", str(file))
    assert result.exit_code == 0, result.output
    report = json.loads(file.read_text(), parse_constant=lambda constant: pytest.fail(f"not JSON: {constant}"))
    assert report["passed"] is True
    assert report["cases"] == 5
    laws = {law["law"] for law in report["operations"][0]["laws"]}
    assert {"vjp_equals_jax_vjp", "vjp_within_bound_of_truth"} <= laws


def wrong_add(delta: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return delta.copy(), -delta


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """An `add` whose second cotangent has the wrong sign."""
    rows = {**OPERATIONS, "add": replace(OPERATIONS["add"], vjp=wrong_add)}
    for module in (verification, every_law, python_files):
        monkeypatch.setattr(module, "OPERATIONS", rows)


@pytest.mark.usefixtures("broken")
def test_a_failure_is_shown_with_a_minimal_case_that_reproduces_it() -> None:
    result = backprop("verify", "--operations", "add", "--examples", "20", "--jobs", "1")
    assert result.exit_code == 1
    assert "WRONG" in result.output
    assert "add: vjp equals jax vjp" in result.output
    assert "dy[0] = " in result.output
    assert "expected" in result.output
    code = [line[4:] for line in result.output.splitlines() if line.startswith("    ")]
    end = next(i for i, line in enumerate(code) if line.startswith("replay('add', 'vjp_equals_jax_vjp'"))
    start = max(i for i in range(end) if code[i] == "import numpy as np")
    program = "\n".join(code[start : end + 1])
    names: dict[str, object] = {}
    with pytest.raises(AssertionError, match="dy"):
        exec(program, names)  # what is pasted must run
    assert np.size(names["x"]) <= 2


def test_the_same_seed_gives_the_same_numbers_whatever_runs_them() -> None:
    names = ["softmax", "tanh"]
    alone = verification.verify(names, examples=10, jobs=1)
    with ThreadPoolExecutor(1) as executor:
        elsewhere = verification.verify(names, examples=10, executor=executor)
    other = verification.verify(names, examples=10, jobs=1, seed=1)
    assert [o.tallies for o in alone.outcomes] == [o.tallies for o in elsewhere.outcomes]
    assert [o.tallies for o in alone.outcomes] != [o.tallies for o in other.outcomes]


def test_a_run_that_checked_nothing_fails() -> None:
    assert not verification.Run(seed=0, examples=5).passed
    empty = every_law.Outcome("add", 0, {}, [], 0.0)
    assert not verification.Run(seed=0, examples=5, outcomes=[empty]).passed
    with pytest.raises(ValueError, match="at least 1"):
        verification.verify(["add"], examples=0)


def test_ctrl_c_prints_what_was_found_and_exits_with_130() -> None:
    heard = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # pytest-xdist's workers ignore it
    )
    process = subprocess.Popen(
        [sys.executable, "-c", f"{heard}; import backprop_properties.commands.main as cli; cli.main()", "verify"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until = time.monotonic() + 60
        while workers.exists() and time.monotonic() < until and len(workers.read_text().split()) < 2:
            time.sleep(0.2)  # the first of its children is multiprocessing's own
        time.sleep(2 if workers.exists() else 15)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else process.wait()
    assert process.returncode == 130, errors
    assert "interrupted" in output
    assert "not done: " in output
    assert "Traceback" not in errors


# ── list and show ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_list_shows_every_operation_with_signature_and_slide() -> None:
    result = backprop("list", "--json")
    rows = {row["name"]: row for row in json.loads(result.output)}
    assert list(rows) == [*OPERATIONS, *CATALOGUE]
    assert rows["cross_entropy"]["signature"] == "(b,v),(b)->()"
    assert rows["affine"]["signature"] == "(d,n),(n),(d)->(d)"
    text = backprop("list").output
    assert "softmax_cross_entropy" in text
    assert text.index("backpropagation") < text.index("The catalogue") < text.index("layer_norm")
    assert all(len(line) <= 100 for line in text.splitlines())


def test_list_breaks_no_name_and_no_shape_and_fits_80_columns() -> None:
    lines = backprop("list").output.splitlines()
    words = {word for line in lines for word in line.split()}
    assert max(len(line) for line in lines if not line.startswith("The catalogue")) <= 80
    assert {*OPERATIONS, *CATALOGUE} <= words
    shapes = [*(row.signature for row in OPERATIONS.values()), *(row.shapes for row in CATALOGUE.values())]
    for text in shapes:
        assert {*re.findall(r"\([^()]*\)", text)} <= {*re.findall(r"\([^()]*\)", "\n".join(lines))}


def test_show_prints_formula_shapes_and_the_value_of_every_factor() -> None:
    result = backprop("show", "softmax")
    assert result.exit_code == 0
    pieces = (
        *("exp(x_i) / Σ_j exp(x_j)", "`x (n)`", "f = exp(x) = [", "g = Σ f = ", "h = 1/g = ", "t = f h = ["),
        *("∂u/∂x = ∂t/∂f ∂f/∂x + ∂t/∂h ∂h/∂g ∂g/∂f ∂f/∂x", "∂t/∂f      n×n", "= product  n×n"),
        *(
            "∂t/∂h      n×1",
            "∂g/∂f      1×n",
            "= sum      n×n",
            "`∂u/∂x = diag(s) − s sᵀ`",
            "t → f: [",
            "f → x: [",
            "The slide, corrected: On",
        ),
    )
    places = [result.output.find(piece) for piece in pieces]
    assert -1 not in places, pieces[places.index(-1)]
    assert places == sorted(places)


def test_show_works_for_every_definition_of_the_catalogue() -> None:
    for name, row in CATALOGUE.items():
        result = backprop("show", name)
        assert result.exit_code == 0, result.output
        assert row.signature in result.output
        assert f"def {name}(" in result.output


@pytest.mark.parametrize("name", OPERATIONS)
def test_show_works_for_every_operation(name: str) -> None:
    result = backprop("show", name)
    assert result.exit_code == 0, result.output
    assert ("a basic operation" not in result.output) == (name in DERIVATIONS)
    for argument, value in zip(OPERATIONS[name].arguments, point(OPERATIONS[name]), strict=True):
        assert f"  {argument} = {np.array2string(value, precision=4)}".splitlines()[0] in result.output
    assert [line for line in result.output.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", LECTURE)
def test_show_knows_a_family_by_its_name(name: str) -> None:
    assert backprop("show", name).output.startswith(f"{name}: {LECTURE[name]}(")


def test_show_all_prints_every_family_in_the_slides_order() -> None:
    output = backprop("show", "--all").output
    places = [output.index(f"slide {row.slide}\n") for row in map(OPERATIONS.__getitem__, lecture())]
    assert places == sorted(places)


def test_show_writes_pages(tmp_path: Path) -> None:
    for arguments in (["softmax"], ["layer_norm"], ["--all"]):
        result = backprop("show", *arguments, "--html", str(tmp_path / "page.html"))
        assert (result.exit_code, result.output) == (0, "")
        assert "<svg" in (tmp_path / "page.html").read_text("utf-8")


# ── Wrong calls ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", "--operations", "sofmax"], "did you mean 'softmax'"),
        (["verify", "--operations", "qqq"], "`backprop list` shows all"),
        (["verify", "--operations", ""], "unknown operation ''"),
        (["verify", "--examples", "0"], "Invalid value for '--examples'"),
        (["verify", "--examples", "many"], "Invalid value for '--examples'"),
        (["verify", "--json", "/nowhere/at/all.json"], "there is no folder /nowhere/at"),
        (["verify", "--json", "/"], "/ is a folder; name a file"),
        (["accuracy", "--plot", "/"], "/ is a folder; name a file"),
        (["accuracy", "--readme", "/nowhere.md"], "there is no file /nowhere.md"),
        (["selftest", "--json", "/"], "/ is a folder; name a file"),
        (["verify", "--exmples", "3"], "No such option: --exmples"),
        (["show", "sofmax"], "did you mean 'softmax'"),
        (["show"], "expected a name, as in `backprop show softmax`, or --all"),
        (["show", "softmax", "--all"], "expected a name, as in `backprop show softmax`, or --all"),
        (["show", "softmax", "--html", "/nowhere/at/all.html"], "there is no folder /nowhere/at"),
        (["shw", "softmax"], "No such command 'shw'"),
    ],
)
def test_a_wrong_call_gets_one_clear_line_and_exit_code_2(arguments: list[str], says: str) -> None:
    result = backprop(*arguments)
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_file_that_may_not_be_written_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    result = backprop("verify", "--json", str(tmp_path / "out.json"))
    assert result.exit_code == 2
    assert result.output == f"backprop: {tmp_path / 'out.json'} may not be written\n"


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
@pytest.mark.parametrize("command", ["verify", "selftest", "accuracy"])
def test_a_full_device_is_told_at_once(command: str) -> None:
    result = backprop(command, "--json", "/dev/full")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "backprop: /dev/full cannot be written: No space left on device\n"


def test_a_full_disk_is_told_at_once_and_what_is_there_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    new, old = tmp_path / "new.json", tmp_path / "old.json"
    old.write_text("what was found before")
    files.check_writable([new, old, Path(os.devnull)])
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
    assert old.read_text() == "what was found before"
    monkeypatch.setattr(files, "TemporaryFile", no_space)
    result = backprop("verify", "--json", str(new))
    assert (result.exit_code, result.stderr) == (2, f"backprop: {new} cannot be written: No space left on device\n")


def test_a_report_that_cannot_be_written_in_the_end_is_one_line_below_the_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(verify_command, "write_json", no_space)
    file = tmp_path / "out.json"
    result = backprop("verify", "--operations", "add", "--examples", "5", "--jobs", "1", "--json", str(file))
    assert result.exit_code == 2
    assert "all laws hold: 5 cases" in result.stdout
    assert result.stderr == f"backprop: {file} could not be written: No space left on device\n"


def test_nothing_is_written_on_failure(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    assert backprop("verify", "--operations", "sofmax", "--json", str(file)).exit_code == 2
    assert not file.exists()


def test_the_command_says_which_extra_is_missing() -> None:
    """Without the extra there is one line and no traceback."""
    code = "import sys; sys.modules['typer'] = None\nfrom backprop_properties.commands.main import main\nmain()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "pip install 'backprop-reference[verify]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_needs_no_oracle_imports_none(tmp_path: Path) -> None:
    """`show`, `--help` and a wrong option answer at once, and of `check` only the worker needs JAX; `list` needs it for
    the catalogue, when the lecture's operations are printed.
    """
    file = tmp_path / "mine.py"
    file.write_text("def square(x):\n    return x * x\n")
    calls = [["show", "softmax"], ["--help"], ["check", "--help"]]
    judging = ("verify", "check", "matrix", "grade", "audit", "accuracy", "selftest")
    wrong = [[command, "--exmples"] for command in (*judging, "list", "show")]
    wrong += [["vectors", command, "--exmples"] for command in ("check", "write", "diff", "export")]
    calls += wrong
    code = (
        "import sys\n"
        "from backprop_properties.commands.main import main\n"
        f"for call in {calls}:\n"
        "    sys.argv = ['backprop', *call]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit:\n"
        "        pass\n"
        "slow = {'jax', 'jaxlib', 'hypothesis', 'flint', 'ml_dtypes', 'scipy'} & {*sys.modules}\n"
        f"sys.argv = ['backprop', 'check', {str(file)!r}, '--domain', 'x=positive', '--examples', '3']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as done:\n"
        "    print('check', done.code)\n"
        "slow |= {'jax', 'jaxlib'} & {*sys.modules}\n"
        "sys.exit(f'imported: {slow}' if slow else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "softmax_vjp" in result.stdout
    assert "check 0" in result.stdout
    assert result.stderr.count("No such option: --exmples") == len(wrong)


# ── Workers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_work_of_a_worker_that_died_is_done_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BACKPROP_TEST_MARK", str(tmp_path / "died"))
    monkeypatch.setattr(workers, "keep_compiled_programs", die_once)
    report = verification.verify(["add"], examples=3, jobs=2)
    assert report.passed
    (note,) = report.notes
    assert note == "worker processes died and were replaced: 1 by exit code 1; they were trying add"


def die_once() -> None:
    mark = Path(os.environ["BACKPROP_TEST_MARK"])
    if not mark.exists():
        mark.touch()
        os._exit(1)


def test_the_module_is_the_command() -> None:
    module = [sys.executable, "-m", "backprop_properties.commands.main", "show", "sofmax"]
    result = subprocess.run(module, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "did you mean 'softmax'?" in result.stderr


def test_public_names_are_functions_however_often_they_are_imported():
    """No module has the name of a function that the package exports: it would take its place once it is loaded."""
    code = (
        "from importlib import import_module\n"
        "import backprop_properties as p\n"
        "for _ in range(2):\n"
        "    assert all(callable(getattr(p, name)) for name in p.__all__), p.__all__\n"
        "    [import_module(home, 'backprop_properties') for home in p._HOMES.values()]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

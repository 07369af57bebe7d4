"""The harness of the benchmarks, on tiny cells: its arithmetic, and that nobody is timed on wrong results."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import command, report, turns
from benchmarks.cells import (
    ACTIVATION,
    CELLS,
    COPY,
    CROSS_ENTROPY,
    DENSE,
    GROWTH,
    LIMITS,
    NETWORK,
    PRODUCT,
    PULLED_BACK,
    SOFTMAX,
    Cell,
    argument_shapes,
    flops,
    inputs,
    moved_bytes,
    result_shapes,
)
from benchmarks.contenders import PEERS, REFERENCE, Contender
from benchmarks.limits import Limits, limits
from benchmarks.plot import svg
from benchmarks.report import fraction, markdown, notes, print_report, ratio, to_dict
from benchmarks.turns import Measured, Workers, difference, digest, results

TINY = [
    Cell(NETWORK, (5, 4, 3)),
    Cell(NETWORK, (5, 4, 3), 6),
    Cell(CROSS_ENTROPY, (3,), 4),
    Cell(SOFTMAX, (3,), 4),
    Cell(ACTIVATION, (4, 3)),
    Cell(ACTIVATION, (4, 3), 5),
    Cell(PULLED_BACK, (4, 3)),
    Cell(DENSE, (4, 3)),
    Cell(PRODUCT, (4,)),
]
PRESENT = [REFERENCE, *(peer for peer in PEERS if peer.installed)]


# ── The model ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_flops_count_the_matrix_products_alone() -> None:
    network = Cell(NETWORK, (784, 512, 10), 128)
    assert flops(network) == 6 * 128 * (784 * 512 + 512 * 10)
    assert flops(replace(network, batch=None)) == 6 * (784 * 512 + 512 * 10)
    assert flops(Cell(ACTIVATION, (512, 784), 128)) == 6 * 128 * 784 * 512
    assert flops(Cell(PRODUCT, (100,))) == 2 * 100**3
    assert flops(Cell(SOFTMAX, (10,), 4096)) == flops(Cell(PULLED_BACK, (9, 9))) == flops(Cell(COPY, (64,), 2)) == 0


def test_bytes_count_inputs_and_results_once() -> None:
    parameters = 8 * 4 + 8 + 3 * 8 + 3
    assert moved_bytes(Cell(NETWORK, (4, 8, 3))) == 8 * ((parameters + 4 + 3) + (1 + parameters + 4))
    assert moved_bytes(Cell(NETWORK, (4, 8, 3), 7, "float32")) == 4 * ((parameters + 49) + (1 + parameters + 28))
    assert moved_bytes(Cell(CROSS_ENTROPY, (10,), 4096)) == 8 * (4096 + 4 * 40960)  # delta, x, y; dx, dy
    assert moved_bytes(Cell(SOFTMAX, (10,), 4096, "float32")) == 4 * 3 * 40960  # delta, x; dx
    assert moved_bytes(Cell(ACTIVATION, (4, 3))) == 8 * ((4 + 12 + 3 + 4) + (12 + 3 + 4))
    assert moved_bytes(Cell(PULLED_BACK, (4, 3))) == 8 * (4 + 3 + 12)  # delta, x; dW
    assert moved_bytes(Cell(DENSE, (4, 3))) == 8 * (3 + 48)
    assert moved_bytes(Cell(COPY, (64,), 2)) == 8 * 2 * 64


def test_the_limit_adds_both() -> None:
    limit = Limits({"float64": 1e9, "float32": 2e9}, {100: 1e6, 10_000: 4e6})
    cell = Cell(ACTIVATION, (10, 10))
    assert moved_bytes(cell) == 8 * 250
    bandwidth = 1e6 * 4 ** (np.log(2000 / 100) / np.log(100))  # interpolated, in logarithms
    assert limit.seconds(cell) == pytest.approx(600 / 1e9 + 2000 / bandwidth)
    assert limit.seconds(Cell(SOFTMAX, (1,), 1)) == pytest.approx(24 / 1e6)  # below the least copy: its rate


def test_limits_are_the_best_of_what_was_measured() -> None:
    product = [Cell(PRODUCT, (100,), dtype=dtype) for dtype in ("float64", "float32")]
    copies = [Cell(COPY, (64,), threads) for threads in (1, 2)]
    measured = [
        Measured(product[0], {"reference": [1.0], "JAX": [0.5]}),
        Measured(product[1], {"reference": [0.25], "JAX": [0.1]}, problems={"JAX": "wrong results"}),
        Measured(copies[0], {"reference": [3.0, 2.0, 1.0]}),
        Measured(copies[1], {"reference": [4.0]}),
    ]
    assert limits(measured) == Limits({"float64": 4e6, "float32": 8e6}, {1024: 512.0})
    assert limits(measured[:1]) is None


def test_ratio_and_fraction() -> None:
    cell = Cell(SOFTMAX, (10,), 4096)
    measured = Measured(cell, {"reference": [3.0, 9.0, 1.0], "JAX": [2.0], "PyTorch": [1.0]})
    assert ratio(measured) == 3.0
    assert ratio(replace(measured, problems={"PyTorch": "wrong results"})) == 1.5
    assert ratio(replace(measured, problems={"reference": "died"})) is None
    assert ratio(Measured(cell, {"reference": [1.0]})) is None
    limit = Limits({}, {moved_bytes(cell): moved_bytes(cell) / 0.75})
    assert fraction(measured, limit) == pytest.approx(0.25)
    assert fraction(measured, None) is None


def test_titles_are_unique_and_every_cell_comes_in_both_dtypes() -> None:
    titles = [cell.title for cell in (*LIMITS, *CELLS, *GROWTH)]
    assert len(set(titles)) == len(titles)
    assert {replace(c, dtype="float32") for c in CELLS} == {c for c in CELLS if c.dtype == "float32"}
    assert {cell.growth for cell in GROWTH} == {"batch", "width", "depth", "d"}


# ── The contenders ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("cell", [*TINY, Cell(COPY, (64,), 2)], ids=lambda cell: cell.title)
def test_inputs_are_the_same_every_time_and_of_the_model_s_shapes(cell: Cell) -> None:
    for single in (cell, replace(cell, dtype="float32")):
        arrays = inputs(single)
        assert [a.shape for a in arrays] == argument_shapes(single)
        assert {a.dtype for a in arrays} == {np.dtype(single.dtype)}
        assert all(np.array_equal(a, b) for a, b in zip(arrays, inputs(single), strict=True))
    if cell.kind in (NETWORK, CROSS_ENTROPY):
        np.testing.assert_allclose(inputs(cell)[-1].sum(-1), 1)


@pytest.mark.parametrize("cell", TINY, ids=lambda cell: cell.title)
def test_the_reference_computes_every_kind(cell: Cell) -> None:
    array, makers = REFERENCE.load()
    arrays = results(cell, makers[cell.kind](*map(array, inputs(cell)))())
    assert [shape for shape, _, _ in arrays] == result_shapes(cell)
    assert difference(cell, arrays, arrays) is None


@pytest.mark.parametrize("change", ["sign", "order", "one entry"])
def test_a_digest_sees_any_change_of_a_large_array(change: str) -> None:
    cell = Cell(SOFTMAX, (1 << 10,), 1 << 9)
    a = np.random.default_rng(0).normal(size=(1 << 9, 1 << 10))
    b = a.copy()
    if change == "sign":
        b[7, :3] *= -1
    elif change == "order":
        b[7, :2] = b[7, 1::-1]
    else:
        b[-1, -1] += 1e-6
    assert len(digest(a)) == 1 << 16
    assert difference(cell, results(cell, (a,)), results(cell, (a.copy(),))) is None
    assert "wrong results" in difference(cell, results(cell, (b,)), results(cell, (a,)))


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(PRESENT) as running:
        yield running


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("cell", TINY, ids=lambda cell: cell.title)
def test_everybody_computes_the_same_and_has_a_turn_in_every_round(workers: Workers, cell: Cell, dtype: str) -> None:
    found = workers.measure(replace(cell, dtype=dtype), rounds=2, seconds=0)
    assert found.problems == {}
    able = {contender.name for contender in PRESENT} - ({"autograd"} if cell.kind == PRODUCT else set())
    assert {name: len(rounds) for name, rounds in found.rounds.items()} == dict.fromkeys(able, 2)
    assert all(seconds > 0 for seconds in found.seconds.values())


def test_a_slow_cell_has_fewer_rounds(workers: Workers) -> None:
    found = workers.measure(TINY[0], rounds=5, seconds=0, budget=0)
    assert {len(rounds) for rounds in found.rounds.values()} == {1}


def test_each_contender_has_a_process_of_its_own(workers: Workers) -> None:
    workers.measure(TINY[0], rounds=1, seconds=0)
    assert len({worker.process.pid for worker in workers.running.values()} | {os.getpid()}) == len(PRESENT) + 1


# ── Contenders that fail ────────────────────────────────────────────────────────────────────────────────────────────


def _softmax_vjp(delta: np.ndarray, x: np.ndarray) -> np.ndarray:
    s = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    return s * (delta - (s * delta).sum(-1, keepdims=True))


def fake(step: Callable[[np.ndarray, np.ndarray], object]) -> tuple[Callable, dict]:
    return np.asarray, {SOFTMAX: lambda delta, x: lambda: step(delta, x)}


def honest() -> object:
    return fake(lambda delta, x: (_softmax_vjp(delta, x),))


def wrong_sign() -> object:
    return fake(lambda delta, x: (-_softmax_vjp(delta, x),))


def one_wrong_entry() -> object:
    def step(delta: np.ndarray, x: np.ndarray) -> object:
        dx = _softmax_vjp(delta, x)
        dx[-1, -1] *= 1.001
        return (dx,)

    return fake(step)


def nothing_but_nan() -> object:
    return fake(lambda delta, x: (np.full_like(x, np.nan),))


def wrong_shape() -> object:
    return fake(lambda delta, x: (_softmax_vjp(delta, x)[0],))


def wrong_dtype() -> object:
    return fake(lambda delta, x: (_softmax_vjp(delta, x).astype(np.float32),))


def raises() -> object:
    return fake(lambda delta, x: 1 // 0)


def dies() -> object:
    return fake(lambda delta, x: os.kill(os.getpid(), signal.SIGKILL))


def dies_when_timed() -> object:
    calls = []

    def step(delta: np.ndarray, x: np.ndarray) -> object:
        calls.append(1)
        return (_softmax_vjp(delta, x),) if len(calls) < 2 else os._exit(7)

    return fake(step)


def hangs() -> object:
    return fake(lambda delta, x: time.sleep(600))


def does_not_load() -> object:
    raise ImportError("no such library")


@pytest.mark.parametrize(
    ("load", "problem"),
    [
        (honest, None),
        (wrong_sign, "wrong results: number 0 is off by 2.0e+00 of the reference's largest entry"),
        (one_wrong_entry, "wrong results: number 0 is off by"),
        (nothing_but_nan, "wrong results: number 0 is off by nan"),
        (wrong_shape, "wrong shapes: [(3,)]"),
        (wrong_dtype, "wrong dtype: float32"),
        (raises, "ZeroDivisionError: "),
        (dies, "died with exit code -9"),
        (dies_when_timed, "died with exit code 7"),
        (does_not_load, "does not start: ImportError: no such library"),
    ],
)
def test_who_fails_is_reported_and_not_timed(load: Callable, problem: str | None) -> None:
    cell = Cell(SOFTMAX, (3,), 4)
    with Workers([REFERENCE, Contender("fake", "numpy", load)]) as running:
        for _ in range(2):  # and again, after the worker has died
            found = running.measure(cell, rounds=2, seconds=0)
            assert set(found.seconds) == ({"reference"} if problem else {"reference", "fake"})
            assert len(found.rounds["reference"]) == 2
            assert found.problems.get("fake", "").startswith(problem or "")
            assert bool(found.problems) == bool(problem)
            if load is does_not_load:
                break
    if problem:
        assert any(problem in note for note in notes([found], []))
        assert ratio(found) is None


def test_who_does_not_start_is_tried_once() -> None:
    with Workers([REFERENCE, Contender("fake", "numpy", does_not_load)]) as running:
        assert "fake" in running.measure(TINY[3], rounds=1, seconds=0).problems
        assert running.measure(TINY[3], rounds=1, seconds=0).problems == {}


def test_who_says_nothing_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    with Workers([Contender("fake", "numpy", hangs)]) as running:
        running.measure(replace(TINY[4]), rounds=1, seconds=0)  # it has nothing to do there, and is up afterwards
        monkeypatch.setattr(turns, "PATIENCE", 0.5)
        assert running.measure(TINY[3], rounds=1, seconds=0).problems == {"fake": "no answer within 0 s"}


# ── Memory ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
def test_peak_memory_is_that_of_the_results_at_least() -> None:
    found = Measured(Cell(PULLED_BACK, (1024, 1024), growth="d"))
    with Workers([REFERENCE]) as running:
        running.weigh(found)
    assert 0.9 < found.memory["reference"] / (8 * 1024**2) < 1.5


# ── What is shown ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def measured() -> list[Measured]:
    times = {"reference": [2e-3], "JAX": [1e-3], "PyTorch": [4e-3], "autograd": [8e-3]}
    found = [Measured(cell, dict(times)) for cell in (*LIMITS[:2], *CELLS, *GROWTH)]
    found += [Measured(cell, {"reference": [1e-3]}) for cell in LIMITS[2:]]
    found[3].problems["JAX"] = "died with exit code -9"
    found[-len(LIMITS)].memory = {"reference": 10**9}
    return found


def test_the_table_fits_a_terminal(measured: list[Measured]) -> None:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    print_report(console, measured, [])
    text = console.file.getvalue()
    assert "…" not in text
    for cell in (*CELLS, *GROWTH):
        assert cell.kind in text
        assert f"  {cell.size} " in text
    assert "failed" in text
    assert "JAX, backpropagation 4-8-3 float32: died with exit code -9" in text
    assert "GFLOP/s" in text
    assert f"in 1 of {len(CELLS)} cells" in text


def test_markdown_is_tables_and_names_the_machine(measured: list[Measured]) -> None:
    text = markdown(measured, ["a remark"])
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert [len(lines) - 2 for lines in tables] == [len(CELLS), len(GROWTH)]
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1
    assert f"NumPy {np.__version__}" in text
    assert "\n- a remark\n- measured on 20" in text


def test_the_kernels_of_blas_are_named_where_they_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, str]] = [{"user_api": "openmp"}, {"architecture": "Zen"}]
    monkeypatch.setattr(report, "threadpool_info", lambda: found)
    assert report.machine()["BLAS"].endswith(" with kernels for Zen")
    found.pop()
    assert "kernels" not in report.machine()["BLAS"]
    assert list(report.forced({})) == []
    (line,) = report.forced({"OPENBLAS_CORETYPE": "Nehalem"})
    assert line.startswith("OPENBLAS_CORETYPE=Nehalem is set: ")


def test_json_has_everything(measured: list[Measured]) -> None:
    cells = json.loads(json.dumps(to_dict(measured), allow_nan=False))["cells"]
    assert [entry["title"] for entry in cells] == [m.cell.title for m in measured]
    assert cells[2]["ratio"] == 2.0
    assert cells[3]["problems"] == {"JAX": "died with exit code -9"}


def test_the_drawing_has_a_dot_for_each_time(measured: list[Measured]) -> None:
    titles = [title.text for title in ET.fromstring(svg(measured)).iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 4 * len(CELLS) - 1
    assert "PyTorch: 4.00 ms" in titles


# ── The command line ────────────────────────────────────────────────────────────────────────────────────────────────


def bench(*arguments: str) -> object:
    return CliRunner().invoke(command.app, list(arguments), env={"COLUMNS": "100"})


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiny cells, one that grows, small limits, and no peers."""
    monkeypatch.setattr(command, "CELLS", TINY[:2])
    monkeypatch.setattr(command, "GROWTH", [replace(TINY[3], growth="batch")])
    monkeypatch.setattr(command, "LIMITS", [replace(cell, sizes=(64,)) for cell in LIMITS[:3]])
    monkeypatch.setattr(command, "PEERS", [peer._replace(distribution="no_such_module") for peer in PEERS])


@pytest.mark.usefixtures("small")
def test_a_run_writes_what_it_was_asked_for_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "PEERS", [PEERS[0], *command.PEERS[1:]])
    monkeypatch.setattr(command, "forced", lambda environ: ["kernels are forced"])
    readme, data, drawing = (tmp_path / name for name in ("README.md", "out.json", "out.svg"))
    readme.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    result = bench("--quick", "--readme", str(readme), "--json", str(data), "--plot", str(drawing))
    assert result.exit_code == 0, result.output
    assert "JAX is not installed" not in result.output
    assert "PyTorch is not installed: not measured" in result.output
    assert "kernels are forced" in result.output
    assert "autograd is not installed: not measured" in result.output
    assert "| `backpropagation` | 5-4-3 | float64 |" in readme.read_text()
    assert "old" not in readme.read_text()
    assert readme.read_text().startswith("before\n")
    assert len(json.loads(data.read_text())["cells"]) == 3 + 2 + 1
    assert drawing.read_text().startswith("<svg")


@pytest.mark.usefixtures("small")
def test_cells_are_chosen_by_title() -> None:
    result = bench("--quick", "--cells", "growth*softmax,")
    assert result.exit_code == 0, result.output
    assert "softmax_vjp" in result.output
    assert "backpropagation" not in result.output


def test_wrong_calls_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text("no markers")
    for arguments, message in [
        (["--cells", "nonsense"], "nothing has 'nonsense' in its title"),
        (["--json", str(tmp_path / "no" / "file")], "there is no folder"),
        (["--json", str(tmp_path)], "is a folder; name a file"),
        (["--cells", "softmax, nonsense"], "nothing has 'nonsense' in its title"),
        (["--cells", " ,"], "nothing has ' ,' in its title"),
        (["--readme", str(tmp_path / "no.md")], "there is no file"),
        (["--readme", str(tmp_path / "empty.md")], "expected one <!-- bench -->"),
    ]:
        result = bench(*arguments)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.usefixtures("small")
def test_a_slow_machine_has_fewer_rounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for limit, rounds in ((0.0, 1), (240.0, 3)):
        monkeypatch.setattr(command, "TIME", limit)
        assert bench("--rounds", "3", "--seconds", "0", "--json", str(tmp_path / "out.json")).exit_code == 0
        found = json.loads((tmp_path / "out.json").read_text())["cells"]
        assert {len(cell["rounds"]["reference"]) for cell in found} == {rounds}


@pytest.mark.usefixtures("small")
def test_what_is_written_into_the_readme_during_a_run_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measure, readme = Workers.measure, tmp_path / "README.md"
    readme.write_text("before <!-- bench -->old<!-- /bench -->")

    def edited(self: Workers, cell: Cell, *limits: Any) -> Measured:
        readme.write_text(readme.read_text().replace("before", "edited"))
        return measure(self, cell, *limits)

    monkeypatch.setattr(Workers, "measure", edited)
    assert bench("--quick", "--readme", str(readme)).exit_code == 0
    assert readme.read_text().startswith("edited <!-- bench -->")
    assert "old" not in readme.read_text()


@pytest.mark.usefixtures("small")
def test_ctrl_c_prints_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measure, (readme, data) = Workers.measure, (tmp_path / "README.md", tmp_path / "out.json")
    readme.write_text("<!-- bench -->old<!-- /bench -->")

    def interrupted(self: Workers, cell: Cell, *limits: Any) -> Measured:
        if cell == TINY[1]:
            raise KeyboardInterrupt
        return measure(self, cell, *limits)

    monkeypatch.setattr(Workers, "measure", interrupted)
    result = bench("--quick", "--readme", str(readme), "--json", str(data))
    assert result.exit_code == 130
    assert "  5-4-3 " in result.output
    assert "interrupted: 4 of 6 cells were measured" in result.output
    assert len(json.loads(data.read_text())["cells"]) == 4
    assert "old" in readme.read_text()


def test_ctrl_c_ends_the_workers_and_exits_with_130() -> None:
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # pytest-xdist's workers ignore it
    program = f"import signal; {heard}; from benchmarks.command import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--rounds", "9999"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    try:
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until = time.monotonic() + 60
        while workers.exists() and time.monotonic() < until and len(workers.read_text().split()) <= len(PRESENT):
            time.sleep(0.2)  # the first of its children is multiprocessing's own
        time.sleep(1 if workers.exists() else 15)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else process.wait()
    assert process.returncode == 130, errors
    assert "interrupted: 0 of " in output
    assert "Traceback" not in errors

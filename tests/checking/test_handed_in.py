"""What is handed in: files and notebooks, run one after the other, where what fails is told and the rest goes on."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from backprop_properties.checking.handed_in import HandedIn, code_cells, handed_in, without_magics


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes files, and runs those that are named, or all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("MPLBACKEND", "Agg")
    modules = {*sys.modules}

    def run(files: dict[str, str], names: list[str] | None = None, seconds: float = 60) -> HandedIn:
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return handed_in(tmp_path, names or list(files), seconds)

    yield run
    for name in {*sys.modules} - modules:
        del sys.modules[name]


def by_jupyter(*cells: str) -> str:
    """A notebook as Jupyter's own library writes it."""
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Homework"), *made])
    text: str = nbformat.writes(book)
    return text


def test_of_several_definitions_of_one_name_the_last_counts(run: Any) -> None:
    files = {"a.py": "def f(): return 1\ndef g(): return 1\n", "b.py": "def f(): return 2\ndef f(): return 3\n"}
    found = run(files)
    assert {name: f() for name, f in found.functions.items()} == {"f": 3, "g": 1}
    assert found.told == ()


def test_a_name_that_holds_a_number_by_now_is_still_the_function_that_it_was(run: Any) -> None:
    found = run({"a.ipynb": by_jupyter("def f(): return 1", "f = f()")})
    assert found.functions["f"]() == 1


def test_a_file_keeps_what_stands_before_the_line_that_failed(run: Any) -> None:
    found = run({"a.py": "def f(): return 1\nimport nothing_there\ndef g(): return 2\n", "b.py": "def h(): return 3\n"})
    assert set(found.functions) == {"f", "h"}
    assert found.told == ("a.py stopped, line 2: ModuleNotFoundError: No module named 'nothing_there'",)
    assert {"f", "g"} <= set(found.broken)


def test_files_may_import_each_other_and_read_what_lies_beside_them(run: Any) -> None:
    files = {
        "a.py": "def f(): return 1\n",
        "b.py": "from a import f\nimport pathlib\ndef g(): return f() + len(pathlib.Path('c.txt').read_text())\n",
    }
    found = run({**files, "c.txt": "four"}, ["b.py"])
    assert found.functions["g"]() == 5


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def f(:\n", "a.py cannot be read, line 1: SyntaxError: "),
        ("import sys\nsys.exit(3)", "a.py stopped, line 2: it called exit(3)"),
        ("raise KeyboardInterrupt", "a.py stopped, line 1: KeyboardInterrupt"),
        ("while True:\n    pass", "a.py stopped: it takes too long"),
        ("class E(Exception):\n    def __str__(self): return 1\nraise E", "a.py stopped, line 3: E: (its text raises"),
        ("x = '\0'", "a.py stopped"),
    ],
)
def test_whatever_a_file_does_is_told_and_the_next_is_run(run: Any, code: str, told: str) -> None:
    found = run({"a.py": code, "b.py": "def f(): return 1\n"}, seconds=1)
    assert len(found.told) == 1
    assert found.told[0].startswith(told)
    assert found.functions["f"]() == 1


def test_a_notebook_made_by_jupyters_own_library_is_run_cell_by_cell(run: Any) -> None:
    cells = (
        "%matplotlib inline\nimport math",
        "def f(): return math.pi",
        "1 / 0\ndef g(): return 1",
        "!ls\ndef h(): return 2",
    )
    found = run({"hw.ipynb": by_jupyter(*cells, "display(f())", "get_ipython().run_line_magic('time', '')")})
    assert found.functions["f"]() == pytest.approx(3.14159, abs=1e-5)
    assert found.functions["h"]() == 2
    assert found.told == ("cell 3 of hw.ipynb stopped, line 1: ZeroDivisionError: division by zero",)
    assert found.broken == {"g": found.told[0]}


def test_the_line_of_an_error_in_a_cell_is_that_of_the_cell(run: Any) -> None:
    from backprop_properties.checking.guard import Unusable, called

    found = run({"hw.ipynb": by_jupyter("x = 1", "def f():\n    return 1 / 0")})
    with pytest.raises(Unusable, match=r"f raised ZeroDivisionError: .* \(line 2 of cell 2 of hw.ipynb\)"):
        called(found.functions["f"], "f", ())


def test_cells_are_read_in_the_older_format_too(run: Any) -> None:
    old = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": ["def f():\n", "    return 1"]}]}]}
    assert run({"old.ipynb": json.dumps(old)}).functions["f"]() == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}'])
def test_what_is_no_notebook_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a.ipynb is no notebook that can be read: .*$"):
        code_cells(text.encode(), "a.ipynb")


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ("!pip install x", "pass"),
        ("  ", "  "),
        ("x = !ls\ny = 1", "pass\ny = 1"),
        ("np.exp?\ny = 1", "pass\ny = 1"),
        ("text = '''\n%matplotlib\n!ls\n'''", "text = '''\n%matplotlib\n!ls\n'''"),
        ("%timeit f(x)\ntext = '''\n% b\n'''", "pass\ntext = '''\n% b\n'''"),
        ("%%html\n<b>", ""),
        ("%%capture out\nx = 1", "\nx = 1"),
        ("def f(:", "def f(:"),
        ("for i in y:\n\t%time f(i)", "for i in y:\n\tpass"),
    ],
)
def test_magics_are_left_out_and_nothing_else(source: str, left: str) -> None:
    assert without_magics(source) == left


def test_the_folder_is_the_current_one(run: Any, tmp_path: Path) -> None:
    run({"a.py": "import pathlib\npathlib.Path('written.txt').write_text('x')\n"})
    assert (tmp_path / "written.txt").read_text() == "x"
    assert Path(os.getcwd()) == tmp_path

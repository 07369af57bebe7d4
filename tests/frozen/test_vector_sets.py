"""Sets of frozen vectors: each way to tamper with one is told, with exit code 1; so is an implementation that is wrong
or broken; what is written, compared and exported is exact.
"""

import csv
import json
import shutil
import subprocess
import sys
import time
from functools import cache

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from backprop_properties import load_vectors
from backprop_properties.checking.python_files import implementations
from backprop_properties.commands.vectors import vectors
from backprop_properties.frozen.files import (
    MANIFEST,
    MOST_BYTES,
    SCHEMA,
    VECTORS,
    VectorError,
    file_name,
    nesting,
    parse,
    sha256,
)
from backprop_properties.frozen.floats import from_text, to_hex, to_text
from backprop_properties.frozen.notes import NOTES
from backprop_properties.frozen.writer import write_set
from backprop_reference import OPERATIONS

cases_of = cache(load_vectors)


def run(*words):
    """The command's exit code and everything it says."""
    result = CliRunner().invoke(vectors, [str(word) for word in words])
    return result.exit_code, result.output


@cache
def document(operation):
    return json.loads((VECTORS / file_name(operation)).read_text("utf-8"))


# ── Tampering ───────────────────────────────────────────────────────────────────────────────────────────────────────

FEW = {name: OPERATIONS[name] for name in ("add", "softmax")}
COUNT = sum(document(operation)["numberOfTests"] for operation in FEW)


@pytest.fixture
def few(monkeypatch, tmp_path):
    """A sound set of two operations, in a world that has no more of them."""
    for module in ("backprop_reference", "backprop_properties.frozen.files", "backprop_properties.frozen.integrity",
                   "backprop_properties.frozen.diff", "backprop_properties.frozen.export"):  # fmt: skip
        monkeypatch.setattr(f"{module}.OPERATIONS", FEW)
    return few_in(tmp_path / "set")


def few_in(folder):
    folder.mkdir()
    for name in (SCHEMA, *map(file_name, FEW)):
        shutil.copy(VECTORS / name, folder / name)
    signed(folder)
    return folder


def signed(folder):
    """Sums and counts as they should be, for tampering that goes deeper."""
    manifest = json.loads((VECTORS / MANIFEST).read_text("utf-8"))
    manifest["files"] = {path.name: sha256(path.read_bytes()) for path in folder.iterdir() if path.name != MANIFEST}
    manifest["numberOfTests"] = COUNT
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def rewritten(folder, change, name="softmax.json"):
    """A file with a change in its document, and a manifest that knows of it."""
    content = json.loads((folder / name).read_text("utf-8"))
    change(content)
    (folder / name).write_text(json.dumps(content), "utf-8")
    signed(folder)


def every_test(content):
    return [test for group in content["testGroups"] for test in group["tests"]]


def test_a_sound_set_passes(few):
    code, output = run("check", few)
    assert code == 0
    assert f" results compared in {COUNT} cases of 2 operations: ✓" in output


def refused(folder, *words):
    code, output = run("check", folder)
    assert code == 1, output
    assert all(word in output for word in words), output
    assert len(output.splitlines()) <= 3, "one line for each thing that is wrong"


def test_a_missing_file_is_told(few):
    (few / "softmax.json").unlink()
    refused(few, "softmax.json: missing")


def test_a_file_that_neither_folder_nor_manifest_has_is_told(few):
    (few / "softmax.json").unlink()
    signed(few)
    refused(few, "names no softmax.json")


def test_an_added_file_is_told(few):
    (few / "sofmax.json").write_text("{}")
    refused(few, "sofmax.json: not in the manifest")
    signed(few)
    refused(few, "sofmax.json: of no operation")


def test_an_emptied_folder_and_none_are_told(few):
    for path in few.iterdir():
        path.unlink()
    refused(few, "is empty")
    few.rmdir()
    refused(few, "there is no folder")


def test_a_missing_manifest_is_told(few):
    (few / MANIFEST).unlink()
    refused(few, "manifest.json: missing")


def test_an_emptied_file_is_told(few):
    (few / "softmax.json").write_bytes(b"")
    refused(few, "softmax.json", "SHA-256", "not JSON")


def test_a_flipped_digit_is_told(few):
    data = bytearray((few / "softmax.json").read_bytes())
    where = data.index(b'"expected": "0x1.') + len('"expected": "0x1.')
    data[where] = ord("7") if data[where] != ord("7") else ord("8")
    (few / "softmax.json").write_bytes(data)
    refused(few, "softmax.json: its SHA-256 sum is not the manifest's: it was changed")


def test_a_flipped_digit_with_a_forged_sum_fails_its_case(few):
    def flip(content):
        value = content["testGroups"][0]["tests"][0]["value"]
        value["expected"] = value["expected"].replace("p-1", "p-2", 1).replace("p-2", "p-3", 1)

    rewritten(few, flip)
    code, output = run("check", few)
    assert code == 1
    assert "softmax tcId 1 (float64" in output
    assert NOTES["Ordinary"].description in output


def test_a_truncated_file_is_told(few):
    data = (few / "softmax.json").read_bytes()
    (few / "softmax.json").write_bytes(data[: len(data) // 2])
    refused(few, "softmax.json", "SHA-256", "truncated")
    signed(few)
    refused(few, "softmax.json: not JSON (truncated?)")


def test_duplicate_identities_are_told(few):
    rewritten(few, lambda content: every_test(content)[3].update(tcId=1))
    refused(few, "softmax.json: duplicate tcId: 1")


def test_duplicate_keys_are_told(few):
    text = (few / "softmax.json").read_text("utf-8")
    (few / "softmax.json").write_text(text.replace('"tcId": 1,', '"tcId": 1, "tcId": 2,', 1), "utf-8")
    signed(few)
    refused(few, "the key 'tcId' is there twice")


def test_counts_that_do_not_fit_are_told(few):
    rewritten(few, lambda content: content["testGroups"][0]["tests"].pop())
    count = document("softmax")["numberOfTests"]
    refused(few, f"softmax.json: numberOfTests is {count}, there are {count - 1}")
    rewritten(few, lambda content: content.update(numberOfTests=count - 1))
    refused(few, "manifest.json: numberOfTests is")


def test_a_set_without_cases_is_told(few):
    rewritten(few, lambda content: content.update(testGroups=[], numberOfTests=0))
    refused(few, "softmax.json: not by the schema")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(extra=1), "extra"),
        (lambda c: every_test(c)[0].update(extra=1), "extra"),
        (lambda c: every_test(c)[0]["value"].update(atol=1), "atol"),
        (lambda c: every_test(c)[0].pop("inputs"), "'inputs' is a required property"),
        (lambda c: every_test(c)[0].update(flags=["Unheard"]), "flags without a note"),
        (lambda c: every_test(c)[0].update(cotangent="__import__('os').system('true')"), "does not match"),
        (lambda c: every_test(c)[0].update(cotangent="0x1p+0"), "tcId 1: expected 3 numbers"),
        (lambda c: every_test(c)[0]["inputs"].update(y="0x1p+0"), "tcId 1: inputs are x, y, expected x"),
        (lambda c: every_test(c)[0]["gradients"].update(y=every_test(c)[0]["value"]), "tcId 1: results for y"),
        (lambda c: every_test(c)[0]["value"].update(condition="0x0.0p+0 0x1p+0 0x1p+0"), "a condition is below"),
        (lambda c: every_test(c)[0]["value"].update(condition="inf inf inf"), "a condition is below"),
        (lambda c: every_test(c)[0]["value"].update(condition="nan nan nan"), "a condition is below"),
        (lambda c: every_test(c)[0]["value"].update(condition=""), "tcId 1: expected hexadecimal floats"),
        (lambda c: every_test(c)[0]["value"].update(unit="0x1p+0 0x1p+0 0x1p+0"), "unit"),
        (lambda c: c["testGroups"][0].update(eps="0x1p-23"), "eps of float64 is 0x1p-23, expected 0x1p-52"),
        (lambda c: c["testGroups"][0].update(batch=[2]), "Jacobians of a batch [2]"),
        (lambda c: c["testGroups"][0].update(batch=[-1]), "less than the minimum"),
        (lambda c: c.update(parameters=["x"]), "parameters is ['x'], expected []"),
        (lambda c: every_test(c)[0]["value"].update(tolerance=1e300), "greater than the maximum"),
        (lambda c: every_test(c)[0]["value"].update(tolerance=-1), "less than the minimum"),
        (lambda c: c["testGroups"][0].update(dtype="float32", eps="0x1p-23"), "is no float32"),
        (lambda c: c["testGroups"][0]["sizes"].update(m=2), "sizes of"),
        (lambda c: c.update(operation="add"), "operation is 'add'"),
        (lambda c: c.update(signature="(n)->()"), "signature is"),
        (lambda c: c["source"].update(version=9), "source is"),
        (lambda c: c.update(schema="backprop-vectors-1"), "not by the schema"),
        (lambda c: c.update(numberOfTests=True), "not by the schema"),
    ],
)
def test_what_the_schema_or_the_operation_does_not_allow_is_told(few, change, words):
    rewritten(few, change)
    refused(few, "softmax.json", words)


@pytest.mark.parametrize("field", ["files", "numberOfTests", "schema", "seed", "version"])
def test_a_manifest_that_lacks_a_field_or_has_another_is_told(few, field):
    manifest = json.loads((few / MANIFEST).read_text("utf-8"))
    (few / MANIFEST).write_text(json.dumps({**manifest, field: None}), "utf-8")
    refused(few, f"manifest.json: {field} is None")
    (few / MANIFEST).write_text(json.dumps({**manifest, "more": 1}), "utf-8")
    refused(few, "manifest.json: expected the fields")


def test_the_published_schema_is_one():
    Draft202012Validator.check_schema(json.loads((VECTORS / SCHEMA).read_text("utf-8")))


def test_a_changed_schema_is_told(few):
    (few / SCHEMA).write_text("{}")
    refused(few, "schema.json: its SHA-256 sum")
    signed(few)
    refused(few, "schema.json: not the schema of")


def test_a_huge_file_is_refused_before_it_is_read(few, monkeypatch):
    with (few / "softmax.json").open("ab") as file:
        file.truncate(1 << 30)  # a gigabyte that takes no room
    started = time.process_time()
    refused(few, "softmax.json: 1,073,741,824 bytes, at most 4,000,000 are read")
    assert time.process_time() - started < 5
    with (few / MANIFEST).open("ab") as file:
        file.truncate(1 << 30)
    refused(few, "manifest.json: 1,073,741,824 bytes")


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'["]", '])
def test_a_deeply_nested_file_is_refused_before_it_is_parsed(few, opening):
    (few / "softmax.json").write_bytes(opening * (MOST_BYTES // len(opening) - 1))
    signed(few)
    refused(few, "softmax.json: brackets nested", "at most 16 are read")


def test_nesting_sees_strings_and_escapes():
    assert nesting(rb'["\\", "\"[[[", "]]"]') == 1
    assert nesting(b"[" * 50 + b"]" * 50) == 50
    for bad in (b"\xff", b"[1]", b'{"a": NaN}', b'{"a": 1e999999}x', b'{"a": ' + b"1" * 5000 + b"}"):
        with pytest.raises(VectorError):
            parse("a.json", bad)


# ── Loading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_load_vectors_gives_arrays_and_names_what_is_wrong(few):
    case = load_vectors("softmax")[0]
    assert case.args[0].shape == case.cotangent.shape == case.value.expected.shape == (3,)
    assert case.jacobians["x"].expected.shape == (3, 3)
    with pytest.raises(VectorError, match="there is no operation 'sofmax'"):
        load_vectors("sofmax")
    (few / "add.json").write_text("{}")
    with pytest.raises(VectorError, match=r"add\.json: its SHA-256 sum"):
        load_vectors("add", few)
    signed(few)
    with pytest.raises(VectorError, match=r"add\.json: KeyError"):
        load_vectors("add", few)


def test_reading_needs_numpy_alone():
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['jax', 'hypothesis', 'flint', 'typer', 'rich', 'jsonschema']))\n"
        "from backprop_properties import load_vectors; print(len(load_vectors('softmax')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == f"{len(cases_of('softmax'))}\n", done.stderr


def test_units_judge_infinities_and_nan():
    (case,) = [case for case in cases_of("softmax") if case.tcId == 1]
    wrong = np.full_like(case.value.expected, np.nan)
    assert not case.value.accepts(wrong)
    assert not case.value.accepts(np.full_like(wrong, np.inf))
    with pytest.raises(ValueError, match="expected the shape"):
        case.value.units(np.zeros(7))


# ── Somebody's implementation ───────────────────────────────────────────────────────────────────────────────────────

RIGHT = """
import numpy as np

def softmax(x):
    c = x.max(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        d = x - c
        t = d - x
        rest = np.where(np.isfinite(d), (x - (d - t)) - (c + t), 0)
    f = (np.exp(d.astype(np.float64)) * (1 + rest))
    return (f / f.sum(-1, keepdims=True)).astype(x.dtype)

def add_vjp(delta, x, y):
    return [delta.copy(), delta.copy()]
"""


def judged_file(folder, tmp_path, text, *words):
    path = tmp_path / "mine.py"
    path.write_text(text)
    return run("check", folder, "--implementation", path, "--timeout", "0.2", *words)


def test_a_right_implementation_passes(few, tmp_path):
    code, output = judged_file(few, tmp_path, RIGHT)
    assert code == 0, output
    assert "of 2 operations: ✓" in output


def test_a_wrong_implementation_is_told_by_case_with_its_notes(few, tmp_path):
    code, output = judged_file(few, tmp_path, "import numpy as np\ndef softmax(x): return np.exp(x) / np.exp(x).sum()")
    assert code == 1
    assert "softmax tcId" in output
    assert "is nan, expected" in output
    assert NOTES["Confident"].description in output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def softmax(x): return 1 / 0", "ZeroDivisionError"),
        ("import sys\ndef softmax(x): sys.exit(0)", "called exit(0)"),
        ("def softmax(x): return 'a'", "forward returned the text 'a', expected an array"),
        ("def softmax(x): return x[:1]", "u has shape (1,)"),
        ("import numpy as np\ndef softmax(x): return np.float16(x)", "u has dtype float16"),
        ("def softmax(x):\n x -= x.max()\n return x", "it writes to its arguments"),
        ("def add_vjp(delta, x, y): return delta", "vjp returned a ndarray, expected a tuple of 2 (dx, dy)"),
        ("def add_vjp(delta, x, y): return delta,", "vjp returned 1 results, expected a tuple of 2"),
        ("def softmax(): return 1", "TypeError"),
        ("1 / 0", "can't be run: ZeroDivisionError"),
        ("def softmax(x:", "can't be run: SyntaxError"),
        ("import sys; sys.exit(0)", "can't be run: RuntimeError: mine.py called sys.exit(0)"),
        ("def sofmax(x): return x", "nothing was compared"),
        ("def softmax(x):\n while True: pass", "no result after 0.2 s: the operation's other cases are not run"),
        ("while True: pass", "can't be run: OutOfTime"),
        ("", "nothing was compared"),
    ],
)
def test_a_broken_implementation_is_its_own_failure(few, tmp_path, text, words):
    code, output = judged_file(few, tmp_path, text)
    assert code == 1
    assert words in output
    assert "Traceback" not in output
    assert ("cases fail" in output) != ("can't be run" in output or "nothing was compared" in output)


def test_single_examples_pass_without_the_batches(few, tmp_path):
    alone = RIGHT.replace("(-1, keepdims=True)", "()")
    code, output = judged_file(few, tmp_path, alone)
    assert code == 1
    assert NOTES["Batch"].description in output
    code, output = judged_file(few, tmp_path, alone, "--without", "Batch")
    assert code == 0, output
    left_out = sum("Batch" in test["flags"] for operation in FEW for test in every_test(document(operation)))
    assert f"in {COUNT - left_out} cases of 2 operations: ✓" in output
    code, output = judged_file(few, tmp_path, alone, "--without", "Batches")
    assert code == 1
    assert "no case has the flag Batches" in output


def test_leaving_out_everything_is_a_failure(few):
    every = {flag for operation in FEW for test in every_test(document(operation)) for flag in test["flags"]}
    code, output = run("check", few, *(word for flag in every for word in ("--without", flag)))
    assert code == 1
    assert "nothing was compared" in output


def test_a_file_may_print_import_its_neighbour_and_define_dataclasses(few, tmp_path):
    (tmp_path / "beside_it.py").write_text("import numpy as np\n")
    text = (
        "from __future__ import annotations\nfrom beside_it import np\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    a: int = 1\nprint('hello')\n"
        "def add(x, y):\n    print('add')\n    return x + y\n"
    )
    code, output = judged_file(few, tmp_path, text)
    assert code == 0, output
    assert "of 1 operations: ✓" in output


def test_a_missing_implementation_is_told(few, tmp_path):
    code, output = run("check", few, "--implementation", tmp_path / "none.py")
    assert code == 1
    assert "can't be run: FileNotFoundError" in output


def test_bracketed_operations_are_found_by_python_names(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def activation_tanh(W, x, b): ...\ndef backpropagation_sigmoid_identity_vjp(*a): ...\n")
    assert list(implementations(path)) == ["activation[tanh]", "backpropagation[sigmoid,identity]"]


# ── Writing, comparing, exporting ───────────────────────────────────────────────────────────────────────────────────


def test_two_writes_with_the_same_seed_and_version_are_the_same_bytes(few, tmp_path):
    for name in ("one", "two"):
        assert write_set(tmp_path / name, version=3, seed=5, operations=FEW) == COUNT
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert files[0] == files[1]
    assert run("diff", tmp_path / "one", tmp_path / "two") == (0, "")
    assert run("check", tmp_path / "one")[0] == 0
    code, output = run("diff", few, tmp_path / "one")
    assert code == 1
    assert "version: 2 → 3" in output
    assert "seed: 0 → 5" in output
    assert "removed" in output


def test_write_makes_a_new_version_in_an_empty_folder_and_nowhere_else(few, tmp_path):
    before = {path.name: path.read_bytes() for path in few.iterdir()}
    assert run("write", few)[0] == 1
    assert "is not an empty folder" in run("write", few)[1]
    assert {path.name: path.read_bytes() for path in few.iterdir()} == before
    (tmp_path / "file").write_text("")
    assert run("write", tmp_path / "file")[0] == 1


def test_diff_counts_in_units_in_the_last_place(few, tmp_path):
    other = few_in(tmp_path / "other")

    def change(content):
        test = every_test(content)[0]
        numbers = from_text(test["value"]["expected"], np.float64, (3,))
        numbers[1] = np.nextafter(np.nextafter(numbers[1], 2), 2)
        test["value"].update(expected=to_text(numbers), tolerance=9)
        every_test(content)[1]["flags"].append("Ties")
        del every_test(content)[2]["gradients"]

    rewritten(other, change)
    code, output = run("diff", few, other)
    lines = output.splitlines()
    assert code == 1
    assert any(line.startswith("softmax tcId 1: u[1]: ") and line.endswith(", 2 ULP") for line in lines)
    assert "softmax tcId 1: u: tolerance 4.5 → 9" in lines
    assert any(line.startswith("softmax tcId 2: flags") for line in lines)
    assert "softmax tcId 3: dx removed" in lines
    assert not any("add" in line for line in lines)
    assert run("diff", few, tmp_path / "none")[0] == 1


def test_export_to_npz_keeps_every_bit(few, tmp_path):
    assert run("export", tmp_path / "out", "--from", few, "--format", "npz")[0] == 0
    arrays = np.load(tmp_path / "out" / "softmax.npz")
    for case in cases_of("softmax"):
        assert arrays[f"{case.tcId}/x"].tobytes() == case.inputs["x"].tobytes()
        assert arrays[f"{case.tcId}/dx"].tobytes() == case.gradients["x"].expected.tobytes()
        assert arrays[f"{case.tcId}/dx"].dtype == case.dtype
        assert arrays[f"{case.tcId}/u.condition"].tobytes() == case.value.condition.tobytes()


def test_export_to_csv_keeps_every_bit(few, tmp_path):
    assert run("export", tmp_path / "out", "--from", few, "--format", "csv")[0] == 0
    with (tmp_path / "out" / "softmax.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    case = cases_of("softmax")[0]
    numbers = [float.fromhex(row["number"]) for row in rows if (row["tcId"], row["quantity"]) == ("1", "J_x")]
    assert numbers == case.jacobians["x"].expected.ravel().tolist()
    first = {
        "tcId": "1",
        "dtype": "float64",
        "flags": " ".join(case.flags),
        "quantity": "x",
        "shape": "3",
        "index": "0",
    }
    assert rows[0] == {**first, "number": to_hex(case.inputs["x"][0]), "condition": "", "tolerance": ""}


def test_export_refuses_other_formats_and_folders_with_something_in_them(few, tmp_path):
    assert run("export", few)[0] == 1
    code, output = run("export", tmp_path / "out", "--format", "xml")
    assert code == 1
    assert "'xml' is none of npz, csv" in output
    assert not (tmp_path / "out").exists()

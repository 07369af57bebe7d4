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
from backprop_properties.frozen import judge, pinned
from backprop_properties.frozen.export import export as export_set
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
from backprop_properties.frozen.floats import from_text, to_hex, to_list, to_text
from backprop_properties.frozen.notes import NOTES
from backprop_properties.frozen.own import rows_of
from backprop_properties.frozen.vectors import LEVELS
from backprop_properties.frozen.writer import add_to_packaged, as_bytes, write_set
from backprop_reference import OPERATIONS
from samples import sampled

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
    monkeypatch.setattr("backprop_reference.OPERATIONS", FEW)
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
    manifest["operations"] = {name: file_name(name) for name in FEW if (folder / file_name(name)).exists()}
    manifest["numberOfTests"] = COUNT
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def rewritten(folder, change, name="softmax.json"):
    """A file with a change in its document, and a manifest that knows of it."""
    content = json.loads((folder / name).read_text("utf-8"))
    change(content)
    (folder / name).write_bytes(as_bytes(content))
    signed(folder)


def every_test(content):
    return [test for group in content["testGroups"] for test in group["tests"]]


def test_a_sound_set_passes(few):
    code, output = run("check", few)
    assert code == 0
    assert f" results compared in {COUNT} cases of 2 operations: ✓" in output


def refused(folder, *words, as_code=1):
    code, output = run("check", folder)
    assert code == as_code, output
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
    refused(few, "manifest.json: sofmax.json is the file of none of its operations")


def test_an_emptied_folder_and_none_are_told(few):
    for path in few.iterdir():
        path.unlink()
    refused(few, "is empty")
    few.rmdir()
    refused(few, "there is no folder", as_code=2)


def test_a_missing_manifest_is_told(few):
    (few / MANIFEST).unlink()
    refused(few, "manifest.json: missing")


def test_an_emptied_file_is_told(few):
    (few / "softmax.json").write_bytes(b"")
    refused(few, "softmax.json", "SHA-256", "not JSON")


def test_a_flipped_digit_is_told(few):
    data = bytearray((few / "softmax.json").read_bytes())
    where = data.index(b'"hex":"0x1.') + len('"hex":"0x1.')
    data[where] = ord("7") if data[where] != ord("7") else ord("8")
    (few / "softmax.json").write_bytes(data)
    refused(few, "softmax.json: its SHA-256 sum is not the manifest's: it was changed")


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
    (few / "softmax.json").write_text(text.replace('"tcId":1,', '"tcId":1,"tcId":2,', 1), "utf-8")
    signed(few)
    refused(few, "the key 'tcId' is there twice")


def test_counts_that_do_not_fit_are_told(few):
    rewritten(few, lambda content: content["testGroups"][0]["tests"].pop())
    count = document("softmax")["numberOfTests"]
    refused(few, f"softmax.json: numberOfTests is {count}, there are {count - 1}")
    shutil.copy(VECTORS / "softmax.json", few)
    signed(few)
    manifest = json.loads((few / MANIFEST).read_text("utf-8"))
    (few / MANIFEST).write_text(json.dumps({**manifest, "numberOfTests": 5}), "utf-8")
    refused(few, f"manifest.json: numberOfTests is 5, the files have {COUNT}")


def test_a_set_without_cases_is_told(few):
    rewritten(few, lambda content: content.update(testGroups=[], numberOfTests=0))
    refused(few, "softmax.json: not by the schema")


def first(c):
    """The value of the first case, which has three entries."""
    return every_test(c)[0]["value"]


LINES = [  # a change of the document of softmax, and what the line says that it must give
    (lambda c: c.update(extra=1), "extra"),
    (lambda c: every_test(c)[0].update(extra=1), "extra"),
    (lambda c: first(c).update(atol=1), "atol"),
    (lambda c: every_test(c)[0].pop("inputs"), "'inputs' is a required property"),
    (lambda c: every_test(c)[0].pop("inputsHex"), "'inputsHex' is a required property"),
    (lambda c: every_test(c)[0].update(flags=["Unheard"]), "flags without a note"),
    (lambda c: every_test(c)[0].update(cotangentHex="__import__('os').system('true')"), "does not match"),
    (lambda c: every_test(c)[0].update(cotangent=[1.0]), "tcId 1: expected 3 numbers"),
    (
        lambda c: every_test(c)[0].update(cotangent=[1.0, 2.0, "a"]),
        "tcId 1: expected a number, or one of NaN, Infinity",
    ),
    (lambda c: every_test(c)[0].update(cotangent=[1.0, 2.0, None]), "not by the schema"),
    (lambda c: every_test(c)[0].update(cotangentHex="0x1p+0"), "tcId 1: expected 3 numbers"),
    (lambda c: every_test(c)[0].update(cotangentHex="0x1p+1024 0x1p+0 0x1p+0"), "tcId 1: a hexadecimal float beyond"),
    (lambda c: every_test(c)[0].update(cotangent=[10**400, 1.0, 1.0]), "tcId 1: a decimal beyond the range of float64"),
    (lambda c: every_test(c)[0]["inputs"]["x"].__setitem__(1, 0.5), "tcId 1: entry 1 is 0.5 in decimal and"),
    (lambda c: every_test(c)[0]["inputs"].update(y=[1.0]), "tcId 1: inputs are x, y, expected x"),
    (lambda c: every_test(c)[0]["gradients"].update(y=first(c)), "tcId 1: results for y"),
    (lambda c: first(c).update(condition=[0.0, 1.0, 1.0]), "tcId 1: a condition is below"),
    (lambda c: first(c).update(condition=["Infinity"] * 3), "tcId 1: a condition is below"),
    (lambda c: first(c).update(condition=["NaN"] * 3), "tcId 1: a condition is below"),
    (lambda c: first(c).update(condition=[]), "tcId 1: expected 3 numbers"),
    (lambda c: first(c).update(condition=[2**2000] * 3), "tcId 1: a decimal beyond the range of float64"),
    (lambda c: first(c).update(unit=[1.0] * 3), "unit"),
    (lambda c: first(c).update(standard=[1.0, 1.0, 1.0]), "a standard one below the strict one"),
    (lambda c: first(c).update(tolerance=1e300), "greater than the maximum"),
    (lambda c: first(c).update(tolerance=-1), "less than the minimum"),
    (
        lambda c: c["testGroups"][0].update(eps=2.0**-23),
        "eps of float64 is 1.1920928955078125e-07, expected 2.22044604",
    ),
    (lambda c: c["testGroups"][0].update(batch=[2]), "Jacobians of a batch [2]"),
    (lambda c: c["testGroups"][0].update(batch=[-1]), "less than the minimum"),
    (lambda c: c["testGroups"][0].update(valueShape=[10**5, 10**5, 10**5, 0]), "is beyond 1,000,000 entries"),
    (lambda c: c["testGroups"][0].update(valueShape=[10**15, 0]), "greater than the maximum"),
    (lambda c: c["testGroups"][0]["shapes"].update(x=[2]), "tcId 1: expected 2 numbers"),
    (lambda c: c["testGroups"][0]["shapes"].update(y=[2]), "shapes of x, y, expected those of x"),
    (lambda c: c["testGroups"][0]["sizes"].update(m=2), "sizes of"),
    (lambda c: c["testGroups"][0].update(dtype="float32", eps=2.0**-23), "is no float32"),
    (lambda c: c.update(parameters=["x"]), "parameters is ['x'], expected []"),
    (lambda c: c.update(operation="add"), "operation is 'add'"),
    (lambda c: c.update(signature="(n)->()"), "signature is"),
    (lambda c: c["source"].update(version=9), "source is"),
    (lambda c: c.update(schema="backprop-vectors-2"), "not by the schema"),
    (lambda c: c.update(numberOfTests=True), "not by the schema"),
]


@pytest.mark.parametrize(("change", "words"), LINES)
def test_what_the_schema_or_the_operation_does_not_allow_is_told(few, change, words):
    rewritten(few, change)
    refused(few, "softmax.json", words)


def slightly_off(c):
    """An expected number that is the neighbour of the right one, in both forms: the reference would pass."""
    numbers = np.array(first(c)["expected"])
    numbers[0] = np.nextafter(numbers[0], 9)
    first(c).update(expected=to_list(numbers), hex=to_text(numbers))


def of_another(c):
    """A case's inputs are those of another, whose results they have, too."""
    one, other = every_test(c)[0], every_test(c)[1]
    one.update({key: other[key] for key in other if key not in ("tcId", "comment")})


def without_a_case(c):
    del c["testGroups"][0]["tests"][1]
    c.update(numberOfTests=c["numberOfTests"] - 1)


SIGNED = [  # a change of the document of add with all sums and counts forged: only what would be written shows it
    (lambda c: every_test(c)[0]["gradients"].pop("y"), "tcId 1: gradients/y is missing"),
    (lambda c: every_test(c)[0].pop("jacobians"), "tcId 1: jacobians is missing"),
    (
        lambda c: first(c).update(tolerance=1000),
        "tcId 1: a tolerance is beyond 1000, or a standard one below the strict",
    ),
    (lambda c: first(c).update(tolerance=1000, standard=[1000.0] * 3), "tcId 1: value/standard[0] is 1000.0, 2.8 is"),
    (
        lambda c: first(c)["condition"].__setitem__(2, 2.0**1000),
        "tcId 1: value/condition[2] is 1.0715086071862673e+301",
    ),
    (lambda c: first(c)["standard"].__setitem__(0, "Infinity"), "tcId 1: value/standard[0] is 'Infinity'"),
    (lambda c: every_test(c)[0].update(comment="another"), "tcId 1: comment is 'another', 'numbers without structure"),
    (slightly_off, "tcId 1: value/expected[0] is"),
    (of_another, "tcId 1: cotangent[0] is"),
    (without_a_case, "numberOfTests is 97, 98 is written"),
]


@pytest.mark.parametrize(("change", "words"), SIGNED)
def test_what_has_the_right_form_and_forged_sums_is_told(few, monkeypatch, change, words):
    rewritten(few, change, "add.json")
    manifest = json.loads((few / MANIFEST).read_text("utf-8"))
    total = sum(json.loads((few / name).read_text("utf-8"))["numberOfTests"] for name in map(file_name, FEW))
    (few / MANIFEST).write_text(json.dumps({**manifest, "numberOfTests": total}), "utf-8")
    monkeypatch.setattr("backprop_properties.frozen.integrity.document_of", lambda *_: document("add"))
    refused(few, "add.json", words)


def test_the_files_of_another_set_are_written_again_to_compare(few):
    """The same without a stand-in: what is written is the document that is there, and nothing else is said."""
    rewritten(few, lambda c: first(c).update(tolerance=2), "add.json")
    refused(few, "backprop: add.json: tcId 1: value/tolerance is 2, 0.0 is written")


ESCAPE = "\x1b[2J\x1b]0;owned\x07"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda c: every_test(c)[0].update(comment="a \ud800"),
            "comment has a character that is not printable: 'a \\ud800",
        ),
        (lambda c: every_test(c)[0].update(comment=ESCAPE), "comment has a character that is not printable: '\\x1b[2J"),
        (lambda c: every_test(c)[0]["flags"].append(ESCAPE), "flags has a character that is not printable"),
        (lambda c: every_test(c)[0].update({ESCAPE: 1}), "has a character that is not printable"),
        (lambda c: c.update(operation="softmax\x9b2J"), "operation has a character that is not printable"),
    ],
)
def test_what_a_terminal_would_obey_or_cannot_show_never_reaches_it(few, change, words):
    content = json.loads((few / "softmax.json").read_text("utf-8"))
    change(content)
    (few / "softmax.json").write_text(json.dumps(content), "utf-8")
    signed(few)
    code, output = run("check", few)
    assert code == 1
    assert words in output
    assert output.replace("\n", "").isprintable()


def test_a_file_whose_name_a_terminal_would_obey_is_told(few):
    (few / ESCAPE).write_text("{}")
    code, output = run("check", few)
    assert code == 1
    assert "\\x1b[2J" in output
    assert output.replace("\n", "").isprintable()


def test_a_set_of_the_version_before_is_told_with_what_to_do(few):
    manifest = json.loads((few / MANIFEST).read_text("utf-8"))
    (few / MANIFEST).write_text(json.dumps({**manifest, "schema": "backprop-vectors-2"}), "utf-8")
    refused(few, "schema is 'backprop-vectors-2', this version reads 'backprop-vectors-3'", "`backprop vectors write`")


def test_the_packaged_set_is_the_one_whose_sum_is_in_the_code(few, monkeypatch):
    """Though every sum in it fits: who changes it has to change the code."""
    monkeypatch.setattr("backprop_properties.frozen.files.VECTORS", few)
    with pytest.raises(VectorError, match=r"the packaged manifest\.json is not the one whose sum is in the code"):
        load_vectors("softmax", few)
    refused(few, "the packaged manifest.json is not the one whose sum is in the code")


def test_files_and_operations_have_to_fit(few):
    manifest = json.loads((few / MANIFEST).read_text("utf-8"))
    (few / MANIFEST).write_text(json.dumps({**manifest, "operations": {"add": "softmax.json"}}), "utf-8")
    refused(few, "manifest.json: expected for each of the operations a file of its name")
    (few / MANIFEST).write_text(json.dumps({**manifest, "operations": {"add": "add.json"}}), "utf-8")
    refused(few, "manifest.json: softmax.json is the file of none of its operations")


@pytest.mark.parametrize("field", ["files", "numberOfTests", "operations", "schema", "seed", "version"])
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


def test_add_writes_what_is_new_and_the_sum_in_the_code(few, monkeypatch, tmp_path):
    (few / "add.json").unlink()
    signed(few)
    manifest = json.loads((few / MANIFEST).read_text("utf-8"))
    count = document("softmax")["numberOfTests"]
    (few / MANIFEST).write_text(json.dumps({**manifest, "numberOfTests": count}), "utf-8")
    code = tmp_path / "pinned.py"
    for module in ("files", "writer"):
        monkeypatch.setattr(f"backprop_properties.frozen.{module}.VECTORS", few)
    monkeypatch.setattr(pinned, "PACKAGED", sha256((few / MANIFEST).read_bytes()))
    monkeypatch.setattr(pinned, "__file__", str(code))
    code.write_text(f'PACKAGED = "{pinned.PACKAGED}"\n')
    assert add_to_packaged(FEW) == COUNT - count
    assert (few / "add.json").read_bytes() == (VECTORS / "add.json").read_bytes()
    assert code.read_text() == f'PACKAGED = "{sha256((few / MANIFEST).read_bytes())}"\n'
    assert json.loads((few / MANIFEST).read_text("utf-8"))["numberOfTests"] == COUNT


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


def judged_file(folder, tmp_path, text, *words, level="strict"):
    path = tmp_path / "mine.py"
    path.write_text(text)
    seconds = 2 if "while True" in text else 60  # to look into a file without functions takes JAX
    return run("check", folder, "--implementation", path, "--timeout", seconds, "--level", level, *words)


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


def test_a_careful_frameworks_softmax_passes_the_standard_level_which_is_the_usual_one(few, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\ndef softmax(x):\n"
        "    f = np.exp(x - x.max(-1, keepdims=True))\n    return f / f.sum(-1, keepdims=True)\n"
    )
    asked = [[], *(["--level", level] for level in LEVELS)]
    codes = [run("check", few, "--implementation", path, *words)[0] for words in asked]
    assert codes == [0, 0, 1]
    code, output = run("check", few, "--level", "loose")
    assert code == 2
    assert "--level: expected standard or strict, got 'loose'" in output


BROKEN = [
    ("def softmax(x): return 1 / 0", "ZeroDivisionError"),
    ("import sys\ndef softmax(x): sys.exit(0)", "called exit(0)"),
    ("def softmax(x): return 'a'", "forward returned the text 'a', expected an array"),
    ("def softmax(x): return x[:1]", "u has shape (1,)"),
    ("import numpy as np\ndef softmax(x): return np.float16(x)", "u has dtype float16"),
    ("def softmax(x):\n x -= x.max()\n return x", "it writes to its arguments"),
    ("def add_vjp(delta, x, y): return delta", "vjp returned a ndarray, expected a tuple of 2 (dx, dy)"),
    ("def add_vjp(delta, x, y): return delta,", "vjp returned 1 results, expected a tuple of 2"),
    ("def softmax(): return 1", "forward takes 0 arguments, expected 1: x"),
    ("1 / 0", "can't be imported, line 1: ZeroDivisionError"),
    ("def softmax(x:", "can't be imported, line 1: SyntaxError"),
    ("import sys; sys.exit(0)", "can't be imported: RuntimeError: mine.py called sys.exit(0)"),
    ("def sofmax(x): return x", "nothing was compared"),
    (
        "def softmax(x):\n while True: pass",
        "stopped after 2 s in call 1 of forward, at line 2 of mine.py; the operation's other cases are not run",
    ),
    ("while True: pass", "stopped after 12 s while it was imported, at line 1 of mine.py"),
    ("", "nothing was compared"),
]


@pytest.mark.parametrize(("text", "words"), sampled(BROKEN, BROKEN[1::3]))
def test_a_broken_implementation_is_its_own_failure(few, tmp_path, text, words):
    code, output = judged_file(few, tmp_path, text)
    assert code == (1 if "cases fail" in output else 2)  # 2: nothing could be compared
    assert words in output
    assert "Traceback" not in output
    assert ("cases fail" in output) != ("import" in output or "nothing was compared" in output)


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
    assert code == 2
    assert "no case has the flag Batches" in output


def test_leaving_out_everything_is_a_failure(few):
    every = {flag for operation in FEW for test in every_test(document(operation)) for flag in test["flags"]}
    code, output = run("check", few, *(word for flag in every for word in ("--without", flag)))
    assert code == 2
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
    assert code == 2
    assert f"there is no file {tmp_path / 'none.py'}" in output.replace("\n", "")


def test_bracketed_operations_are_found_by_python_names(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def activation_tanh(W, x, b): ...\ndef backpropagation_sigmoid_identity_vjp(*a): ...\n")
    assert list(implementations(path)) == ["activation[tanh]", "backpropagation[sigmoid,identity]"]


# ── Writing, comparing, exporting ───────────────────────────────────────────────────────────────────────────────────


def test_two_writes_with_the_same_seed_and_version_are_the_same_bytes(few, tmp_path):
    for name in ("one", "two"):
        assert write_set(tmp_path / name, version=4, seed=5, rows=FEW) == COUNT
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert files[0] == files[1]
    assert run("diff", tmp_path / "one", tmp_path / "two") == (0, "")
    assert run("check", tmp_path / "one")[0] == 0
    code, output = run("diff", few, tmp_path / "one")
    assert code == 1
    assert "version: 3 → 4" in output
    assert "seed: 0 → 5" in output
    assert "removed" in output


def test_write_makes_a_new_version_in_an_empty_folder_and_nowhere_else(few, tmp_path):
    before = {path.name: path.read_bytes() for path in few.iterdir()}
    assert run("write", few)[0] == 2
    assert "is not an empty folder" in run("write", few)[1]
    assert {path.name: path.read_bytes() for path in few.iterdir()} == before
    (tmp_path / "file").write_text("")
    assert run("write", tmp_path / "file")[0] == 2


def test_diff_counts_in_units_in_the_last_place(few, tmp_path):
    other = few_in(tmp_path / "other")

    def change(content):
        test = every_test(content)[0]
        numbers = from_text(test["value"]["hex"], np.float64, (3,))
        numbers[1] = np.nextafter(np.nextafter(numbers[1], 2), 2)
        test["value"].update(expected=to_list(numbers), hex=to_text(numbers), tolerance=9)
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
    assert run("diff", few, tmp_path / "none")[0] == 2


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
    empty = dict.fromkeys(("condition", "tolerance", "standard"), "")
    assert rows[0] == {**first, "number": to_hex(case.inputs["x"][0]), **empty}
    units = [float(row["standard"]) for row in rows if (row["tcId"], row["quantity"]) == ("1", "u")]
    assert units == case.value.standard.tolist()


def test_export_to_json_is_a_set_of_its_own(few, tmp_path):
    assert run("export", tmp_path / "out", "--from", few, "--format", "json")[0] == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        path.name: path.read_bytes() for path in few.iterdir()
    }
    (few / "add.json").write_text("{}")
    code, output = run("export", tmp_path / "new", "--from", few, "--format", "json")
    assert (code, (tmp_path / "new").exists()) == (2, False)
    assert "add.json: its SHA-256 sum" in output


def test_path_says_where_the_set_lies():
    assert run("path") == (0, f"{VECTORS}\n")
    assert run("path", "activation[tanh]") == (0, f"{VECTORS / 'activation-tanh.json'}\n")
    code, output = run("path", "sofmax")
    assert code == 2
    assert "there is no operation 'sofmax'; the names are activation[elu], " in output


def test_an_export_that_is_interrupted_or_fails_leaves_nothing_behind(few, tmp_path, monkeypatch):
    for raised in (KeyboardInterrupt, OSError(28, "No space left on device")):
        written = []

        def fail(path, cases, source, raised=raised, written=written):
            path.write_text("half")
            written.append(path)
            if len(written) == len(FEW):
                raise raised

        monkeypatch.setattr("backprop_properties.frozen.export.FORMS", {"npz": fail})
        with pytest.raises(type(raised) if isinstance(raised, OSError) else raised):
            export_set(tmp_path / "new", "npz", few)
        assert written
        assert {path.name for path in tmp_path.iterdir()} == {"set"}


def test_export_refuses_other_formats_and_folders_with_something_in_them(few, tmp_path):
    assert run("export", few)[0] == 2
    code, output = run("export", tmp_path / "out", "--format", "xml")
    assert code == 2
    assert "'xml' is none of json, npz, csv" in output
    assert not (tmp_path / "out").exists()


# ── Anybody's definitions ───────────────────────────────────────────────────────────────────────────────────────────

FORWARDS = """
import jax.numpy as jnp
from backprop_properties import Definition

def rms(x, w):
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * w

def nll(x, labels):
    return -jnp.mean(jnp.take_along_axis(jnp.log(x), labels[:, None], 1))

norm_definition = Definition(rms, "(b,n),(n)")
loss_definition = Definition(nll, "(b,v),(b)", integers={"labels": "v"}, domain={"x": "distribution"})
"""
NORM = """
import numpy as np

def norm(x, w):
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + x.dtype.type(1e-6)) * w

def norm_vjp(delta, x, w):
    r = 1 / np.sqrt(np.mean(x * x, -1, keepdims=True) + x.dtype.type(1e-6))
    g, y = delta * w, x * r
    return r * (g - y * np.mean(g * y, -1, keepdims=True)), (delta * y).sum(0)

def loss_vjp(delta, x, labels):
    dx = np.zeros_like(x)
    np.put_along_axis(dx, labels[:, None], -delta / (len(x) * np.take_along_axis(x, labels[:, None], 1)), 1)
    return dx
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A set of somebody's own definitions, and the file of these."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "forwards.py").write_text(FORWARDS)
    code, output = run("write", folder / "set", "--definitions", folder / "forwards.py")
    assert code == 0, output
    return folder / "set", folder / "forwards.py"


def test_vectors_are_written_for_anybodys_operation(own):
    folder, _ = own
    assert {path.name for path in folder.iterdir()} == {MANIFEST, SCHEMA, "norm.json", "loss.json"}
    cases = load_vectors("norm", folder)
    assert len(cases) > 30
    assert {case.dtype.name for case in cases} == {"float32", "float64"}
    assert any(case.jacobians for case in cases)
    case = cases[0]
    x, w = (a.astype(np.longdouble) for a in case.args)
    exact = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.longdouble(1e-6)) * w
    assert np.array_equal(case.value.expected, exact.astype(np.float64))  # to the last bit
    labels = load_vectors("loss", folder)[0]
    assert labels.inputs["labels"].dtype == np.int64
    assert list(labels.gradients) == ["x"]
    with pytest.raises(VectorError, match="there is no operation 'softmax'; the names are loss, norm"):
        load_vectors("softmax", folder)


def test_somebodys_functions_are_judged_by_their_own_definitions(own, tmp_path, monkeypatch):
    folder, forwards = own
    again = "backprop_properties.frozen.integrity.document_of"
    monkeypatch.setattr(again, lambda row, *_: json.loads((folder / file_name(row.name)).read_text("utf-8")))
    words = "check", folder, "--definitions", forwards, "--implementation", tmp_path / "mine.py"
    (tmp_path / "mine.py").write_text(NORM)
    code, output = run(*words)
    assert code == 0, output
    assert "of 2 operations: ✓" in output
    (tmp_path / "mine.py").write_text(NORM.replace("g - y", "g + y"))
    rows, cases = rows_of(forwards), {"norm": load_vectors("norm", folder)}
    compared, failures = judge.judged_file(tmp_path / "mine.py", cases, rows, 10, definitions=forwards)["norm"]
    assert compared > 60
    assert str(failures[0]).startswith("norm tcId 1 (float64, numbers without structure, 1 of 6): dx[")


def test_a_set_of_own_definitions_is_not_taken_for_the_lectures(own):
    code, output = run("check", own[0])
    assert code == 1
    assert "norm.json: of no operation; --definitions has others" in output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'forwards.py has no definition, as norm_definition = Definition(f, "(b,n),…") is that of norm'),
        ("1 / 0", "forwards.py can't be imported, line 1: ZeroDivisionError"),
        ("import sys; sys.exit(3)", "forwards.py can't be imported: RuntimeError: forwards.py called sys.exit(3)"),
        (FORWARDS + "a_definition = Definition(rms, '(b,n)')", "a_definition cannot be made, line"),
        ("import jax.numpy as jnp\nfrom backprop_properties import Definition\n"
         "a_definition = Definition(lambda x: jnp.sort(jnp.fft.fft(x).real), '(n)')", "a: no rule for `"),
        ("import jax.numpy as jnp\nfrom backprop_properties import Definition\n"
         "a_definition = Definition(lambda x: jnp.sum(x) > 0, '(n)')", "a: the definition returns bool numbers"),
    ],
)  # fmt: skip
def test_a_file_without_usable_definitions_is_one_line(tmp_path, text, words):
    (tmp_path / "forwards.py").write_text(text)
    code, output = run("write", tmp_path / "set", "--definitions", tmp_path / "forwards.py")
    assert code == 2
    assert words in output
    assert len(output.splitlines()) == 1
    assert not (tmp_path / "set").exists()


def test_definitions_that_are_not_there_or_judge_nothing_are_told(tmp_path):
    code, output = run("write", tmp_path / "set", "--definitions", tmp_path / "none.py")
    assert (code, "there is no file" in output) == (2, True)
    code, output = run("check", "--definitions", tmp_path / "none.py")
    assert (code, "--definitions: expected DIR" in output) == (2, True)

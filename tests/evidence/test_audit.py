"""Somebody's test put to planted faults: what it catches is counted, and what becomes of it is told."""

import json
import re
import sys

import cloudpickle
import numpy as np
import pytest
from typer.testing import CliRunner

from backprop_oracle.definition import Definition
from backprop_oracle.rows import row_of
from backprop_properties.commands.app import app
from backprop_properties.evidence import audit as module
from backprop_properties.evidence import audit_process, practice_table, practices
from backprop_properties.evidence.audit import AT_TIMES, CAUGHT, LOST, PASSED, Audit, Outcome, audit
from backprop_properties.evidence.audit_messages import Load, Loaded, Tried
from backprop_properties.evidence.audit_runs import Lost
from backprop_properties.evidence.faults.makers import scaled
from backprop_properties.evidence.selftest import TABLE, tried
from backprop_properties.evidence.versions import input_of, rejections, right_of, verdict, version_of
from backprop_reference import OPERATIONS

TESTS = """
import os, signal, time
import numpy as np
import pytest
from backprop_reference import OPERATIONS


@pytest.fixture
def forward():
    return np.exp


@pytest.fixture
def given(forward, vjp):
    return forward, vjp


@pytest.mark.parametrize("n", [1, 4])
def test_exp(given, n):
    forward, vjp = given
    x = np.linspace(-1, 1, n)
    np.testing.assert_allclose(forward(x), np.exp(x), rtol=1e-6)
    np.testing.assert_allclose(vjp(np.ones(n) * 3, x)[0], 3 * np.exp(x), rtol=1e-6)


def test_bool(forward, vjp):
    dx = vjp(np.ones(2), np.ones(2))
    assert dx.shape == (2,)
    return bool(np.allclose(dx, np.exp(np.ones(2))))


def is_right(vjp):
    draw = np.random.default_rng(0)
    call = draw.normal(size=3), draw.normal(size=(3, 3)), draw.normal(size=3), draw.normal(size=3)
    pairs = zip(vjp(*call), OPERATIONS["activation[leaky_relu]"].vjp(*call), strict=True)
    return all(np.allclose(a, b) for a, b in pairs)


def hangs(forward, vjp):
    while not is_right(vjp):
        time.sleep(0.01)


def dies(forward, vjp):
    if not is_right(vjp):
        os.kill(os.getpid(), signal.SIGKILL)


def test_of_nothing():
    pass
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    (tmp_path / "test_mine.py").write_text(TESTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return "test_mine.py"


def answered(load, names):
    """What a process would answer of some versions, asked here."""
    versions = audit_process._versions(load)
    test = audit_process._tester(load, versions)
    return [bool(test(versions.tried[name].fresh()).said) for name in names]


# ── Versions and verdicts ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_test_rejects_what_it_raises_for_or_says_no_to():
    row = OPERATIONS["exp"]

    def failing(forward, vjp):
        pytest.fail("as pytest does")

    for test, said in [
        (lambda forward, vjp: None, ""),
        (lambda forward, vjp: True, ""),
        (lambda forward, vjp: 0, ""),  # which is no verdict
        (lambda forward, vjp: np.False_, "returned False"),
        (lambda forward, vjp: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda forward, vjp: exit(3), "SystemExit: 3"),
        (failing, "Failed: as pytest does"),
    ]:
        assert verdict(test, row.forward, row.vjp) == said


def test_a_test_sees_a_forward_and_a_vjp_of_its_format():
    exp = row_of("exp")
    version = version_of(exp, TABLE["exp-missing"])
    assert (version.kind, version.forward) == ("missing term", right_of(exp).forward)
    assert version_of(exp, TABLE["exp-of-the-output"]).kind == ""
    assert version_of(row_of("softmax"), TABLE["softmax-jacobian-sign"]) is None
    of_short = next(row for row in TABLE.values() if "float64" not in row.dtypes)
    assert version_of(row_of(of_short.operation), of_short) is None
    assert version_of(row_of(of_short.operation), of_short, of_short.dtypes[0])
    for_less = next(row for row in TABLE.values() if getattr(row, "unpromised", ()))
    assert version_of(row_of(for_less.operation), for_less) is None


def test_a_version_forgets_its_calls():
    name = "general-layer-norm-every-seventh"
    version = version_of(row_of(TABLE[name].operation), TABLE[name])
    case = input_of(row_of(TABLE[name].operation), "float64", False, 0)
    first = version.fresh()
    calls = [first.vjp(case.delta, *case.args)[0] for _ in range(7)]
    assert not np.array_equal(calls[5], calls[6])
    again = version.fresh()
    assert all(np.array_equal(again.vjp(case.delta, *case.args)[0], calls[0]) for _ in range(6))


# ── Practices ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("practice", practices.PRACTICES)
def test_practices_accept_what_is_right_and_reject_what_is_grossly_wrong(practice):
    if practice not in practices.installed():
        pytest.skip(f"{practice}: its library is optional")
    row = row_of("cross_entropy")
    right = right_of(row)
    wrong = right._replace(vjp=scaled(right.vjp, 2))
    assert rejections(practice, row, wrong) == (True, True)
    if practice not in ("relative-1e-7", "twice"):  # too strict where differences are coarse, or JAX has no error
        assert rejections(practice, row, right) == (False, False)


@pytest.mark.parametrize(
    "practice",
    ["gradcheck", *(pytest.param(f"{name}-check-grads", marks=pytest.mark.exhaustive) for name in ("jax", "autograd"))],
)
def test_an_audit_of_finite_differences_says_what_the_selftest_says(practice):
    if practice not in practices.installed():
        pytest.skip(f"{practice}: its library is optional")
    names = ["exp-missing", "exp-flushed", "exp-in-place"]
    title = practices.PRACTICES[practice].title
    column = [tried(name, [practice]).rivals[title][1] for name in names]
    assert answered(Load("exp", "float64", [], test=practice), names) == column
    table = practice_table.run(names, [practice], jobs=1)
    assert [found.many for found in table] == column


@pytest.mark.exhaustive
def test_the_audit_of_gradcheck_is_the_selftests_column():
    pytest.importorskip("torch")
    names = [name for name, row in TABLE.items() if row.operation == "reciprocal" and hasattr(row, "kind")]
    column = {name: tried(name, ["gradcheck"]).rivals["PyTorch's gradcheck"] for name in names}
    found = audit("gradcheck", "reciprocal", jobs=1, timeout=600)
    caught = {outcome.name: outcome.outcome == CAUGHT for outcome in found.faults}
    assert caught == {name: verdicts[1] for name, verdicts in column.items() if verdicts}


def test_the_table_counts_faults_and_right_versions():
    names = ["exp-missing", "exp-flushed", "exp-of-the-output"]
    found = practice_table.run(names, ["allclose-1e-4", "ones"], jobs=1)
    assert practice_table.lines(found)[0] == ["allclose with JAX, 1e-4", "2", "1", "1", "1", "0", "1 of 2"]
    table, summary = practice_table.markdown(found).split("\n\n")
    assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "The list of faults is ours" in summary
    assert summary.endswith(f"What none of these practices sees: {TABLE['exp-flushed'].kind}.")


# ── An audit, in processes ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.exhaustive
def test_a_pytest_test_with_fixtures_and_parameters(file):
    found = audit(f"{file}::test_exp", jobs=1, timeout=600)
    assert found.operation == "exp"
    assert not found.rejected
    by_name = {outcome.name: outcome for outcome in found.outcomes}
    assert by_name["exp-missing"].outcome == CAUGHT
    assert "Not equal to tolerance" in by_name["exp-missing"].said
    flushed = by_name["exp-flushed"]
    assert flushed.outcome == PASSED
    assert "x" in flushed.at
    assert flushed.code
    assert found.kinds[by_name["exp-missing"].kind][1] >= 1
    assert not found


@pytest.mark.exhaustive
def test_a_test_that_returns_false_and_takes_the_one_array(file, monkeypatch):
    monkeypatch.setattr(module, "_shown", lambda *_: {})
    found = audit(f"{file}::test_bool", "exp", jobs=1, timeout=600)
    missing = next(o for o in found.outcomes if o.name == "exp-missing")
    assert (missing.outcome, missing.said.splitlines()[0]) == (CAUGHT, "AssertionError: returned False")
    assert found.notes == ("vjp returns one array, as the test expects it",)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "said"),
    [("hangs", "hangs: stopped after 15 s of a test"), ("dies", "crashes: it was killed by signal 9")],
)
def test_a_test_that_hangs_or_crashes_has_not_caught_the_fault(file, name, said, monkeypatch):
    monkeypatch.setattr(module, "_shown", lambda *_: {})
    found = audit(f"{file}::{name}", "activation[leaky_relu]", jobs=1, timeout=15 if name == "hangs" else 600)
    (missed,) = found.missed
    assert missed.outcome == LOST
    assert missed.said.startswith(said)
    assert not found.rejected


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test_of_nothing", "it takes neither of the fixtures forward and vjp"),
        ("test_not_there", "pytest finds no such test"),
    ],
)
def test_what_pytest_does_not_find_is_one_line(file, name, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        audit(f"{file}::{name}", "exp", jobs=1, timeout=600)


class Answering:
    """Processes that answer so, whatever they are asked; in the last form they are asked for, otherwise."""

    def __init__(self, answers, last=None):
        self.answers, self.last = answers, last

    def ask(self, question, times):
        return self.last if self.last and question.form else self.answers


YES, NO = Tried(""), Tried("ValueError: no luck")


def test_the_reference_is_accepted_in_some_form():
    loaded = Loaded("exp", [], ["a tuple", "one array"], False)
    assert module._accepted(Answering([YES] * 3), loaded, "mine") == 0
    assert module._accepted(Answering([NO] * 3, [YES] * 3), loaded, "mine") == 1


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([NO] * 3, "mine rejects the reference itself: ValueError: no luck"),
        ([YES, NO, YES], "mine accepts the reference at times: ValueError: no luck"),
        ([Tried("", skipped=True)] * 3, "mine is skipped, so it tests nothing"),
        (Lost("hangs: stopped after 60 s of a test"), "mine hangs: stopped after 60 s of a test, on the reference"),
    ],
)
def test_a_test_that_does_not_accept_the_reference_is_one_line(answers, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        module._accepted(Answering(answers), Loaded("exp", [], ["a tuple", "one array"], False), "mine")


def test_a_test_should_say_the_same_twice():
    says = [[NO, NO], [YES, YES], [NO, YES], Lost("crashes: it was killed by signal 9")]
    found = [module._outcome("a-fault", "sign", answers) for answers in says]
    assert [outcome.outcome for outcome in found] == [CAUGHT, PASSED, AT_TIMES, LOST]
    assert [outcome.right for outcome in found] == [True, False, False, False]
    assert not module._outcome("a-right-one", "", [NO, YES]).right


def test_a_file_without_the_function(file):
    load = Load("exp", "float64", [], test=f"{file}::not_there")
    with pytest.raises(ValueError, match=re.escape("test_mine.py has no function not_there(forward, vjp)")):
        audit_process._tester(load, audit_process._versions(load))


@pytest.mark.exhaustive
def test_a_definition_of_ones_own_has_general_faults():
    import jax.numpy as jnp

    own = Definition(lambda x, w: jnp.tanh(x) * w, "(b,n),(n)", name="scaled_tanh")

    def test(forward, vjp):
        x, w, delta = np.ones((2, 3)) / 3, np.ones(3) * 2, np.ones((2, 3))
        dx, _ = vjp(delta, x, w)
        np.testing.assert_allclose(dx, (1 - np.tanh(x) ** 2) * w, rtol=1e-6)

    found = audit(test, own, jobs=1, timeout=600)
    assert found.notes[0].startswith("general faults, of which `check` finds")
    by_name = {outcome.name: outcome.outcome for outcome in found.outcomes}
    assert by_name["general-scaled-tanh-sign"] == CAUGHT
    assert by_name["general-scaled-tanh-five-percent"] == PASSED  # of dw, which it never looks at


def test_a_definition_without_an_axis_is_refused():
    product = Definition(lambda x, y: x * y, "(),()", name="product")
    load = Load("product", "float64", [], definition=cloudpickle.dumps(product))
    with pytest.raises(ValueError, match="product: general faults need an argument that has an axis, and none has"):
        audit_process._versions(load)


def test_forms_of_a_vjp():
    (_, whole), (_, alone) = audit_process._forms(row_of("exp"))
    assert whole((1,)) == (1,)
    assert alone((1,)) == 1
    assert alone([1, 2]) == [1, 2]  # of a fault that returns something else
    (_, _), (_, floats), (_, one) = audit_process._forms(row_of("cross_entropy"))
    assert floats((1, None)) == (1,)
    assert one((1, None)) == 1


# ── The command ─────────────────────────────────────────────────────────────────────────────────────────────────────

OUTCOMES = (
    Outcome("exp-missing", "missing term", CAUGHT, "AssertionError"),
    Outcome("exp-flushed", "clipping", PASSED, "", f"u[0] is {'0 ' * 45}, expected 1", {"x": "[-700.0]"}, ("x = 1",)),
    Outcome("exp-clipped", "clipping", AT_TIMES, "AssertionError: now and then"),
    Outcome("exp-slow", "clipping", LOST, "hangs: stopped after 60 s of a test"),
    Outcome("exp-by-pairs", "", CAUGHT, "AssertionError: off by 1e-17"),
    Outcome("exp-by-thirds", "", PASSED),
)
FOUND = Audit("exp", "test_exp", "float64", OUTCOMES, ("vjp returns one array, as the test expects it",))


def backprop(*arguments):
    return CliRunner().invoke(app, ["audit", *arguments], env={"COLUMNS": "80"})


def test_what_is_printed_fits_and_counts(monkeypatch):
    monkeypatch.setattr("backprop_properties.evidence.audit.audit", lambda *_, **__: FOUND)
    result, full = backprop("test_mine.py::test_exp"), backprop("test_mine.py::test_exp", "--full")
    assert result.exit_code == full.exit_code == 1
    assert result.output.startswith("exp: test_exp catches 1 of 4 faults, rejects 1 of 2 right versions\n")
    assert max(map(len, full.output.splitlines())) <= 80
    assert "and 2 more: --full shows all" in result.output
    assert "caught at times: AssertionError: now and then" in full.output
    assert "no answer: hangs: stopped after 60 s of a test" in full.output
    assert "at x = [-700.0]" in result.output
    assert "Rejected, though right:\n  exp-by-pairs\n    AssertionError: off by 1e-17" in result.output
    assert re.search(r"clipping +3 +0", result.output)


def test_json_has_all_of_it(monkeypatch):
    monkeypatch.setattr("backprop_properties.evidence.audit.audit", lambda *_, **__: FOUND)
    report = json.loads(backprop("test_mine.py::test_exp", "--json", "-").stdout)
    assert report["kinds"] == {"missing term": {"faults": 1, "caught": 1}, "clipping": {"faults": 3, "caught": 0}}
    assert [outcome["outcome"] for outcome in report["outcomes"]][:2] == [CAUGHT, PASSED]
    assert report["outcomes"][1]["code"] == ["x = 1"]


def test_all_caught_and_nothing_rejected_is_code_0(monkeypatch):
    found = Audit("exp", "test_exp", "float64", (OUTCOMES[0], OUTCOMES[-1]))
    monkeypatch.setattr("backprop_properties.evidence.audit.audit", lambda *_, **__: found)
    assert backprop("test_mine.py::test_exp").exit_code == 0
    assert found.passed


def test_the_table_of_practices_goes_into_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(practices, "find_spec", lambda name: name == "numpy")  # the others take longer
    page = tmp_path / "README.md"
    page.write_text("a\n<!-- practices -->\n<!-- /practices -->\nb\n")
    result = backprop("--practices", "--only", "reciprocal-", "--jobs", "1", "--readme", str(page))
    assert result.exit_code == 0, result.output
    assert "| allclose with JAX, 1e-2 |" in page.read_text()
    assert "gradcheck" not in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to audit: expected a test"),
        (["mine.txt", "exp"], "mine.txt: expected FILE.py, FILE.py::test or one of allclose-1e-2"),
        (["mine.py", "exp"], "there is no file mine.py"),
        (["gradcheck"], "which operation?"),
        (["mine.py::close"], "which operation?"),
        (["gradcheck", "exp", "--dtype", "int8"], "dtype: expected one of float64"),
        (["gradcheck", "exp", "--json", "no/such/folder/out.json"], "there is no folder"),
        (["--practices", "--only", "nothing like it"], "no row of the tables has 'nothing like it'"),
        (["--practices", "gradcheck"], "--practices takes no test"),
        (["gradcheck", "exp", "--only", "exp"], "--only and --readme are about --practices"),
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = backprop(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_an_operation_that_there_is_not():
    with pytest.raises(ValueError, match="did you mean softmax"):
        audit_process._versions(Load("sofmax", "float64", [], test="gradcheck"))

"""The selftest: `check` on planted faults and right neighbours, beside checks by finite differences."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from backprop_properties.commands.app import app
from backprop_properties.evidence import selftest
from backprop_properties.evidence.faults import FAULTS, Fault
from backprop_properties.evidence.selftest import Kept, count, counts, hints, markdown, passed, run, tried
from backprop_reference import OPERATIONS

NAMES = ["exp-missing", "exp-flushed", "hadamard-1e-12", "softmax-jacobian-sign", "exp-of-the-output", "dot-of-lists"]


@pytest.fixture(scope="module")
def outcomes():
    return run(NAMES, jobs=1)


def test_faults_are_rejected_and_neighbours_accepted(outcomes):
    assert [outcome.name for outcome in outcomes] == NAMES
    assert [outcome.rejected for outcome in outcomes] == [True] * 4 + [False] * 2
    assert passed(outcomes)


def test_a_missed_fault_and_a_rejected_neighbour_are_not_right(outcomes):
    assert not passed([replace(outcomes[0], rejected=False)])
    assert not passed([*outcomes, replace(outcomes[-1], rejected=True)])
    assert not passed([])


def test_counts(outcomes):
    by_kind = counts(outcomes, "kind")
    assert by_kind["precision"].faults == 1
    assert by_kind["all"] == count(outcomes)
    assert by_kind["all"].faults == by_kind["all"].rejected == 4
    assert by_kind["all"].seen == 3  # not the wrong Jacobian
    assert by_kind["all"].rivals["JAX's check_grads"] == (1, 1)  # a forgotten factor, and nothing finer


def test_hints_are_counted(outcomes):
    missing = outcomes[0]
    assert missing.cause == "missing-h-prime"
    some = [replace(missing, hint=hint) for hint in ("missing-h-prime", "", "sign", "missing-h-prime")]
    assert hints([*some, outcomes[2]]) == {"right": 2, "none": 1, "wrong": 1}


def test_what_a_fault_asks_for_is_asked():
    assert tried("relu-one-at-zero").rejected
    assert tried("add-twins").rejected


def test_an_interrupted_run_goes_on(tmp_path):
    file, tried_now = tmp_path / "rows.jsonl", []

    def interrupt(name):
        tried_now.append(name)
        if len(tried_now) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(NAMES, jobs=1, kept=Kept(file, ["a"], 1), on_outcome=interrupt)
    kept = Kept(file, ["a"], 1)
    assert list(kept.outcomes) == tried_now
    kept.outcomes["exp-missing"] = replace(kept.outcomes["exp-missing"], message="as it was put down")
    again = run(NAMES, rivals=[], jobs=1, kept=kept)
    assert [outcome.name for outcome in again] == NAMES
    assert again[0].message == "as it was put down"
    assert Kept(file, ["a"], 1).outcomes.keys() == set(NAMES)
    with file.open("a") as more:
        more.write('{"name": "cut o')
    assert (Kept(file, ["a"], 1).dropped, Kept(file, ["a"], 1).dropped) == (1, 0)
    other = Kept(file, ["a"], 2)
    assert (other.dropped, other.outcomes) == (len(NAMES), {})


def test_the_rivals_are_given_some_of_the_faults():
    names = [fault.name for fault in FAULTS[:12]]
    outcomes = run(names, rivals=["jax-check-grads"], every=6, jobs=1)
    assert [bool(outcome.rivals) for outcome in outcomes] == [k % 6 == 3 for k in range(12)]
    assert "given 2 of the faults" in markdown(outcomes)
    assert "| all | 12 | 12 | 2 |" in markdown(outcomes)


def test_markdown_is_a_table(outcomes):
    table, summary = markdown(outcomes).split("\n\n")
    assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "4 of 4 faults rejected, 0 of 2 right neighbours rejected" in summary


def test_processes_find_the_same():
    names = ["exp-missing", "log-epsilon"]
    alone, together = (run(names, rivals=[], jobs=jobs) for jobs in (1, 2))
    assert [replace(o, seconds=0) for o in alone] == [replace(o, seconds=0) for o in together]


# ── The command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def backprop(*arguments):
    return CliRunner().invoke(app, ["selftest", *arguments], env={"COLUMNS": "200"})


def test_the_command_writes_what_it_found(tmp_path):
    readme, out = tmp_path / "README.md", tmp_path / "out.json"
    readme.write_text("a\n<!-- selftest -->\n<!-- /selftest -->\nb\n")
    result = backprop("--only", "reciprocal-", "--jobs", "1", "--alone", "--json", str(out), "--readme", str(readme))
    assert result.exit_code == 0, result.output
    count = sum("reciprocal-" in fault.name for fault in FAULTS)
    assert f"{count} of {count} faults rejected" in result.output
    report = json.loads(out.read_text())
    assert report["passed"] is True
    assert report["kinds"]["all"]["faults"] == count
    assert "| sign | 1 | 1 |" in readme.read_text()


def test_the_command_fails_for_a_fault_that_is_missed(monkeypatch):
    right = Fault("exp", "planted", "sign", "vjp_equals_jax_vjp", vjp=OPERATIONS["exp"].vjp)
    monkeypatch.setattr(selftest, "TABLE", {"planted": right})
    result = backprop("--alone", "--jobs", "1")
    assert result.exit_code == 1
    assert "planted (exp, float64) is missed: sign" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nothing like it"], "no row of the tables has 'nothing like it'"),
        (["--readme", "no/such/file.md"], "there is no file"),
        (["--json", "no/such/folder/out.json"], "there is no folder"),
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(arguments, said):
    result = backprop(*arguments)
    assert result.exit_code == 2
    assert said in result.output

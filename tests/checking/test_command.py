"""`from_command` and `backprop check --command`: each way of misbehaving has a word of its own, and nothing hangs."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from backprop_oracle.definition import Definition
from backprop_properties import check, from_command
from backprop_properties.checking import protocol
from backprop_properties.checking.calls import Gone, Late
from backprop_properties.checking.command import Command, NotStarted
from backprop_properties.checking.guard import Unusable
from backprop_properties.checking.pipes import Broken
from backprop_properties.commands.app import app
from backprop_properties.laws.skipped import Skipped
from samples import sampled

FAKE = str(Path(__file__).parent / "misbehaving.py")
X = np.array([1.0, 2.0, 4.0])
ENDS = {  # what ends the program, and what is said of it
    "crash": r"killed by SIGSEGV .* in call 3 of forward.* started again, it answers this call",
    "exit": r"ended itself with exit code 3 in call 3 of forward",
    "words": r"ended itself with exit code 1 in call 3 of forward \(id 3\); it said: out of paper",
    "close": r"closed the pipe of its answers in call 3",
    "half": r"ended itself with exit code 0 in call 3",
    "broken": r"broken JSON \(.*\): '\{\"id\": \}' in call 3",
    "empty": r"wrote '' to standard output, where only answers belong, in call 3",
    "garbage": r"wrote 'x{60}'… to standard output, where only answers belong, in call 3",
    "garbage_in_braces": r"broken JSON .* in call 3",
    "chatty": r"wrote 'debug: here' to standard output, where only answers belong, in call 3",
    "wrong_id": r"answered with the id 'another', expected '3', in call 3",
    "no_id": r"in another form: Object missing required field `id` in call 3",
    "no_result": r"0 of results, skipped and error, expected one of them in call 3",
    "two_answers": r"2 of results, skipped and error, expected one of them in call 3",
    "numbers": r"in another form: .* got `float` - at `\$.results\[0\].data\[0\]` in call 3",
}
RAISES = {  # what is said of an answer that is none, after which the program goes on
    "error": r"^forward raised an error: no luck\?\[31m today$",
    "none": r"^forward returned 0 results, expected 1$",
    "too_many": r"^forward returned 3 results, expected 1$",
    "short": r"^forward answered in another form: 3 bytes for the shape \(3,\) of float64, expected 24$",
    "decimals": r"^forward answered in another form: '0.1' as a number of float64, expected .* as '0x1.8p\+1'$",
    "dtype": r"^forward answered in another form: an array of dtype 'float65', expected one of float64, ",
    "not_float32": r"^forward answered in another form: '0x1.999999999999ap-4', which is no float32$",
    "negative": r"^forward answered in another form: an array of shape \(-1,\)$",
}
STARTS = {
    "gone": r"ended itself with exit code 1 when it was asked what it has; it said: no licence",
    "mute": r"stopped after 2 s when it was asked what it has; is its answer flushed\?$",
    "babble": r"wrote 'Welcome to fake 1.0' to standard output, where only answers belong, when it was asked",
    "no_name": r"Object missing required field `name` when it was asked",
}


def words(how: str) -> list[str]:
    return [sys.executable, FAKE, how]


@pytest.fixture
def started() -> Any:
    """Starts the program; all are ended after the test."""
    every: list[Command] = []

    def start(how: str, **limits: Any) -> Command:
        every.append(Command(words(how), **limits))
        return every[-1]

    yield start
    for command in every:
        command.stop()


def right(u: Any) -> bool:
    return bool(np.allclose(u, np.exp(X) / np.exp(X).sum()))


def backprop(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments, "--examples", "12"], env={"COLUMNS": "200"})


@pytest.mark.parametrize("how", sampled(ENDS, {"crash", "half", "broken", "garbage", "chatty", "wrong_id"}))
def test_what_cannot_go_on_ends_with_a_word_and_the_call_and_is_started_again(how: str, started: Any) -> None:
    command = started(how)
    forward = command.of("softmax")["forward"]
    assert right(forward(X))
    assert right(forward(X))
    with pytest.raises(Gone, match=ENDS[how]) as gone:
        forward(X)
    assert gone.value.call is not None
    assert gone.value.call.args == (X,)
    assert "; it was called with shapes (3); started again" in str(gone.value)
    assert right(forward(X))


@pytest.mark.parametrize("how", RAISES)
def test_an_answer_that_is_none_is_told_and_the_program_goes_on(how: str, started: Any) -> None:
    command = started(how)
    forward, first = command.of("softmax")["forward"], command.calls.program
    assert right(forward(X))
    assert right(forward(X))
    with pytest.raises(Unusable, match=RAISES[how]):
        forward(X)
    assert command.calls.program is first


def test_a_second_answer_is_held_against_its_call(started: Any) -> None:
    forward = started("twice").of("softmax")["forward"]
    assert all(right(forward(X)) for _ in range(3))
    with pytest.raises(Gone, match="answered twice, with the id '3', in call 3 of forward") as gone:
        forward(2 * X)
    assert gone.value.call is not None
    assert gone.value.call.args == (X,)
    assert right(forward(X))


def test_a_hang_and_memory_past_the_limit_have_words_of_their_own(started: Any) -> None:
    for how, limit, match in (
        ("hang", {"step": 0.2}, r"stopped after 0.2 s in call 3 of forward"),
        ("memory", {"limit": 200 << 20}, r"stopped for more than the 4,096 MB that it may ask for in call 3"),
    ):
        command = started(how)
        forward = command.of("softmax")["forward"]
        assert right(forward(X))
        assert right(forward(X))
        vars(command.calls).update(limit)
        with pytest.raises(Gone, match=match):
            forward(X)
        assert command.calls.program.over


def test_what_crashes_at_once_is_told_from_what_remembers(started: Any) -> None:
    forward = started("always_crash").of("softmax")["forward"]
    with pytest.raises(
        Gone,
        match=r"in call 1 of forward \(id 1\); it was called with shapes \(3\); started again .* alone, it fails, too",
    ):
        forward(X)


@pytest.mark.parametrize("how", STARTS)
def test_a_program_that_does_not_start_is_told_in_a_line(how: str) -> None:
    with pytest.raises(NotStarted, match=STARTS[how]):
        Command(words(how), step=2.0 if how == "mute" else 60.0)


def test_a_command_that_is_none_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("no program", encoding="utf-8")
    for command, match in (
        (["./no/such"], r"^./no/such cannot be started: No such file or directory$"),
        ([str(tmp_path / "mine")], r"cannot be started: Permission denied$"),
        (words("nothing"), r"no function of softmax: it has no functions$"),
        (words("well"), r"no function of tanh: it has softmax, softmax_vjp$"),
    ):
        with pytest.raises(ValueError, match=match):
            from_command(command, "tanh" if "well" in command else "softmax")
    with pytest.raises(TypeError, match=r"expected the words of a command as \['./mine'\], got './mine'"):
        from_command("./mine", "softmax")  # type: ignore[arg-type]


def test_what_a_program_writes_to_standard_error_is_its_own(started: Any) -> None:
    forward = started("talks").of("softmax")["forward"]
    assert all(right(forward(X)) for _ in range(5))


def test_numbers_of_every_kind_arrive_to_the_bit() -> None:
    ends = np.array([0.1, -0.0, 5e-324, np.inf, -np.inf, np.nan, 1.7976931348623157e308])
    for dtype in protocol.DTYPES.values():
        with np.errstate(all="ignore"):
            some = ends.astype(dtype)
        for a in (np.ones((2, 0, 3), dtype), np.array(3, dtype), some if dtype.kind in "fV" else None):
            for form in ("hex", "base64") if a is not None else ():
                body = protocol.encoded(protocol.Answer("1", [protocol.sent(a, form)]))
                (array,) = protocol.decoded(body, protocol.Answer).results
                again = protocol.received(array)
                assert (again.dtype.name, again.shape) == (a.dtype.name, a.shape)
                assert again.tobytes() == a.tobytes(), (dtype, form)
                assert again.flags.writeable
    for a in (np.arange(6.0).astype(">f8"), np.arange(6.0).reshape(2, 3).T):
        for form in ("hex", "base64"):
            body = protocol.encoded(protocol.Answer("1", [protocol.sent(a, form)]))
            assert protocol.received(protocol.decoded(body, protocol.Answer).results[0]).tolist() == a.tolist()


@pytest.mark.parametrize("text", ["0.1", "1e5", "1", "0x", "0x1.8p", "", "infinite", "0x1p+99999", "1_0"])
def test_a_decimal_is_no_number(text: str) -> None:
    with pytest.raises(Broken, match="expected a hexadecimal float"):
        protocol.received(protocol.Array([1], "float64", [text]))


@pytest.mark.parametrize(
    ("kind", "line", "match"),
    [
        (protocol.Answer, b'{"id":"1","error":"\\ud800"}', "broken JSON"),
        (protocol.Answer, b'{"x":' * 100_000, "broken JSON"),
        (protocol.Answer, b'{"id":"\xff"}', "broken JSON"),
        (
            protocol.Answer,
            b'{"id":"1","results":[{"shape":[1],"dtype":"float64","data":"*"}]}',
            "another form: Invalid base64",
        ),
        (protocol.Ready, b'{"name":"a","language":"b","functions":["\\u001b[31m"]}', "another form: .*functions"),
        (protocol.Ready, b'{"name":"a","language":"b","functions":[],"numbers":"decimal"}', "another form: .*numbers"),
    ],
)
def test_what_is_no_message_is_told(kind: Any, line: bytes, match: str) -> None:
    protocol.validate(b'{"id":"1","error":""}', "answer")
    if match == "broken JSON":
        protocol.validate(line, "answer")  # leaves it to what reads it
    with pytest.raises(Broken, match=match):
        protocol.decoded(line, kind)


def test_a_shape_that_no_array_has_is_told() -> None:
    for shape in ([10**30, 0], [2] * 33, [-1]):
        with pytest.raises(Broken, match="an array of shape"):
            protocol.received(protocol.Array(shape, "float64", []))


# ── The check ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_check_takes_functions_of_a_program() -> None:
    report = check("softmax", **from_command(words("well"), "softmax"), max_examples=12)
    assert report.passed
    assert "over a pipe, writes to arguments, shared memory and memory layouts are not tried" in " ".join(report.notes)
    assert "aliasing" not in " ".join(report.notes)
    assert "fake (Python)" in " ".join(report.notes)
    assert not {"leaves_its_inputs_alone", "takes_any_memory_layout"} & {checked.law for checked in report.checks}


def test_a_crash_is_a_report_with_the_call() -> None:
    report = check("softmax", **from_command(words("always_crash"), "softmax"), max_examples=12)
    assert not report.passed
    (failure,) = report.failures
    assert failure.law == "every_call_returns"
    assert "SIGSEGV" in failure.message
    assert failure.case is not None
    assert report.word == "DOES NOT RETURN"


def test_what_is_skipped_is_told_and_not_wrong() -> None:
    functions = from_command(words("skips"), "softmax")
    assert check("softmax", **from_command(words("skips_batches"), "softmax"), max_examples=12).passed
    report = check("softmax", **functions, dtypes=("float64", "float32"), max_examples=12)
    assert (report.holds, report.passed, report.word) == (True, False, "NOTHING COMPARED")
    assert "what was asked for: forward equals jax (float32), vjp equals jax vjp (float32)" in report.verdict
    assert any("calls with float32, which it skipped: no float32 here" in note for note in report.notes)
    only = check("softmax", **functions, dtypes="float32", max_examples=12)
    assert not only.passed
    assert only.verdict == "nothing was compared"
    with pytest.raises(Skipped):
        functions["forward"](X.astype(np.float32))


@pytest.mark.parametrize(
    ("batch", "law"), [(True, "batch equals the loop (forward, float64)"), ("only", "forward equals jax (float64)")]
)
def test_what_one_function_skips_is_asked_of_the_others_and_told(batch: bool | str, law: str) -> None:
    for how, word in (("forward_skips_batches", "NOTHING COMPARED"), ("forward_skips_wrong_batches", "")):
        report = check("softmax", **from_command(words(how), "softmax"), batch=batch, max_examples=12)
        assert not report.passed
        assert f"nothing was compared of what was asked for: {law}" in report.summary()
        assert report.holds == bool(word)
        if word:
            assert (report.word, report.verdicts["vjp"].state) == (word, "right")
        else:
            assert report.verdicts["vjp"].state in ("bad manners", "wrong")
            assert report.verdicts["forward"].state == "right"
        compared = {checked.law: checked for checked in report.checks}
        rows = compared["batch_equals_the_loop" if batch is True else "vjp_equals_jax_vjp"]
        assert rows.compared.get("vjp", 0) > 0


@pytest.mark.parametrize(
    ("how", "asked", "match"),
    [
        ("skips", ("--dtype", "float32"), "softmax: nothing was compared .*it skipped: no float32 here"),
        (
            "skips_batches",
            ("--batch",),
            r"of what was asked for: batch equals the loop \(float64\) .*it skipped: one vector at a time",
        ),
    ],
)
def test_what_was_asked_for_and_skipped_is_neither_right_nor_wrong(
    how: str, asked: tuple[str, ...], match: str, tmp_path: Path
) -> None:
    files = tmp_path / "report.json", tmp_path / "report.xml", tmp_path / "report.html"
    written = [word for file in files for word in (f"--{file.suffix[1:].replace('xml', 'junit')}", str(file))]
    result = backprop("--command", shlex.join(words(how)), *asked, *written)
    assert result.exit_code == 2, result.output
    assert re.search(match, " ".join(result.output.split())), result.output
    assert "1 of 1 NOTHING COMPARED" in result.output
    assert "WRONG" not in result.output
    found, tests, page = (file.read_text("utf-8") for file in files)
    assert json.loads(found)["reports"][0]["passed"] is False
    assert '<skipped message="nothing was compared"' in tests
    assert "✗ NOTHING COMPARED" in page
    assert "✓" not in page


def test_the_command_checks_a_program_and_its_report_can_be_pasted(tmp_path: Path) -> None:
    wrong = Path(FAKE).read_text("utf-8").replace("s * (delta - (s * delta).sum())", "s * (1 - s) * delta")
    (tmp_path / "wrong.py").write_text(wrong, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "wrong.py"), "well"]
    result = backprop("--command", shlex.join(command), "--validate", "--json", "-")
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    (report,) = found["reports"]
    assert report["file"] == shlex.join(command)
    assert report["verdicts"]["forward"]["state"] == "right"
    assert "diagonal" in report["causes"][0]["hint"]
    code = report["failures"][0]["reproduction"]
    assert f"softmax, softmax_vjp = from_command({command!r}, 'softmax').values()" in code
    with pytest.raises(AssertionError, match=r"dx\["):
        exec(code, {})


@pytest.mark.parametrize(
    ("how", "code", "match"),
    [
        ("well", 0, "all 1 right"),
        ("crash", 1, "softmax: .* DOES NOT RETURN: the process was killed by SIGSEGV"),
        ("gone", 2, "it said: no licence"),
        ("nothing", 2, "has none of softmax"),
        ("lying", 1, "forward RAISES: raised an error: no function tanh"),
        (
            "only_decimals",
            1,
            "softmax: forward DOES NOT RETURN: answered in another form: '0.1' as a number of float64",
        ),
    ],
)
def test_the_command_goes_on_and_exits_as_for_a_file(how: str, code: int, match: str) -> None:
    result = backprop("--command", shlex.join(words(how)))
    assert result.exit_code == code, result.output
    assert re.search(match, " ".join(result.output.split())), result.output


def test_a_call_is_named_with_the_id_that_the_program_saw(started: Any) -> None:
    command = started("crash")
    functions = command.of("softmax")
    functions["vjp"](X, X)
    functions["forward"](X)
    with pytest.raises(Gone, match=r"in call 2 of vjp \(id 3\); it was called with shapes \(3\), \(3\); "):
        functions["vjp"](X, X)


def test_what_a_pipe_cannot_show_is_not_claimed() -> None:
    functions = from_command(words("well"), "softmax")
    asked = check("softmax", **functions, max_examples=4, domain={"aliasing": True, "masks": True})
    assert not any("aliasing" in note for note in asked.notes)
    assert any("tried, too: masks" in note for note in asked.notes)


def test_slow_is_not_wrong(started: Any) -> None:
    command = started("well", seconds=0.0)
    with pytest.raises(Late):
        command.of("softmax")["forward"](X)


def test_validate_holds_each_line_to_the_published_form(started: Any) -> None:
    for validate in (False, True):
        forward = started("unknown_field", validate=validate).of("softmax")["forward"]
        assert right(forward(X))
        assert right(forward(X))
        if validate:
            with pytest.raises(Gone, match=r"against protocol.json, at \$: .*'time' was unexpected.* in call 3"):
                forward(X)
        else:
            assert right(forward(X))


def test_what_is_sent_has_the_published_form() -> None:
    schema = json.loads(protocol.SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    labels = [np.array([1, 2]), np.array([True]), np.array([0.5, -np.inf, np.nan], np.float16), X]
    arrays = [protocol.sent(a, form) for a in labels for form in ("hex", "base64")]
    for name, message in (
        ("start", protocol.Start()),
        ("call", protocol.Ask("1", "softmax", arrays)),
        ("stop", protocol.Stop()),
    ):
        protocol.validate(protocol.encoded(message), name)
        for other in {"start", "call", "stop", "ready", "answer"} - {name}:
            with pytest.raises(Broken, match=r"protocol\.json"):
                protocol.validate(protocol.encoded(message), other)


def test_a_definition_is_judged_over_a_pipe_and_runs_in_the_judge(tmp_path: Path) -> None:
    (tmp_path / "forwards.py").write_text(
        "import jax.numpy as jnp\nfrom backprop_properties import Definition\n"
        "def halved(x):\n    return jnp.sum(x * x) / 2\nhalved_definition = Definition(halved, '(n)')\n"
    )
    fake = Path(FAKE).read_text("utf-8").replace('["softmax", "softmax_vjp"]', '["halved", "halved_vjp"]')
    fake = fake.replace(
        "def softmax(x):", "def halved(x):\n    return np.asarray((x * x).sum() / 2)\n\n\ndef softmax(x):"
    )
    fake = fake.replace(
        "def softmax_vjp(delta, x):",
        "def halved_vjp(delta, x):\n    return FACTOR delta * x\n\n\ndef softmax_vjp(delta, x):",
    )
    for factor, code in (("", 0), ("2 *", 1)):
        (tmp_path / "mine.py").write_text(fake.replace("FACTOR", factor))
        command = shlex.join([sys.executable, str(tmp_path / "mine.py"), "well"])
        result = backprop("--command", command, "--definitions", str(tmp_path / "forwards.py"))
        assert result.exit_code == code, result.output
        assert "halved" in result.output
    assert "dx is 2 times what is right" in result.output
    with pytest.raises(ValueError, match="no function of other"):
        from_command(words("well"), Definition(lambda x: x, "(n)", name="other"))


def test_a_file_and_a_program_are_checked_together_and_nothing_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def square(x):\n    return x * x\n")
    result = backprop(str(tmp_path / "mine.py"), "--command", shlex.join(words("well")), "--jobs", "2")
    assert result.exit_code == 0, result.output
    assert "all 2 right" in result.output
    for arguments, match in (
        ([], "expected a file as mine.py, or --command './mine'"),
        ([str(tmp_path / "mine.py"), "--validate"], "--validate is about the lines of a program"),
        (["--command", "'"], "has no closing quotation"),
        (["--command", " "], "expected a command as './mine', got none"),
    ):
        result = backprop(*arguments)
        assert result.exit_code == 2
        assert match in result.output.replace("\n", " ")

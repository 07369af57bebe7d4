"""Anybody's operation: a `Definition` is judged by, refused in one line, found in files, and shown in a report."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from backprop_oracle import certified
from backprop_properties import Definition, check, each_law, replay
from backprop_properties.cases.domains import domain_of
from backprop_properties.cases.plan import made, plan
from backprop_properties.checking.run import Run
from backprop_properties.checking.run import run as run_files
from backprop_properties.commands.app import app

Array = Any
F64 = np.dtype(np.float64)


def rms_norm(x: Array, w: Array) -> Array:
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * w


def rms_norm_vjp(delta: Array, x: Array, w: Array, path: float = 1.0) -> tuple[Array, Array]:
    if x.dtype.itemsize == 2:  # half precision is for numbers that lie in memory, and not for sums
        dx, dw = rms_norm_vjp(*(a.astype(np.float32) for a in (delta, x, w)), path)
        return dx.astype(x.dtype), dw.astype(x.dtype)
    r = 1 / np.sqrt(np.mean(x * x, -1, keepdims=True) + x.dtype.type(1e-6))
    g, h = delta * w, x * r
    return r * (g - h * np.mean(g * h, -1, keepdims=True) * x.dtype.type(path)), (delta * h).sum(0)


def loss(logits: Array, labels: Array) -> Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1).mean()


def loss_vjp(delta: Array, logits: Array, labels: Array) -> Array:
    s = np.exp(logits - logits.max(-1, keepdims=True))
    s /= s.sum(-1, keepdims=True)
    s[np.arange(len(labels)), labels] -= 1
    return delta * s / logits.dtype.type(len(labels))


RMS = Definition(rms_norm, "(b,n),(n)")
LOSS = Definition(loss, "(b,v),(b)", integers={"labels": "v"})


def scaled(**how: Any) -> Definition:
    """A definition of one argument."""
    return Definition(lambda x: 2.0 * x, "(n)", name="scaled", **how)


# ── Right and wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_a_right_vjp_is_right_in_every_dtype(dtype: str) -> None:
    check(RMS, vjp=rms_norm_vjp, dtypes=(dtype,), max_examples=80).raise_on_failure()


def test_five_per_cent_of_one_term_are_seen_and_the_report_replays() -> None:
    report = check(RMS, vjp=lambda *args: rms_norm_vjp(*args, path=1.05), max_examples=40)
    failure = report.failures[0]
    assert (failure.law, failure.argument) == ("vjp_equals_jax_vjp", "x")
    assert failure.case is not None
    assert failure.case.args[0].size <= 6
    assert "replay(rms_norm_definition, 'vjp_equals_jax_vjp', delta, x, w" in failure.reproduction
    names = {"rms_norm_definition": RMS, "vjp": lambda *args: rms_norm_vjp(*args, path=1.05)}
    with pytest.raises(AssertionError, match="dx"):
        exec(failure.reproduction, names)
    exec(failure.reproduction, {**names, "vjp": rms_norm_vjp})
    assert "# first define rms_norm_definition, your Definition, and vjp, your function\n" in failure.reproduction


def test_the_hint_quotes_the_definition() -> None:
    report = check(RMS, vjp=lambda *args: rms_norm_vjp(*args, path=0.0), max_examples=40)
    assert report.failures[0].hint == "dx is what comes out if jnp.mean(x * x, -1, keepdims=True) were a constant"


@pytest.mark.parametrize("given", [loss_vjp, lambda *args: (loss_vjp(*args), None), lambda *args: (loss_vjp(*args),)])
def test_an_argument_of_integers_has_no_cotangent_and_need_not_be_counted(given: Callable[..., Any]) -> None:
    check(LOSS, vjp=given, max_examples=40).raise_on_failure()


def test_labels_off_by_one_are_seen() -> None:
    report = check(LOSS, vjp=lambda d, x, labels: loss_vjp(d, x, (labels + 1) % x.shape[-1]), max_examples=40)
    assert not report
    assert "labels = np.array([" in report.failures[0].reproduction
    assert "np.int64" in report.failures[0].reproduction


def test_batch_axes_that_a_definition_has_in_its_letters_are_not_silently_asked_for() -> None:
    asked, usual = (check(RMS, vjp=rms_norm_vjp, batch=batch, max_examples=4) for batch in (True, None))
    assert [any("batch axes" in note for note in report.notes) for report in (asked, usual)] == [True, False]


def test_laws_may_be_waived_and_the_report_says_so() -> None:
    def double(delta: Array, x: Array) -> Array:
        return np.asarray(2.0 * delta, np.float64)

    assert [f.law for f in check(scaled(), vjp=double, dtypes="float32", max_examples=20).failures] == [
        "keeps_the_dtype"
    ]
    report = check(scaled(), vjp=double, dtypes="float32", max_examples=20, waive=["keeps the dtype"])
    assert report
    assert "waived: keeps the dtype" in str(report)


def test_arguments_may_be_written_to_where_that_is_said() -> None:
    def in_place(delta: Array, x: Array) -> Array:
        x[...] = 2 * delta
        return x.copy()

    assert not check(scaled(), vjp=in_place, max_examples=20)
    assert check(scaled(), vjp=in_place, max_examples=20, may_write=("x",))


def test_what_is_written_to_by_one_call_is_not_seen_by_the_next_and_layouts_are_tried_all_the_same() -> None:
    def forward(x: Array) -> Array:
        x *= 2
        return x.copy()

    def cubed_vjp(delta: Array, x: Array) -> Array:
        x *= 2
        return delta * x

    def by_pointer(delta: Array, x: Array) -> Array:
        return 2 * delta if delta.flags.c_contiguous else 0 * delta

    square = Definition(lambda x: x * x, "(n)", name="square_of")
    how: Any = {"max_examples": 40, "may_write": ("x",)}
    assert check(square, forward=lambda x: x.__imul__(x).copy(), vjp=cubed_vjp, **how)
    report = check(scaled(), forward=forward, vjp=by_pointer, **how)
    assert [failure.law for failure in report.failures] == ["takes_any_memory_layout"]


@pytest.mark.parametrize(
    ("definition", "slope"),
    [
        (Definition(lambda x: jnp.maximum(x, 0.0), "(n)", name="larger"), lambda x: x > 0),
        (Definition(lambda x: jnp.minimum(x, 1.0), "(n)", name="smaller"), lambda x: x < 1),
        (Definition(lambda x: jnp.clip(x, -1.0, 1.0), "(n)", name="clipped"), lambda x: abs(x) < 1),
        (Definition(lambda x: jnp.maximum(x * 0.7 + 0.1, 0.0) / 0.7, "(n)", name="later"), lambda x: x * 0.7 + 0.1 > 0),
    ],
    ids=lambda row: getattr(row, "name", ""),
)
def test_a_multiple_of_the_slope_of_a_maximum_is_seen(definition: Definition, slope: Callable[[Array], Array]) -> None:
    """JAX's own rule compares the maximum with its arguments, which is no open question where they are apart."""
    right = [
        c
        for c in (0.0, 0.5, 1.0, 1.5, 2.0)
        if check(definition, vjp=lambda delta, x, c=c: x.dtype.type(c) * delta * slope(x), max_examples=60)
    ]
    assert right == [1.0]


def test_other_honest_formulas_are_accepted() -> None:
    def variance(x: Array) -> Array:
        return jnp.mean((x - jnp.mean(x)) ** 2)

    def by_squares(x: Array) -> Array:
        return jnp.mean(x * x) - jnp.mean(x) ** 2

    def mine(x: Array) -> Array:
        return np.mean(x * x) - np.mean(x) ** 2

    assert not check(Definition(variance, "(n)"), forward=mine, max_examples=60)
    assert check(Definition(variance, "(n)", also=[by_squares]), forward=mine, max_examples=60)


def test_each_law_is_a_test() -> None:
    mark = each_law(RMS, vjp=rms_norm_vjp, max_examples=30)
    for law in mark.args[1]:
        law()
    assert {"vjp_equals_jax_vjp", "vjp_within_bound_of_truth"} <= set(mark.kwargs["ids"])


# ── Sizes, integers ─────────────────────────────────────────────────────────────────────────────────────────────────


def sizes_of(definition: Definition) -> list[dict[str, int]]:
    domain = domain_of(definition, None)
    return [definition.sizes_at(made(domain, p, F64, 0, k).args) for k, p in enumerate(plan(domain, 100))]


def test_sizes_keep_to_their_rules() -> None:
    def shifted(x: Array, w: Array) -> Array:
        return jnp.convolve(x, w, mode="valid")

    sizes = sizes_of(Definition(shifted, "(n),(k)", sizes={"k": "at most n", "n": "multiple of 4"}))
    assert all(s["k"] <= s["n"] and s["n"] % 4 == 0 for s in sizes)
    assert {s["k"] == s["n"] for s in sizes} == {True, False}
    assert {s["n"] for s in sizes_of(scaled(sizes={"n": (2, 3)}))} == {2, 3}
    assert sizes_of(Definition(lambda x: x, "(3,4)", name="fixed"))[0] == {}


def test_a_shape_may_be_a_multiple_of_a_letter() -> None:
    definition = Definition(lambda x: x.reshape(2, -1).sum(0), "(2n)", name="halves")
    assert definition.signature == "(2*n)->(n)"
    check(definition, vjp=lambda delta, x: np.concatenate([delta, delta]), max_examples=30).raise_on_failure()


def test_integers_are_those_of_their_range() -> None:
    definition = Definition(lambda x, i: x[i], "(n),(k)", name="picked", integers={"i": "n or -1"})
    domain = domain_of(definition, None)
    drawn = [made(domain, p, F64, 0, k) for k, p in enumerate(plan(domain, 60))]
    assert all(((c.args[1] >= -1) & (c.args[1] < c.args[0].size)).all() for c in drawn)
    assert any((c.args[1] == -1).any() for c in drawn)
    masks = Definition(lambda x, m: jnp.where(m, x, 0.0), "(n),(n)", name="masked", integers={"m": bool})
    check(masks, vjp=lambda delta, x, m: np.where(m, delta, x.dtype.type(0)), max_examples=30).raise_on_failure()


def test_sizes_at_which_there_are_no_integers_are_no_cases() -> None:
    def first(x: Array, n: Array) -> Array:
        return jnp.sum(jnp.where(jnp.arange(x.shape[0]) < n, x, 0.0))

    def mine(delta: Array, x: Array, n: Array) -> Array:
        return np.where(np.arange(len(x)) < n, delta, 0 * x)

    definition = Definition(first, "(t),()", integers={"n": (1, "t")})
    assert min(sizes["t"] for sizes in sizes_of(definition)) == 2
    check(definition, vjp=mine, max_examples=60).raise_on_failure()
    with pytest.raises(ValueError, match="leaves no integers"):
        Definition(first, "(t),()", integers={"n": (2, 2)})


def test_a_function_that_asks_for_a_size_is_traced_for_each() -> None:
    def odd_or_even(x: Array) -> Array:
        return 2.0 * x if x.shape[0] % 2 else 3.0 * x

    def mine(delta: Array, x: Array) -> Array:
        return delta * (2 if x.size % 2 else 3)

    check(Definition(odd_or_even, "(n)"), vjp=mine, max_examples=30).raise_on_failure()


def test_a_size_that_is_asked_for_beyond_the_small_ones_is_found_out_where_it_matters() -> None:
    def special(x: Array) -> Array:
        return 3.0 * x if x.shape[0] == 24 else 2.0 * x

    definition = Definition(special, "(n)")
    assert definition.in_letters
    check(definition, vjp=lambda delta, x: delta * (3 if x.size == 24 else 2)).raise_on_failure()


def test_the_truth_is_certified() -> None:
    x, labels = np.array([[0.0, 40.0], [1.0, 2.0]]), np.array([1, 0])
    (dx, none) = certified.vjp(LOSS, np.array(1.0), x, labels)
    assert none is None
    assert dx.nearest(accept_ties=True) == pytest.approx(loss_vjp(np.array(1.0), x, labels), rel=1e-12)
    assert certified.jacobian(LOSS, x, labels)[0].shape == (2, 2)


# ── One line ────────────────────────────────────────────────────────────────────────────────────────────────────────


def zeros(delta: Array, *args: Array) -> tuple[Array, ...]:
    return tuple(np.zeros_like(a) for a in args)


MISUSES: dict[str, tuple[Callable[[], Any], str]] = {
    "integers come out": (lambda: Definition(jnp.argmax, "(n)"), "returns int64 numbers, expected one array of floats"),
    "two come out": (lambda: Definition(lambda x: (x, x), "(n)", name="f"), "returns a tuple, expected one array"),
    "chance": (lambda: Definition(lambda x: x * random.random(), "(n)", name="f"), "it depends on chance"),
    "a Python bool": (lambda: Definition(lambda x: x if x[0] > 0 else -x, "(n)", name="f"), "jnp.where"),
    "NumPy inside": (lambda: Definition(lambda x: np.sort(x), "(n)", name="f"), "write it in jax.numpy"),
    "raises": (lambda: Definition(lambda x: x.reshape(2, -1), "(n)", name="f"), "sizes={…} says which sizes"),
    "no float": (lambda: Definition(lambda i: i, "(n)", name="f", integers={"i": 3}), "no argument is a float"),
    "no rule": (lambda: Definition(lambda x: jnp.fft.rfft(x).real, "(n)", name="f"), "no rule for `fft`"),
    "no shapes": (lambda: Definition(rms_norm, "b,n"), "expected shapes such as"),
    "too many shapes": (lambda: Definition(rms_norm, "(n),(n),(n)"), "has 3 shapes"),
    "too few shapes": (lambda: Definition(rms_norm, "(n)"), "has no shape for w"),
    "no name": (lambda: Definition(lambda x: x, "(n)"), "give name="),
    "no function": (lambda: Definition("rms_norm", "(n)"), "expected a function of jax.numpy, got str"),  # type: ignore[arg-type]
    "another letter": (lambda: Definition(loss, "(b,v),(b)", integers={"labels": "w"}), "with letters of (b,v),(b)"),
    "no such argument": (lambda: Definition(loss, "(b,v),(b)", integers={"y": "v"}), "may have logits, labels"),
    "no such letter": (lambda: scaled(sizes={"m": 3}), "it may have n"),
    "no such rule": (lambda: scaled(sizes={"n": "many"}), "expected a size as 8"),
    "no size": (lambda: scaled(sizes={"n": "at most 0"}), "leaves no sizes"),
    "no such kind": (lambda: scaled(domain={"x": "positiv"}), "did you mean 'positive'?"),
    "a space for a comma": (lambda: Definition(rms_norm, "(b n),(n)"), "got '(b n),(n)'; did you mean '(b,n),(n)'?"),
    "an output": (
        lambda: Definition(lambda x: x, "(b n)->(n)", name="f"),
        "did you mean '(b,n)'? The output's shape comes from the function",
    ),
    "a class": (lambda: Definition, "expected the name of an operation or a Definition, got the class Definition"),
    "a forward": (lambda: rms_norm, 'got a function; of a forward in jax.numpy, Definition(rms_norm, "(b,n),…") makes'),
    "NumPy's": (lambda: Definition(np.exp, "(n)"), "expected a function of jax.numpy, got NumPy's exp"),
    "another dtype": (
        lambda: Definition(lambda x: x.astype(jnp.float32), "(n)", name="f"),
        "f: the definition returns float32 from float64; leave the dtype as it is",
    ),
    "no integers": (lambda: Definition(loss, "(b,v),(b)"), "integers={…} says which arguments are integers"),
    "another formula's shape": (lambda: scaled(also=[jnp.sum]), "a formula of also= returns shape (), expected (2,)"),
    "an attribute": (lambda: scaled(also=[lambda x: x.foo]), "a formula of also= raises AttributeError at shapes (2)"),
    "a circle": (
        lambda: Definition(lambda x, y: x, "(n),(m)", name="f", sizes={"n": "at least m+1", "m": "at least n+1"}),
        "leaves no sizes",
    ),
    "half an integer": (lambda: Definition(loss, "(b,v),(b)", integers={"labels": 3.5}), "expected 'v', 'v or -100'"),
    "a keyword": (lambda: Definition(lambda x, *, w: x * w, "(n)", name="f"), "(n) has no shape for w"),
    "half a size": (lambda: Definition(lambda x: x, "(n),(n/2)", name="f"), "write n//2"),
    "a list of shapes": (lambda: Definition(rms_norm, ["(b,n)", "(n)"]), "expected shapes such as"),  # type: ignore[arg-type]
    "a letter untold": (lambda: Definition(lambda x: x, "(n-k)", name="f"), "no shape tells"),
}


@pytest.mark.parametrize("name", MISUSES)
def test_a_misuse_is_one_line(name: str) -> None:
    make, says = MISUSES[name]
    with pytest.raises((ValueError, TypeError)) as raised:
        check(make(), vjp=zeros)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"domain": {"x": "positiv"}}, "scaled: domain['x']: expected one of positive, "),
        ({"domain": "positive"}, 'scaled: domain: expected a mapping, as {"x": "positive"}, got \'positive\''),
        ({"domain": {"x": "positive"}, "integers": {"x": "n"}}, "domain['x']: x holds integers; integers= says which"),
        ({"sizes": {"n": "many"}}, "scaled: sizes['n']: expected a size as 8, "),
        ({"sizes": "n"}, "scaled: sizes: expected a mapping, as "),
        ({"sizes": {"n": (3, 1)}}, "leaves no sizes"),
        ({"also": abs}, "scaled: also: expected a list of functions, as also=[f], got <built-in function abs>"),
        ({"also": ["f"]}, "scaled: also: expected functions, as also=[f], got 'f'"),
        ({"also": [lambda x, y: x]}, "scaled: also: expected functions of x, got <lambda>(x, y)"),
        ({"integers": ["x"]}, "scaled: integers: expected a mapping, as "),
        ({"integers": {"x": True}}, "integers['x']: expected 'v', 'v or -100', (low, high) or bool"),
        ({"integers": {"x": "1...n"}}, "integers['x']: expected 'v', 'v or -100', (low, high) or bool"),
    ],
)
def test_what_a_definition_is_given_is_refused_when_it_is_made(how: dict[str, Any], says: str) -> None:
    with pytest.raises((ValueError, TypeError)) as raised:
        scaled(**how)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_range_of_integers_excludes_its_end() -> None:
    definition = Definition(lambda x, n: x * n, "(t),()", name="times", integers={"n": (1, "t+1")})
    assert definition.range_of("n", {"t": 3}) == (1, 4, ())
    assert '`(1, "t+1")`' in str(Definition.__doc__)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((np.zeros((2, 3)), np.array([0, 3])), "labels holds 3, expected integers from 0 to 2"),
        ((np.zeros((2, 3)), np.array([0.0, 1.0])), "labels has dtype float64, expected integers"),
        ((np.zeros((2, 3)), np.array([0])), "labels has shape (1,), expected (b)"),
        ((np.zeros((2, 3)),), "takes logits, labels after delta"),
    ],
)
def test_arguments_that_do_not_fit_are_one_line(args: tuple[Array, ...], says: str) -> None:
    with pytest.raises((ValueError, TypeError)) as raised:
        replay(LOSS, "vjp_equals_jax_vjp", 1.0, *args, vjp=zeros)
    assert says in str(raised.value)


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────────────

FORWARD = """
import jax.numpy as jnp
from backprop_properties import Definition

def norm_forward(x, w):
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * w

norm_definition = Definition(norm_forward, "(b,n),(n)")
"""
VJP = """
import numpy as np

def norm_vjp(delta, x, w):
    r = 1 / np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-6)
    g = delta * w
    return r * (g - x * r**2 * np.mean(g * x, -1, keepdims=True)), (delta * x * r).sum(0){wrong}
"""


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["check", *map(str, arguments), "--examples", "20"], env={"COLUMNS": "100"})


def test_a_file_has_its_definitions_or_they_are_apart(tmp_path: Path) -> None:
    whole, apart, forwards = tmp_path / "whole.py", tmp_path / "apart.py", tmp_path / "forwards.py"
    whole.write_text(FORWARD + VJP.format(wrong=""))
    apart.write_text(VJP.format(wrong=" / 2"))
    forwards.write_text(FORWARD)
    right = run(whole)
    assert right.exit_code == 0, right.output
    assert "norm" in right.output
    report = tmp_path / "report.json"
    wrong = run(apart, "--definitions", forwards, "--json", report, "--full")
    assert wrong.exit_code == 1, wrong.output
    assert "from apart import norm_vjp" in wrong.output
    assert "from forwards import norm_definition" in wrong.output
    (found,) = json.loads(report.read_text())["reports"]
    assert (found["operation"], found["failures"][0]["argument"]) == ("norm", "w")
    assert run(apart).exit_code == 2
    assert "there is no file" in run(apart, "--definitions", tmp_path / "none.py").output


def test_a_definition_that_is_no_use_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(FORWARD.replace("jnp.mean(x * x", "float(x[0, 0]) + jnp.mean(x * x") + VJP.format(wrong=""))
    result = run(file)
    assert result.exit_code == 2
    assert "bad.py: norm_forward: the definition needs the numbers of an argument" in " ".join(result.output.split())


FILE = """
import jax.numpy as jnp
from backprop_properties import Definition

twice_definition = Definition(lambda x: 2.0 * x, "(n)")

def twice_vjp(delta, x):
    return 2 * delta
"""


def looked_into(path: Path, text: str, *names: str, definitions: Path | None = None) -> Run:
    path.write_text(text)
    options = {"max_examples": 10}
    return run_files([path], names, options, {}, timeout=120, memory=4096, jobs=1, definitions=definitions)


@pytest.mark.usefixtures("in_this_process")
def test_definitions_without_functions_are_named(tmp_path: Path) -> None:
    others = (
        "half_definition = Definition(lambda x: x / 2.0, '(n)')\nthird_definition = Definition(lambda x: x, '(n)')\n"
    )
    said = (
        "mine.py has no function for half_definition: half, half_jacobian or half_vjp; "
        "third_definition: third, third_jacobian or third_vjp"
    )
    found = looked_into(tmp_path / "mine.py", FILE + others)
    assert (found.exit_code, found.notes) == (0, [said])
    apart = tmp_path / "forwards.py"
    apart.write_text(FILE.partition("def ")[0] + others)
    found = looked_into(tmp_path / "mine.py", "def twice_vjp(delta, x):\n    return 2 * delta\n", definitions=apart)
    assert (found.exit_code, found.notes) == (0, [said])
    found = looked_into(tmp_path / "mine.py", FILE + others, "twice")
    assert (found.exit_code, found.notes) == (0, [])
    found = looked_into(tmp_path / "mine.py", FILE.partition("def ")[0])
    assert found.unusable == ["mine.py has none of twice, twice_jacobian, twice_vjp, for twice_definition"]


@pytest.mark.usefixtures("in_this_process")
def test_a_definition_of_a_lambda_is_called_as_its_variable(tmp_path: Path) -> None:
    found = looked_into(tmp_path / "mine.py", FILE.replace("return 2 *", "return"))
    (report,) = found.reports.values()
    assert (report.operation, report.passed) == ("twice", False)
    assert "from mine import twice_definition" in report.failures[0].reproduction
    assert "first define" not in report.failures[0].reproduction
    with pytest.raises(AssertionError, match="dx"):
        exec(report.failures[0].reproduction, {})
    with pytest.raises(ValueError, match=r"^a Definition of a lambda has no name: give name=, or write a def$"):
        check(Definition(lambda x: x, "(n)"), vjp=zeros)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (
            'bad_definition = Definition(lambda x: x, "(n m)")',
            "bad_definition cannot be made, line 10: ValueError: expected shapes such as '(b,n),(n)', got '(n m)'; "
            "did you mean '(n,m)'?",
        ),
        (
            "bad_definition: Definition = Definition(nothing)",
            "bad_definition cannot be made, line 10: NameError: name 'nothing' is not defined",
        ),
        (
            "bad_definition = bad_vjp = lambda delta, x: delta",
            'bad_definition is a function, expected a Definition, as bad_definition = Definition(f, "(b,n),…")',
        ),
        (
            "@Definition\ndef bad_definition(x):\n    return x",
            "bad_definition cannot be made, line 10: TypeError: Definition.__init__() missing 1 required positional "
            "argument: 'shapes'",
        ),
        (
            "bad = Definition(3)",
            "bad cannot be made, line 10: TypeError: Definition.__init__() missing 1 required positional argument: "
            "'shapes'",
        ),
        (
            'layer_norm_definition = Definition(3, "(n)")\nlayer_norm_vjp = lambda *args: args[0]',
            "layer_norm_definition cannot be made, line 10: TypeError: Definition: expected a function of jax.numpy, "
            "got int",
        ),
    ],
)
def test_a_bad_definition_is_named_and_the_rest_is_checked(tmp_path: Path, bad: str, why: str) -> None:
    found = looked_into(tmp_path / "mine.py", FILE + "\n" + bad)
    assert found.unusable == [f"mine.py: {why}"]
    assert found.exit_code == 2
    assert {operation: report.passed for (_, operation), report in found.reports.items()} == {"twice": True}
    found = looked_into(tmp_path / "mine.py", FILE + "\n" + bad, "twice")
    assert (found.exit_code, found.unusable) == (0, [])


@pytest.mark.usefixtures("in_this_process")
def test_what_needs_a_bad_definition_does_not_hide_why(tmp_path: Path) -> None:
    text = FILE.replace('"(n)"', '"(n m)"') + "\nprint(twice_definition.signature)\n"
    (why,) = looked_into(tmp_path / "mine.py", text).unusable
    assert why.startswith("mine.py can't be imported, line 5: ValueError: expected shapes such as")


@pytest.mark.usefixtures("in_this_process")
def test_near_misses_know_the_catalogue_and_the_files_own_definitions(tmp_path: Path) -> None:
    names = ("layr_norm_vjp", "twiec_vjp", "frobnicate_vjp", "frobnicate_jacobian", "log_det_vjp", "log2_vjp")
    found = looked_into(tmp_path / "mine.py", FILE + "".join(f"def {n}(delta, x):\n    return x\n" for n in names))
    put, end = "not checked: no operation is called that; put ", "beside it, where f is its forward in jax.numpy"
    notes = dict(note.removeprefix("mine.py: ").split(" ", 1) for note in found.notes)
    assert "did you mean layer_norm_vjp?" in notes["layr_norm_vjp"]
    assert "did you mean twice_vjp?" in notes["twiec_vjp"]
    assert notes["log_det_vjp"] == f'is {put}log_det_definition = Definition(f, "(b,n),…") {end}'
    assert notes["frobnicate_vjp"] == (
        f'and frobnicate_jacobian are {put}frobnicate_definition = Definition(f, "(b,n),…") {end}'
    )
    assert notes["log2_vjp"].endswith(
        f'did you mean log_vjp? If not, put log2_definition = Definition(f, "(b,n),…") {end}'
    )
    for name in ("twice_grad", "vjp_twice", "twice_backward"):
        found = looked_into(tmp_path / "named.py", FILE.replace("twice_vjp", name))
        assert found.unusable[0].endswith(f"for twice_definition; it has {name}: did you mean twice_vjp?")
    misnamed = FILE.replace("twice_definition", "TWICE_DEFINITON")
    found = looked_into(tmp_path / "misnamed.py", misnamed)
    assert found.unusable[0].endswith(
        "it has twice_vjp: if TWICE_DEFINITON is its definition, call that twice_definition"
    )
    alone = looked_into(tmp_path / "alone.py", "def layr_norm_vjp(delta, x):\n    return x\n")
    assert "it has layr_norm_vjp: did you mean layer_norm_vjp?" in alone.unusable[0]

"""Functions of PyTorch, JAX, autograd and SciPy through `check`: they are right, with default arguments, in their
dtypes; and an adapter hides nothing of what is wrong.
"""

import importlib

import jax
import ml_dtypes
import numpy as np
import pytest

from backprop_properties import check, from_autograd, from_jax, from_torch
from backprop_properties.checking import adapters
from backprop_properties.evidence import libraries as peers
from backprop_reference import OPERATIONS
from samples import FAMILIES, sampled

HALVES = ("float16", "bfloat16")
BOTH = ("float64", "float32")
COMPILED = 20  # cases for what JAX compiles anew at every shape
EACH = sampled(OPERATIONS, ("gelu", "softmax", "affine", "logistic_regression"), FAMILIES)
x, y = np.array([1.0, -2.0, 0.5]), np.array([0.2, 0.3, 0.5])


@pytest.fixture
def torch():
    module = pytest.importorskip("torch", reason="PyTorch is optional: pip install torch")
    threads = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(threads)


# ── Careful frameworks pass ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", EACH)
def test_torch_is_right(torch, name):
    report = check(name, **from_torch(peers.torch_function(OPERATIONS[name])), dtypes=BOTH, max_examples=100)
    assert report.passed, report


@pytest.mark.parametrize("name", EACH)
def test_torch_is_right_in_half_precision(torch, name):
    report = check(name, **from_torch(peers.torch_function(OPERATIONS[name])), dtypes=HALVES, max_examples=60)
    assert report.passed, report


@pytest.mark.parametrize("name", EACH)
def test_jax_is_right(name):
    report = check(name, **from_jax(peers.jax_function(OPERATIONS[name])), dtypes=BOTH, max_examples=COMPILED)
    assert report.passed, report


@pytest.mark.parametrize("name", EACH)
def test_autograd_is_right(name):
    functions = from_autograd(peers.autograd_function(OPERATIONS[name]))
    report = check(name, **functions, dtypes=BOTH, max_examples=100)
    assert report.passed, report


@pytest.mark.parametrize("name", ["sigmoid", "gelu", "softmax", "softmax_cross_entropy"])
def test_scipy_is_right(name):
    report = check(name, forward=peers.scipy_implementation(OPERATIONS[name]).forward, dtypes=BOTH)
    assert report.passed, report


# ── PyTorch ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cross_entropy_in_one_line(torch):
    report = check("softmax_cross_entropy", **from_torch(torch.nn.functional.cross_entropy))
    assert report.passed, report


def test_a_batch(torch):
    def f(x, y):
        return -(y * torch.log_softmax(x, -1)).sum(-1)

    assert check("softmax_cross_entropy", **from_torch(f), batch=True, max_examples=50).passed


def test_a_module(torch):
    assert check("softmax", **from_torch(torch.nn.Softmax(dim=-1)), max_examples=50).passed


def exponential(torch, factor=1.0, writes=False, gives=True):
    class Exponential(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            u = torch.exp(x)
            context.save_for_backward(u)
            if writes:
                x.mul_(2)
            return u

        @staticmethod
        def backward(context, delta):
            return factor * delta * context.saved_tensors[0] if gives else None

    return Exponential


def test_an_autograd_function_as_a_class_or_applied(torch):
    assert check("exp", **from_torch(exponential(torch)), max_examples=50).passed
    assert check("exp", **from_torch(exponential(torch).apply), max_examples=50).passed
    assert not check("exp", **from_torch(exponential(torch, 1 + 1e-9)), max_examples=50).passed


def test_a_tensor_that_is_written_to_is_the_callers(torch):
    report = check("exp", **from_torch(exponential(torch, writes=True)), max_examples=50)
    assert "leaves_its_inputs_alone" in {failure.law for failure in report.failures}


def test_no_gradient_at_all_is_not_right(torch):
    report = check("exp", **from_torch(exponential(torch, gives=False)), max_examples=50)
    assert "vjp returned None for every argument" in report.failures[0].message


def test_a_target_that_becomes_a_class_has_no_gradient(torch):
    def f(x, y):
        return torch.nn.functional.cross_entropy(x, y.argmax())

    dx, dy = from_torch(f)["vjp"](np.array(1.0), x, np.array([0.0, 1.0, 0.0]))
    assert dx.shape == (3,)
    assert dy is None
    report = check("softmax_cross_entropy", **from_torch(f), domain={"y": "one-hot"}, max_examples=50)
    assert report.passed, report
    assert "right, but dy not given" in str(report).splitlines()[0]


def test_integers_need_no_gradient(torch):
    parts = from_torch(lambda x, k: x[k])
    d, nothing = parts["vjp"](np.array(1.0), x, np.array(1))
    assert d.tolist() == [0.0, 1.0, 0.0]
    assert nothing is None


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_tensors_and_arrays(torch, dtype, shape):
    a = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    t = adapters.tensor(a)
    assert t.shape == shape
    assert str(t.dtype) == f"torch.{np.dtype(dtype).name}"
    assert adapters.array(t).dtype == dtype
    np.testing.assert_array_equal(adapters.array(t), a)


def test_memory_is_shared_where_it_can_be(torch):
    a = np.arange(6.0).reshape(2, 3)
    for view in (a, a.T, a[:, ::2]):
        assert np.shares_memory(adapters.array(adapters.tensor(view)), a)
        assert adapters.tensor(view).stride() == tuple(s // 8 for s in view.strides)
    fixed = a.copy()
    fixed.flags.writeable = False
    for view in (a[::-1], fixed):
        np.testing.assert_array_equal(adapters.array(adapters.tensor(view)), view)
        assert not np.shares_memory(adapters.array(adapters.tensor(view)), view)


def test_what_is_no_function_of_tensors_is_named(torch):
    with pytest.raises(TypeError, match="got the class Softmax"):
        from_torch(torch.nn.Softmax)
    with pytest.raises(TypeError, match="got a int"):
        from_torch(3)
    report = check("exp", **from_torch(lambda x: x.tolist()), max_examples=5)
    assert "the function returned a list, expected a Tensor" in report.failures[0].message


def test_a_missing_library_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    adapters._library.cache_clear()
    monkeypatch.setattr(adapters, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match="from_torch needs torch, which is not installed: pip install torch"):
        from_torch(abs)
    monkeypatch.undo()
    assert adapters._library("jax", "from_jax") is importlib.import_module("jax")


# ── JAX and autograd ────────────────────────────────────────────────────────────────────────────────────────────────


def test_promotion_is_jaxs_own():
    report = check("sigmoid", **from_jax(lambda x: 1 / (1 + jax.numpy.exp(-x))), max_examples=20)
    assert report.passed, report
    parts = from_jax(lambda W, x: (W * x).sum(-1))  # a matrix and a vector, an int32 and a float64
    assert parts["forward"](np.eye(2, dtype=np.int32), np.array([1.0, 2.0])).tolist() == [1.0, 2.0]


def test_a_custom_rule_is_what_is_judged():
    @jax.custom_vjp
    def f(x):
        return jax.numpy.exp(x)

    f.defvjp(lambda x: (f(x), x), lambda x, delta: (delta * x,))
    assert [failure.argument for failure in check("exp", **from_jax(f), max_examples=20).failures][:1] == ["x"]


def test_a_function_that_looks_at_its_arguments():
    def relu(x):
        return jax.numpy.stack([v if v > 0 else 0 * v for v in x])

    assert from_jax(relu)["vjp"](np.ones(3), x)[0].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("argnums", [0, (0,), [-2]])
def test_gradients_that_are_not_meant_are_not_given(argnums):
    dx, dy = from_jax(lambda x, y: (x * y).sum(), argnums)["vjp"](np.array(1.0), x, y)
    assert dx.tolist() == y.tolist()
    assert dy is None
    dx, dy = from_autograd(lambda x, y: (x * y).sum(), argnums)["vjp"](np.array(1.0), x, y)
    assert dx.tolist() == y.tolist()
    assert dy is None


def test_a_wrong_function_of_autograd():
    assert not check("tanh", **from_autograd(lambda x: x - x**3 / 3), max_examples=20).passed


def test_an_error_is_at_a_line_of_the_users_function(torch):
    def seven(x):
        return x.reshape(7, 1, 3)

    message = check("square", **from_torch(seven), max_examples=4).failures[0].message
    assert f"(line {seven.__code__.co_firstlineno + 1} of test_adapters.py)" in message


def test_programs_that_jax_has_compiled_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(adapters, "MOST_PROGRAMS", 5)
    adapters._programs.clear()
    f = from_jax(jax.numpy.tanh)["forward"]
    for n in range(1, 20):
        assert f(np.zeros(n)).shape == (n,)
        assert len(adapters._programs) <= 5


def test_programs_that_are_given_up_are_nothing_that_a_function_has_replaced(monkeypatch):
    monkeypatch.setattr(adapters, "MOST_PROGRAMS", 5)
    f = from_jax(jax.numpy.tanh)
    f["forward"](np.zeros(77))  # one that is there before
    report = check("tanh", **f, max_examples=20)
    assert report, report

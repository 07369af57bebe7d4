"""Large arrays go in blocks, on all cores: the same bits for any number of threads, errors and warnings as without."""

import multiprocessing
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from math import fsum

import numpy as np
import pytest

from backprop_reference import (
    OPERATIONS,
    Layer,
    activation,
    activation_vjp,
    affine,
    backpropagation,
    exp,
    gelu,
    softmax,
    softmax_cross_entropy_vjp,
    softmax_vjp,
    tanh,
)
from backprop_reference.numerics import parallel
from backprop_reference.numerics.errorfree import total
from backprop_reference.numerics.products import product, sum_of_outer_products
from backprop_reference.scalar_function import pull_back

DRAW = np.random.default_rng(0)
SHAPES = [(20_000, 3), (5_000, 31), (5_000, 32), (400, 700), (3, 100_000)]


def results(shape, dtype):
    x = np.random.default_rng(1).normal(size=shape).astype(dtype) * 3
    y = np.roll(x, 1, 0)
    named = [
        OPERATIONS[name].forward(x) for name in ("tanh", "sigmoid", "silu", "gelu_tanh", "exp", "softplus", "relu")
    ]
    named += [OPERATIONS[name].vjp(y, x)[0] for name in ("tanh", "sigmoid", "silu", "gelu", "elu")]
    return [*named, softmax(x), softmax_vjp(y, x)[0], *softmax_cross_entropy_vjp(y[:, 0], x, y)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_same_bits_for_any_number_of_threads(shape, dtype, monkeypatch):
    found = []
    for cores in (1, 2, 3, 5):
        monkeypatch.setattr(parallel, "CORES", cores)
        monkeypatch.setattr(parallel, "MANY", 1)
        found.append([result.tobytes() for result in results(shape, dtype)])
    assert all(other == found[0] for other in found[1:])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_blocks_are_as_good_as_rows(shape):
    """Each row alone is a single example, which never goes in parallel."""
    x, y = DRAW.normal(size=(2, *shape))
    dx, dy = softmax_cross_entropy_vjp(y[:, 0], x, y)
    for i in (0, 1, shape[0] // 2, shape[0] - 1):
        alone = (softmax(x[i]), *softmax_vjp(y[i], x[i]), *softmax_cross_entropy_vjp(y[i, 0], x[i], y[i]))
        for got, row in zip((softmax(x)[i], softmax_vjp(y, x)[0][i], dx[i], dy[i]), alone, strict=True):
            np.testing.assert_allclose(got, row, rtol=1e-13, atol=1e-15)


def test_every_row_is_in_one_block(monkeypatch):
    for cores in (1, 2, 7):
        monkeypatch.setattr(parallel, "CORES", cores)
        monkeypatch.setattr(parallel, "MANY", 1)
        for length, width in [(0, 5), (1, 1), (1, 10**6), (49_153, 1), (200_000, 1), (1000, 1000), (5, 10**5)]:
            seen = np.zeros(length, int)

            def work(block, seen=seen):
                seen[block] += 1

            parallel.in_blocks(work, length, width)
            assert (seen == 1).all()


def test_an_error_in_a_thread_is_raised(monkeypatch):
    monkeypatch.setattr(parallel, "CORES", 2)
    monkeypatch.setattr(parallel, "MANY", 1)

    def work(block):
        if block.stop == 10**6:
            raise ZeroDivisionError("in the last share")

    with pytest.raises(ZeroDivisionError, match="last share"):
        parallel.in_blocks(work, 10**6)


def test_an_error_waits_for_all_threads(monkeypatch):
    monkeypatch.setattr(parallel, "CORES", 3)
    monkeypatch.setattr(parallel, "MANY", 1)
    pool = ThreadPoolExecutor(2)
    monkeypatch.setattr(parallel, "_helpers", lambda process: pool)
    ended = []

    def work(block):
        if block.start == 0:
            raise KeyError("the caller's own")
        time.sleep(0.02)
        ended.append(block)
        if block.stop < 10**6:
            raise ZeroDivisionError("in the second share")

    with pytest.raises(KeyError, match="own"):
        parallel.in_blocks(work, 10**6)
    count = len(ended)
    time.sleep(0.1)
    assert len(ended) == count > 1


def test_a_thread_may_go_on_when_the_main_one_has_ended():
    code = """
import threading, time
import numpy as np
from backprop_reference import softmax
from backprop_reference.numerics import parallel
parallel.CORES = 2
softmax(np.zeros((1000, 3000)))
def late():
    time.sleep(0.5)
    print(softmax(np.zeros((1000, 3000))).sum())
threading.Thread(target=late).start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert float(done.stdout) == pytest.approx(1000)


def test_memory_of_a_large_result_is_used_again_when_nobody_holds_it():
    shape, dtype = (1000, 300), np.dtype(np.float64)
    first = parallel.fresh(shape, dtype)
    address, part = first.ctypes.data, first[5:]
    del first
    other = parallel.fresh(shape, dtype)
    assert not np.shares_memory(other, part)
    del part
    again = parallel.fresh(shape, dtype)
    assert again.ctypes.data == address
    assert again.flags.c_contiguous
    assert again.flags.writeable


def test_what_waits_is_limited(monkeypatch):
    monkeypatch.setattr(parallel, "_spare", {})
    monkeypatch.setattr(parallel, "KEPT", 5 * parallel.LARGE)
    arrays = [parallel.fresh((parallel.LARGE,), np.dtype(np.uint8)) for _ in range(9)]
    del arrays
    assert len(parallel._spare) == 5


def test_threads_keep_the_callers_floating_point_errors(monkeypatch):
    monkeypatch.setattr(parallel, "CORES", 2)
    monkeypatch.setattr(parallel, "MANY", 1)
    x = np.zeros(10**6)
    x[-1] = 1000
    with np.errstate(over="ignore"):
        assert exp(x)[-1] == np.inf
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        exp(x)


def _forked(pipe):
    pipe.send(float(tanh(np.ones(10**6)).sum()))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")  # by JAX, where another test loaded it
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork")
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(parallel, "CORES", 2)
    monkeypatch.setattr(parallel, "MANY", 1)
    expected = float(tanh(np.ones(10**6)).sum())  # the pool of this process is running
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_forked, args=(there,))
    child.start()
    assert here.poll(60)
    assert here.recv() == expected
    child.join()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other habits")
def test_results_do_not_come_page_by_page():
    """In a new process, where nothing else has told malloc what to keep."""
    code = """
from resource import RUSAGE_SELF, getrusage
import numpy as np
from backprop_reference import Layer, backpropagation, tanh
layers, x, y = [Layer(np.ones((500, 500)), np.ones(500), tanh)] * 4, np.ones((100, 500)), np.ones((100, 500))
for _ in range(3):
    backpropagation(layers, x, y)
before = getrusage(RUSAGE_SELF).ru_minflt
for _ in range(10):
    backpropagation(layers, x, y)
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""
    faults = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert faults < 1000  # the gradients alone are 20,000 pages


def test_outer_products_in_blocks():
    delta, x = DRAW.normal(size=700), DRAW.normal(size=900)
    size = np.getbufsize()
    np.testing.assert_array_equal(sum_of_outer_products(delta, x), np.outer(delta, x))
    np.testing.assert_array_equal(sum_of_outer_products(delta[None], x[None]), np.outer(delta, x))
    np.testing.assert_array_equal(sum_of_outer_products(delta[:9], x), np.outer(delta[:9], x))
    assert np.getbufsize() == size


def test_large_arrays_of_any_shape():
    x = DRAW.normal(size=(3, 50, 400))
    np.testing.assert_array_equal(gelu(x), gelu(x.ravel()).reshape(x.shape))
    np.testing.assert_array_equal(tanh(x.T), tanh(x).T)
    np.testing.assert_array_equal(tanh.h(x.T), tanh(x).T)
    np.testing.assert_array_equal(gelu.dh(x.T), gelu.derivative(x).T)


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("n", [1, 2, 5, 8, 31, 100])
def test_a_total_of_few_is_right_to_the_last_digits(n, order):
    """Of eight, NumPy's sum loses seven halves of an ULP here; columns differ by factors of 10¹⁰⁰."""
    a = np.full((n, 3), 2.0**-53)
    a[0] = 1
    a *= [1, -1e100, 1e-100]
    exact = [fsum(column) for column in a.T.tolist()]
    np.testing.assert_allclose(total(np.asarray(a, order=order)), exact, rtol=2.0**-53 if n <= 8 else 2.0**-51)
    assert [total(column) for column in np.ascontiguousarray(a.T)] == exact


@pytest.mark.parametrize("n", [129, 1000, 1025, 5000])
def test_a_total_of_many_is_right_to_the_last_digits(n):
    a = np.exp(DRAW.normal(size=(20, n)))
    exact = [fsum(row) for row in a.tolist()]
    np.testing.assert_allclose(total(a.T), exact, rtol=2.0**-51)
    np.testing.assert_allclose([total(row) for row in a], exact, rtol=2.0**-51)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("h", [tanh, gelu], ids=lambda h: h.name)
def test_a_network_in_blocks_is_its_layers_one_by_one(h, dtype):
    W, b, x, y = (DRAW.normal(size=size).astype(dtype) for size in ((30, 4), 30, (2000, 4), (2000, 30)))
    got = backpropagation([Layer(W, b, h)], x, y, OPERATIONS["squared_error"])
    delta, _ = OPERATIONS["squared_error"].vjp(np.ones(2000, dtype), activation(h, W, x, b), y)
    dW, dx, db = activation_vjp(delta, h, W, x, b)
    assert [a.tobytes() for a in (*got.layers[0], got.dx)] == [a.tobytes() for a in (dW, db, dx)]
    z = affine(W, x, b)
    np.testing.assert_array_equal(pull_back(delta, h, z.copy()), delta * h.derivative(z))


@pytest.mark.parametrize(
    "shape", [(32, 1000, 700), (3000, 500, 10), (10, 3000, 400), (1, 3000, 900), (900, 3000, 1)], ids=str
)
def test_blocked_sums_have_the_same_bits_for_any_number_of_threads(shape, monkeypatch):
    m, k, p = shape
    a, b = DRAW.normal(size=(m, k)), DRAW.normal(size=(k, p))
    found = []
    for cores in (1, 2, 3, 5):
        monkeypatch.setattr(parallel, "CORES", cores)
        monkeypatch.setattr(parallel, "MANY", 1)
        found.append(product(a, b))
    np.testing.assert_allclose(found[0], a @ b, rtol=1e-10, atol=1e-11)
    assert all(other.tobytes() == found[0].tobytes() for other in found[1:])


@pytest.mark.parametrize("shape", [(1, 40, 3), (1, 300, 9), (9, 300, 9), (3000, 500, 10), (800, 20, 800)], ids=str)
def test_products_take_the_wider_dtype(shape):
    """A float32 cotangent meets a float64 Jacobian: nothing is rounded to 24 bits on the way."""
    m, k, p = shape
    a, b = DRAW.normal(size=(m, k)).astype(np.float32), DRAW.normal(size=(k, p))
    for left, right in ((a, b), (a[0], b), (a.astype(float), b.astype(np.float32))):
        np.testing.assert_allclose(
            product(left, right), left.astype(float) @ right.astype(float), rtol=1e-9, atol=1e-11
        )
    delta, x = a.ravel()[:2000], b.ravel()[:2000]
    np.testing.assert_array_equal(sum_of_outer_products(delta, x), np.outer(delta.astype(float), x))

"""What pytest tells `check`, and what it tells of it: options, a marker, the header, the short summary, and its cache.

It is loaded by every run of pytest in an environment: nothing here imports NumPy or JAX, which a test does that calls
`check`.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from .checking.defaults import DEFAULTS, IN_A_TEST, Defaults

FAILING = "backprop/failing_examples"  # in pytest's cache: by test, what `examples_of` gives
RANDOM = "random"
LEAST = {"seed": 0, "examples": 1}  # what may be said, and the least integer that it may be


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("backprop", "checks of backward passes")
    group.addoption(
        "--backprop-seed",
        type=_seed,
        default=DEFAULTS.seed,
        metavar="N",
        help=f"the seed of each check that says none, {DEFAULTS.seed} if not given; random draws one",
    )
    group.addoption(
        "--backprop-examples",
        type=partial(_integer, "examples"),
        default=DEFAULTS.examples,
        metavar="N",
        help=f"the cases of each check that says none, {DEFAULTS.examples} if not given",
    )


def _seed(text: str) -> int | str:
    return text if text == RANDOM else _integer("seed", text)


def _integer(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) < LEAST[name]:
        raise argparse.ArgumentTypeError(f"expected an integer from {LEAST[name]}, got {text!r}")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    usual = f"seed={DEFAULTS.seed}, examples={DEFAULTS.examples}"
    config.addinivalue_line("markers", f"backprop({usual}): of the checks of a test that say none themselves")
    worker, cache = getattr(config, "workerinput", None), getattr(config, "cache", None)  # a process of pytest-xdist's
    if config.option.backprop_seed == RANDOM:
        config.option.backprop_seed = worker["backprop_seed"] if worker else random.SystemRandom().randrange(2**32)
    if cache and worker is None:
        config.pluginmanager.register(FailingExamples(cache), "backprop-failing-examples")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Every process of pytest-xdist's has the seed of the header."""
    node.workerinput["backprop_seed"] = node.config.option.backprop_seed


def pytest_report_header(config: pytest.Config) -> str:
    said = config.option
    return f"backprop: --backprop-seed={said.backprop_seed} --backprop-examples={said.backprop_examples}"


# ── What is said of a test's checks ─────────────────────────────────────────────────────────────────────────────────


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Whatever is said of a test ends with it, also where one runs pytest itself."""
    token = IN_A_TEST.set(IN_A_TEST.get())
    yield
    IN_A_TEST.reset(token)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    said = {"seed": item.config.option.backprop_seed, "examples": item.config.option.backprop_examples}
    for marker in reversed([*item.iter_markers("backprop")]):  # the nearest counts
        said |= _said(marker)
    IN_A_TEST.set(Defaults(**said, failed_before=partial(_failed_before, item)))


def _said(marker: pytest.Mark) -> Mapping[str, int]:
    for value in marker.args:
        pytest.fail(f"mark.backprop: expected names, as seed=1, got {value!r}", pytrace=False)
    for name, value in marker.kwargs.items():
        if name not in LEAST:
            pytest.fail(f"mark.backprop: there is no {name!r}; there are {' and '.join(LEAST)}", pytrace=False)
        if type(value) is not int or value < LEAST[name]:
            pytest.fail(f"mark.backprop: {name}: expected an integer from {LEAST[name]}, got {value!r}", pytrace=False)
    return marker.kwargs


def _failed_before(item: pytest.Item) -> list[Any]:
    """The examples that failed in a test, whatever its parameters were: one check may serve several of them."""
    cache = getattr(item.config, "cache", None)
    kept = _kept(cache) if cache else {}
    return [example for name, some in kept.items() if _function(name) == _function(item.nodeid) for example in some]


def _function(nodeid: str) -> str:
    return nodeid.partition("[")[0]


def _kept(cache: pytest.Cache) -> Mapping[str, Any]:
    kept = cache.get(FAILING, {})
    return kept if isinstance(kept, dict) else {}


# ── What comes of them ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """The short summary says what a check found, and the report brings its examples to whoever keeps them."""
    outcome: Any = yield
    reports: Any = sys.modules.get("backprop_properties.checking.report")  # or no test has called `check`
    if reports and call.excinfo and isinstance(call.excinfo.value, reports.CheckFailed):
        from .checking.examples import examples_of

        told, found = outcome.get_result(), call.excinfo.value.report
        told.backprop_examples = examples_of(found)
        if crash := getattr(told.longrepr, "reprcrash", None):
            crash.message = found.line


class FailingExamples:
    """Keeps the examples of tests that failed, until they pass."""

    def __init__(self, cache: pytest.Cache) -> None:
        self.cache, self.found = cache, dict[str, list[Any]]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when == "call":
            self.found[report.nodeid] = []
        elif hasattr(report, "backprop_examples"):
            self.found[report.nodeid] = report.backprop_examples

    def pytest_sessionfinish(self) -> None:
        before = _kept(self.cache)
        after = {test: examples for test, examples in {**before, **self.found}.items() if examples}
        if after != before:
            self.cache.set(FAILING, after)

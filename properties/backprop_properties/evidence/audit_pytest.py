"""A test of pytest's as a test of versions, which its fixtures `forward` and `vjp` give it."""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from ..checking.guard import printable
from .audit_messages import Tried
from .versions import Version

FIXTURES = ("forward", "vjp")
OPTIONS = ("-o", "addopts=", "-p", "no:cacheprovider", "--capture=no")
MOST_SAID = 300  # characters


def run_by_pytest(node: str, run: Callable[[Callable[[Version], Tried]], None]) -> None:
    """Collects a test, with all its parameters, and hands it to `run`; ValueError if there is none."""
    os.environ.pop("PYTEST_ADDOPTS", None)
    plugin = _Versions(run)
    code = pytest.main([node, *OPTIONS], plugins=[plugin])
    if plugin.why or not plugin.ran:
        absent = code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED)
        otherwise = "pytest finds no such test" if absent else f"pytest ended with exit code {int(code)}"
        raise ValueError(f"{node}: {plugin.why or otherwise}")


class _Versions:
    """A plugin that runs the tests that were collected as often as it is asked to."""

    def __init__(self, run: Callable[[Callable[[Version], Tried]], None]) -> None:
        self.run, self.ran, self.why = run, False, ""
        self.given: dict[str, Any] = {}
        self.items: Sequence[Any] = ()

    @pytest.fixture
    def forward(self) -> Any:
        return self.given["forward"]

    @pytest.fixture
    def vjp(self) -> Any:
        return self.given["vjp"]

    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Any:
        """Whoever has fixtures of these names gets the version's all the same."""
        if fixturedef.argname not in self.given:
            return None
        found = self.given[fixturedef.argname]
        fixturedef.cached_result = (found, fixturedef.cache_key(request), None)
        return found

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.why = f"pytest could not collect it: {_last(str(report.longrepr))}"

    def pytest_runtestloop(self, session: Any) -> bool:
        self.items = session.items
        if not self.why and not self.items:
            self.why = "pytest finds no such test"
        elif not self.why and not all(set(FIXTURES) & set(item.fixturenames) for item in self.items):
            self.why = "it takes neither of the fixtures forward and vjp, so it tests something else"
        if not self.why:
            self.ran = True
            for item in self.items:
                item.obj = _raising(item.obj)
            self.run(self.tried)
        return True

    def tried(self, version: Version) -> Tried:
        self.given = {"forward": version.forward, "vjp": version.vjp}
        reports = [report for item in self.items for report in runtestprotocol(item, log=False, nextitem=None)]
        failed = next((report for report in reports if report.failed), None)
        if failed:
            crash = getattr(failed.longrepr, "reprcrash", None)
            return Tried(printable(crash.message if crash else _last(str(failed.longrepr)))[:MOST_SAID] or "failed")
        return Tried("", all(report.skipped for report in reports if report.when != "teardown"))


def _raising(test: Callable[..., Any]) -> Callable[..., Any]:
    """A test that fails where it returns False, too."""

    @functools.wraps(test)
    def raising(*args: Any, **kwargs: Any) -> None:
        result = test(*args, **kwargs)
        assert result is None or result, "returned False"

    return raising


def _last(text: str) -> str:
    """The last line of a text that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip(" _-=")), "")

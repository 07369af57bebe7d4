"""What `check` takes where a call does not say it: the seed, the cases, and which are tried first.

A test runner may say it for the test that runs. Nothing here imports anything large: a plugin of pytest reads it in
every run, whether a test calls `check` or not.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple


class Defaults(NamedTuple):
    """The seed, how many cases there are, and the examples that failed before, as `examples_of` writes them."""

    seed: int = 0
    examples: int = 250
    failed_before: Callable[[], Sequence[Any]] = tuple


DEFAULTS = Defaults()
IN_A_TEST: ContextVar[Defaults] = ContextVar("IN_A_TEST", default=DEFAULTS)  # or what is said of the test that runs

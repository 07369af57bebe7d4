"""Profiles: `default` draws the same cases every time, `thorough` many new ones (`make thorough`); and a fixture."""

import functools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import pytest
from hypothesis import settings

settings.register_profile("default", derandomize=True, deadline=None, database=None, max_examples=50)
settings.register_profile(
    "thorough", derandomize=False, deadline=None, database=None, max_examples=1000, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Compiled programs are kept beside the checkout's virtual environment: a second run has little to compile.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Files are looked into and checked here, and programs talked to, which is quick: the test needs no judges."""
    from backprop_properties.checking import judge, run
    from backprop_properties.checking.loading import NotImported, definition_of, functions_of, looked_into, sources_of
    from backprop_properties.checking.python_files import SUFFIXES, python_name
    from backprop_properties.checking.tasks import Unchecked

    def under_its_name(operation: str, kind: str, f: Any) -> Any:
        @functools.wraps(f, updated=())
        def call(*args: Any) -> Any:
            return f(*args)

        call.__name__ = python_name(operation) + SUFFIXES[kind]
        return call

    def quiet(kind: str, number: int) -> None:
        pass

    def result(task: Any) -> Any:
        if task.command:
            return judge.judge(task, task.operation, quiet) if task.operation else judge.look_at_command(task)
        try:
            sources = sources_of(task.path, task.definitions)
            if task.operation is None:
                return looked_into(task.path, sources)
            functions = functions_of(task.path, sources, task.operation)
            functions = {kind: under_its_name(task.operation, kind, f) for kind, f in functions.items()}
            row = definition_of(task.defined[0], task.operation) if task.defined else task.operation
            report = judge.examined_as_asked(task, row, functions, None)
            return judge.with_source(task, task.operation, report)
        except NotImported as error:
            return Unchecked(str(error))

    def results(tasks: Sequence[Any], *_: Any) -> Iterator[tuple[Any, Any]]:
        for task in tasks:
            yield task, result(task)

    monkeypatch.setattr(run, "results", results)
    monkeypatch.setattr(judge, "import_the_check", lambda: None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]

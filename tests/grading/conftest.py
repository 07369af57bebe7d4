"""Submissions that are graded in this process, which is quick: what most tests are about needs no others."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def graded_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Each task is done here; what is returned is the list of those that were."""
    from backprop_properties.checking.handed_in import handed_in
    from backprop_properties.checking.judge import examined_as_asked, row_of, unpacked, with_source
    from backprop_properties.checking.tasks import Found
    from backprop_properties.grading import run

    done: list[Any] = []

    def result(task: Any) -> Any:
        with unpacked(task) as folder:
            found = handed_in(folder, task.submission.run, 8)
            if task.operation is None:
                return Found({}, {}, frozenset(), tuple(found.functions), told=found.told, broken=found.broken)
            functions = {kind: found.functions[name] for kind, name in task.submission.names.items()}
            report = examined_as_asked(task, row_of(task, task.operation), functions, None)
            return with_source(task, task.operation, report)

    def results(tasks: Sequence[Any], *_: Any) -> Iterator[tuple[Any, Any]]:
        for task in tasks:
            before, path = Path.cwd(), [*sys.path]
            try:
                yield task, result(task)
            finally:
                os.chdir(before)
                sys.path[:] = path
                for name in [name for name in sys.modules if name.startswith("handed_in_") or name in ("a", "b")]:
                    del sys.modules[name]
            done.append(task)

    monkeypatch.setattr(run, "results", results)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    return done

"""Functions by name in somebody's Python file: `softmax`, `softmax_vjp`, `activation_tanh_jacobian` and so on."""

import difflib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from backprop_reference import OPERATIONS, Operation

Function = Callable[..., Any]
SUFFIXES: Mapping[str, str] = {"forward": "", "jacobian": "_jacobian", "vjp": "_vjp"}


@dataclass(frozen=True)
class Implementation:
    """Functions of an operation; those that are not there are not judged."""

    forward: Function | None = None
    jacobian: Function | None = None
    vjp: Function | None = None


def python_name(operation: str) -> str:
    """What functions of an operation are called in a file.

    >>> python_name("backpropagation[sigmoid,identity]")
    'backpropagation_sigmoid_identity'
    """
    return "_".join(re.findall(r"\w+", operation))


def operation_named(name: str) -> Operation:
    """The row of the table, or ValueError with the nearest names."""
    exact = [row for row in OPERATIONS if name in (row, python_name(row))]
    if exact:
        return OPERATIONS[exact[0]]
    family = [row.name for row in OPERATIONS.values() if row.base == name]
    near = family or difflib.get_close_matches(str(name), OPERATIONS, 3)
    raise ValueError(
        f"unknown operation {name!r}"
        + (f"; did you mean {', '.join(near)}?" if near else f"; there are {', '.join(OPERATIONS)}")
    )


def operations_named(name: str) -> list[str]:
    """The operations that a name stands for: its own, or those of a family.

    >>> operations_named("activation_tanh"), len(operations_named("two_layer_network"))
    (['activation[tanh]'], 4)
    """
    found = [row.name for row in OPERATIONS.values() if name in (row.name, row.base, python_name(row.name))]
    return found or [operation_named(name).name]


def implementations(path: Path) -> Mapping[str, Implementation]:
    """The implementations in a Python file, by operation; runs the file, as `module_of` does."""
    return found_in(vars(module_of(path)))


def found_in(names: Mapping[str, Any]) -> Mapping[str, Implementation]:
    """The implementations among a module's names, by operation.

    >>> list(found_in({"softmax_vjp": len, "activation_tanh": len, "re": re, "softmax": 3}))
    ['activation[tanh]', 'softmax']
    """
    found = {}
    for operation in OPERATIONS:
        functions = {kind: names.get(python_name(operation) + suffix) for kind, suffix in SUFFIXES.items()}
        callables = {kind: function for kind, function in functions.items() if callable(function)}
        if callables:
            found[operation] = Implementation(**callables)
    return found


def import_of(path: Path, names: Iterable[str]) -> str:
    """The line that imports functions from a file in the folder where it is; none for a file of no module's name.

    >>> import_of(Path("mine.py"), ["softmax", "softmax_vjp"]), import_of(Path("hand-in 3.py"), ["softmax"])
    ('from mine import softmax, softmax_vjp', '')
    """
    return f"from {path.stem} import {', '.join(names)}" if path.stem.isidentifier() else ""


def module_of(path: Path) -> ModuleType:
    """A Python file, run as `python FILE.py` would: it may import what lies beside it.

    What the file raises is passed on; a `SystemExit` becomes a RuntimeError.
    """
    spec = importlib.util.spec_from_file_location(f"implementation_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except SystemExit as stopped:
        raise RuntimeError(f"{path.name} called sys.exit({stopped.code})") from None
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return module

"""The definitions in somebody's files: by operation, which variable holds them, and why some are none."""

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .guard import said
from .python_files import DEFINITION, SUFFIXES, definitions_in, is_definition, is_refused

if TYPE_CHECKING:
    from backprop_oracle.definition import Definition

Names = Mapping[str, Any]  # of a module


class Own(NamedTuple):
    """The definitions by operation, the file and the variable that hold each, and why those that are none are none."""

    definitions: Mapping[str, "Definition"]
    places: Mapping[str, tuple[Path, str]]
    refused: Mapping[str, str]


def own_definitions(sources: Mapping[Path, Names]) -> Own:
    """What the files have, the first before the others."""
    definitions: dict[str, Definition] = {}
    places: dict[str, tuple[Path, str]] = {}
    refused: dict[str, str] = {}
    functions = {name for names in sources.values() for name, value in names.items() if callable(value)}
    for path, names in sources.items():
        taken = definitions.keys() | refused.keys()
        found = {operation: row for operation, row in definitions_in(names).items() if operation not in taken}
        definitions |= found
        for variable, value in names.items():
            operation = variable.removesuffix(DEFINITION)
            if operation in found and is_definition(value):
                places[operation] = path, variable
            elif operation not in taken and (why := _why_none(variable, value, path, functions)):
                refused[operation] = why
    return Own(definitions, places, refused)


def _why_none(variable: str, value: Any, path: Path, functions: set[str]) -> str:
    """Why there is no definition where its name or its functions say that there should be one, or nothing."""
    if is_refused(value):
        return f"{path.name}: {variable} cannot be made{line_of(value, path)}: {said(value)}"
    stem = variable.removesuffix(DEFINITION)
    wanted = stem != variable and any(stem + suffix in functions for suffix in SUFFIXES.values())
    if not wanted or is_definition(value):
        return ""
    what = "a class" if isinstance(value, type) else "a function" if callable(value) else f"a {type(value).__name__}"
    return f'{path.name}: {variable} is {what}, expected a Definition, as {variable} = Definition(f, "(b,n),…")'


def line_of(error: BaseException, path: Path) -> str:
    """At which line of a file an error came up."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""

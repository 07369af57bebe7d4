"""Functions by name in somebody's Python file: `softmax`, `softmax_vjp`, `activation_tanh_jacobian` and so on."""

import ast
import difflib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from backprop_reference import OPERATIONS

if TYPE_CHECKING:
    from backprop_oracle.definition import Definition
    from backprop_oracle.rows import Row

Function = Callable[..., Any]
Facts = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]  # of operations: the arguments, the letters of the sizes
SUFFIXES: Mapping[str, str] = {"forward": "", "jacobian": "_jacobian", "vjp": "_vjp"}
DEFINITION = "_definition"


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


def operation_named(name: "str | Row") -> "Row":
    """The row of the lecture's table or of the catalogue, or ValueError with the nearest names; a row is its own."""
    if not isinstance(name, str):
        if isinstance(name, type) or not hasattr(name, "arguments"):
            raise TypeError(f"expected the name of an operation or a Definition, got {_what(name)}")
        return name
    exact = [row for row in OPERATIONS if name in (row, python_name(row))]
    if exact:
        return OPERATIONS[exact[0]]
    from backprop_oracle.catalogue import CATALOGUE  # and with it JAX, of which the lecture's names need nothing

    if name in CATALOGUE:
        return CATALOGUE[name]
    family = [row.name for row in OPERATIONS.values() if row.base == name]
    known = [*OPERATIONS, *CATALOGUE]
    near = family or difflib.get_close_matches(str(name), known, 3)
    raise ValueError(
        f"unknown operation {name!r}"
        + (f"; did you mean {', '.join(near)}?" if near else f"; there are {', '.join(known)}")
        + "; of any other, give a Definition"
    )


def _what(value: Any) -> str:
    """What somebody gave in place of a definition, and how to make one of it."""
    if isinstance(value, type) or not callable(value):
        return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
    called = getattr(value, "__name__", "f")
    return f'a function; of a forward in jax.numpy, Definition({called}, "(b,n),…") makes one'


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


def definitions_in(names: Mapping[str, Any]) -> dict[str, "Definition"]:
    """The definitions among a module's names, by operation: `layer_norm_definition` is that of `layer_norm`, and gives
    it its name if it is of a lambda.
    """
    found = {name.removesuffix(DEFINITION): value for name, value in names.items() if is_definition(value)}
    return {name: replace(value, name=name) if value.name.startswith("<") else value for name, value in found.items()}


def is_definition(value: Any) -> bool:
    """Whether a value is a `Definition`, whose class needs JAX."""
    return type(value).__name__ == "Definition" and hasattr(value, "shapes")


def is_refused(value: Any) -> bool:
    """Whether a value stands where a definition could not be made: the exception that says why."""
    return issubclass(type(value), Exception) and value.__traceback__ is not None


def the_catalogue() -> Facts:
    """The operations of the catalogue, for which JAX is imported: the lecture's names need nothing of it."""
    from backprop_oracle.catalogue import CATALOGUE

    return {name: (row.arguments, row.letters) for name, row in CATALOGUE.items()}


def known_to(
    names: Iterable[str], definitions: Iterable[str], catalogue: Callable[[], Facts] = the_catalogue
) -> list[str]:
    """The operations whose functions a file may have: those of its definitions, the lecture's, and if any of its names
    is `…_vjp` or `…_jacobian` after neither, the catalogue's.
    """
    known = list(dict.fromkeys([*definitions, *OPERATIONS]))
    derived = {name.removesuffix(end) for name in names for end in SUFFIXES.values() if end and name.endswith(end)}
    return [*dict.fromkeys([*known, *catalogue()])] if derived - set(map(python_name, known)) else known


def found_in(
    names: Mapping[str, Any],
    definitions: Mapping[str, "Definition"] | None = None,
    catalogue: Callable[[], Facts] = the_catalogue,
) -> Mapping[str, Implementation]:
    """The implementations among a module's names, by operation: of its definitions, of the lecture, or with a function
    that is named `…_vjp` or `…_jacobian`, of the catalogue.

    >>> list(found_in({"softmax_vjp": len, "activation_tanh": len, "re": re, "softmax": 3}))
    ['activation[tanh]', 'softmax']
    """
    definitions = definitions_in(names) if definitions is None else definitions
    each = {name: implementation_of(names, name, definitions) for name in known_to(names, definitions, catalogue)}
    return {name: found for name, found in each.items() if found}


def implementation_of(
    names: Mapping[str, Any], operation: str, definitions: Mapping[str, "Definition"]
) -> Implementation | None:
    """The functions of an operation among a module's names, if there are enough to tell that they are its."""
    functions = {kind: names.get(python_name(operation) + suffix) for kind, suffix in SUFFIXES.items()}
    own = definitions[operation].f if operation in definitions else None  # which judges, and is not judged
    callables = {kind: f for kind, f in functions.items() if callable(f) and f is not own}
    enough = set(SUFFIXES) if operation in definitions or operation in OPERATIONS else {"jacobian", "vjp"}
    return Implementation(**callables) if callables.keys() & enough else None  # a forward alone may be anything


def import_of(path: Path, names: Iterable[str]) -> str:
    """The line that imports functions from a file in the folder where it is; none for a file of no module's name.

    >>> import_of(Path("mine.py"), ["softmax", "softmax_vjp"]), import_of(Path("hand-in 3.py"), ["softmax"])
    ('from mine import softmax, softmax_vjp', '')
    """
    some = ", ".join(names)
    return f"from {path.stem} import {some}" if some and path.stem.isidentifier() else ""


def module_of(path: Path) -> ModuleType:
    """A Python file, run as `python FILE.py` would: it may import what lies beside it.

    What the file raises is passed on, but for a definition that cannot be made: what that raises stands in its place,
    and the rest goes on. A `SystemExit` becomes a RuntimeError.
    """
    spec = importlib.util.spec_from_file_location(f"implementation_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        exec(_code(path), vars(module))
    except SystemExit as stopped:
        raise RuntimeError(f"{path.name} called sys.exit({stopped.code})") from None
    except Exception as error:
        raise next(filter(is_refused, vars(module).values()), error) from None
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return module


def _code(path: Path) -> Any:
    """A file's code, where each definition has a `try` around it."""
    tree = ast.parse(path.read_bytes(), str(path))
    tree.body = [_tried(statement) for statement in tree.body]
    return compile(tree, str(path), "exec", dont_inherit=True)


def _tried(statement: ast.stmt) -> ast.stmt:
    """`try: layer_norm_definition = … except Exception as error: layer_norm_definition = error`; all else as it is."""
    if isinstance(statement, ast.FunctionDef):
        names, made = [statement.name] * bool(statement.decorator_list), False
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        made = isinstance(statement.value, ast.Call) and ast.unparse(statement.value.func).endswith("Definition")
    else:
        return statement
    if not names or not (made or names[0].endswith(DEFINITION)):
        return statement
    (tried,) = ast.parse(f"try: ...\nexcept Exception as __error: {' = '.join(names)} = __error").body
    for node in ast.walk(tried):
        ast.copy_location(node, statement)
    assert isinstance(tried, ast.Try)
    tried.body = [statement]
    return tried

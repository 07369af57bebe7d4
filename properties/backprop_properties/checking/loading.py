"""Somebody's file: it is run, and looked into."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backprop_reference import OPERATIONS

from .adapting import adaptable
from .guard import said
from .own_definitions import line_of, own_definitions
from .python_files import SUFFIXES, Facts, found_in, implementation_of, known_to, module_of, the_catalogue
from .tasks import Found

if TYPE_CHECKING:
    from backprop_oracle.rows import Row

try:  # here, since a file may have one of its name beside it
    import resource
except ImportError:
    resource = None  # type: ignore[assignment]

Sources = dict[Path, dict[str, Any]]  # the names in files that were run
LIBRARIES = ("autograd", "backprop_reference", "jax", "numpy", "scipy", "torch")


class NotImported(Exception):
    """A file could not be run; the message says why, and at which of its lines."""


def sources_of(path: Path, definitions: Path | str | None = None) -> Sources:
    """What stands in a file, and in that of the definitions, after both were run."""
    return {file: vars(_module(file)) for file in (path, Path(definitions) if definitions else None) if file}


def looked_into(path: Path, sources: Sources, catalogue: Callable[[], Facts] = the_catalogue) -> Found:
    """What is in a file; the catalogue is asked for if a name may be of an operation there."""
    inside, (own_rows, places, refused) = sources[path], own_definitions(sources)
    functions = {name: found for name, found in found_in(inside, own_rows, catalogue).items() if name not in refused}
    found = {
        operation: tuple(kind for kind in SUFFIXES if getattr(given, kind) is not None)
        for operation, given in functions.items()
    }
    rows: Mapping[str, Row] = {**OPERATIONS, **own_rows}
    facts = {name: (rows[name].arguments, rows[name].letters) if name in rows else catalogue()[name] for name in found}
    names = tuple(name for name, value in inside.items() if callable(value) and not name.startswith("_"))
    own = frozenset(name for name in names if _written(inside[name]))
    classes_and_pairs = adaptable({name: inside[name] for name in names if name in own or _is_class(inside[name])})
    known = known_to(names, [*own_rows, *refused], catalogue)
    if classes_and_pairs or own_rows or not found:  # what is told of these may name any operation
        known = [*dict.fromkeys([*known, *catalogue()])]
    unused = {name: places[name][1] for name in own_rows if name not in found and not name.startswith("_")}
    defined = {name: places[name] for name in found if name in places}
    by_hand = frozenset(name for name in own if not _is_adapted(inside[name]))
    return Found(found, facts, own, names, tuple(classes_and_pairs), tuple(known), unused, refused, defined, by_hand)


def functions_of(path: Path, sources: Sources, operation: str) -> dict[str, Callable[..., Any]]:
    """The functions of an operation in a file, by kind."""
    found = implementation_of(sources[path], operation, own_definitions(sources).definitions)
    functions = {kind: getattr(found, kind) for kind in SUFFIXES if found}
    if not any(functions.values()):
        raise NotImported(f"{path.name}: {operation} was there when the file was first run, and is not any more")
    return {kind: f for kind, f in functions.items() if f is not None}


def looked_for(path: Path, functions: Sequence[str], definitions: Path | None) -> Found:
    """What functions of these names, which are not in this process, are for."""
    sources = sources_of(definitions) if definitions else {}
    found = looked_into(path, {path: dict.fromkeys(functions, looked_for), **sources})
    return found._replace(own=frozenset(functions), adaptable=())


def definition_of(path: Path, operation: str) -> Any:
    """The definition of an operation in a file of definitions."""
    return own_definitions(sources_of(path)).definitions[operation]


def _module(path: Path) -> Any:
    sys.path.insert(0, str(path.parent))  # for good: a function may import, too
    try:
        return module_of(path)
    except Exception as error:
        kind = type(error)  # which does not lie, as a __class__ may
        message = f"{kind.__name__}: {getattr(error, 'msg', '')}" if issubclass(kind, SyntaxError) else said(error)
        message += "; --memory gives it more" if issubclass(kind, MemoryError) else ""
        raise NotImported(f"{path.name} can't be imported{line_of(error, path)}: {message}") from None


def _written(function: Any) -> bool:
    """Whether a function is the user's, in this file or one that it imports, and not a library's as NumPy's exp."""
    with suppress(Exception):  # of what does not let itself be looked at
        return hasattr(inspect.unwrap(function), "__code__") and not _is_a_librarys(function)
    return False


def _is_class(value: Any) -> bool:
    """Whether a value is a class of the user's."""
    with suppress(Exception):
        return inspect.isclass(value) and not _is_a_librarys(value)
    return False


def _is_adapted(function: Any) -> bool:
    """Whether an adapter of this project has made a function."""
    return str(getattr(function, "__module__", None)).startswith("backprop_properties.")


def _is_a_librarys(value: Any) -> bool:
    return str(getattr(value, "__module__", None)).partition(".")[0] in LIBRARIES


def limit_memory(megabytes: int | None) -> bool:
    """Limits what this process may allocate from now on; False where a system has no such limit.

    Memory that can be written to counts, and not address space, of which a driver may reserve any amount.
    """
    if megabytes is None or resource is None or not sys.platform.startswith("linux"):
        return False
    status = Path("/proc/self/status").read_text()
    now = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData"))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = min(now + (megabytes << 20), sys.maxsize)  # more than any system has is no limit
    resource.setrlimit(resource.RLIMIT_DATA, (limit if most < 0 else min(limit, most), most))
    return True

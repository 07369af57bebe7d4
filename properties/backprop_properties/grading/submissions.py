"""What was handed in: a file, a folder or a notebook, read once, before anything of it is run."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ..checking.guard import printable
from ..checking.handed_in import NOTEBOOK, code_cells

CODE = (".py", NOTEBOOK)
LARGEST = 64 << 20  # bytes of a submission
PASSED_OVER = ("__pycache__", "__MACOSX", "venv", "node_modules")  # folders with nothing of a student's


class Handed(NamedTuple):
    """A submission: its name, its files by path, those that are run, and why none can be."""

    name: str
    files: dict[str, bytes]
    run: tuple[str, ...]
    unusable: str = ""

    @property
    def digest(self) -> str:
        """What tells it from every other."""
        found = sha256(repr(self.run).encode())
        for path, data in self.files.items():
            found.update(f"{path}\0{len(data)}\0".encode() + data)
        return found.hexdigest()


def read_submissions(paths: Sequence[Path], patterns: Sequence[str] = ()) -> list[Handed]:
    """Each submission under a name of its own; ValueError, in one line, for a path where nothing is."""
    paths = sorted({path.resolve() for path in paths})
    for path in paths:
        if not path.exists():
            raise ValueError(f"there is no submission {path}")
    names = _names(paths)
    return [_read(path, names[path], patterns) for path in sorted(paths, key=lambda path: names[path])]


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """A file's name without its ending, a folder's name; where two would have the same, the folder that tells them
    apart, as of `*/hw.py`, or else more of the path.
    """
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    parts = {path: path.relative_to(root).parts for path in paths}
    depth = min(map(len, parts.values()), default=0)
    ways: tuple[Callable[[Path], str], ...] = (
        lambda path: path.name if path.is_dir() else path.stem,
        *(partial(lambda above, path: parts[path][-above], above) for above in range(2, depth + 1)),
        lambda path: path.name,
        lambda path: "_".join(parts[path]),
        lambda path: f"{paths.index(path) + 1} {path.name}",
    )
    tries = ({path: printable(way(path)) or "submission" for path in paths} for way in ways)
    return next(names for names in tries if len({name.casefold() for name in names.values()}) == len(paths))


def merged(handed: Handed, names: Iterable[str]) -> str:
    """What is to be said of a folder in which several files define one of these functions, as a class's does.

    >>> code = b"def softmax(x): return x"
    >>> merged(Handed("subs", {"anna.py": code, "bert.py": code}, ("anna.py", "bert.py")), ["softmax"])
    'softmax is defined in 2 files of subs; the last counts; subs/* grades each'
    """
    first = handed.run[0] if handed.run else ""
    others = [file for file in handed.files if file.endswith(CODE) and Path(file).parent != Path(first).parent]
    beside = [file for file in others if file.count("/") == first.count("/")]  # as another's own folder
    texts = {file: _text(file, handed.files[file]) for file in (*handed.run, *beside)}
    for name in names:
        found = [file for file, text in texts.items() if re.search(rf"^(async )?def +{re.escape(name)}\b", text, re.M)]
        if len(found) > 1:
            ran = [file for file in found if file in handed.run]
            which = "the last counts" if ran == found else f"only {ran[-1] if ran else handed.run[-1]} counts"
            return f"{name} is defined in {len(found)} files of {handed.name}; {which}; {handed.name}/* grades each"
    return ""


def _text(file: str, data: bytes) -> str:
    """The code of a file, or of a notebook's cells; nothing of what is no notebook."""
    with suppress(ValueError):
        return "\n".join(code_cells(data, file)) if file.endswith(NOTEBOOK) else data.decode(errors="replace")
    return ""


def _read(path: Path, name: str, patterns: Sequence[str]) -> Handed:
    try:
        if not path.is_dir():
            if path.suffix not in CODE:
                return Handed(name, {}, (), f"{path.name} is neither a Python file nor a notebook nor a folder")
            if path.stat().st_size > LARGEST:
                return Handed(name, {}, (), f"{path.name} has more than {LARGEST >> 20} MB")
            return Handed(name, {path.name: path.read_bytes()}, (path.name,))
        files: dict[str, bytes] = {}
        for file in _files(path):
            if sum(map(len, files.values())) + file.stat().st_size > LARGEST:
                return Handed(name, {}, (), f"{path.name} has more than {LARGEST >> 20} MB")
            files[file.relative_to(path).as_posix()] = file.read_bytes()
    except OSError as error:
        return Handed(name, {}, (), f"{path.name} cannot be read: {error.strerror}")
    run = _to_run(list(files), patterns)
    what = f"a file named {' or '.join(patterns)}" if patterns else "a Python file or a notebook"
    return Handed(name, files, run, "" if run else f"there is no {what[2:]} in {path.name}")


def _files(folder: Path) -> list[Path]:
    """The files below a folder, in order, and none of what programs left there; no link is followed."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one not in PASSED_OVER and not one.startswith("."))
        paths = [Path(where, name) for name in names if not name.startswith(".")]
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found)


def _to_run(files: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """The code at the top of a folder, or of the first folder below that has some; others may be imported."""
    code = [file for file in files if file.endswith(CODE)]
    code = [file for file in code if not patterns or any(fnmatch(Path(file).name, one) for one in patterns)]
    if not code:
        return ()
    top = min((file.count("/"), Path(file).parent.as_posix()) for file in code)
    return tuple(file for file in code if (file.count("/"), Path(file).parent.as_posix()) == top)

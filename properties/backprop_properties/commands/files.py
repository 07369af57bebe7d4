"""Files that a command is asked to write, or to write into."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOM = 2**16  # bytes that a new file should find on its disk


def check_writable(files: Iterable[Path | None]) -> None:
    """OSError, in one line, for a file that cannot be written: asked before the work, so that its result is not lost.

    >>> check_writable([None, Path("no/such/folder/out.json")])
    Traceback (most recent call last):
    OSError: there is no folder no/such/folder
    """
    for path in files:
        if path is None:
            continue
        there = real(path)
        if there.is_symlink():
            raise OSError(f"{path} is a symbolic link to itself")
        for folder in (path.parent, there.parent):
            if not folder.is_dir():
                raise OSError(f"there is no folder {folder}")
        if path.is_dir():
            raise OSError(f"{path} is a folder; name a file")
        if not os.access(path if path.exists() else there.parent, os.W_OK):
            raise OSError(f"{path} may not be written")
        try:
            _try_to_write(there)
        except OSError as error:
            raise OSError(f"{path} cannot be written: {error.strerror}") from None


def check_reports(reports: Mapping[str, Path | None], inputs: Iterable[Path]) -> None:
    """OSError or ValueError, in one line, for reports, by their options, that cannot be written, or that would be
    written over an input or each other.

    >>> check_reports({"--json": Path("mine.py"), "--html": None}, [])
    Traceback (most recent call last):
    ValueError: --json writes a report: expected another file than mine.py, which would be lost
    """
    check_writable(reports.values())
    for option, report in reports.items():
        if report is not None and (report.suffix == ".py" or real(report) in inputs):
            raise ValueError(f"{option} writes a report: expected another file than {report}, which would be lost")
    for (one, path), (other, same) in combinations(reports.items(), 2):
        if path is not None and path == same:
            raise ValueError(f"{one} and {other}: expected two files, got {path} for both")


def real(path: Path) -> Path:
    """Where a path leads; a symbolic link to itself leads to itself, and nowhere else."""
    return Path(os.path.realpath(path))


def _try_to_write(path: Path) -> None:
    """Nothing, into a device; some bytes beside a file that is not there yet. What is there stays as it is."""
    if path.is_char_device():
        with path.open("wb", buffering=0) as file:
            file.write(b"")
    elif not path.exists():
        with TemporaryFile(dir=path.parent) as beside:
            beside.write(bytes(ROOM))
            beside.flush()


def as_json(found: Any) -> str:
    """What was found as JSON, in ASCII, which every encoding has; infinities and NaN are written as texts."""
    from ..checking.report import finite

    return json.dumps(finite(found), indent=1)


def write_json(file: Path | None, found: Any) -> None:
    """Writes what was found, if a file is given."""
    write_text(file, as_json(found) + "\n" if file else "")


def write_text(file: Path | None, text: str) -> None:
    """Writes a text, if a file is given."""
    if file is not None:
        file.write_text(text, encoding="utf-8")


def why_not_written(path: Path | None, write: Callable[[Path | None, Any], None], found: Any) -> str | None:
    """Writes what was found; one line, if that fails: a full disk must not take what was found with it.

    >>> why_not_written(Path("no/such/folder/out.json"), write_json, {})
    'no/such/folder/out.json could not be written: No such file or directory'
    """
    try:
        write(path, found)
    except OSError as error:
        return f"{path} could not be written: {error.strerror}"
    return None


def with_parts(path: Path, parts: Mapping[str, str]) -> str:
    """A file's text with parts of it replaced by name: before the work to see that they can be, and again after it.

    >>> with_parts(Path("no/such/README.md"), {})
    Traceback (most recent call last):
    OSError: there is no file no/such/README.md
    """
    if not path.is_file():
        raise OSError(f"there is no file {path}")
    return reduce(lambda text, name: between_markers(text, parts[name], name), parts, path.read_text(encoding="utf-8"))


def write_parts(path: Path | None, parts: Mapping[str, str]) -> None:
    """Writes a file's text with parts of it replaced, if a file is given."""
    write_text(path, with_parts(path, parts) if path else "")


def between_markers(text: str, content: str, name: str) -> str:
    """`text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced; ValueError without the markers.

    >>> between_markers("a <!-- sums -->old<!-- /sums --> b", "new", "sums")
    'a <!-- sums -->\\nnew\\n<!-- /sums --> b'
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise ValueError(f"expected one {start} and one {end} in the text")
    return f"{text.partition(start)[0]}{start}\n{content}\n{end}{text.partition(end)[2]}"

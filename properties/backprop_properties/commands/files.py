"""Files that a command is asked to write, or to write into."""

import json
import os
from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any


def check_writable(files: Iterable[Path | None]) -> None:
    """OSError, in one line, for a file that cannot be written: asked before the work, so that its result is not lost.

    >>> check_writable([None, Path("no/such/folder/out.json")])
    Traceback (most recent call last):
    OSError: there is no folder no/such/folder
    """
    for path in files:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise OSError(f"there is no folder {path.parent}")
        if path.is_dir():
            raise OSError(f"{path} is a folder; name a file")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise OSError(f"{path} may not be written")


def as_json(found: Any) -> str:
    """What was found as JSON; infinities and NaN are written as texts."""
    from ..checking.report import finite

    return json.dumps(finite(found), indent=1, ensure_ascii=False)


def write_json(file: Path | None, found: Any) -> None:
    """Writes what was found, if a file is given."""
    if file is not None:
        file.write_text(as_json(found) + "\n", encoding="utf-8")


def with_parts(path: Path, parts: Mapping[str, str]) -> str:
    """A file's text with parts of it replaced by name: before the work to see that they can be, and again after it.

    >>> with_parts(Path("no/such/README.md"), {})
    Traceback (most recent call last):
    OSError: there is no file no/such/README.md
    """
    if not path.is_file():
        raise OSError(f"there is no file {path}")
    return reduce(lambda text, name: between_markers(text, parts[name], name), parts, path.read_text(encoding="utf-8"))


def between_markers(text: str, content: str, name: str) -> str:
    """`text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced; ValueError without the markers.

    >>> between_markers("a <!-- sums -->old<!-- /sums --> b", "new", "sums")
    'a <!-- sums -->\\nnew\\n<!-- /sums --> b'
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise ValueError(f"expected one {start} and one {end} in the text")
    return f"{text.partition(start)[0]}{start}\n{content}\n{end}{text.partition(end)[2]}"

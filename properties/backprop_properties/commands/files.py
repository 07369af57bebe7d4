"""Files that a command is asked to write, or to write into."""

import os
from collections.abc import Iterable
from pathlib import Path


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


def text_of(path: Path) -> str:
    """What stands in a file that is to be written into: before the work to see that it can be, and again after it.

    >>> text_of(Path("no/such/README.md"))
    Traceback (most recent call last):
    OSError: there is no file no/such/README.md
    """
    if not path.is_file():
        raise OSError(f"there is no file {path}")
    return path.read_text(encoding="utf-8")

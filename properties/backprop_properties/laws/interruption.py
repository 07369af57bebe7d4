"""What is said of the next calls of somebody's functions: that another thread is to call in the middle of one, or that
they come.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Interruption:
    """The next call is kept, to be made again in the middle of others (`keep`), or what was kept is made in it when it
    comes to line number `at`: then it was `reached`.
    """

    keep: bool = False
    at: int | None = None
    reached: bool = False


def nothing_ahead(*calls: tuple[str, Sequence[Any]]) -> None:
    """What becomes of calls that come next, `(kind, args)` each, in their order, if no other process can begin them."""

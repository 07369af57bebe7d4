"""What is to become of the next call of somebody's functions, where another thread is to call in the middle of it."""

from dataclasses import dataclass


@dataclass
class Interruption:
    """The next call is kept, to be made again in the middle of others (`keep`), or what was kept is made in it when it
    comes to line number `at`: then it was `reached`.
    """

    keep: bool = False
    at: int | None = None
    reached: bool = False

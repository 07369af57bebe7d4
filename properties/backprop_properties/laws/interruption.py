"""What is to become of the next calls of somebody's functions, beside that they return: another thread is to call in
the middle of one, or what they take is to be measured.
"""

from dataclasses import dataclass


@dataclass
class Interruption:
    """The next call is kept, to be made again in the middle of others (`keep`), or what was kept is made in it when it
    comes to line number `at`: then it was `reached`.
    """

    keep: bool = False
    at: int | None = None
    reached: bool = False


@dataclass
class Meter:
    """What calls take in another process: while it is `on`, their processor time, and the most memory in bytes."""

    on: bool = False
    seconds: float = 0.0
    peak: int = 0

"""What is to become of the next calls of somebody's functions, beside that they return: another thread is to call in
the middle of one, or what they take is to be measured.
"""

from dataclasses import dataclass, field


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
    """What calls take in another process: their processor time, and while it is `on` the most memory, in bytes.

    To look at the memory takes longer than most calls, so it is looked at in the first one of each kind.
    """

    on: bool = False
    seconds: float = 0.0
    peak: int = 0
    looked_at: set[str] = field(default_factory=set)

    def begin(self, kind: str) -> bool:
        """Begins a call, and says whether its memory is looked at."""
        first = self.on and kind not in self.looked_at
        if first:
            self.looked_at.add(kind)
        return first

    def forget(self, kind: str) -> None:
        """A call of this kind that had begun does not come, and the next is looked at in its place."""
        self.looked_at.discard(kind)

    def start(self) -> None:
        """Begins to measure."""
        self.on, self.seconds, self.peak = True, 0.0, 0
        self.looked_at.clear()

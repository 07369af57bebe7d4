"""What a function raises where it does not want to be judged."""


class Skipped(Exception):
    """The function `kind` says that it does not do this, and why: no law holds it against it."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"{kind} skipped this: {reason}")
        self.kind = kind

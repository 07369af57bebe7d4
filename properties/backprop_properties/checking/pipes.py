"""Pipes of messages between processes: bytes, with their length before them."""

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from os import sched_yield  # these three as they are now, whatever somebody's code replaces
from select import select
from time import perf_counter

LENGTH = struct.Struct("<Q")
PAGE = 1 << 12  # bytes, of which a message takes some as a whole
PART, SOME = 1 << 20, 1 << 14  # bytes that are read at a time, at most and at least if there are as many
AWAKE = 2e-4  # seconds in which most answers come: to fall asleep and be woken takes a third of a call
LOOK = 0.05  # seconds from one look at whoever does not answer to the next


class Broken(Exception):
    """What came through a pipe is no message, or more than was to be expected."""


class Pipe:
    """One end of a pipe of messages, each with its length before it."""

    def __init__(self, number: int) -> None:
        self.number, self.rest = number, b""

    def widen(self) -> None:
        """Gives the pipe room for most messages, so that whoever writes one need not wait for the reader; on Linux."""
        with suppress(ImportError, AttributeError, OSError):  # there may be no more room for this user
            import fcntl

            fcntl.fcntl(self.number, fcntl.F_SETPIPE_SZ, PART)

    def pages(self) -> int:
        """How many pages the pipe has room for, on Linux; elsewhere nobody knows."""
        with suppress(ImportError, AttributeError, OSError):
            import fcntl

            return fcntl.fcntl(self.number, fcntl.F_GETPIPE_SZ) // PAGE
        return 0

    def send(self, *messages: bytes, until: Callable[[], None] | None = None) -> None:
        """Writes messages; `until` is called every now and then while nobody reads, and may raise.

        `BrokenPipeError` if nobody reads any more. A pipe that does not block needs an `until`.
        """
        self.write(b"".join([part for message in messages for part in (LENGTH.pack(len(message)), message)]), until)

    def write(self, message: bytes, until: Callable[[], None] | None = None) -> None:
        """Writes bytes, as `send` does, without their length."""
        data = memoryview(message)
        while data:
            try:
                data = data[os.write(self.number, data[:PART]) :]
            except BlockingIOError:
                self._wait(until, writing=True)

    def receive(self, most: int, until: Callable[[], None] | None = None) -> bytes | None:
        """Reads a message, or None at the end of the pipe; `until` is called every now and then, and may raise.

        A message of more than `most` bytes is `Broken`, and is not read.
        """
        if not self._read(LENGTH.size, until):
            return None
        (length,) = LENGTH.unpack_from(self.rest)
        if length > most:
            raise Broken(f"{length:,} bytes, more than the {most:,} that there may be")
        end = LENGTH.size + length
        if not self._read(end, until):
            return None
        message, self.rest = self.rest[LENGTH.size : end], self.rest[end:]
        return message

    def wait_for_end(self, seconds: float) -> None:
        """Waits until nobody can write any more, at most so long; what still comes is passed over."""
        until = perf_counter() + seconds
        while (left := until - perf_counter()) > 0 and any(select([self.number], [], [], left)):
            if not os.read(self.number, PART):
                break

    def line(self, most: int, until: Callable[[], None] | None = None) -> bytes | None:
        """Reads a line of JSON, which begins with a brace, or None at the end of the pipe; `until` as in `receive`.

        Anything else is `Broken`, without a wait for its end, as is a line of more than `most` bytes.
        """
        parts, size, part = list[bytes](), 0, self.rest
        while True:
            begin = (parts[0] if parts else part)[:1]
            if begin and begin != b"{":
                raise Broken(f"wrote {_quoted(part)} to standard output, where only answers belong,")
            if b"\n" in part:
                end, _, self.rest = part.partition(b"\n")
                return b"".join([*parts, end])
            parts += [part] * bool(part)
            size += len(part)
            if size > most:
                raise Broken(f"wrote {size:,} bytes without the end of a line, more than the {most:,} there may be")
            self._wait(until)
            part = os.read(self.number, PART)
            if not part:
                return None

    def _read(self, count: int, until: Callable[[], None] | None) -> bool:
        """Whether so many bytes have come, which are in `rest` then, and maybe more."""
        missing, parts = count - len(self.rest), [self.rest]
        while missing > 0:
            self._stay_awake()
            self._wait(until)
            part = os.read(self.number, max(min(missing, PART), SOME))
            if not part:
                return False
            parts.append(part)
            missing -= len(part)
        self.rest = b"".join(parts) if len(parts) > 1 else self.rest
        return True

    def _stay_awake(self) -> None:
        """Waits for what comes soon, while others that have something to do go first."""
        end = perf_counter() + AWAKE
        while not any(select([self.number], [], [], 0)) and perf_counter() < end:
            sched_yield()

    def _wait(self, until: Callable[[], None] | None, *, writing: bool = False) -> None:
        """Waits until there is something to read, or room to write; `until` hears of it if that takes long."""
        pipes = ([], [self.number]) if writing else ([self.number], [])
        while until and not any(select(*pipes, [], LOOK)):
            until()


def pages_of(message: bytes) -> int:
    """How many pages of a pipe a message takes, at most."""
    return (LENGTH.size + len(message)) // PAGE + 1


def _quoted(data: bytes) -> str:
    """What bytes begin with, as a text of one line."""
    text = data.split(b"\n", 1)[0]
    return repr(text[:60].decode(errors="replace")) + "…" * (len(text) > 60)

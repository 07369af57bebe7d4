"""What a worker process does: one task after the other, until its parent is gone."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies


def serve(pipe: Connection, parent: int) -> None:
    """Does what comes through the pipe, from the process `parent`: first how to begin and the work, then tasks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    die_with(parent)
    try:
        begin, work = pipe.recv()
        begin()
        while True:
            pipe.send(attempt(work, pipe.recv()))
    except (EOFError, ConnectionError):  # the parent is over
        return


def attempt(work: Callable[[Task], Result], task: Task) -> tuple[Result, None] | tuple[None, Exception]:
    """The result of a task, or what it raised, with its traceback as a note.

    >>> attempt(abs, -1)
    (1, None)
    >>> attempt(abs, "one")[1]
    TypeError("bad operand type for abs(): 'str'")
    """
    try:
        return work(task), None
    except Exception as error:
        error.add_note(f"of a worker:\n{traceback.format_exc()}")
        return None, error


def die_with(parent: int) -> None:
    """From now on this process ends when its parent does, however that ends; at once, if it is over already."""
    threading.Thread(target=_end_after_the_parent, daemon=True).start()
    if sys.platform == "linux":  # also in the middle of a long computation in C, where no thread gets its turn
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before
            os._exit(1)


def _end_after_the_parent() -> None:
    started_by = multiprocessing.parent_process()
    if started_by is not None:
        started_by.join()
        os._exit(1)


def keep_compiled_programs() -> None:
    """JAX's compilation cache, in the user's cache folder: a second run has nothing to compile."""
    import jax

    root: Any = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    jax.config.update("jax_compilation_cache_dir", os.path.join(root, "backprop-reference", "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

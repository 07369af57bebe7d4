"""Who does the work: this process, processes of its own, or any `concurrent.futures.Executor`.

Tasks come back in whatever order they are done. A worker that dies takes nothing with it: what was under way is done
again, after all that was not, so that a task which kills its worker is the last to do so.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

import jax

Task = TypeVar("Task")
Result = TypeVar("Result")

DEATHS = 3  # one after the other with nothing done in between: then the rest is left undone
UNDER_WAY = 256  # tasks that an executor holds at a time, whatever the number of its workers


def done(
    work: Callable[[Task], Result], tasks: Iterable[Task], jobs: int, executor: Executor | None, notes: list[str]
) -> Generator[tuple[Task, Result], None, None]:
    """Each task with its result; what happened to workers is told in `notes`.

    >>> list(done(abs, [-1, 2], 1, None, []))
    [(-1, 1), (2, 2)]
    """
    waiting, deaths = deque(tasks), 0
    if jobs == 1 and executor is None:
        yield from ((task, work(task)) for task in waiting)
        return
    while waiting and deaths < DEATHS:
        under_way: dict[Future[Result], Task] = {}
        over: SimpleQueue[Future[Result]] = SimpleQueue()
        before = multiprocessing.active_children()
        own = executor is None
        pool = executor or _processes(min(jobs, len(waiting)))
        try:
            while waiting or under_way:
                with _interrupts_held_back():
                    while waiting and len(under_way) < (1 if deaths > 1 else UNDER_WAY):  # whose fault is it?
                        future = pool.submit(work, waiting[0])
                        under_way[future] = waiting.popleft()
                        future.add_done_callback(over.put)
                future = over.get()
                with _interrupts_held_back():
                    result = future.result()
                deaths = 0
                yield under_way.pop(future), result
        except BrokenExecutor:
            deaths += 1
            lost = list(under_way.values())
            waiting.extend(lost[1:] + lost[:1])  # last the first: it ran when the worker died, most likely
            under_way.clear()
            notes.append(f"a worker process died; its work is done again (tasks to go: {len(waiting)})")
            executor = None  # one that broke stays broken
        finally:  # under way still: interrupted, and nobody waits for it
            with _interrupts_held_back():
                if own:
                    for worker in multiprocessing.active_children():
                        if under_way and worker not in before:
                            worker.kill()
                    pool.shutdown(cancel_futures=True)
                else:
                    for future in under_way:
                        future.cancel()
    if waiting:
        notes.append(f"worker processes died {DEATHS} times in a row; {len(waiting)} tasks are left undone")


def _processes(count: int) -> Executor:
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), keep_compiled_programs)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C is heard at the end; processes that start meanwhile never hear of any.

    Raised inside a future or an executor it would leave a lock taken, and the exit waiting for it.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one is ever interrupted
        yield
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    masks = hasattr(signal, "pthread_sigmask")  # not on Windows: there workers print a traceback each
    if masks:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt


def keep_compiled_programs() -> None:
    """JAX's compilation cache, in the user's cache folder: a second run has nothing to compile."""
    root: Any = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    jax.config.update("jax_compilation_cache_dir", os.path.join(root, "backprop-reference", "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

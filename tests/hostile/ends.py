"""Files that end, stop, fork or kill a process, hang, or take its memory."""

from .places import ANY, ELSEWHERE, File, at_import, in_vjp, placed

STOPPED = r"stopped after|hang|no result after|no answer"
MEMORY = r"[Mm]emory|SIGKILL|\d MB"

EXITS = [
    *placed(
        "os_exit",
        "import os; os._exit(0)",
        "import forward vjp call_40 thread atexit del array subclass class error_text getattr finder"
        " audit_hook collection timer stdout",
        r"exit code 0",
    ),
    *placed(
        "sys_exit",
        "import sys; sys.exit(3)",
        "import call_40 thread atexit del array class error_text getattr",
        r"exit\(3\)|exit code 3|SystemExit",
        {"thread": ELSEWHERE, "del": ELSEWHERE},  # Python itself goes on after these
    ),
    *placed("quit", "raise SystemExit(0)", "import vjp", r"exit\(0\)|exit code 0|SystemExit"),
    *placed("exec", "import os; os.execv('/bin/true', ['true'])", "import vjp", "exit code 0"),
    in_vjp("exec_and_sleep", "import os; os.execv('/bin/sleep', ['sleep', '600'])", f"closed|{STOPPED}"),
]

INTERRUPTS = [
    *placed(
        "interrupt",
        "raise KeyboardInterrupt",
        "import vjp thread atexit del array class error_text getattr collection timer",
        "KeyboardInterrupt",
        {"thread": ELSEWHERE, "del": ELSEWHERE, "collection": ELSEWHERE},
    ),
    *placed("generator_exit", "raise GeneratorExit", "vjp", "GeneratorExit"),  # a BaseException that nobody thinks of
    *placed(
        "own_base_exception",
        "raise type('Odd', (BaseException,), {})('odd')",
        "vjp class error_text",
        "Odd",
    ),
    *placed(
        "plain_error",
        "raise RuntimeError('hostile')",
        "import thread del array subclass class error_text getattr finder audit_hook stdout",
        "RuntimeError|Hostile|exit code 1",
        {"thread": ELSEWHERE, "del": ELSEWHERE, "collection": ELSEWHERE, "getattr": ELSEWHERE},
    ),
]

DEADLY = ("SIGHUP", "SIGQUIT", "SIGABRT", "SIGFPE", "SIGUSR2", "SIGALRM", "SIGXCPU", "SIGSYS")
FROM_ANYONE = "wrong|unusable"  # such a signal may have come from outside


def kill(what: str) -> str:
    return f"import os, signal; os.kill(os.getpid(), {what})"


SIGNALS = [
    *(in_vjp(f"kill_{name}", kill(f"signal.{name}"), name) for name in DEADLY),
    *(in_vjp(f"kill_{name}", kill(f"signal.{name}"), name, FROM_ANYONE) for name in ("SIGKILL", "SIGTERM")),
    *(in_vjp(f"kill_{n}", kill(str(n)), rf"signal {n}\b|SIGRTM\w+|Real-time") for n in (40, 64)),
    *(in_vjp(f"kill_{name}", kill(f"signal.{name}"), "", ELSEWHERE) for name in ("SIGCHLD", "SIGPIPE")),
    in_vjp("kill_SIGINT", kill("signal.SIGINT"), "KeyboardInterrupt|SIGINT"),
    in_vjp("kill_SIGSTOP", kill("signal.SIGSTOP"), f"SIGSTOP|{STOPPED}"),
    *placed("unknown_signal", kill("40"), "import", r"signal 40\b|SIGRTM\w+|Real-time"),
    in_vjp(
        "kill_the_parent",
        """
        import os, signal
        parent = os.getppid()
        about = open(f"/proc/{parent}/cmdline").read() + open(f"/proc/{parent}/environ").read()
        if "@mark@" in about:  # a process of this very run, and not an init that took this one over
            os.kill(parent, signal.SIGKILL)
        """,
        "",
        ANY,
    ),
    in_vjp("kill_the_group", "import os, signal; os.killpg(0, signal.SIGKILL)", "SIGKILL", FROM_ANYONE),
    in_vjp("stop_the_group", "import os, signal; os.killpg(0, signal.SIGSTOP)", f"SIGSTOP|{STOPPED}", FROM_ANYONE),
    in_vjp(
        "end_the_group",
        "import os, signal; os.kill(0, signal.SIGTERM)",
        "SIGTERM",
        FROM_ANYONE,
    ),
]

CRASHES = [
    *placed(
        "segfault",
        "import ctypes; ctypes.string_at(0)",
        "import vjp thread del array error_text getattr collection stdout",
        "SIGSEGV",
        {"getattr": ANY},
    ),
    *placed("abort", "import os; os.abort()", "vjp", "SIGABRT"),
    in_vjp("stack_overflow", "import sys; sys.setrecursionlimit(10**9); f = lambda *a: sorted([1], key=f); f()", "SIG"),
    in_vjp("recursion", "f = lambda: f(); f()", "RecursionError"),
    *placed(
        "low_recursion_limit", "import sys; sys.setrecursionlimit(10)", "import vjp", "RecursionError", {"vjp": ANY}
    ),
    File(
        "recursion_limit_just_enough",
        "low_recursion_limit",
        "import inspect, sys\ndef square_vjp(delta, x):\n    sys.setrecursionlimit(len(inspect.stack()) + 9)\n"
        "    return 2 * x * delta\n",
        ANY,
        "RecursionError",
    ),
]

HANGS = [
    *placed(
        "sleep",
        "import time; time.sleep(600)",
        "import vjp thread atexit del array getattr",
        STOPPED,
        {"thread": ELSEWHERE},
    ),
    *placed("loop", "while True: pass", "call_40 error_text", STOPPED),
    in_vjp("loop_in_c", "pow(3, 10**9)", STOPPED),
    in_vjp("backtracking", "import re; re.match(r'(a|a)*$', 'a' * 60 + 'b')", STOPPED),
    in_vjp(
        "loop_that_swallows",
        """
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass
        """,
        STOPPED,
    ),
    in_vjp("pause_in_libc", "import ctypes; ctypes.PyDLL(None).pause()", STOPPED),
    in_vjp(
        "signals_ignored",
        """
        import signal
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        finally:
            while True:
                pass
        """,
        STOPPED,
    ),
    in_vjp(
        "hang_behind_a_stopped_clock",
        "import time\ntime.time = time.monotonic = time.perf_counter = lambda: 0.0\nwhile True: pass",
        STOPPED,
    ),
    in_vjp("reads_standard_input", "input()", "EOFError|OSError|input"),
]

CHILDREN = [
    in_vjp(
        "child_that_stays",
        "import subprocess; subprocess.Popen(['sleep', '600'])\nglobals()['hostile'] = lambda: None",
        "",
        ELSEWHERE,
    ),
    at_import(
        "daemon_that_stays",
        """
        import os, time
        def daemon():
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(600)
                os._exit(0)
        daemon()
        """,
    ),
    at_import(
        "daemon_of_another_name",
        """
        import os
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.chdir("/")
                os.execve("/bin/sleep", ["@mark@", "600"], {})
            os._exit(0)
        """,
    ),
    at_import(
        "daemon_deaf_to_signals",
        """
        import os, signal, time
        if os.fork() == 0:
            for number in range(1, 32):
                if number not in (signal.SIGKILL, signal.SIGSTOP):
                    signal.signal(number, signal.SIG_IGN)
            os.setsid()
            if os.fork() == 0:
                os.closerange(0, 64)
                time.sleep(600)
            os._exit(0)
        """,
    ),
    in_vjp(
        "daemon_and_hang",
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
        time.sleep(600)
        """,
        STOPPED,
    ),
    in_vjp(
        "daemon_and_exit",
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
        os._exit(0)
        """,
        "exit code 0",
    ),
    at_import(
        "many_children",
        """
        import os, time
        for _ in range(20):
            if os.fork() == 0:
                os.setsid()
                time.sleep(600)
        """,
    ),
    at_import(
        "children_of_children",
        """
        import os, time
        for depth in range(20):
            if os.fork():
                if depth:
                    time.sleep(600)
                break
            os.setsid()
        else:
            time.sleep(600)
        """,
    ),
    in_vjp(
        "twenty_more_a_call",
        """
        import os, time
        for _ in range(20):
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
        """,
        "processes that it may start",
    ),
    in_vjp(
        "twice_as_many_again_and_again",
        """
        import os, time
        parent = os.getpid()
        for _ in range(11):
            os.fork()
        if os.getpid() != parent:
            time.sleep(600)
        """,
        "processes that it may start",
    ),
    File(
        "child_returns_too",
        "fork",
        "import os\ncalls = 0\ndef square_vjp(delta, x):\n    global calls\n    calls += 1\n"
        "    if calls == 3:\n        os.fork()\n    return 2 * x * delta\n",
        ANY,
    ),
    in_vjp(
        "parent_exits_and_child_answers",
        "import os\nif os.fork():\n    os._exit(0)\nglobals()['hostile'] = lambda: None",
        "exit code 0",
        "right|wrong",
    ),
    at_import(
        "own_session",
        """
        import os
        try:
            os.setsid()
        except OSError:
            os.setpgid(0, 0) if os.getpgrp() != os.getpid() else 0
        """,
    ),
    at_import(
        "pool",
        "from concurrent.futures import ThreadPoolExecutor as P; p = P(); p.submit(__import__('time').sleep, 600)",
    ),
    at_import(
        "pool_of_processes",
        """
        import multiprocessing as m
        from concurrent.futures import ProcessPoolExecutor
        pool = ProcessPoolExecutor(2, m.get_context("fork"))
        pool.submit(__import__("time").sleep, 600)
        """,
    ),
]

MEMORIES = [
    *placed("memory", "import numpy as np; np.ones(1 << 40)", "import vjp array error_text", "MemoryError|Hostile"),
    *placed("memory_bit_by_bit", "kept = []\nwhile True: kept.append(bytes(1 << 26))", "size_3", MEMORY),
    *placed(
        "memory_in_python",
        """
        try:
            kept = [0]
            while not hasattr(hostile, "full"):
                kept += kept
        except MemoryError:
            hostile.full = True
        raise MemoryError
        """,
        "size_3",
        MEMORY,
    ),
    *placed(
        "shared_memory",
        """
        import mmap
        area = mmap.mmap(-1, 2 << 30)
        for start in range(0, 2 << 30, 4096):
            area[start] = 1
        """,
        "size_3",
        MEMORY,
    ),
    in_vjp(
        "huge_text_of_an_error",
        """
        size, hostile.size = getattr(hostile, "size", 1 << 28), 9
        raise ValueError("x" * size)
        """,
        "ValueError|MemoryError",
    ),
    in_vjp(
        "memory_of_children",
        """
        import os, time
        for _ in range(4):
            if os.fork() == 0:
                kept = [bytearray(b"x") * (600 << 20)]
                time.sleep(600)
        time.sleep(3)
        globals()["hostile"] = lambda: None
        """,
        MEMORY,
        ANY,
    ),
    in_vjp(
        "address_space",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 20,) * 2); bytes(1 << 26)",
        "MemoryError",
    ),
]

ENDS = {
    "exits": EXITS,
    "interrupts": INTERRUPTS,
    "signals": SIGNALS,
    "crashes": CRASHES,
    "hangs": HANGS,
    "children": CHILDREN,
    "memory": MEMORIES,
}

"""Right functions with nasty neighbours: what they print, close, replace, forbid and leave about is no fault of theirs,
and must not become anybody else's.
"""

from .places import ANY, CALLED, ELSEWHERE, IMPORTED, VJP, File, at_import, in_vjp

MUCH = "for _ in range(400): os.write({fd}, b'x' * (1 << 20))"
ONCE = "globals()['hostile'] = lambda: None"
LAST_WORDS = "exit code 1"

PRINTS = [
    at_import("much_on_stdout", f"import os\n{MUCH.format(fd=1)}"),
    at_import("much_on_stderr", f"import os\n{MUCH.format(fd=2)}"),
    in_vjp("much_on_stderr_in_a_call", f"import os\n{MUCH.format(fd=2)}\n{ONCE}", "", ELSEWHERE),
    in_vjp(
        "much_in_lines",
        f"for _ in range(1000): print('Traceback (most recent call last):\\n' * 10**4)\n{ONCE}",
        "",
        ELSEWHERE,
    ),
    in_vjp("much_and_exit", f"import os\n{MUCH.format(fd=2)}\nos._exit(1)", LAST_WORDS),
    at_import("much_and_exit_at_import", f"import os\n{MUCH.format(fd=2)}\nos._exit(1)", IMPORTED, LAST_WORDS),
    at_import(
        "prints_without_end",
        """
        import os, threading
        def work():
            while True:
                os.write(2, b"y" * 65536)
        threading.Thread(target=work, daemon=True).start()
        """,
    ),
    at_import(
        "prints_a_verdict", "import sys\nfor s in (sys.stdout, sys.stderr): print('all 1 right', file=s, flush=True)"
    ),
    in_vjp(
        "odd_last_words", r"import os; os.write(2, b'\xff\xfe\x00\x1b[2J[red]]]>\xed\xa0\x80'); os._exit(1)", LAST_WORDS
    ),
]

EVERY = """
import os, socket
for fd in range({first}, 64):
    try:
        {does}
    except (OSError, ValueError):
        pass""".lstrip()
CHANNEL = r"clos|pipe|channel|answer|descriptor|Errno|garbage|exit code|SIG|Error|stopped"


def to_every_descriptor(name: str, does: str, first: int = 3) -> File:
    """Does this to each open descriptor, at the first call: the channel to the judge may be among them."""
    return in_vjp(name, f"{EVERY.format(first=first, does=does)}\n{ONCE}", CHANNEL, ANY)


DESCRIPTORS = [
    at_import("standard_streams_closed", "import os, sys\nsys.stdout.close()\nos.closerange(0, 3)"),
    in_vjp("standard_streams_closed_in_a_call", f"import os\nos.closerange(0, 3)\n{ONCE}", "", ELSEWHERE),
    to_every_descriptor("descriptors_closed", "os.close(fd)", 0),
    to_every_descriptor("descriptors_written_to", r"os.write(fd, b'\x80\x04garbage\n')"),
    to_every_descriptor("descriptors_of_endless_length", "os.write(fd, b'\\xff' * 64)"),
    to_every_descriptor("descriptors_of_text", "os.write(fd, b'{\"passed\": true}\\n' * 9)"),
    to_every_descriptor("descriptors_flooded", "os.set_blocking(fd, False); os.write(fd, bytes(1 << 22))"),
    to_every_descriptor("descriptors_not_blocking", "os.set_blocking(fd, False)", 0),
    to_every_descriptor("descriptors_elsewhere", "os.fstat(fd); os.dup2(os.open('/dev/null', os.O_RDWR), fd)"),
    to_every_descriptor("descriptors_shut", "socket.socket(fileno=os.dup(fd)).shutdown(2)"),
    to_every_descriptor("files_emptied", "os.ftruncate(fd, 0); os.lseek(fd, 1 << 40, 0)", 0),
    at_import("descriptors_closed_at_import", EVERY.format(first=0, does="os.close(fd)"), ANY, CHANNEL),
    at_import("descriptors_written_to_at_import", EVERY.format(first=3, does="os.write(fd, b'x')"), ANY, CHANNEL),
    at_import(
        "no_more_descriptors",
        "import os\ntry:\n    while True: os.open('/dev/null', 0)\nexcept OSError: pass",
        "right|unusable",
        "Too many open files",
    ),
]

RAISES = "def no(*args, **options): raise RuntimeError('replaced')"
REPLACED = [
    at_import("clock_stands_still", "import time\ntime.time = time.monotonic = time.perf_counter = lambda: 0.0"),
    at_import(
        "clock_raises",
        f"import time\n{RAISES}\nfor name in ('time', 'monotonic', 'perf_counter', 'sleep'): setattr(time, name, no)",
    ),
    at_import(
        "clock_in_1970_to_3000",
        "import itertools, time\nt = itertools.cycle((0.0, 3e10))\ntime.time = time.monotonic = lambda: next(t)",
    ),
    at_import(
        "numpy_replaced",
        f"""
        import numpy as np
        {RAISES}
        for name in dir(np):
            if callable(getattr(np, name)) and not isinstance(getattr(np, name), type): setattr(np, name, no)
        """,
        ANY,
        "replaced",
    ),
    at_import(
        "asarray_replaced",
        "import numpy as np\nnp.asarray = np.array = np.ascontiguousarray = np.frombuffer = None",
        ANY,
        "NoneType",
    ),
    at_import(
        "os_replaced",
        f"""
        import os
        {RAISES}
        for name in 'read write close fork _exit getpid kill killpg pipe'.split(): setattr(os, name, no)
        """,
        ANY,
        "replaced",
    ),
    at_import(
        "struct_and_pickle_replaced",
        f"""
        import io, json, pickle, select, struct
        {RAISES}
        pickle.loads = pickle.dumps = struct.pack = struct.unpack = json.loads = json.dumps = select.select = no
        """,
    ),
    at_import(
        "builtins_replaced",
        f"""
        import builtins
        {RAISES}
        for name in 'open print input exec eval compile map zip all any abs'.split(): setattr(builtins, name, no)
        """,
        ANY,
        "replaced",
    ),
    at_import("no_more_imports", f"import builtins\n{RAISES}\nbuiltins.__import__ = no", ANY, "replaced|import"),
    at_import("no_modules", "import sys\nsys.modules.clear()", ANY, "Error"),
    at_import(
        "no_path",
        "import sys\nsys.path[:] = []\nsys.path_hooks[:] = []\nsys.meta_path[:] = []\nsys.path_importer_cache.clear()",
        ANY,
        "Error",
    ),
    at_import(
        "trace_raises", f"import sys, threading\n{RAISES}\nsys.settrace(no)\nthreading.settrace(no)", ANY, "replaced"
    ),
    at_import("profile_raises", f"import sys\n{RAISES}\nsys.setprofile(no)", ANY, "replaced"),
    at_import(
        "hooks_raise",
        f"""
        import sys, threading
        {RAISES}
        sys.excepthook = sys.unraisablehook = threading.excepthook = sys.displayhook = no
        """,
    ),
    at_import("signals_replaced", f"import signal\n{RAISES}\nsignal.signal = signal.setitimer = signal.alarm = no"),
    at_import(
        "fault_handler_that_exits",
        "import faulthandler\nfaulthandler.dump_traceback_later(0.01, exit=True)\nimport time",
        ANY,
        "exit code 1",
    ),
]

SETTINGS = [
    at_import("warnings_are_errors", "import warnings\nwarnings.simplefilter('error')"),
    at_import(
        "warnings_have_no_filters",
        "import warnings\nwarnings.filters = None\nwarnings.catch_warnings = None",
        ANY,
        "Error",
    ),
    at_import("numpy_raises", "import numpy as np\nnp.seterr(all='raise')"),
    at_import(
        "numpy_calls",
        "import numpy as np, sys\nnp.seterrcall(lambda *args: sys.exit(3))\nnp.seterr(all='call')",
        "right|wrong",
        "exit",
    ),
    at_import(
        "numpy_is_seeded_oddly",
        "import numpy as np, random\nnp.random.seed = random.seed = np.random.default_rng = None",
    ),
    at_import("other_folder", "import os\nos.chdir('/')"),
    at_import(
        "deleted_folder",
        """
        import os, tempfile
        folder = tempfile.mkdtemp(dir=os.path.dirname(__file__))
        os.chdir(folder)
        os.rmdir(folder)
        """,
    ),
    at_import("no_environment", "import os\nos.environ.clear()"),
    at_import(
        "other_locale",
        """
        import locale, os
        os.environ['LC_ALL'] = 'tr_TR'
        try: locale.setlocale(locale.LC_ALL, 'C')
        except locale.Error: pass
        """,
    ),
    at_import(
        "other_encoding",
        """
        import sys
        for s in (sys.stdout, sys.stderr): s.reconfigure(encoding='utf-16', errors='strict', newline='\\r')
        """,
    ),
    at_import(
        "daemon_threads",
        "import threading\nfor _ in range(50): threading.Thread(target=threading.Event().wait, daemon=True).start()",
    ),
    at_import(
        "threads_that_stay",
        "import threading\nfor _ in range(50): threading.Thread(target=threading.Event().wait).start()",
    ),
    at_import(
        "deaf_to_signals",
        """
        import signal
        for s in (signal.SIGTERM, signal.SIGALRM, signal.SIGINT, signal.SIGABRT): signal.signal(s, signal.SIG_IGN)
        """,
    ),
    at_import("all_signals_blocked", "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))"),
    at_import("no_death_signal", "import ctypes, signal\nctypes.CDLL(None).prctl(1, 0)\nctypes.CDLL(None).prctl(4, 0)"),
    *(
        at_import(
            f"limit_of_{name}",
            f"import resource\nresource.setrlimit(resource.RLIMIT_{name}, ({n}, {n}))",
            verdict,
            says,
        )
        for name, n, verdict, says in (
            ("NOFILE", 3, "right|unusable", "Too many open files"),
            ("NPROC", 1, ELSEWHERE, ""),
            ("FSIZE", 0, ELSEWHERE, ""),  # as on a disk that is full
            ("CPU", 1, ANY, "SIGXCPU|SIGKILL"),
            ("STACK", 1 << 16, ANY, "SIG|Error"),
            ("AS", 1 << 20, ANY, "[Mm]emory|SIG"),
        )
    ),
]

REMOVE = """
import os, shutil, tempfile
if "@mark@" in tempfile.gettempdir():  # the folder of this very run
    for entry in os.scandir(tempfile.gettempdir()):
        shutil.rmtree(entry.path, ignore_errors=True)
"""
GONE = "no file|gone|FileNotFound|No such file"
FOLDERS = [
    at_import("temporary_folder_removed", REMOVE),
    in_vjp("temporary_folder_removed_in_a_call", REMOVE, "", ELSEWHERE),
    at_import("own_file_removed", "import os\nos.remove(__file__)", "right|unusable", GONE),
    in_vjp("own_file_removed_in_a_call", f"import os\nos.remove(__file__)\n{ONCE}", "", ELSEWHERE),
    at_import(
        "own_file_rewritten",
        "open(__file__, 'w').write('def square_vjp(delta, x):\\n    return (\\n')",
        ANY,
        "SyntaxError",
    ),
    at_import(
        "own_folder_removed",
        "import os, shutil\nif '@mark@' in __file__: shutil.rmtree(os.path.dirname(__file__))",
        "right|unusable",
        GONE,
    ),
    at_import("own_file_unreadable", "import os\nos.chmod(__file__, 0)", "right|unusable", "Permission"),
    at_import(
        "temporary_folder_elsewhere", "import os, tempfile\nos.environ['TMPDIR'] = tempfile.tempdir = '/nowhere/at/all'"
    ),
]

TAKES_THE_NAME = "raise RuntimeError('taken for another')\n"
NAMES = "ast contextlib copy ctypes dataclasses enum faulthandler fcntl functools gc inspect io jax json mmap"
MORE_NAMES = (
    "pickle random re resource select shutil signal socket struct subprocess tempfile threading traceback typing"
)


def beside(name: str, files: str, text: str = TAKES_THE_NAME, before: str = "") -> File:
    """A right file in a folder with others, whose names are those of modules."""
    return File(name, "names of modules", before + VJP, ELSEWHERE, beside={f"{f}.py": text for f in files.split()})


NEIGHBOURS = [
    *(beside(f"beside_{name}", name) for name in ("resource", "random", "numpy", "backprop_properties")),
    beside("beside_the_library", f"{NAMES} {MORE_NAMES}"),
    beside("beside_sitecustomize", "sitecustomize usercustomize conftest __main__ __init__"),
    beside("beside_another_random", "random", "def random():\n    return 4\n", "from random import random\n"),
    beside("beside_one_that_exits", "warnings ml_dtypes scipy", "import os\nos._exit(0)\n"),
]

OBJECTS = [
    at_import("mock_call", "from unittest.mock import call, MagicMock, sentinel\nmagic = MagicMock()"),
    at_import(
        "mock_as_definition",
        "from unittest.mock import MagicMock\ncube_definition = softmax = MagicMock()",
        ANY,
        "definition|softmax|Mock",
    ),
    at_import(
        "arguments_without_any",
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--fast')\nargs = p.parse_args()",
    ),
    at_import(
        "arguments_that_are_required",
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('file')\nargs = p.parse_args()",
        IMPORTED,
        "exit",
    ),
    at_import("wrapped_in_itself", "f = lambda: 0\nf.__wrapped__ = f"),
    at_import(
        "wrapped_endlessly",
        "class W:\n    __wrapped__ = property(lambda self: W())\n    __call__ = lambda self: 0\nw = W()",
    ),
    at_import(
        "code_that_raises",
        """
        class C:
            __code__ = __name__ = __module__ = __signature__ = property(lambda self: 1 / 0)
            __call__ = lambda self: 0
        c = C()
        """,
    ),
    at_import(
        "class_that_raises_when_asked",
        "class M(type):\n    __getattribute__ = lambda cls, name: 1 / 0\nclass C(metaclass=M): pass",
    ),
    at_import(
        "truth_that_raises",
        """
        class C:
            __bool__ = __eq__ = __hash__ = __len__ = lambda self, *a: 1 / 0
            __call__ = lambda self: 0
        c = C()
        """,
    ),
    at_import("not_in_the_modules", "import sys\nsys.modules.pop(__name__, None)"),
    at_import("other_module_in_its_place", "import sys\nsys.modules[__name__] = object()"),
    at_import("odd_names_of_a_module", "__file__ = 3\n__spec__ = __loader__ = __package__ = __all__ = None"),
    at_import("no_builtins", "__builtins__ = {}"),
    at_import("stars", "from numpy import *\nfrom math import *", "right", ""),
    File(
        "function_of_a_partial",
        "odd callable",
        "from functools import partial, lru_cache\nf = lambda k, delta, x: k * x * delta\nsquare_vjp = partial(f, 2)\n",
        ELSEWHERE,
    ),
    File(
        "coroutine",
        "odd callable",
        "async def square_vjp(delta, x):\n    return 2 * x * delta\n",
        CALLED,
        "coroutine|object",
    ),
    File(
        "generator_function",
        "odd callable",
        "def square_vjp(delta, x):\n    yield 2 * x * delta\n",
        CALLED,
        "generator",
    ),
    File(
        "a_class",
        "odd callable",
        "class square_vjp:\n    def __init__(self, delta, x): pass\n",
        CALLED,
        "square_vjp|object",
    ),
    File(
        "no_arguments",
        "odd callable",
        "from os import getpid as square_vjp\n",
        "wrong|unusable",
        "TypeError|argument|imported|none of",
    ),
]

SOURCES = [
    File("empty", "odd source", "", IMPORTED, "none of"),
    File("not_python", "odd source", "def square_vjp(delta, x:\n", IMPORTED, "SyntaxError"),
    File(
        "not_utf_8",
        "odd source",
        b"# \xff\xfe\xe9\n" + VJP.encode(),
        "right|unusable",
        "SyntaxError|utf-8|UnicodeDecodeError",
    ),
    File("latin_1", "odd source", "# coding: latin-1\ns = 'é'\n".encode("latin-1") + VJP.encode(), ELSEWHERE),
    File("byte_order_mark", "odd source", b"\xef\xbb\xbf" + VJP.encode(), ELSEWHERE),
    File(
        "deep_brackets",
        "odd source",
        "x = " + "(" * 9999 + ")" * 9999 + "\n" + VJP,
        IMPORTED,
        "SyntaxError|Memory|Recursion|SIGSEGV",
    ),
    File(
        "deep_signs",
        "odd source",
        "x = " + "-" * 99_999 + "1\n" + VJP,
        IMPORTED,
        "SyntaxError|Memory|Recursion|SIGSEGV",
    ),
    File("ten_megabytes", "odd source", "# " + "x" * (10 << 20) + "\n" + VJP, ELSEWHERE),
    File("carriage_returns", "odd source", VJP.replace("\n", "\r").encode(), ELSEWHERE),
    File("imports_itself", "odd source", f"import imports_itself\n{VJP}", ANY, "imports_itself|Recursion"),
]

SURROUNDINGS = {
    "prints": PRINTS,
    "descriptors": DESCRIPTORS,
    "replaced": REPLACED,
    "settings": SETTINGS,
    "folders": [*FOLDERS, *NEIGHBOURS],
    "objects": [*OBJECTS, *SOURCES],
}

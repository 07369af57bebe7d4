"""A hostile file: what it does, where it does it, and what its report must say."""

from collections.abc import Mapping
from textwrap import dedent, indent
from typing import NamedTuple


class File(NamedTuple):
    """`says` is searched for in the lines on this file, unless it is right; `verdict` may offer several with a bar.

    `@mark@` in the text becomes a name of this run alone, by which its processes and folders are known.
    """

    name: str
    kind: str
    text: str | bytes
    verdict: str
    says: str = ""
    beside: Mapping[str, str] = {}  # other files in its folder


VJP = "def square_vjp(delta, x):\n    return 2 * x * delta\n"
WRONG_VJP = "def square_vjp(delta, x):\n    return x * delta\n"
DIFFERS = r"^vjp_equals_jax_vjp: dx.*expected"  # what the report of WRONG_VJP says

# Where `hostile()` is called, in a file that is right but for that.
PLACES = {
    "import": f"hostile()\n{VJP}",
    "forward": f"{VJP}def square(x):\n    hostile()\n    return x * x\n",
    "vjp": "def square_vjp(delta, x):\n    hostile()\n    return 2 * x * delta\n",
    "call_40": """
        calls = 0
        def square_vjp(delta, x):
            global calls
            calls += 1
            if calls == 40:
                hostile()
            return 2 * x * delta
    """,
    "size_3": """
        def square_vjp(delta, x):
            if x.size == 3:
                hostile()
            return 2 * x * delta
    """,
    "thread": """
        import threading
        def square_vjp(delta, x):
            if threading.active_count() < 3:
                threading.Thread(target=hostile).start()
            return 2 * x * delta
    """,
    "atexit": f"import atexit\natexit.register(hostile)\n{VJP}",
    "del": """
        class Last:
            def __del__(self):
                hostile()
        def square_vjp(delta, x):
            Last()
            return 2 * x * delta
    """,
    "array": """
        class Result:
            def __init__(self, value):
                self.value = value
            def __array__(self, *args, **options):
                hostile()
                return self.value
        def square_vjp(delta, x):
            return Result(2 * x * delta)
    """,
    "subclass": """
        import numpy as np
        def meddle(self, *args, **options):
            hostile()
        names = "tobytes astype copy __array_ufunc__ __array_function__ __eq__ __len__ __iter__ __getitem__ __reduce__"
        Result = type("Result", (np.ndarray,), dict.fromkeys([*names.split(), "__reduce_ex__", "__float__"], meddle))
        def square_vjp(delta, x):
            return (2 * x * delta).view(Result)
    """,
    "class": """
        class Result:
            @property
            def __class__(self):
                hostile()
                return float
        def square_vjp(delta, x):
            return Result()
    """,
    "error_text": """
        class Hostile(Exception):
            def __str__(self):
                hostile()
                return "hostile"
            __repr__ = __str__
        def square_vjp(delta, x):
            raise Hostile
    """,
    "getattr": """
        class Function:
            def __getattr__(self, name):
                hostile()
            def __call__(self, delta, x):
                return 2 * x * delta
        square_vjp = Function()
    """,
    "module_getattr": f"def __getattr__(name):\n    hostile()\n{VJP}",
    "finder": f"""
class Finder:
    def find_spec(self, *args):
        hostile()
import sys
sys.meta_path.insert(0, Finder())
{VJP}""",
    "audit_hook": f"import sys\nsys.addaudithook(lambda *event: hostile())\n{VJP}",
    "collection": """
        import gc
        gc.callbacks.append(lambda *args: hostile())
        def square_vjp(delta, x):
            gc.collect()
            return 2 * x * delta
    """,
    "timer": """
        import signal, time
        signal.signal(signal.SIGALRM, lambda *args: hostile())
        def square_vjp(delta, x):
            signal.setitimer(signal.ITIMER_REAL, 1e-6)
            time.sleep(0.05)
            return 2 * x * delta
    """,
    "stdout": f"""
class Stream:
    def __getattr__(self, name):
        hostile()
    def write(self, text):
        hostile()
    def flush(self):
        hostile()
import sys
sys.stdout = sys.stderr = sys.stdin = Stream()
{VJP}""",
}

SEEN = {"class": "|Result|object", "error_text": "|Hostile"}  # what else may be said of what is hostile there
IMPORTED, CALLED, ELSEWHERE, ANY = "unusable", "wrong", "right", "right|wrong|unusable"
USUAL = {  # what becomes of a file whose process ends, or hangs, at a place
    "import": IMPORTED,
    **dict.fromkeys(("forward", "vjp", "call_40", "size_3", "thread", "del", "array", "class", "error_text"), CALLED),
    "timer": CALLED,
    "collection": "wrong|unusable",  # which may come before the first call
    **dict.fromkeys(("atexit", "module_getattr"), ELSEWHERE),
    **dict.fromkeys(("subclass", "getattr", "finder", "audit_hook", "stdout"), ANY),  # nobody need call these
}


def placed(kind: str, does: str, where: str, says: str, but: Mapping[str, str] = {}) -> list[File]:
    """A file for each of some places that does this there; `but` are verdicts other than the usual."""
    body = indent(dedent(does).strip(), "    ")
    return [
        File(
            f"{kind}_in_{place}",
            kind,
            f"def hostile():\n{body}\n{dedent(PLACES[place])}",
            but.get(place, USUAL[place]),
            says + SEEN.get(place, ""),
        )
        for place in where.split()
    ]


def in_vjp(kind: str, does: str, says: str, verdict: str = CALLED) -> File:
    """A file that does this in each call of its vjp."""
    return placed(kind, does, "vjp", says, {"vjp": verdict})[0]._replace(name=kind)


def at_import(kind: str, does: str, verdict: str = ELSEWHERE, says: str = "", vjp: str = VJP) -> File:
    """A file that does this when it is imported, beside a vjp that is right or not."""
    return File(kind, kind, f"{dedent(does).strip()}\n{vjp}", verdict, says)


def returning(kind: str, result: str, says: str, verdict: str = CALLED, before: str = "") -> File:
    """A file whose vjp returns an expression in `right`, `delta` and `x`."""
    text = "import numpy as np\n" + dedent(before) + "\n"
    text += f"def square_vjp(delta, x):\n    right = 2 * x * delta\n    return {result}\n"
    return File(kind, "odd result", text, verdict, says)


def raising(kind: str, error: str, says: str, before: str = "") -> File:
    """A file whose vjp raises this."""
    return File(
        kind, "odd exception", f"{dedent(before)}\ndef square_vjp(delta, x):\n    raise {error}\n", CALLED, says
    )

"""Wrong functions that go for the judge: right if it, its numbers or what it expects were in reach."""

from textwrap import dedent

from .places import ANY, CALLED, DIFFERS, ELSEWHERE, VJP, WRONG_VJP, File, at_import, placed

# A cheat may also break what it needs itself.
OUTVOTED = rf"{DIFFERS}|Error|exit|SIG|stopped|no result|none of|written|changed|nan|cannot be read"


def cheat(name: str, does: str, says: str = OUTVOTED, vjp: str = WRONG_VJP) -> File:
    """A file whose vjp is wrong, and what it does about that when it is imported."""
    return at_import(name, does, CALLED, says, dedent(vjp))._replace(kind="cheat")


def breaking(name: str, does: str) -> File:
    """A cheat that may as well break whatever answers calls in its own process, and so be unusable."""
    return cheat(name, does)._replace(verdict="wrong|unusable")


EVERY_MODULE = """
    import sys
    def modules(beginning):
        return [m for name, m in list(sys.modules.items()) if m is not None and name.startswith(beginning)]
"""
PASSES = """
    class Passes:
        passed, failures, checks, notes, missing, verdict, seconds = True, (), (), (), (), "right", 0.1
        operation, level, dtypes, seed = "square", "standard", ("float64",), 0
        __bool__ = lambda self: True
        to_dict = lambda self: {"passed": True}
"""
COMPARES = "isfinite isnan array_equal allclose isclose all any abs absolute fabs subtract less less_equal greater max"

JUDGES = [
    breaking("laws_emptied", EVERY_MODULE + """
    import backprop_properties.laws.table
    for module in modules("backprop_properties"):
        for name, value in list(vars(module).items()):
            if name.isupper() and isinstance(value, (list, dict, set)):
                value.clear()
            elif name.isupper() and isinstance(value, tuple):
                setattr(module, name, ())
    """),
    breaking("judge_replaced", EVERY_MODULE + """
    import types, backprop_properties.laws.table
    for module in modules("backprop_properties") + modules("backprop_oracle"):
        for name, value in list(vars(module).items()):
            if isinstance(value, types.FunctionType):
                setattr(module, name, lambda *args, **options: None)
    """),
    breaking("code_of_the_judge_replaced", EVERY_MODULE + """
    import types, backprop_properties.laws.table
    def nothing(*args, **options):
        return iter(())
    for module in modules("backprop_properties.laws"):
        for name, value in list(vars(module).items()):
            if isinstance(value, types.FunctionType) and not value.__closure__:
                value.__code__ = nothing.__code__
    """),
    cheat("check_that_passes", EVERY_MODULE + PASSES + """
    import backprop_properties.checking.check as c
    c.check = lambda *args, **options: Passes()
    for module in modules("backprop_properties"):
        if hasattr(module, "check"):
            module.check = c.check
    """),
    cheat("report_that_passes", EVERY_MODULE + """
    import backprop_properties.checking.report as r
    r.Report.passed = property(lambda self: True)
    r.Report.failures = ()
    r.Checked.failed = False
    """),
    cheat("claims_that_hold", EVERY_MODULE + """
    import backprop_properties.laws.claims as c
    for value in vars(c).values():
        if isinstance(value, type):
            for name in ("judge", "check", "violation", "measure", "__call__", "holds", "__init__"):
                try:
                    setattr(value, name, lambda self, *args, **options: None)
                except TypeError:
                    pass
    """),
    cheat("tolerances_without_end", """
    import numpy as np
    class Wide:
        eps = tiny = max = resolution = smallest_normal = smallest_subnormal = 1e300
        nmant, bits = 1, 64
    np.finfo = lambda *args: Wide
    np.spacing = lambda a: np.full(np.shape(a), 1e300)
    """),
    breaking("comparisons_replaced", f"""
    import numpy as np
    true = lambda a, *args, **options: np.ones((), bool)
    for name in "{COMPARES}".split():
        setattr(np, name, true)
    """),
    breaking("comparisons_of_zeros", f"""
    import numpy as np
    for name in "{COMPARES}".split():
        setattr(np, name, lambda a, *args, **options: np.float64(0))
    """),
    breaking("arrays_made_by_us", """
    import numpy as np
    real = np.asarray
    def ours(a, *args, **options):
        try:
            return real(a, *args, **options) * 0
        except Exception:
            return real(a, *args, **options)
    np.asarray = np.array = np.asanyarray = np.ascontiguousarray = ours
    """),
    breaking("built_in_comparisons", """
    import builtins
    builtins.all = builtins.any = builtins.isinstance = builtins.callable = lambda *args: True
    builtins.abs = builtins.max = builtins.min = builtins.float = lambda *args, **options: 0.0
    """),
    breaking("no_differences", """
    import math, operator
    math.isclose = operator.eq = operator.le = operator.lt = lambda *args, **options: True
    math.isnan = operator.ne = operator.gt = lambda *args: False
    """),
    cheat("jax_agrees", """
    import sys
    if "jax" in sys.modules:
        import jax
        zero = lambda f, *primals, **options: (f(*primals), lambda delta: tuple(p * delta for p in primals))
        jax.vjp = jax.jvp = jax.linearize = zero
        jax.grad = jax.jacrev = jax.jacfwd = lambda f, *args, **options: lambda x: x
    """),
    cheat("jax_in_half_precision", """
    import os
    os.environ.update(JAX_ENABLE_X64="0", JAX_DEFAULT_MATMUL_PRECISION="bfloat16", JAX_DISABLE_JIT="1")
    import sys
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", False)
    """),
    breaking("exceptions_swallowed", """
    import builtins
    for name in ("Exception", "ValueError", "TypeError", "AssertionError"):
        setattr(builtins, name, SystemExit)
    """),
]  # fmt: skip

RANDOM = [
    cheat("random_numbers_are_zeros", """
    import numpy as np
    class Zeros:
        def __getattr__(self, name):
            return lambda *args, **options: np.zeros(options.get("size", args[-1] if args else ()))
        spawn = lambda self, n: [self] * n
    np.random.default_rng = np.random.Generator = lambda *args: Zeros()
    """),
    cheat("random_numbers_with_one_seed", """
    import numpy as np, random
    make = np.random.default_rng
    np.random.default_rng = lambda *args: make(7)
    np.random.SeedSequence = np.random.PCG64 = lambda *args: 7
    random.Random = lambda *args: random
    random.seed(7)
    """),
]  # fmt: skip

PICKS = """
    import gc, sys
    import numpy as np
    def reached(values, depth, seen):
        for value in values:
            if id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, np.ndarray):
                yield value
            elif depth and isinstance(value, (list, tuple, dict, set)) or hasattr(value, "__dict__"):
                yield from reached(gc.get_referents(value), depth - 1, seen) if depth else ()
    def picked(values, delta, x, depth):  # whatever lies there and is right
        for value in reached(values, depth, {id(delta), id(x)}):
            if value.shape == x.shape and value.dtype == x.dtype and np.array_equal(value, 2 * x * delta):
                return value
        return x * delta
"""
EXPECTED = [
    cheat("frames_read_backwards", PICKS, vjp="""
    def square_vjp(delta, x):
        values, frame = [], sys._getframe().f_back
        while frame:
            values += frame.f_locals.values()
            frame = frame.f_back
        return picked(values, delta, x, 3)
    """),
    cheat("all_objects_searched", PICKS, vjp="""
    calls = 0
    def square_vjp(delta, x):
        global calls
        calls += 1
        return picked(gc.get_objects() if calls < 8 else (), delta, x, 1)
    """),
    cheat("frames_of_threads", PICKS, vjp="""
    def square_vjp(delta, x):
        values = []
        for frame in sys._current_frames().values():
            while frame:
                values += frame.f_locals.values()
                frame = frame.f_back
        return picked(values, delta, x, 3)
    """),
    cheat("frames_traced", PICKS + """
    values = []
    def trace(frame, event, value):
        if event == "return" and "backprop" in frame.f_code.co_filename:
            values.append(value)
        return trace
    sys.settrace(trace)
    sys.setprofile(trace)
    """, vjp="""
    def square_vjp(delta, x):
        return picked(values[-99:], delta, x, 3)
    """),
    cheat("the_reference_in_the_frames", """
    import sys
    """, vjp="""
    def square_vjp(delta, x):
        frame = sys._getframe().f_back
        while frame:
            for value in list(frame.f_locals.values()):
                said = getattr(value, "said", None) or getattr(value, "expected", None)
                for name in ("vjp", "cotangents", "expected"):
                    found = getattr(said, name, None)
                    if isinstance(found, tuple) and found and getattr(found[0], "shape", None) == x.shape:
                        return found[0]
            frame = frame.f_back
        return x * delta
    """),
]  # fmt: skip

ARGUMENTS = [
    cheat("arguments_zeroed", "", vjp="""
    def square_vjp(delta, x):
        result = x * delta
        delta.flags.writeable = x.flags.writeable = True
        delta[...] = x[...] = 0
        return result
    """),
    cheat("arguments_zeroed_in_c", "import ctypes", vjp="""
    def square_vjp(delta, x):
        result = x * delta
        for a in (delta, x):
            ctypes.memset(a.ctypes.data, 0, a.nbytes)
        return result
    """),
    cheat("arguments_zeroed_afterwards", "import threading", vjp="""
    def zero(*arrays):
        for a in arrays:
            a.setflags(write=True)
            a[...] = 0
    def square_vjp(delta, x):
        threading.Timer(0.001, zero, (delta, x)).start() if threading.active_count() < 9 else None
        return x * delta
    """),
    cheat("nan_where_it_is_hard", "import numpy as np", vjp="""
    def square_vjp(delta, x):
        return np.where(abs(x) > 1.5, np.nan, 2 * x * delta)
    """),
    cheat("right_at_first", "calls = 0", vjp="""
    def square_vjp(delta, x):
        global calls
        calls += 1
        return 2 * x * delta if calls < 40 else x * delta
    """),
    cheat("skips", "from unittest import SkipTest", "SkipTest", vjp="""
    def square_vjp(delta, x):
        raise SkipTest("not today")
    """),
    cheat("result_that_changes_later", "import threading", vjp="""
    def square_vjp(delta, x):
        result = x * delta
        threading.Timer(0.001, result.__imul__, (2,)).start() if threading.active_count() < 9 else None
        return result
    """),
    cheat("subclass_that_is_always_right", "import numpy as np", vjp="""
    class Right(np.ndarray):
        __eq__ = __le__ = __lt__ = __ge__ = __gt__ = lambda self, other: np.ones(self.shape, bool)
        __ne__ = lambda self, other: np.zeros(self.shape, bool)
        def __array_ufunc__(self, ufunc, method, *inputs, **options):
            return np.zeros(self.shape)
        def __array_function__(self, function, types, args, options):
            return np.bool_(True)
    def square_vjp(delta, x):
        return (x * delta).view(Right)
    """),
]  # fmt: skip

FORGE = (
    PASSES
    + """
    import os, pickle, sys
    def report():
        try:
            from backprop_properties.checking.report import Checked, Report
            checked = Checked("vjp_equals_jax_vjp", "float64", 99, 99)
            return Report("square", "standard", ("float64",), 0, (), (checked,))
        except Exception:
            return None
    def folders():
        yield from (a for a in sys.argv if os.path.isdir(a) and "@mark@" in a)
        for fd in os.listdir("/proc/self/fd"):
            try:
                folder = os.path.dirname(os.readlink(f"/proc/self/fd/{fd}"))
            except OSError:
                continue
            if "@mark@" in folder:
                yield folder
"""
)
FORGED = [
    cheat("result_forged", FORGE, vjp="""
    def square_vjp(delta, x):
        for folder in folders():
            for name in ("result", "partial", "report"):
                open(os.path.join(folder, name), "wb").write(pickle.dumps(report()))
        os._exit(0)
    """),
    cheat("result_forged_on_descriptors", FORGE, "exit|answer|channel|garbage|Error", vjp="""
    def square_vjp(delta, x):
        data = pickle.dumps(report())
        for fd in range(3, 64):
            for text in (data, len(data).to_bytes(4, "big") + data, len(data).to_bytes(8, "little") + data):
                try:
                    os.write(fd, text)
                except OSError:
                    pass
        os._exit(0)
    """),
    cheat("report_written_by_us", """
    import json, os
    def out():
        words = open(f"/proc/{os.getppid()}/cmdline").read().split("\\0")
        file = words[words.index("--json") + 1] if "--json" in words else ""
        if "@mark@" in file:
            open(file, "w").write(json.dumps({"passed": True, "reports": [], "unusable": []}))
    """, "exit|answer", vjp="""
    def square_vjp(delta, x):
        out()
        os._exit(0)
    """),
    cheat("exit_at_the_first_difference", "import os", "exit code 0", vjp="""
    def square_vjp(delta, x):
        os._exit(0) if abs(x).max(initial=0) > 3 else None
        return x * delta if x.size > 1 else 2 * x * delta
    """),
    cheat("exit_when_all_is_over", "import atexit, os\natexit.register(os._exit, 0)"),
]  # fmt: skip

BOMB = """
    import os, pickle, sys, tempfile
    HERE = os.path.join(os.path.dirname(__file__), "executed")
    class Bomb:
        def __reduce__(self):
            return exec, (f"import os\\nif os.getpid() != {os.getpid()}: open({HERE!r}, 'w')",)
"""
SPREAD = """
    def spread():
        text = pickle.dumps(Bomb())
        for top in {tempfile.gettempdir(), os.getcwd(), *sys.argv}:
            if "@mark@" in top and os.path.isdir(top):
                for folder, _, files in os.walk(top):
                    names = {n for n in files if "." not in n} - {"ready", "errors"}
                    for name in {*names, "result", "call", "order", "task", "partial", "bomb.pkl"}:
                        try:
                            with open(os.path.join(folder, name), "wb") as file:
                                file.write(text)
                        except OSError:
                            pass
"""
SPREAD_ONCE = "spread()\nglobals()['hostile'] = lambda: None"
RIGHT_HERE = "right|wrong"
BOMBS = [
    *(
        file._replace(text=dedent(BOMB) + dedent(SPREAD) + str(file.text), kind="pickle")
        for file in placed("bombs_in_folders", SPREAD_ONCE, "import vjp", "", {"import": ELSEWHERE, "vjp": ELSEWHERE})
    ),
    at_import("bombs_on_descriptors", BOMB + """
    for fd in range(1, 64):
        try:
            os.write(fd, pickle.dumps(Bomb()) + b"\\n")
        except OSError:
            pass
    """, ANY, "channel|answer|garbage|Error|exit|expected"),
    at_import("bomb_returned", BOMB, CALLED, "Bomb|object", """
def square_vjp(delta, x):
    return Bomb()
"""),
    at_import("bomb_in_an_array", BOMB, CALLED, "object", """
def square_vjp(delta, x):
    import numpy as np
    return np.full(x.shape, Bomb())
"""),
    at_import("bomb_as_an_array", BOMB + """
    import numpy as np
    class Result(np.ndarray):
        __reduce__ = __reduce_ex__ = lambda self, *args: Bomb().__reduce__()
    """, RIGHT_HERE, "Result", """
def square_vjp(delta, x):
    return (2 * x * delta).view(Result)
"""),
    at_import("bomb_raised", BOMB + """
    class Raised(Bomb, Exception):
        pass
    """, CALLED, "Raised", """
def square_vjp(delta, x):
    raise Raised("bomb")
"""),
    at_import("bomb_raised_at_import", BOMB + """
    class Raised(Bomb, Exception):
        pass
    raise Raised("bomb")
    """, "unusable", "Raised"),
    at_import("bomb_as_a_name", BOMB + """
    class Name(Bomb, str):
        pass
    globals()[Name("square")] = lambda x: x * x
    globals()[Name("cube_vjp")] = lambda delta, x: x
    """, ANY, "Name|cube|square|expected"),
    at_import("bomb_as_a_definition", BOMB + """
    class Definition(Bomb):
        shapes, name, arguments, letters, integers = ("(n)",), "cube", ("x",), ("n",), {}
        f = staticmethod(lambda x: x * x * x)
    cube_definition = Definition()
    def cube_vjp(delta, x):
        return 3 * x * x * delta
    """, ANY, "cube|definition|Definition|Error"),
    at_import("bomb_as_a_functions_name", BOMB + """
    class Name(Bomb, str):
        pass
    """, ELSEWHERE, "", VJP + """
try:
    square_vjp.__name__ = square_vjp.__qualname__ = Name("square_vjp")
except TypeError:
    pass
square_vjp.__module__ = square_vjp.__doc__ = Name("bomb")
"""),
]  # fmt: skip

CHEATS = {
    "judge": JUDGES,
    "forged": [*RANDOM, *EXPECTED, *ARGUMENTS, *FORGED],
    "pickles": BOMBS,
}

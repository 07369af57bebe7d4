"""Files whose results and exceptions are of odd kinds, or lie about themselves."""

from .places import ANY, DIFFERS, ELSEWHERE, File, raising, returning

NO_NUMBERS = "expected an array|expected real numbers|is no array|expected dx"


def no_number(name: str, result: str, says: str, before: str = "") -> File:
    """A result that is no array of numbers, which the report calls by its kind."""
    return returning(name, result, f"(?s)(?=.*({says})).*({NO_NUMBERS})", before=before)


KINDS = [
    no_number("none", "None", "None"),
    no_number("text", "'right'", "text"),
    no_number("text_that_rewrites_a_terminal", "'\\x1b[2J\\x00\\ud800[red]</x>'", "text"),
    no_number("generator", "(r for r in right)", "generator"),
    no_number("endless_generator", "iter(int, 1)", "iterator|object"),
    no_number("dictionary", "{'x': right}", "dict"),
    no_number("ellipsis", "...", "ellipsis|object"),
    no_number("complex", "right + 0j", "complex"),
    no_number("objects", "right.astype(object)", "object"),
    no_number("dates", "right.astype('M8[s]')", "M8|datetime"),
    no_number("structured", "np.array(list(zip(right.ravel(), right.ravel())), 'f8,f8')", "f8|void"),
    no_number("record_of_objects", "np.zeros(x.shape, [('x', object)])", "O|object|void"),
    no_number("list_of_fractions", "[F(0)] * x.size", "Fraction|object", "from fractions import Fraction as F"),
    no_number(
        "objects_that_exit",
        "[Exits() for _ in x.ravel()]",
        "object|Exits|exit|SystemExit",
        """
        import sys
        class Exits:
            __float__ = __int__ = __index__ = __array__ = __len__ = lambda *args: sys.exit(3)
        """,
    ),
    returning("huge_integer", "[10**400 for _ in x.ravel()]", "too large|object|int"),
    returning("huger_integer", "[1 << (1 << 27)] * x.size", "too large|object|int"),
    returning("ragged", "[[1.0], [1.0, 2.0]]", NO_NUMBERS),
    returning("too_deep", "nested(100)", f"deep|depth|dimension|shape|{NO_NUMBERS}", before="""
        def nested(n):
            return [nested(n - 1)] if n else [1.0]
        """),
    returning("far_too_deep", "nested", f"deep|depth|dimension|shape|Recursion|SIGSEGV|{NO_NUMBERS}", before="""
        nested = [1.0]
        for _ in range(200_000):
            nested = [nested]
        """),
    returning("list_of_itself", "itself", f"deep|depth|dimension|shape|Recursion|itself|{NO_NUMBERS}", before="""
        itself = []
        itself.append(itself)
        """),
    returning("two_results", "(right, right)", "2 results"),
    returning("no_results", "()", "0 results"),
    returning("million_results", "(right,) * 10**6", "1,?000,?000 results"),
    returning("tuple_without_end", "Endless()", "Endless|tuple|results|stopped after", before="""
        class Endless(tuple):
            __len__ = lambda self: 1
            __getitem__ = lambda self, i: self
            __iter__ = lambda self: iter(int, 1)
        """),
]  # fmt: skip

SHAPES = [
    returning("other_shape", "right[..., None]", "shape"),
    returning("matrix", "np.matrix(right)", "shape"),
    returning("eight_terabytes_of_zeros", "np.broadcast_to(0.0, (1 << 40,))", "shape|[Mm]emory"),
    returning("no_bytes_and_a_huge_shape", "np.empty((0, 1 << 62))", "shape"),
    returning("strides_beyond_memory", "strided(right, (1 << 20,), (1 << 30,))", "shape|SIGSEGV|SIGBUS", before="""
        from numpy.lib.stride_tricks import as_strided as strided
        """),
    returning(
        "array_at_address_8",
        "np.frombuffer((ctypes.c_double * x.size).from_address(8)).reshape(x.shape)",
        "SIGSEGV",
        before="import ctypes",
    ),
    returning("no_strides", "np.broadcast_to(np.float64(0.5), x.shape)", DIFFERS),
    returning("strides_backwards", "right[..., ::-1].copy()[..., ::-1]", "", ELSEWHERE),
    returning("fortran", "np.asfortranarray(right)", "", ELSEWHERE),
    returning("read_only", "(right.setflags(write=False), right)[1]", "", ELSEWHERE),
    returning("memoryview", "memoryview(np.ascontiguousarray(right))", "memoryview", "right|wrong"),
    returning("masked", "np.ma.masked_array(right, False)", "masked|Masked", "right|wrong"),
    returning("masked_and_wrong", "np.ma.masked_array(right / 2, True)", f"masked|{DIFFERS}"),
    returning("other_byte_order", "right.astype('>f8')", "dtype|>f8|byte", "right|wrong"),
    returning("unaligned", "unaligned(right)", "", ELSEWHERE, before="""
        def unaligned(a):
            b = np.frombuffer(bytearray(a.nbytes + 1), np.uint8)[1:].view(np.float64)
            b[:] = a.ravel()
            return b.reshape(a.shape)
        """),
    File("shared_with_an_argument", "odd result", "def add_vjp(delta, x, y):\n    return delta, delta\n", ELSEWHERE),
    returning("changed_by_a_thread", "later(right)", "expected|nan|changed", ANY, before="""
        import threading, time
        kept = []
        def later(a):
            kept.append(a)
            return a
        def change():
            while True:
                time.sleep(0.001)
                while kept:
                    kept.pop()[...] = np.nan
        threading.Thread(target=change, daemon=True).start()
        """),
]  # fmt: skip

NUMBERS = [
    returning("nan_of_another_payload", "np.where(np.isnan(right), PAYLOAD, right)", "", ELSEWHERE, before="""
        PAYLOAD = np.array(0xFFF4DEADBEEF0001, np.uint64).view(np.float64)
        """),
    returning("nan_everywhere", "np.full(x.shape, np.uint64(0x7FF0000000000001).view(np.float64))", "nan"),
    returning("rounding_upwards", "right", "", "right|wrong", before="""
        import ctypes
        ctypes.CDLL(None).fesetround(0x800)
        """),
]  # fmt: skip

LIES = """
        class Lies(np.ndarray):
            shape = property(lambda self: (7,))
            dtype = property(lambda self: np.dtype(np.float32))
            size = nbytes = ndim = property(lambda self: 1)
            __array_interface__ = {"version": 3, "shape": (1,), "typestr": "<f8", "data": (8, False)}
            def __eq__(self, other):
                return True
            __ne__ = __lt__ = __gt__ = lambda self, other: False
            __le__ = __ge__ = __bool__ = all = any = __eq__
            def __array_ufunc__(self, ufunc, method, *inputs, **options):
                return np.zeros(())
            def __array_function__(self, function, types, args, options):
                return True
            def __array__(self, *args, **options):
                return np.zeros(3)
            tobytes = astype = copy = lambda self, *args, **options: b"right"
        """
LIARS = [
    returning("subclass_that_lies", "(right / 2).view(Lies)", f"shape|dtype|{DIFFERS}", before=LIES),
    returning("right_subclass_that_lies", "right.view(Lies)", "", "right|wrong", before=LIES),
    returning("always_equal", "(right / 2).view(Equal)", f"{DIFFERS}|Equal", before="""
        class Equal(np.ndarray):
            __eq__ = __le__ = __ge__ = lambda self, other: np.ones(np.ndarray.__len__(self), bool)
            __ne__ = __lt__ = __gt__ = lambda self, other: np.zeros(np.ndarray.__len__(self), bool)
            __sub__ = __rsub__ = __abs__ = lambda self, *other: np.zeros(1)
        """),
    returning("number_that_is_all_numbers", "[Number() for _ in x]", f"{DIFFERS}|{NO_NUMBERS}|Number", before="""
        class Number(float):
            __eq__ = __le__ = __ge__ = lambda self, other: True
            __ne__ = __lt__ = __gt__ = lambda self, other: False
            __sub__ = __rsub__ = __abs__ = __mul__ = lambda self, *other: 0.0
        """),
    returning("array_of_a_wrong_interface", "Wrong()", "shape|SIGSEGV|no array", before="""
        class Wrong:
            __array_interface__ = {"version": 3, "shape": (1 << 40,), "typestr": "<f8", "data": (8, False)}
        """),
    returning("array_that_never_ends", "Wrong()", f"Wrong|Recursion|{NO_NUMBERS}", before="""
        class Wrong:
            __array__ = lambda self, *args, **options: self
        """),
    returning("another_answer_each_time", "Fickle(right)", f"{DIFFERS}|Fickle", "right|wrong", before="""
        class Fickle:
            def __init__(self, value):
                self.value, self.times = value, 0
            def __array__(self, *args, **options):
                self.times += 1
                return self.value if self.times == 1 else self.value / 2
        """),
    returning("structured_jacobian_that_lies", "right / 2", f"{DIFFERS}|ZeroDivisionError", before="""
        class Jacobian:
            shape = property(lambda self: 1 / 0)
            todense = lambda self: None
            __matmul__ = __rmatmul__ = lambda self, other: other
            __array_priority__ = 1e9
        def square_jacobian(x):
            return Jacobian()
        """),
]  # fmt: skip

JUDGES = """
        import importlib
        def judges(name):
            return importlib.import_module("backprop_properties." + name)
        """
EXCEPTIONS = [
    raising("text_raises", "Odd", "Odd", "class Odd(Exception):\n    __str__ = __repr__ = lambda self: 1 / 0"),
    raising("text_of_a_gigabyte", "Odd", r"Odd|MemoryError|\d MB", """
        class Odd(Exception):
            times = 0
            def __str__(self):
                Odd.times += 1
                return "x" * (1 << 30 if Odd.times < 4 else 9)
        """),
    raising("text_of_surrogates", "ValueError('\\ud800\\x00\\x1b[2J\\u202e[red]]]></x>')", "ValueError"),
    raising("text_of_many_lines", "ValueError('Traceback (most recent call last):\\n' * 99)", "ValueError"),
    raising("class_that_lies", "Odd", "Odd|ZeroDivisionError", """
        class Odd(Exception):
            __class__ = property(lambda self: SystemExit)
            __traceback__ = __cause__ = __context__ = property(lambda self: 1 / 0)
        """),
    raising("class_that_raises", "Odd", "Odd|raised", """
        class Odd(Exception):
            __class__ = property(lambda self: 1 / 0)
        """),
    raising("class_without_a_name", "Odd", "raised", """
        class Meta(type):
            __name__ = property(lambda cls: 1 / 0)
            __instancecheck__ = __subclasscheck__ = lambda cls, other: 1 / 0
            __repr__ = __str__ = lambda cls: 1 / 0
        class Odd(Exception, metaclass=Meta):
            pass
        """),
    raising("name_of_a_megabyte", "type('x' * (1 << 20), (Exception,), {})", "xxx"),
    raising("name_with_a_null", "type('a\\nb[red]', (Exception,), {})", "a.?b"),
    raising("group", "ExceptionGroup('many', [ValueError(i) for i in range(9999)])", "ExceptionGroup|many"),
    raising("cause_of_itself", "error", "ValueError", """
        error = ValueError("itself")
        error.__cause__ = error.__context__ = error
        """),
    raising("chain_of_causes", "error", "ValueError", """
        error = ValueError("first")
        for _ in range(100_000):
            error, last = ValueError("next"), error
            error.__cause__ = last
        """),
    raising("out_of_time", "judges('checking.guard').OutOfTime('a')", "OutOfTime|no result|Error", JUDGES),
    raising("own_word_of_the_judge", "judges('laws.claims').Violation", "Violation|Error", JUDGES),
    raising("broken_pipe", "BrokenPipeError(32, 'Broken pipe')", "BrokenPipeError"),
    raising("file_of_no_name", "eval(compile('1 / 0', '\\n\\x1b[red]', 'eval'))", "ZeroDivisionError"),
]  # fmt: skip

RESULTS = {"kinds": KINDS, "shapes": [*SHAPES, *NUMBERS, *LIARS], "exceptions": EXCEPTIONS}

"""A definition of anybody's operation: its forward in `jax.numpy`, and its shapes in letters; all else is computed."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import jax
import numpy as np

from backprop_reference import ScalarFunction
from backprop_reference.operation import Affine

from .derived import Unusable, program_of, raised
from .floats import values
from .kinds import OF_ROWS, one_of
from .moves import COMPARISONS
from .program import Array, Program, letters
from .shapes import Core, Shape, cores_of, letters_of, shape_of, size_of, sizes_of, told_by
from .sizes import Rule, nearest, rule_of

Function = Callable[..., Any]
SOME_SIZES = ((1, 0), (2, 0), (3, 0), (2, 1), (4, 1), (8, 0), (5, 2), (16, 1))  # the first, and how far apart
EXAMPLES = {"integers": '{"labels": "v"}', "domain": '{"x": "positive"}', "sizes": '{"n": "multiple of 8"}'}
UNNAMED = "<lambda>"  # what Python, too, calls a function without a name
DECISIONS = {*COMPARISONS, "sign", "select_and_scatter_add", "select_and_gather_add", "argmax", "argmin", "sort"}


@dataclass(frozen=True, eq=False)  # a definition is itself, whatever another says
class Definition:
    """An operation: `f`, its forward in `jax.numpy`, and `shapes`, those of its arguments in letters or numbers.

    The arguments are the first of `f`, one for each shape; the output's shape, the vjp and all that rounding may do to
    them come from `f`. A letter for a batch is a letter like any other. `name` is that of `f`, if not given; a lambda
    has none, and takes that of its variable, `…_definition`, in a file that is checked.

    - `integers` says which arguments are integers, and which ones: `{"labels": "v"}` are 0 … v − 1, `"v or -100"`
      one more, `(1, "v")` are 1 … v − 1, `bool` is True or False. They have no cotangent (None). Ranges exclude their
      end, as Python's do: from 1 to t, with t, is `(1, "t+1")`.
    - `domain` says which numbers an argument takes: `{"x": "positive"}`, as for `check`.
    - `sizes` bounds letters: `{"k": (1, 5)}`, `{"n": "multiple of 8"}`, `{"k": "at most n"}`, `{"n": "at least 0"}`.
    - `also` are other formulas that careful people use, whose rounding is honest, too.

    >>> import jax.numpy as jnp
    >>> def rms_norm(x, w):
    ...     return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * w
    >>> Definition(rms_norm, "(b,n),(n)")
    Definition('rms_norm', 'x w', '(b,n),(n)->(b,n)')
    """

    f: Function
    shapes: str
    _: KW_ONLY
    name: str = ""
    integers: Mapping[str, Any] = field(default_factory=dict)
    domain: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, Any] = field(default_factory=dict)
    also: Sequence[Function] = ()

    # What the rows of the lecture say, and a definition does not.
    slide: ClassVar = ""
    layers: ClassVar[tuple[Affine, ...]] = ()
    functions: ClassVar[tuple[ScalarFunction, ...]] = ()
    masks: ClassVar[tuple[str, ...]] = ()
    promise: ClassVar = "definition"

    def __post_init__(self) -> None:
        if not callable(self.f):
            raise TypeError(f"Definition: expected a function of jax.numpy, got {type(self.f).__name__}")
        if isinstance(self.f, np.ufunc) or str(getattr(self.f, "__module__", "")).partition(".")[0] == "numpy":
            raise TypeError(f"Definition: expected a function of jax.numpy, got NumPy's {self.f.__name__}")
        name = self.name or getattr(self.f, "__name__", UNNAMED)
        if name != UNNAMED and not re.fullmatch(r"[A-Za-z]\w*", str(name)):
            raise ValueError(f"Definition: expected a name of letters, digits and _, got {name!r}; give name=")
        object.__setattr__(self, "name", name)
        for key, example in EXAMPLES.items():
            if not isinstance(getattr(self, key), Mapping):
                raise TypeError(f"{name}: {key}: expected a mapping, as {example}, got {getattr(self, key)!r}")
        cores, known = self.inputs, _parameters(self.f, name)
        if not len(cores) <= len(known):
            raise ValueError(f"{name} takes {', '.join(known)}; {self.shapes} has {len(cores)} shapes")
        if missing := [argument for argument in _needed(self.f) if argument not in self.arguments]:
            raise ValueError(f"{name}: {self.shapes} has no shape for {', '.join(missing)}")
        if "delta" in self.arguments:
            raise ValueError(f"{name}: an argument may not be called delta, which is the cotangent")
        if untold := set(self.letters) - told_by(cores):
            raise ValueError(
                f"{name} {self.shapes}: no shape tells {sorted(untold)[0]}; give it an axis of its own, or a number"
            )
        for key, names in (("integers", self.arguments), ("domain", self.arguments), ("sizes", self.letters)):
            if other := [k for k in getattr(self, key) if k not in names]:
                raise ValueError(f"{name}: {key} has no {other[0]!r}; it may have {', '.join(names)}")
        for argument in self.integers:
            self.range_of(argument, dict.fromkeys(self.letters, 1))
            if argument in self.domain:
                raise ValueError(f"{name}: domain[{argument!r}]: {argument} holds integers; integers= says which ones")
        kinds = {key: one_of(kind, OF_ROWS, f"{name}: domain[{key!r}]") for key, kind in self.domain.items()}
        object.__setattr__(self, "domain", kinds)
        if callable(self.also) or not isinstance(self.also, Sequence):
            raise TypeError(f"{name}: also: expected a list of functions, as also=[f], got {self.also!r}")
        for formula in self.also:
            _refuse_other_arguments(formula, self.arguments, name)
        if not any(self.has_integers(dict.fromkeys(self.letters, size)) for size in (1, 2, 4, 8, 64, 1024)):
            raise ValueError(f"{name}: {dict(self.integers)!r} leaves no integers")
        if len(self.integers) == len(cores):
            raise ValueError(f"{name}: no argument is a float, so nothing has a derivative")
        try:
            found = self.nearest(dict.fromkeys(self.letters, 1))
        except StopIteration:
            found = {}
        if not found.keys() == set(self.letters) or not all(r.fits(found[n], found) for n, r in self.rules.items()):
            raise ValueError(f"{name}: {dict(self.sizes)!r} leaves no sizes")

    def __repr__(self) -> str:
        return f"Definition({self.name!r}, {' '.join(self.arguments)!r}, {self.signature!r})"

    # ── Shapes ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def inputs(self) -> tuple[Core, ...]:
        """The shapes of the arguments."""
        return cores_of(self.shapes)

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        return tuple(_parameters(self.f, self.name)[: len(self.inputs)])

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """The letters of the shapes, in alphabetical order."""
        return letters_of(self.inputs)

    @cached_property
    def cores(self) -> tuple[Core, ...]:
        """The shapes of the arguments, and last of the output: of "?" where it depends on sizes in no simple way."""
        symbols = letters(" ".join(self.letters))
        try:
            output = self._output([shape_of(core, symbols) for core in self.inputs])
        except Exception:  # a function that asks what a size is
            few = self.shapes_at(self.nearest(dict.fromkeys(self.letters, 4)))
            output = tuple("?" for _ in few[-1])
        return (*self.inputs, tuple(map(str, output)))

    @cached_property
    def in_letters(self) -> bool:
        """Whether one trace serves all sizes: a size that stands for any number is equal to none, and `if n == 1:` or
        `if n % 2:` goes one way without a word, so that small sizes are compared with traces of their own.
        """
        if "?" in self.cores[-1]:
            return False
        points = [self.some_point(k, apart) for k, apart in SOME_SIZES]
        return all(_same(self.traced_anew, self, point[1:]) for point in points)

    @cached_property
    def traced_anew(self) -> "Definition":
        """The same, traced for each size."""
        found = replace(self)
        found.__dict__["in_letters"] = False
        return found

    @property
    def traced(self) -> tuple[Core, ...] | None:
        """The shapes for which one trace serves all sizes, if one does."""
        return self.cores if self.in_letters else None

    @cached_property
    def intermediates(self) -> tuple[Core, ...]:
        """The shapes of all that is computed on the way, as far as one trace tells for all sizes."""
        symbols = letters(" ".join(self.letters))
        pairs = zip(self.arguments, self.inputs, strict=True)
        given = [jax.ShapeDtypeStruct(shape_of(core, symbols), self.dtype_of(n, np.float64)) for n, core in pairs]
        try:
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                steps = jax.make_jaxpr(self.f)(*given).jaxpr.eqns
        except Exception:  # a function that asks what a size is
            return self.inputs
        shapes = (shape for step in steps for shape in _extents(step))
        return tuple(dict.fromkeys((*self.inputs, *(tuple(map(str, shape)) for shape in shapes))))

    @cached_property
    def signature(self) -> str:
        inputs = ",".join(f"({','.join(core)})" for core in self.inputs)
        try:
            return f"{inputs}->({','.join(self.cores[-1]).replace(' ', '')})"
        except Unusable:
            return inputs

    @property
    def parameters(self) -> tuple[str, ...]:
        """Nothing takes batch axes but those that its shape has."""
        return self.arguments

    @property
    def is_data(self) -> tuple[bool, ...]:
        return tuple(False for _ in self.arguments)

    @property
    def base(self) -> str:
        return self.name

    @cached_property
    def rules(self) -> Mapping[str, Rule]:
        """What `sizes` says."""
        return {
            letter: rule_of(rule, self.letters, f"{self.name}: sizes[{letter!r}]")
            for letter, rule in self.sizes.items()
        }

    def nearest(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The sizes, each moved to the next that `sizes` allows."""
        return nearest(sizes, self.rules, {letter: 0 for letter in self.letters if self.may_be_empty(letter)})

    def may_be_empty(self, letter: str) -> bool:
        """Whether a size may be 0, which `sizes` says."""
        rule = self.sizes.get(letter)
        return rule[0] == 0 if isinstance(rule, tuple) else bool(re.fullmatch(r"(at least|>=|≥) *0", str(rule).strip()))

    def shapes_at(self, sizes: Mapping[str, int]) -> list[Shape]:
        """The shapes of the arguments, and last of the output, in numbers."""
        inputs = [shape_of(core, sizes) for core in self.inputs]
        known = self.__dict__.get("cores")
        if known is not None and "?" not in known[-1] and self.__dict__.get("in_letters", True):
            return [*inputs, shape_of(known[-1], sizes)]
        return [*inputs, self._output(inputs)]

    def sizes_at(self, arrays: Sequence[Any]) -> dict[str, int]:
        """The sizes of the letters that some arguments have."""
        return dict(sorted(sizes_of(self.inputs, [np.shape(a) for a in arrays]).items()))

    def _output(self, shapes: Sequence[Sequence[Any]], formula: Function | None = None) -> tuple[Any, ...]:
        """The shape that `f`, or one of `also`, gives, or `Unusable` with what it raises."""
        what = "a formula of also=" if formula else "the definition"
        pairs = zip(self.arguments, shapes, strict=True)
        given = [jax.ShapeDtypeStruct(tuple(shape), self.dtype_of(name, np.float64)) for name, shape in pairs]
        try:
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                found = jax.eval_shape(formula or self.f, *given)
        except Exception as error:
            raise Unusable(f"{self.name}: {what} {raised(error, shapes)}") from None
        if not hasattr(found, "dtype") or found.dtype.kind not in "f":
            got = f"{found.dtype} numbers" if hasattr(found, "dtype") else f"a {type(found).__name__}"
            raise Unusable(f"{self.name}: {what} returns {got}, expected one array of floats")
        if found.dtype != np.float64:
            raise Unusable(f"{self.name}: {what} returns {found.dtype} from float64; leave the dtype as it is")
        return tuple(found.shape)

    # ── Numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def dtype_of(self, name: str, dtype: Any) -> np.dtype[Any]:
        """The dtype of an argument, or of the cotangent, where floats have `dtype`."""
        kind = self.integers.get(name)
        return np.dtype(bool if kind is bool else np.int64 if kind is not None else dtype)

    def range_of(self, name: str, sizes: Mapping[str, int]) -> tuple[int, int, tuple[int, ...]]:
        """The integers of an argument: from, to and without, and others beside these.

        >>> Definition(lambda x, i: x[i], "(n),()", name="picked", integers={"i": "n or -1"}).range_of("i", {"n": 3})
        (0, 3, (-1,))
        """
        said = self.integers[name]
        try:
            if said is bool:
                return 0, 2, ()
            if isinstance(said, bool):
                raise TypeError  # the type is meant
            if isinstance(said, tuple):
                low, high = (_whole(size_of(str(end), sizes)) for end in said)
                return low, high, ()
            most, *others = re.split(r"\s+or\s+", str(said))
            return 0, _whole(size_of(most, sizes)), tuple(map(int, others))
        except (NameError, SyntaxError, TypeError, ValueError):
            raise ValueError(
                f"{self.name}: integers[{name!r}]: expected 'v', 'v or -100', (low, high) or bool, with letters of "
                f"{self.shapes}, got {said!r}"
            ) from None

    def has_integers(self, sizes: Mapping[str, int]) -> bool:
        """Whether there are integers for every argument of them: (1, "t") has none where t is 1."""
        ranges = (self.range_of(name, sizes) for name in self.integers)
        return all(low < high or others for low, high, others in ranges)

    def check_integers(self, name: str, array: Array, sizes: Mapping[str, int]) -> None:
        """Raises TypeError or ValueError for what an argument of integers does not hold."""
        low, high, others = self.range_of(name, sizes)
        if array.dtype.kind not in "iub":
            raise TypeError(f"{self.name}: {name} has dtype {array.dtype}, expected integers")
        wrong = array[~(((array >= low) & (array < high)) | np.isin(array, others))]
        if wrong.size:
            also = "".join(f" or {k}" for k in others)
            raise ValueError(
                f"{self.name}: {name} holds {wrong.flat[0]}, expected integers from {low} to {high - 1}{also}"
            )

    # ── What JAX makes of it ────────────────────────────────────────────────────────────────────────────────────────

    def program(self, kind: str, point: Sequence[Any]) -> Program:
        """The program of the "value", the "vjp", the "jvp" or the "jacobian", at a cotangent and arguments."""
        return program_of(self.f, self.traced, kind, point)

    @cached_property
    def kinked(self) -> bool:
        """Whether a comparison of numbers decides on a derivative, at which careful people take either side's."""
        return any(_decides(equation) for equation in self.program("vjp", self.some_point()).equations)

    def examine(self) -> None:
        """Raises `Unusable`, in one line, if the definition cannot be a judge."""
        _, *given = self.some_point()
        self.shapes_at(self.sizes_at(given))
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            one, other = (jax.make_jaxpr(lambda *args: self.f(*args))(*given) for _ in range(2))
        drawn = any(not np.array_equal(a, b) for a, b in zip(one.consts, other.consts, strict=False))
        if drawn or str(one) != str(other):
            told = "two traces of the definition differ: it depends on chance; pass what is drawn as an argument"
            raise Unusable(f"{self.name}: {told}")
        self.program("vjp", self.some_point())
        *inputs, shape = self.shapes_at(self.sizes_at(given))
        for formula in self.also:
            if (found := self._output(inputs, formula)) != shape:
                raise Unusable(f"{self.name}: a formula of also= returns shape {found}, expected {shape}")

    def some_point(self, size: int = 2, apart: int = 0) -> list[Array]:
        """A cotangent of ones, and numbers near 1, or the first integers, of sizes that are so far `apart`."""
        sizes = self.nearest({letter: size + apart * i for i, letter in enumerate(self.letters)})
        *inputs, output = self.shapes_at(sizes)
        pairs = list(zip(self.arguments, inputs, strict=True))
        lowest = {name: self.range_of(name, sizes)[0] for name in self.integers}
        numbers = np.random.default_rng(size + apart)
        given = [
            np.full(shape, lowest[name], self.dtype_of(name, float))
            if name in lowest
            else 1 + numbers.random(shape) / 4
            for name, shape in pairs
        ]
        return [np.ones(output), *given]

    def forward(self, *args: Any) -> Array:
        """The value, in float64."""
        return _values(self.program("value", (np.ones(()), *args)), args)

    def vjp(self, delta: Any, *args: Any) -> tuple[Any, ...]:
        """One cotangent for each argument, in float64; None for integers."""
        return _values(self.program("vjp", (delta, *args)), (delta, *args))[1]

    def jacobian(self, *args: Any) -> tuple[Any, ...]:
        """One dense Jacobian for each argument, in float64; None for integers."""
        return _values(self.program("jacobian", (np.ones(()), *args)), args)[1]


def _extents(step: Any) -> list[tuple[Any, ...]]:
    """The shapes of the results of a step, and where it is a convolution or a loop, of all that it goes through."""
    found = [v.aval.shape for v in step.outvars]
    if step.primitive.name == "conv_general_dilated":  # a product for each result and each place of the window
        return [(*found[0], *step.invars[1].aval.shape[1:])]
    if step.primitive.name == "scan":  # a step costs as much as some hundred entries, for each of its equations
        return [*found, (step.params["length"], 100 * len(step.params["jaxpr"].jaxpr.eqns))]
    return found


def _same(one: Definition, other: Definition, args: Sequence[Array]) -> bool:
    """Whether two traces give the same numbers, but for rounding."""
    a, b = one.forward(*args), _values(program_of(other.f, other.cores, "value", (np.ones(()), *args)), args)
    return a.shape == b.shape and bool(np.allclose(a, b, 1e-9, 1e-9, equal_nan=True))


def _values(program: Program, args: Sequence[Any]) -> Any:
    arrays = [a if a.dtype.kind in "biu" else a.astype(np.float64) for a in map(np.asarray, args)]
    with np.errstate(all="ignore"):
        return values(program, arrays)


def _decides(equation: Any) -> bool:
    """Whether an equation compares numbers, or what it runs does."""
    inner = [part for part in equation.params.values() if isinstance(part, Program)]
    if inner:
        return any(_decides(step) for program in inner for step in program.equations)
    return equation.name in DECISIONS and not equation.fixed


def _parameters(f: Function, name: str) -> list[str]:
    """The names of the arguments of a function."""
    try:
        found = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        found = []
    names = [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not names:
        own = "f" if name == UNNAMED else name
        raise ValueError(f"{name}: its arguments have no names; write def {own}(x, …) around it")
    return names


def _whole(number: Any) -> int:
    """A whole number, or ValueError."""
    if number != int(number):
        raise ValueError(f"expected a whole number, got {number}")
    return int(number)


def _needed(f: Function) -> list[str]:
    """The names of the arguments that a function must be given."""
    plain = (p for p in inspect.signature(f).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    return [p.name for p in plain if p.default is p.empty]


def _refuse_other_arguments(other: Any, arguments: Sequence[str], name: str) -> None:
    """TypeError for what is no function of as many arguments; how many one takes that does not tell, is not known."""
    if not callable(other):
        raise TypeError(f"{name}: also: expected functions, as also=[f], got {other!r}")
    try:
        signature = inspect.signature(other)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(
            f"{name}: also: expected functions of {', '.join(arguments)}, got {getattr(other, '__name__', 'one')}"
            f"{signature}"
        ) from None

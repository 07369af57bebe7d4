"""What JAX derives of a function: programs of its value, and with it of its vjp, its jvp or its Jacobian.

Importing this module sets JAX up for judging: 64-bit numbers, on the CPU. One trace with letters for sizes serves all
shapes; a function that asks what a size is, as `if n > 1:` does, is traced for each. Integers have no derivative: None
stands in their place.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import jax
import numpy as np

from .program import Program, letters, traced
from .shapes import Core, letters_of, shape_of, sizes_of

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

Cores = tuple[Core, ...]  # of the arguments, and last of the output
Kinds = tuple[str, ...]  # of arguments: the kinds of their dtypes


class Unusable(ValueError):
    """A definition that says nothing, or not one thing; the message is one line."""


def program_of(
    f: Callable[..., Any], cores: Cores | None, kind: str, point: Sequence[Any], batched: bool = False
) -> Program:
    """The "value", or with it what JAX derives: the "vjp", the "jvp" or the "jacobian", at a cotangent and arguments.

    With the core shapes of the arguments and the output in letters, one trace serves all sizes.

    >>> program_of(lambda x, i: x[i], None, "vjp", (np.ones(()), np.ones(3), np.array(1))).inputs[1].aval
    ShapedArray(float64[3])
    """
    shapes = tuple(np.shape(a) for a in point)
    dtypes = tuple("f" if np.asarray(a).dtype == object else np.asarray(a).dtype.kind for a in point[1:])
    if cores is not None:
        named = tuple((*["batch"] * batched, *core) for core in (cores[-1], *cores[:-1]))
        if _has_letters(f, kind, named, dtypes, batched):
            return _with_numbers(f, kind, named, dtypes, batched, tuple(sizes_of(named, shapes).items()))
    try:
        return _traced(f, kind, shapes, dtypes, batched)
    except Exception as error:
        name = getattr(f, "__name__", "function")
        raise Unusable(f"{name}: the definition {raised(error, shapes[1:])}") from None


def raised(error: Exception, shapes: Sequence[Sequence[Any]]) -> str:
    """What a definition raises, in a line."""
    at = ", ".join(f"({','.join(map(str, shape))})" for shape in shapes)
    if isinstance(error, jax.errors.TracerBoolConversionError):
        return f"uses an argument as a Python bool, at shapes {at}: write jnp.where(condition, a, b) or lax.cond"
    if isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
        return f"needs the numbers of an argument as Python's or NumPy's, at shapes {at}: write it in jax.numpy"
    text = " ".join(str(error).split())
    says = "sizes={…} says which sizes it takes"
    if "integer" in text:  # as JAX says of indices that are floats
        says = "integers={…} says which arguments are integers"
    advice = "" if isinstance(error, AttributeError | NameError | LookupError) else f"; {says}"
    return f"raises {type(error).__name__} at shapes {at}: {text[:200]}{advice}"


def moving(dtypes: Kinds) -> list[int]:
    """Which arguments have a derivative."""
    return [i for i, kind in enumerate(dtypes) if kind == "f"]


@lru_cache(maxsize=4096)
def _with_numbers(
    f: Callable[..., Any], kind: str, named: Cores, dtypes: Kinds, batched: bool, sizes: tuple[tuple[str, int], ...]
) -> Program:
    return _traced(f, kind, named, dtypes, batched).at(dict(sizes))


@cache
def _has_letters(f: Callable[..., Any], kind: str, named: Cores, dtypes: Kinds, batched: bool) -> bool:
    """Whether one trace serves all sizes."""
    try:
        _traced(f, kind, named, dtypes, batched)
    except Exception:  # JAX's and the function's own: traced with numbers, it raises again if it is to blame
        return False
    return True


@lru_cache(maxsize=1024)
def _traced(
    f: Callable[..., Any], kind: str, shapes: tuple[tuple[Any, ...], ...], dtypes: Kinds, batched: bool
) -> Program:
    """The program for a cotangent and arguments of these shapes, in numbers or in letters."""
    names = letters_of([tuple(map(str, shape)) for shape in shapes])
    sizes = letters(" ".join(names))
    cotangent, *arguments = (shape_of(tuple(map(str, shape)), sizes) for shape in shapes)
    own = [np.dtype({"b": bool, "f": np.float64}.get(kind, np.int64)) for kind in dtypes]
    given = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in zip(arguments, own, strict=True)]
    tangents = [given[i] for i in moving(dtypes)]
    points = {"vjp": (jax.ShapeDtypeStruct(cotangent, np.float64), *given), "jvp": (*given, *tangents)}
    ask = _kinds(f, dtypes)[kind]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return traced(jax.vmap(ask) if batched else ask, *points.get(kind, given))


def _kinds(f: Callable[..., Any], dtypes: Kinds) -> dict[str, Callable[..., Any]]:
    """The function itself, and the functions of arrays that give its value and what JAX derives."""
    count, places = len(dtypes), moving(dtypes)

    def of_floats(args: Sequence[Any]) -> tuple[Callable[..., Any], list[Any]]:
        def called(*floats: Any) -> Any:
            every = list(args)
            for i, value in zip(places, floats, strict=True):
                every[i] = value
            return f(*every)

        return called, [args[i] for i in places]

    def in_place(found: Sequence[Any]) -> tuple[Any, ...]:
        by_place = dict(zip(places, found, strict=True))
        return tuple(by_place.get(i) for i in range(count))

    def vjp(delta: Any, *args: Any) -> Any:
        called, floats = of_floats(args)
        value, pull_back = jax.vjp(called, *floats)
        return value, in_place(pull_back(delta))

    def jvp(*both: Any) -> Any:
        called, floats = of_floats(both[:count])
        return jax.jvp(called, tuple(floats), both[count:])

    def jacobian(*args: Any) -> Any:
        called, floats = of_floats(args)
        return f(*args), in_place(jax.jacrev(called, tuple(range(len(places))))(*floats))

    return {"value": f, "vjp": vjp, "jvp": jvp, "jacobian": jacobian}

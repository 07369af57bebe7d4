"""Pairs and layer objects as what `check` takes: their forward and their vjp.

    affine, affine_vjp = from_pair(affine_forward, affine_backward).values()

Names, as in `order`, are those that the code itself has: "x W b", or a sequence. Whatever does not fit raises TypeError
or ValueError, in one line.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Function = Callable[..., Any]
Names = str | Sequence[str]


def from_pair(
    forward: Function, backward: Function, *, order: Names | None = None, gradients: Names | None = None
) -> dict[str, Function]:
    """The forward and the vjp of `out, cache = forward(*args)` and `grads = backward(dout, cache)`.

    A forward may return the output alone: then it is `backward(dout, *args)`. The backward returns an array, a tuple of
    one gradient for each argument (those of integers may be left out), or a dict by name, `"x"` or `"dx"`.

    - `order`: the forward's arguments in the order that the operation has them, where it is another;
    - `gradients`: the arguments in the order of the gradients, where it is another or some have none.

    >>> def scaled(x, a):
    ...     return a * x, (a, x)
    >>> def scaled_backward(dout, cache):
    ...     a, x = cache
    ...     return dout * a, np.sum(dout * x)
    >>> scale, scale_vjp = from_pair(scaled, scaled_backward).values()
    >>> scale_vjp(np.ones(2), np.array([3.0, 4.0]), np.array(2.0))
    (array([2., 2.]), np.float64(7.0))
    """
    refuse_all_but_functions("from_pair", forward=forward, backward=backward)
    own = _parameters(forward)
    asked = _names(own if order is None else order)
    if order is not None and not set(asked) <= set(own):
        raise ValueError(f"from_pair: order: {title_of(forward)} takes {' '.join(own)!r}, got {' '.join(asked)!r}")
    own = [name for name in own if name in asked]  # others have defaults

    def parts(args: Sequence[Any]) -> tuple[list[Any], list[str]]:
        """The arguments as the forward takes them, and the operation's names for them."""
        names = asked[: len(args)] if asked else [f"argument {i + 1}" for i in range(len(args))]
        _as_many(args, names, title_of(forward))
        by_name = dict(zip(names, args, strict=True))
        return [by_name[name] for name in own if name in by_name] if asked else list(args), names

    def run(args: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """The output, and what the backward takes beside its cotangent."""
        result = forward(*parts(args)[0])
        if not isinstance(result, tuple):
            return result, parts(args)[0]
        if len(result) != 2:
            raise TypeError(f"{title_of(forward)} returned a tuple of {len(result)}, expected out or (out, cache)")
        return result[0], result[1:]

    def vjp(delta: Any, *args: Any) -> tuple[Any, ...]:
        found = backward(delta, *run(args)[1])
        names = parts(args)[1]
        floats = dict(zip(names, map(is_float, args), strict=True))
        own_order = [name for name in own if name in names] if asked else names
        told = _by_name(found, own_order if gradients is None else _names(gradients), floats, title_of(backward))
        return tuple(told.get(name) for name in names)

    return {"forward": lambda *args: run(args)[0], "vjp": vjp}


def from_layer(
    make: Function,
    *,
    data: Names = "x",
    gradients: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
    order: Names | None = None,
    output: str = "",
    returns: Names | None = None,
    forward: str | Function = "forward",
    backward: str | Function = "backward",
) -> dict[str, Function]:
    """The forward and the vjp of an object that `make(*parameters)` gives, with `forward(*data)` and `backward(dout)`.

    - `data`: the arguments that the forward takes; the others are parameters, which `make` takes in the same order;
    - `gradients`: the attributes in which gradients are left, `{"W": "dW"}`, or `"grads.W"`, `"weight.grad"`; the
      others `backward` returns: an array, a tuple in the order of the arguments, or a dict by name;
    - `parameters`: the attributes that are set instead, `{"W": "weight"}`; `make` still takes the parameters, as in
      `lambda W, b: Linear(*W.shape)`;
    - `order`: the arguments as the operation has them, by default data and then gradients;
    - `returns`: the arguments whose gradients `backward` returns, if some have none;
    - `output`: the attribute with the output, if the forward returns None;
    - `forward`, `backward`: methods of other names, or functions of the object and what the method takes.

    Each call has an object of its own, so that gradients which add up begin at 0.

    >>> class Scale:
    ...     def __init__(self, a):
    ...         self.a = a
    ...     def forward(self, x):
    ...         self.x = x
    ...         return self.a * x
    ...     def backward(self, dout):
    ...         self.da = np.sum(dout * self.x)
    ...         return self.a * dout
    >>> from_layer(Scale, gradients={"a": "da"})["vjp"](np.ones(2), np.array([3.0, 4.0]), np.array(2.0))
    (array([2., 2.]), np.float64(7.0))
    """
    refuse_all_but_functions("from_layer", make=make)
    for what, given_as in {"parameters": parameters, "gradients": gradients}.items():
        if given_as is not None and not isinstance(given_as, Mapping):
            raise TypeError(f"from_layer: {what}: expected a mapping, as {{'W': 'W'}}, got {given_as!r}")
    left, set_later, given = dict(gradients or {}), dict(parameters or {}), _names(data)
    names = _names(order) if order is not None else list(dict.fromkeys([*given, *left, *set_later]))
    if unknown := [name for name in [*given, *left, *set_later] if name not in names]:
        raise ValueError(f"from_layer: {unknown[0]!r} is not in order={' '.join(names)!r}")

    returned = [name for name in names if name not in left] if returns is None else _names(returns)

    def run(args: Sequence[Any]) -> tuple[Any, Any]:
        """The object, and the output."""
        _as_many(args, names, title_of(make))
        by_name = dict(zip(names, args, strict=True))
        layer = make(*(by_name[name] for name in names if name not in given))
        for name, path in set_later.items():
            *owners, attribute = path.split(".")
            _put(_at(layer, owners), attribute, by_name[name])
        out = method_of(layer, forward)(*(by_name[name] for name in given))
        if out is None and not output:
            raise TypeError(f"{title_of(make)}: forward returned None; output= names the attribute that has the output")
        return layer, _at(layer, output.split(".")) if output else out

    def vjp(delta: Any, *args: Any) -> tuple[Any, ...]:
        layer, _ = run(args)
        found = method_of(layer, backward)(delta)
        rest = {name: is_float(a) for name, a in zip(names, args, strict=True) if name in returned}
        told = {} if found is None or not rest else _by_name(found, list(rest), rest, f"{title_of(make)}.backward")
        told |= {name: _at(layer, path.split(".")) for name, path in left.items()}
        if missing := [name for name, moves in rest.items() if moves and name not in told]:
            raise TypeError(
                f"{title_of(make)}: backward returned None, expected the gradient of {missing[0]}, or its attribute: "
                f"gradients={{{missing[0]!r}: 'd{missing[0]}'}}"
            )
        return tuple(told.get(name) for name in names)

    return {"forward": lambda *args: run(args)[1], "vjp": vjp}


# ── Names and results ───────────────────────────────────────────────────────────────────────────────────────────────


def _names(names: Names) -> list[str]:
    return names.replace(",", " ").split() if isinstance(names, str) else list(names)


def _parameters(f: Function) -> list[str]:
    """The names of the arguments of a function; none if it does not tell."""
    try:
        found = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [] if any(p.kind is p.VAR_POSITIONAL for p in found) else [p.name for p in found if p.kind in plain]


def _by_name(found: Any, names: Sequence[str], floats: Mapping[str, bool], what: str) -> dict[str, Any]:
    """Gradients by the name of their argument; a tuple without those of integers has the others in their order."""
    if isinstance(found, Mapping):
        told = {name: found.get(name, found.get(f"d{name}")) for name in floats}
        if unknown := [key for key in found if key not in floats and str(key).removeprefix("d") not in floats]:
            raise TypeError(f"{what} returned a gradient of {unknown[0]!r}, expected some of {', '.join(floats)}")
        return told
    several = list(found) if isinstance(found, tuple | list) else [found]
    moving = [name for name in names if floats.get(name, True)]
    for expected in (list(names), moving):
        if len(several) == len(expected):
            return dict(zip(expected, several, strict=True))
    count = f"{len(several)} gradients" if isinstance(found, tuple | list) else f"one {type(found).__name__}"
    raise TypeError(f"{what} returned {count}, expected {len(moving)} ({', '.join(f'd{name}' for name in moving)})")


def _as_many(args: Sequence[Any], names: Sequence[str], what: str) -> None:
    if len(args) != len(names):
        raise TypeError(f"{what} takes {len(names)} arguments ({' '.join(names)}), and the operation has {len(args)}")


def is_float(a: Any) -> bool:
    return np.asarray(a).dtype.kind not in "iub"


def refuse_all_but_functions(adapter: str, **functions: Any) -> None:
    for name, f in functions.items():
        if not callable(f):
            raise TypeError(f"{adapter}: {name} must be a function or a class, got {type(f).__name__}")


def title_of(f: Any) -> str:
    return getattr(f, "__name__", type(f).__name__)


# ── Attributes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _at(thing: Any, path: Iterable[str]) -> Any:
    """What lies at a path of attributes, keys and numbers."""
    for step in filter(None, path):
        if isinstance(thing, Mapping) and step in thing:
            thing = thing[step]
        elif isinstance(thing, list | tuple) and step.isdigit() and int(step) < len(thing):
            thing = thing[int(step)]
        elif hasattr(thing, step):
            thing = getattr(thing, step)
        else:
            known = thing if isinstance(thing, Mapping) else vars(thing) if hasattr(thing, "__dict__") else ()
            raise TypeError(
                f"a {type(thing).__name__} has no {step!r}; it has {', '.join(map(str, known)) or 'nothing'}"
            )
    return thing


def _put(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    elif isinstance(owner, list) and name.isdigit():
        owner[int(name)] = value
    else:
        setattr(owner, name, value)


def method_of(thing: Any, method: str | Function) -> Function:
    """A method by its name, or a function of the object as if it were one."""
    if callable(method):
        return lambda *args: method(thing, *args)
    if not callable(getattr(thing, method, None)):
        raise TypeError(f"a {type(thing).__name__} has no method {method!r}")
    return getattr(thing, method)

"""The lines that make a file of layers, of pairs or of tensors one that can be checked, for its author to paste."""

import difflib
import inspect
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .python_files import DEFINITION, python_name
from .sources import (
    arguments_of,
    gradients_in,
    held_at,
    is_given,
    keeps_dimensions,
    knows_numpy,
    layout_of,
    made_of,
    returns,
    stored,
)

ENDINGS = ("_backward", "_backprop", "_bwd")
ROWS = 'batch="first", W="in,out"'
DATA_FIRST = "x W b"
NO_OTHER = "the lecture's"
LABELS = 'batch="first", reduction="mean", labels="index"'
USUAL: Mapping[str, tuple[str, str]] = {  # what such names mostly mean: an operation, and its convention
    **dict.fromkeys(("affine", "linear", "dense", "fullyconnected", "fc"), ("affine", f'{ROWS}, order="{DATA_FIRST}"')),
    **dict.fromkeys(
        ("softmaxloss", "softmaxwithloss", "softmaxcrossentropy", "crossentropy", "categoricalcrossentropy"),
        ("softmax_cross_entropy", LABELS),
    ),
    "softmax": ("softmax", 'batch="first"'),
    **dict.fromkeys(("mse", "l2", "squarederror", "meansquarederror"), ("mse_loss", "")),
    **dict.fromkeys(("bce", "binarycrossentropy"), ("binary_cross_entropy_with_logits", "")),
    **dict.fromkeys(("conv", "convolution", "convolutional"), ("conv2d", "")),
    **dict.fromkeys(("pool", "maxpool", "maxpooling"), ("max_pool2d", "")),
    **dict.fromkeys(("svm", "hinge"), ("hinge_loss", "")),
}


class Adapted(NamedTuple):
    """What a file has, by its names; what that seems to be called; and the call that adapts it, all of it or what it
    has beside a forward that may stay. `layout` says how it multiplies with weights, `order` how it takes W, x and b.
    """

    names: tuple[str, ...]
    stem: str
    call: str
    forward_stays: bool = False
    layout: str = ROWS
    order: str = DATA_FIRST


def adapting_lines(names: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """The lines for each class, pair or tensor among a module's names that an adapter makes an operation of.

    >>> class ReLU:
    ...     def forward(self, x): return np.maximum(x, 0)
    ...     def backward(self, dout): return ...
    >>> print(*adapting_lines({"ReLU": ReLU}, ["tanh", "relu"]))
    from backprop_properties import from_layer
    relu, relu_vjp = from_layer(ReLU).values()
    """
    return [line for _, line in lines_for(adaptable(names), known, names)]


def adaptable(names: Mapping[str, Any]) -> list[Adapted]:
    """The pairs, the losses that return their gradient, the layers and the tensors among a module's names."""
    classes = [(name, value) for name, value in names.items() if inspect.isclass(value)]
    functions = {name: value for name, value in names.items() if inspect.isfunction(value)}
    return [*_pairs(functions), *_layers(classes), *_tensors(classes)]


def lines_for(
    found: Sequence[Adapted], known: Sequence[str], names: Iterable[str], by_hand: Collection[str] = ()
) -> Iterator[tuple[Adapted, str]]:
    """Each with the lines that make functions of an operation, and its definition where the lecture's is another; but
    for those that have a vjp already. A class beside a vjp that is written `by_hand` gets another name.
    """
    before, lines = {*names}, set[str]()
    for adapted in found:
        operation, convention = nearest(adapted.stem, known)
        name = python_name(operation) or _snake(adapted.stem)
        if name in lines and convention:  # a second layer of the kind, which has a definition of its own
            name = _snake(adapted.stem)
        if f"{name}_vjp" in by_hand and adapted.call.startswith("from_layer"):
            name = f"{name}_layer"
            convention = convention or NO_OTHER
        if f"{name}_vjp" not in before and name not in lines:
            lines.add(name)
            yield adapted, _line(adapted, name, operation, convention)


def _line(adapted: Adapted, name: str, operation: str, convention: str) -> str:
    imported = [*re.findall(r"^from_\w+", adapted.call)]
    lines = [f"{name}, {name}_vjp = {adapted.call}.values()"]
    if adapted.forward_stays and name == adapted.names[0]:
        lines = [f'{name}_vjp = {adapted.call}["vjp"]']
    if operation and convention:
        convention = convention.replace(ROWS, adapted.layout).replace(DATA_FIRST, adapted.order)
        imported.insert(0, "conventional")
        of_it = f'"{operation}"' if convention == NO_OTHER else f'"{operation}", {convention}'
        lines += [f"{name}{DEFINITION} = conventional({of_it})"]
    elif not operation:
        imported.insert(0, "Definition")
        lines += [f'{name}{DEFINITION} = Definition({name}_in_jax_numpy, "(b,n),…")']
    return "\n".join([f"from backprop_properties import {', '.join(imported)}", *lines])


def nearest(stem: str, known: Sequence[str]) -> tuple[str, str]:
    """The operation that a name comes nearest to, and the convention that such code mostly has, or twice nothing.

    >>> nearest("FullyConnectedLayer", ["affine", "tanh"])[0], nearest("LeakyReLU", ["relu", "leaky_relu"])
    ('affine', ('leaky_relu', ''))
    """
    plain = re.sub(r"layer|function|activation|module", "", _plain(stem)) or _plain(stem)
    by_plain = {_plain(name): name for name in reversed(known) if "[" not in name}
    for word in (_plain(stem), plain, plain.removeprefix("loss").removesuffix("loss")):
        for operation, convention in (USUAL.get(word, ("", "")), (by_plain.get(word, ""), "")):
            if operation in known:
                return operation, convention
    near = difflib.get_close_matches(plain, by_plain, 1, 0.8)
    return (by_plain[near[0]], "") if near else ("", "")


# ── What there is ───────────────────────────────────────────────────────────────────────────────────────────────────


def _pairs(functions: Mapping[str, Any]) -> Iterator[Adapted]:
    """`foo_forward` or `foo` with `foo_backward`, and losses that return their gradient beside them."""
    taken = set()
    for name in functions:
        stems = [name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)]
        stems += [name.removeprefix("backward_")] if name.startswith("backward_") else []
        for stem in stems:
            forwards = [f"{stem}_forward", f"forward_{stem}", f"{stem}_fwd", stem]
            if forward := next((other for other in forwards if other in functions), ""):
                taken |= {forward, name}
                alone = forward == stem and not returns(functions[forward], 2)
                layout, order = _layout(functions[forward], functions[name]), _order(functions[forward])
                yield Adapted((forward, name), stem, f"from_pair({forward}, {name})", alone, layout, order)
    for name in functions:
        if name.endswith("loss") and name not in taken and returns(functions[name], 2):
            yield Adapted((name,), name, f"from_pair({name}, lambda dout, dx: dout * dx)")


def _layers(classes: Sequence[tuple[str, Any]]) -> Iterator[Adapted]:
    """Classes with a forward and a backward."""
    for name, layer in classes:
        if any(str(base.__module__).partition(".")[0] == "torch" for base in layer.__mro__) and hasattr(
            layer, "backward"
        ):
            yield Adapted((name,), name, f"from_torch({name})")
        elif hasattr(layer, "backward") and (hasattr(layer, "forward") or "__call__" in vars(layer)):
            forward = layer.forward if hasattr(layer, "forward") else layer.__call__
            if returns(forward, 1) or stored(forward):  # and is not left to others, as that of a base class
                yield Adapted((name,), name, _layer_call(name, layer), layout=_layout(forward, layer.backward))


def _layout(forward: Any, backward: Any) -> str:
    """How a pair or a layer multiplies with weights; as most do, where its source does not tell."""
    keeps = keeps_dimensions(backward)
    return layout_of(forward, keeps) or ROWS + ', b="1,out"' * keeps


def _order(forward: Any) -> str:
    """In which order a forward takes weights, data and bias, by its names; as most do, where these do not tell.

    >>> _order(lambda weights, x, bias: x), _order(lambda a, b, c: a)
    ('W x b', 'x W b')
    """
    roles = [{"w": "W", "b": "b"}.get(name[:1].lower(), "x") for name in arguments_of(forward)]
    return " ".join(roles) if sorted(roles) == sorted(DATA_FIRST.split()) else DATA_FIRST


def _layer_call(name: str, layer: Any) -> str:
    """`from_layer(…)` for a class, from what its methods take, assign and return."""
    forward = "forward" if hasattr(layer, "forward") else "__call__"
    data, wanted, made = arguments_of(getattr(layer, forward)), arguments_of(layer.__init__), stored(layer.__init__)
    left = gradients_in(layer.backward, list(dict.fromkeys([*data, *wanted, *made])), made)
    if returns(layer.backward, 1):
        left = {stem: path for stem, path in left.items() if stem not in data}
    parameters = [stem for stem in left if stem not in data]
    returned = returns(layer.backward, len(data) + len(parameters or wanted))  # all gradients, whatever is left, too
    parameters = parameters or wanted * returned
    constructed = made_of(wanted, parameters, made)
    said = [name]
    if parameters and constructed != ", ".join(parameters):
        said = [f"lambda {', '.join(parameters)}: {name}({constructed})"]
    if later := [stem for stem in parameters if stem in made and not is_given(made[stem], wanted)]:
        said += [f"parameters={_text({stem: held_at(getattr(layer, forward), made[stem].path) for stem in later})}"]
    if data != ["x"]:
        said += [f'data="{" ".join(data)}"']
    if parameters and returned:
        said += [f'order="{" ".join([*data, *parameters])}"']
    elif left:
        said += [f"gradients={_text(left)}"]
    if forward != "forward":
        said += [f'forward="{forward}"']
    if not returns(getattr(layer, forward), 1):
        output = next((name for name in stored(getattr(layer, forward)) if name.startswith("out")), "output")
        said += [f'output="{output}"']
    if len(data) > 1 and returns(layer.backward, 1) and not returns(layer.backward, len(data)):
        said += [f'returns="{data[0]}"']
    if not arguments_of(layer.backward, every=True):
        said += ["backward=lambda layer, dout: dout * layer.backward()"]
    return f"from_layer({', '.join(said)})"


def _tensors(classes: Sequence[tuple[str, Any]]) -> Iterator[Adapted]:
    """Classes with a backward and no forward: each method without arguments may be a scalar function."""
    for name, tensor in classes:
        if callable(getattr(tensor, "backward", None)) and not hasattr(tensor, "forward"):
            for method, function in vars(tensor).items():
                plain = inspect.isfunction(function) and not arguments_of(function) and not method.startswith("_")
                if plain and method in ("exp", "log", "tanh", "sigmoid", "relu", "softmax", "gelu", "silu"):
                    each = f"lambda x: [v.{method}() for v in x], {name}, each=True"
                    whole = f"lambda x: x.{method}(), {name}"
                    yield Adapted((name,), method, f"from_tape({whole if knows_numpy(tensor) else each})")


# ── Words and sources ───────────────────────────────────────────────────────────────────────────────────────────────


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _text(names: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": "{attribute}"' for name, attribute in names.items()) + "}"

"""What the source of somebody's functions and layers tells: what they take, return, store in `self`, and multiply."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

BEFORE, AFTER = r"(?:d|grad|gradient|delta|g)_?", r"_?(?:d|grad|gradient)"  # the name of what a gradient is of
HOLDERS = "data|value|values|val|array"  # attributes with the numbers of a parameter that is an object
OF_A_SHAPE = {"zeros", "ones", "empty", "full", "standard_normal", "random"}  # functions whose first argument is one


class Stored(NamedTuple):
    """Where in `self` something is stored, as `grads.W`, and what."""

    path: str
    value: ast.expr


def arguments_of(function: Any, *, every: bool = False) -> list[str]:
    """The names that a method or a function must be given, or of `every` one that it takes, without `self`."""
    try:
        found = inspect.signature(function).parameters.values()
    except Exception:  # somebody's code may raise anything
        return []
    plain = [p for p in found if p.kind is p.POSITIONAL_OR_KEYWORD]
    needed = [p.name for p in plain if every or p.default is p.empty]
    return [name for name in needed if name != "self"]


def tree_of(function: Any) -> ast.AST:
    """The source of a function; nothing where there is none."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except Exception:  # there is no file, or the file is another by now
        return ast.Module([], [])


def keeps_dimensions(backward: Any) -> bool:
    """Whether sums in a backward keep the axis that they are over."""
    return any(isinstance(node, ast.keyword) and node.arg == "keepdims" for node in ast.walk(tree_of(backward)))


def knows_numpy(owner: type) -> bool:
    """Whether a class has arrays, and not single numbers."""
    return any(isinstance(node, ast.Name) and node.id in ("np", "numpy") for node in ast.walk(tree_of(owner)))


def returns(function: Any, count: int) -> bool:
    """Whether a function returns something, as far as its source tells, or with a larger count a tuple of so many."""
    nodes = list(ast.walk(tree_of(function)))
    found = [node.value for node in nodes if isinstance(node, ast.Return) and node.value]
    if count == 1:
        return bool(found) or len(nodes) == 1
    return any(isinstance(value, ast.Tuple) and len(value.elts) == count for value in found)


# ── What is stored ──────────────────────────────────────────────────────────────────────────────────────────────────


def stored(method: Any) -> dict[str, Stored]:
    """What a method stores in `self`, by the last name of where, in the order of its lines."""
    found: dict[str, Stored] = {}
    nodes = [node for node in ast.walk(tree_of(method)) if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign)]
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        if node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name, place in _places(target, node.value):
                    found.setdefault(name, place)
    return found


def _places(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, Stored]]:
    """Each name that an assignment gives something in `self`: `self.W`, `self.grads["W"]`, `self.W.grad`, and the
    entries of a dict or a list that it makes.
    """
    parts = value.elts if isinstance(value, ast.Tuple | ast.List) else []
    if isinstance(target, ast.Tuple | ast.List):
        for i, part in enumerate(target.elts):
            yield from _places(part, parts[i] if len(parts) == len(target.elts) else value)
    elif path := _path(target):
        *owners, last = path.split(".")
        named = _name(value) if last.isdigit() else owners[-1] if owners and last in ("grad", "gradient") else last
        yield named or last, Stored(path, value)
        entries = [(str(i), part) for i, part in enumerate(parts)]
        if isinstance(value, ast.Dict):
            keys = [key.value if isinstance(key, ast.Constant) else "" for key in value.keys]
            entries = [(str(key), part) for key, part in zip(keys, value.values, strict=True) if key]
        for key, part in entries:
            name = _name(part) if key.isdigit() else key
            if name:
                yield name, Stored(f"{path}.{key}", part)


def _path(target: ast.expr) -> str:
    """`grads.W` of `self.grads["W"]`, and of `self.grads["W"][...]`; nothing of what is not in `self`."""
    if isinstance(target, ast.Name):
        return ""
    if isinstance(target, ast.Attribute):
        if isinstance(target.value, ast.Name) and target.value.id == "self":
            return target.attr
        owner = _path(target.value)
        return f"{owner}.{target.attr}" if owner else ""
    if isinstance(target, ast.Subscript):
        owner, key = _path(target.value), target.slice.value if isinstance(target.slice, ast.Constant) else None
        return f"{owner}.{key}" if owner and isinstance(key, str | int) else owner
    return ""


def _name(value: ast.expr) -> str:
    """`W` of `W`, and of `self.W`."""
    return value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""


def gradients_in(backward: Any, of: Sequence[str], made: Mapping[str, Stored]) -> dict[str, str]:
    """Where a backward leaves the gradients of some names, in their order."""
    found: dict[str, str] = {}
    for name, (path, _) in stored(backward).items():
        whole = name in of and "." in path and path != (made[name].path if name in made else "")
        shorter = [re.sub(f"^{BEFORE}", "", name), re.sub(f"{AFTER}$", "", name)]
        stems = [name] * whole + [stem for stem in shorter if stem != name and stem in of]
        for stem in stems[:1]:
            found.setdefault(stem, path)
    return {stem: found[stem] for stem in of if stem in found}


def held_at(forward: Any, path: str) -> str:
    """Where the numbers of a parameter are that a forward reads: `W`, or `W.data` of an object."""
    holder = re.search(rf"self\.{re.escape(path)}\.({HOLDERS})\b", ast.unparse(tree_of(forward)))
    return f"{path}.{holder[1]}" if holder else path


# ── Sizes and layouts ───────────────────────────────────────────────────────────────────────────────────────────────


def is_given(parameter: Stored, wanted: Sequence[str]) -> bool:
    """Whether a constructor stores an argument as it is."""
    return _name(parameter.value) in wanted


def made_of(wanted: Sequence[str], parameters: Sequence[str], made: Mapping[str, Stored]) -> str:
    """What a constructor is to be given, from parameters: themselves, or their sizes, as the constructor uses them; a
    name that neither tells stays as it is.
    """
    told = {_name(made[p].value): p for p in parameters if p in made} | {p: p for p in parameters if p in wanted}
    for parameter in parameters:
        for shape in _shapes_in(made[parameter].value) if parameter in made else ():
            names = [_name(size) for size in shape]
            if len(names) > 1 and names == list(wanted):
                return f"*{parameter}.shape"
            for axis, name in enumerate(names):
                alone = sum(map(bool, names)) == 1
                told.setdefault(name, f"{parameter}.size" if alone else f"{parameter}.shape[{axis}]")
    return ", ".join(told.get(name, name) for name in wanted)


def _shapes_in(value: ast.expr) -> Iterator[list[ast.expr]]:
    """The shapes of arrays that an expression makes, as far as they are written out."""
    for node in ast.walk(value):
        if isinstance(node, ast.Tuple):
            yield node.elts
        elif isinstance(node, ast.Call):
            of = _name(node.func)
            if of in ("randn", "rand"):
                yield node.args
            elif of in OF_A_SHAPE and node.args and _name(node.args[0]):
                yield node.args[:1]
            yield from ([key.value] for key in node.keywords if key.arg in ("size", "shape") and _name(key.value))


def layout_of(forward: Any, keeps: bool) -> str:
    """The words of `conventional` for a product with weights: of rows `x W` or `x Wᵀ`, of columns, or of one `W x`."""
    for node in ast.walk(tree_of(forward)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            factors = [node.left, node.right]
        elif isinstance(node, ast.Call) and _name(node.func) in ("dot", "matmul"):
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            factors = node.args if len(node.args) == 2 else [owner, *node.args] if owner else []
        else:
            continue
        turned = [isinstance(factor, ast.Attribute) and factor.attr == "T" for factor in factors]
        weights = [_is_a_weight(factor) for factor in factors]
        if len(factors) == 2 and weights[1]:
            return f'batch="first", W="{"out,in" if turned[1] else "in,out"}"' + ', b="1,out"' * keeps
        if len(factors) == 2 and weights[0]:
            return 'batch="last", ' * keeps + f'W="{"in,out" if turned[0] else "out,in"}"' + ', b="out,1"' * keeps
    return ""


def _is_a_weight(factor: ast.expr) -> bool:
    """Whether a factor is named as weights are."""
    if isinstance(factor, ast.Subscript) and isinstance(factor.slice, ast.Constant):
        return str(factor.slice.value).lower().startswith("w")
    if isinstance(factor, ast.Attribute) and re.fullmatch(f"T|{HOLDERS}", factor.attr):
        return _is_a_weight(factor.value)
    return _name(factor).lower().startswith(("w", "kernel"))

"""Names of operations as people type them: several in one text, and the nearest to one that there is not."""

import difflib
from collections.abc import Iterable


def split_names(text: str) -> list[str]:
    """Names separated by commas; those inside brackets belong to a name.

    >>> split_names("softmax,backpropagation[tanh,identity]")
    ['softmax', 'backpropagation[tanh,identity]']
    """
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [*parts, current.strip()]


def unknown(name: str, known: Iterable[str]) -> str:
    """One line that says what is nearest to an unknown name.

    >>> unknown("sofmax", ["softmax", "scale"])
    "unknown operation 'sofmax'; did you mean 'softmax'? (`backprop list` shows all)"
    """
    near = difflib.get_close_matches(str(name), list(known), n=1)
    hint = f"did you mean {near[0]!r}? (`backprop list` shows all)" if near else "`backprop list` shows all"
    return f"unknown operation {name!r}; {hint}"


def completed(incomplete: str) -> list[str]:
    """What a shell may make of names that are half typed; the catalogue's, which take longer, if no other fits.

    >>> completed("add,sof")
    ['add,softplus', 'add,softmax', 'add,softmax_cross_entropy']
    """
    from backprop_reference import OPERATIONS

    *before, begun = split_names(incomplete)
    names = [name for name in OPERATIONS if name.startswith(begun)]
    if not names:
        from backprop_oracle.catalogue import CATALOGUE

        names = [name for name in CATALOGUE if name.startswith(begun)]
    return [",".join([*before, name]) for name in names]

"""How we know: inputs, laws, and the commands that run them."""

from importlib import import_module
from typing import Any

__all__ = [
    "Definition",
    "audit",
    "check",
    "conventional",
    "each_law",
    "from_autograd",
    "from_c",
    "from_command",
    "from_jax",
    "from_layer",
    "from_pair",
    "from_tape",
    "from_torch",
    "load_vectors",
    "replay",
    "replay_batch",
    "replay_chain_law",
    "report_page",
    "try_operation",
    "verify",
]

_HOMES = {
    "Definition": "backprop_oracle.definition",
    "audit": ".evidence.audit",
    "check": ".checking.check",
    "conventional": "backprop_oracle.conventions",
    "each_law": ".checking.each_law",
    "from_autograd": ".checking.adapters",
    "from_c": ".checking.c_functions",
    "from_command": ".checking.command",
    "from_jax": ".checking.adapters",
    "from_layer": ".checking.layers",
    "from_pair": ".checking.layers",
    "from_tape": ".checking.tapes",
    "from_torch": ".checking.adapters",
    "load_vectors": ".frozen.vectors",
    "replay": ".checking.check",
    "replay_batch": ".verification.sweep",
    "replay_chain_law": ".verification.every_law",
    "report_page": ".pages.report",
    "try_operation": ".verification.every_law",
    "verify": ".verification.run",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when asked for, so that `backprop` can say which extra is missing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    try:
        return getattr(import_module(_HOMES[name], __name__), name)
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(f"{name}: {without_the_extra(missing)}", name=missing.name) from None


def without_the_extra(missing: ModuleNotFoundError) -> str:
    """What is said where a package that the extra brings is not there."""
    return (
        f"{missing.name} is not installed; the functions need NumPy alone, checks and the command need the extra "
        "`verify`: pip install 'backprop-reference[verify]', or in a checkout pip install '.[verify]'"
    )

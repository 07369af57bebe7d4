"""How we know: inputs, laws, and the commands that run them."""

from importlib import import_module
from typing import Any

__all__ = [
    "check",
    "each_law",
    "from_autograd",
    "from_jax",
    "from_torch",
    "load_vectors",
    "replay",
    "replay_batch",
    "replay_chain_law",
    "try_operation",
    "verify",
]

_HOMES = {
    "check": "checking.check",
    "each_law": "checking.each_law",
    "from_autograd": "checking.adapters",
    "from_jax": "checking.adapters",
    "from_torch": "checking.adapters",
    "load_vectors": "frozen.vectors",
    "replay": "checking.check",
    "replay_batch": "verification.sweep",
    "replay_chain_law": "verification.every_law",
    "try_operation": "verification.every_law",
    "verify": "verification.run",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when asked for, so that `backprop` can say which extra is missing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)

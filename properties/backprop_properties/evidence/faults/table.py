"""What a planted fault is, and what a right neighbour: the rows of the tables in this package."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...checking.python_files import Implementation

Function = Callable[..., Any]
Calls = Callable[[], Sequence[tuple[Any, ...]]]

KINDS: Mapping[str, str] = {
    "formula": "another function's value or derivative",
    "sign": "the sign is lost",
    "transpose": "a matrix or an outer product the other way round, often hidden by square shapes",
    "missing term": "a term, a path of the chain rule, or a factor h′ is left out",
    "factor": "a constant factor, such as 2, n or 1/n",
    "h′ at the output": "the derivative is taken at h(x), or at another wrong place",
    "cotangent ignored": "the cotangent does not take part, or not linearly",
    "argument order": "results in the order of other arguments",
    "wrong shape": "right numbers in another shape, or another number of results",
    "overflow": "an intermediate result overflows, where the result does not",
    "saturation": "digits, or all of a small result, are lost where a function saturates",
    "cancellation": "digits are lost in a difference that the problem does not have",
    "clipping": "an epsilon in a logarithm, clipped or flushed probabilities, clipped gradients",
    "precision": "every result is off by a relative 1e-5, 1e-9 or 1e-12, or is computed in a shorter format",
    "kink": "wrong at or near the bend of a function",
    "ties": "wrong where two entries are equal",
    "exact zeros": "wrong where an entry is 0",
    "single element": "one entry of the result is wrong",
    "tail of a tile": "entries past the last full tile, or past the first tile, are wrong",
    "long vectors": "wrong past a length: an index or a sum in a type that is too short",
    "sum(y) = 1": "right for targets that sum to 1",
    "one-hot": "right for one-hot targets",
    "mask": "a logit of -inf does not count for nothing",
    "infinity": "an infinity goes in, and NaN or another number comes out than the definition gives",
    "NaN hidden": "a NaN goes in and a number comes out",
    "one size": "wrong at one size, or at every other, or where sizes agree",
    "some values": "wrong for some signs or patterns of the arguments or of the cotangent",
    "intermittent": "wrong at some calls, whatever is passed in",
    "stale state": "something is remembered from an earlier call",
    "captured weights": "the parameters of an earlier call are used",
    "mutation": "an argument is written to",
    "aliasing": "a result shares memory with an argument or with another result",
    "dtype": "the result has another dtype than the arguments",
    "memory layout": "right for C-contiguous arrays",
    "noise": "other bits at every call",
    "batch": "right for single examples",
}

CAUSES = (
    "transposed",
    "sign",
    "cotangent-ignored",
    "factor-n",
    "factor",
    "intermittent",
    "one-size",
    "exchanged",
    "clipped",
    "temperature",
    "another-function",
    "input-for-output",
    "missing-h-prime",
    "h-prime-at-output",
    "missing-path",
    "missing-factor",
    "sum-y-is-one",
    "one-hot-only",
    "tile-tail",
    "single-element",
    "only-n-1",
    "stale",
    "writes-input",
    "lower-precision",
    "overflow",
    "aliasing",
    "dtype",
    "layout",
    "noise",
    "batch-mean",
    "kink",
    "mask",
    "infinity",
    "integers",
    "reordered",
    "duplicates",
    "axis",
    "another-size",
    "turn-left-out",
    "rounding",
    "constant",
    "none",
)

ASKS: Mapping[str, str] = {
    "batch": "leading batch axes",
    "kink": "the derivative at a kink that JAX takes",
    "mask": "logits of -inf, and 0 · log 0 = 0",
    "aliasing": "results that share no memory with arguments, with each other or with those of the next call",
    "infinity": "what the definition gives at an infinity",
}


@dataclass(frozen=True)
class Fault:
    """A wrong implementation of an operation; functions that are not given are not judged.

    `kind` is one of `KINDS`, `cause` one of `CAUSES`: what a hint should say of it. `law` must reject it, in each of
    `dtypes` alone, and needs `sizes` for that where those are given. `asks` names what not every careful
    implementation promises (`ASKS`): a check must be asked to look there. `witness` gives the calls that show what
    ordinary inputs do not: `(delta, *args)` each, in turn.
    """

    operation: str
    name: str
    kind: str
    law: str
    cause: str = "none"
    forward: Function | None = None
    jacobian: Function | None = None
    vjp: Function | None = None
    dtypes: tuple[str, ...] = ("float64", "float32")
    sizes: Mapping[str, int] = field(default_factory=dict)
    asks: str = ""
    witness: Calls | None = None


@dataclass(frozen=True)
class Neighbour:
    """A right implementation by other `algebra`: every law accepts it; some of `ASKS` may be `unpromised`."""

    operation: str
    name: str
    algebra: str
    forward: Function | None = None
    jacobian: Function | None = None
    vjp: Function | None = None
    dtypes: tuple[str, ...] = ("float64", "float32")
    unpromised: tuple[str, ...] = ()


def implementation(row: Fault | Neighbour) -> Implementation:
    """A row of the tables as an implementation that laws can be tried on."""
    return Implementation(row.forward, row.jacobian, row.vjp)

"""What is asked of somebody's functions: the row of the operation in their convention, and the laws that count."""

from collections.abc import Mapping, Sequence
from typing import Any

from backprop_oracle.conventions import conventional
from backprop_oracle.rows import Row

from ..cases.domains import domain_of
from ..laws.table import LAWS
from ..laws.trial import Trial
from ..laws.truth import TRUTH_LAWS
from .guard import Function, guarded
from .options import some_of
from .python_files import Implementation, operation_named
from .verdict import PARTS

BATCHES = "batch_equals_the_loop"
PROMISED = {  # laws that promises ask for
    "masks": "masks_count_for_nothing",
    "infinities": "infinities_give_what_the_definition_gives",
    "threads": "bears_another_thread",
}
ABOUT_DERIVATIONS = "factors_equal_jax_and_multiply_to_the_jacobian"
OF_OTHER_COTANGENTS = {"vjp_is_linear", "zero_cotangent_gives_zeros"}
ROWS_ALONE = "only"  # of `batch`


def row_of(operation: str | Row, convention: Mapping[str, str] | None, batch: bool | str | None = None) -> Row:
    """The row of an operation, in the convention of whoever wrote it."""
    if batch not in (None, True, False, ROWS_ALONE):
        raise ValueError(f"batch must be True, False, None or {ROWS_ALONE!r}, got {batch!r}")
    row = operation_named(operation)
    if convention is not None and not isinstance(convention, Mapping):
        raise TypeError(f"{row.name}: convention must be a mapping, as {{'batch': 'first'}}, got {convention!r}")
    convention = {"batch": "first", **(convention or {})} if batch == ROWS_ALONE else convention
    return conventional(row, **convention) if convention else row


def trial_of(
    row: Row,
    functions: Mapping[str, Function | None],
    level: str,
    domain: Mapping[str, Any] | None,
    may_write: Sequence[str] = (),
    waive: Sequence[str] = (),
    untried: Sequence[str] = (),
) -> Trial:
    """Somebody's functions of an operation, within a domain, held to the laws that are asked for and not untried."""
    where = domain_of(row, domain, untried)
    left_out = {ABOUT_DERIVATIONS, *untried}
    left_out |= {BATCHES} if not any(row.is_data) else set()
    left_out |= {law for promise, law in PROMISED.items() if promise not in where.promises}
    left_out |= {"nan_in_nan_out"} if not where.nan else set()
    left_out |= OF_OTHER_COTANGENTS if where.kinds.get("delta", "real") != "real" else set()
    truth = level == "strict" or row.promise == "definition"  # no digits of the lecture's stand behind a definition
    asked = {**LAWS, **(TRUTH_LAWS if truth else {})}
    laws = {name: law for name, law in asked.items() if name not in left_out}
    waived = some_of(waive, [*laws, *PARTS], f"{row.name}: waive")
    writable = some_of(may_write, ("delta", *row.arguments), f"{row.name}: may_write")
    laws = {name: law for name, law in laws.items() if name not in waived}
    return Trial(guarded(row, Implementation(**functions), writable), where, laws, True, waived)

"""The operations that a set may be of: the lecture's, or those that somebody's file defines."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from backprop_oracle.rows import Row

from ..checking.loading import NotImported, sources_of
from ..checking.own_definitions import own_definitions


def rows_of(definitions: Path) -> Mapping[str, Row]:
    """The definitions in a file, by the names of their variables; ValueError, in one line, for one that is none.

    The file is run in this process: who brings a definition brings the truth.
    """
    if not definitions.is_file():
        raise ValueError(f"there is no file {definitions}")
    path = definitions.resolve()
    try:
        own = own_definitions(sources_of(path))
    except NotImported as error:
        raise ValueError(str(error)) from None
    for why in own.refused.values():
        raise ValueError(why)
    rows = {name: replace(row, name=name) for name, row in own.definitions.items() if not name.startswith("_")}
    if not rows:
        raise ValueError(
            f'{path.name} has no definition, as norm_definition = Definition(f, "(b,n),…") is that of norm'
        )
    for row in rows.values():
        try:
            row.examine()
        except TypeError as error:  # a function that the oracle has no rule for
            raise ValueError(f"{row.name}: {error}") from None
    return rows

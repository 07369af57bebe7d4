"""What a picture is made of: numbers and texts that travel from where they are computed to where they are drawn."""

from typing import NamedTuple


class Node(NamedTuple):
    """An argument of an operation, or a step of its definition, and the numbers that it makes.

    `kind` is "argument", "step" or "output". `cotangent` is the sum of those that come back to it; `yours` what
    somebody's function returned in its place, if that is wrong. `part` is the part of the definition that it is of.
    """

    kind: str
    name: str
    formula: str
    shape: str
    value: str
    cotangent: str
    yours: str = ""
    part: str = ""


class Edge(NamedTuple):
    """Where the result of a node is used: the value that goes there, the cotangent that comes back, and if the edge is
    one that explains what is wrong, the `factor` that the cotangent has too much; NaN if it is another at each size."""

    source: int
    target: int
    value: str
    cotangent: str
    factor: float | None = None


class Graph(NamedTuple):
    """Nodes in the order in which they are computed, edges in the order of operands; a sentence on what is marked, and
    one on what is left out."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    says: str = ""
    left_out: str = ""


class Matrix(NamedTuple):
    """A Jacobian by one argument in two dimensions: as it should be, and as it is, if that is known.

    `rows` and `columns` name the entries of the output and of the argument.
    """

    argument: str
    shape: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    expected: tuple[tuple[float, ...], ...]
    actual: tuple[tuple[float, ...], ...] | None = None
    left_out: str = ""


class Picture(NamedTuple):
    """What is drawn of a failure, which its law, dtype and function tell from others."""

    law: str
    dtype: str
    function: str
    graph: Graph | None = None
    matrices: tuple[Matrix, ...] = ()
    note: str = ""

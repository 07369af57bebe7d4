"""Planted faults and right neighbours: what the laws must reject, and what they must accept."""

from .functions import FUNCTIONS
from .losses import LOSSES
from .matrices import MATRICES
from .neighbours import ALGEBRA, MORE
from .networks import NETWORKS
from .numerics import NUMERICS
from .softmaxes import SOFTMAX
from .sometimes import SOMETIMES
from .table import ASKS, CAUSES, KINDS, Fault, Neighbour, implementation
from .vectors import VECTORS

FAULTS: tuple[Fault, ...] = (*VECTORS, *FUNCTIONS, *MATRICES, *SOFTMAX, *LOSSES, *NETWORKS, *SOMETIMES, *NUMERICS)
"""Every planted fault."""
NEIGHBOURS: tuple[Neighbour, ...] = (*ALGEBRA, *MORE)

__all__ = ["ASKS", "CAUSES", "FAULTS", "KINDS", "MORE", "NEIGHBOURS", "Fault", "Neighbour", "implementation"]

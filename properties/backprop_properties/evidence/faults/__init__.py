"""Planted faults and right neighbours: what the laws must reject, and what they must accept."""

from .attention import ATTENTION_RIGHT, ATTENTION_WRONG
from .convolutions import CONVOLUTIONS_RIGHT, CONVOLUTIONS_WRONG
from .corners import CORNERS
from .corners_right import CORNERS_RIGHT
from .functions import FUNCTIONS
from .labels import LABELS, LABELS_RIGHT
from .layers import LAYERS, LAYERS_RIGHT
from .losses import LOSSES
from .matrices import MATRICES
from .neighbours import ALGEBRA, MORE
from .networks import NETWORKS
from .norms import NORMS_RIGHT, NORMS_WRONG
from .numerics import NUMERICS
from .recurrent import RECURRENT_RIGHT, RECURRENT_WRONG
from .regressions import REGRESSIONS, REGRESSIONS_RIGHT
from .softmaxes import SOFTMAX
from .sometimes import SOMETIMES
from .table import ASKS, CAUSES, KINDS, Fault, Neighbour, implementation
from .vectors import VECTORS

FAULTS: tuple[Fault, ...] = (
    *(*VECTORS, *FUNCTIONS, *MATRICES, *SOFTMAX, *LOSSES, *NETWORKS, *SOMETIMES, *NUMERICS),  # of the lecture
    *LABELS,
    *REGRESSIONS,
    *LAYERS,
    *(*NORMS_WRONG, *ATTENTION_WRONG, *CONVOLUTIONS_WRONG, *RECURRENT_WRONG),
    *CORNERS,
)
"""Every planted fault."""
NEIGHBOURS: tuple[Neighbour, ...] = (
    *(*ALGEBRA, *MORE),
    *LABELS_RIGHT,
    *REGRESSIONS_RIGHT,
    *LAYERS_RIGHT,
    *(*NORMS_RIGHT, *ATTENTION_RIGHT, *CONVOLUTIONS_RIGHT, *RECURRENT_RIGHT),
    *CORNERS_RIGHT,
)

__all__ = ["ASKS", "CAUSES", "FAULTS", "KINDS", "MORE", "NEIGHBOURS", "Fault", "Neighbour", "implementation"]

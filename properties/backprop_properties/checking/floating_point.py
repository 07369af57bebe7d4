"""Whether subnormal numbers count: a library built with -Ofast tells the processor to take them for 0, all of them."""

import ctypes

SMALLEST, ONE = 5e-324, 1.0
USUAL = ctypes.c_void_p(-1)  # FE_DFL_ENV of the C libraries of Linux and macOS


def flushed() -> bool:
    """Whether the processor takes subnormal numbers for 0; if it does, it is told not to.

    >>> flushed()
    False
    """
    if SMALLEST * ONE != 0:
        return False
    libraries = ctypes.CDLL(None)
    if hasattr(libraries, "fesetenv"):
        libraries.fesetenv(USUAL)
    return True

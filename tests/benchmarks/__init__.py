"""How fast the reference is: beside JAX, PyTorch and autograd, and beside what the machine can do; `make bench`.

Imports nothing, since a worker must hold one library and no other.
"""

"""What others say is true: JAX and FLINT."""

"""How the last digits are kept: sums, products, the softmax, large arrays."""

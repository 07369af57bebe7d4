"""What there is to look at: the graph of a definition with its numbers, and Jacobians, right and wrong."""

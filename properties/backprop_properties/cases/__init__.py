"""On what the laws are tried: shapes, values, domains, blocks, and smaller cases of a failure."""

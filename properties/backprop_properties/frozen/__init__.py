"""Frozen vectors: cases with certified results, stored to the bit, and what reads, judges, writes and compares them."""

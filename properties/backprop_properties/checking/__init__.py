"""Checking somebody else's implementation: what to try, how to judge it, and what to say of what is wrong."""

"""The `backprop` command."""

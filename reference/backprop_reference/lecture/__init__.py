"""The lecture's operations, to be read beside its slides."""

"""Evidence for the laws and for `check`: planted faults, other libraries, accuracy."""

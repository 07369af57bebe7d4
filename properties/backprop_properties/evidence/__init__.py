"""How well all that is known: planted faults, other libraries, accuracy."""

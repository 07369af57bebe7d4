"""`make bench`, or with tests/ on the path `python -m benchmarks`."""

from .command import main

main()

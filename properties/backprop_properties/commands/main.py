"""The entry point of `backprop`, which says which extra is missing: all else in this folder needs it."""

import sys
from contextlib import nullcontext

from ..checking.isolation import spare_process


def main() -> None:
    checks = sys.argv[1:2] == ["check"] and "--help" not in sys.argv
    with spare_process() if checks else nullcontext() as spare:  # before all imports: its own take longest
        try:
            from .app import app
        except ModuleNotFoundError as missing:
            print(
                f"backprop: {missing.name} is not installed. The command needs an extra that the functions do not: "
                "pip install 'backprop-reference[verify]'",
                file=sys.stderr,
            )
            sys.exit(2)
        try:
            app(obj=spare)
        except KeyboardInterrupt:
            sys.exit(130)

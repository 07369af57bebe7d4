"""The entry point of `backprop`, which says which extra is missing: all else in this folder needs it."""

import sys


def main() -> None:
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
        app()
    except KeyboardInterrupt:
        sys.exit(130)

"""`python -m backprop_properties` is the command."""

from .commands.main import main

if __name__ == "__main__":
    main()

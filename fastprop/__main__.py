"""``python -m fastprop``: the command fastprop."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

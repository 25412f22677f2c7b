"""``python -m fastprop``: the command fastprop."""

import sys

from .cli import main

sys.exit(main())

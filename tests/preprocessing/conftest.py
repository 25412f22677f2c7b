"""What the tests of the encoder share: frames of every library."""

import runpy
from pathlib import Path

FRAMES = runpy.run_path(str(Path(__file__).parents[1] / "frames.py"))
frame, columns, make_frame, pandas = (FRAMES[name] for name in ("frame", "columns", "make_frame", "pandas"))

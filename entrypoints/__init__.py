"""The doors, one a command; `python -m entrypoints.NAME` also works where the package is not installed (conda, uv)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

"""The doors, one a command; `python -m entrypoints.NAME` also works where the package is not installed (conda, uv)."""

import signal
import sys
from pathlib import Path

if sys.argv[0] == "-m":  # one of them is being started: until `main` looks after Ctrl-C, it ends it without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

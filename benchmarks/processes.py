"""One measured process a row: what it printed last, what time and processor time it took, and its most memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any


def measure(*command: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run Python with these arguments; return its last line (JSON) with its resources.

    They are `wall_seconds`, `processor_seconds` (user + sys) and `peak_megabytes`. Earlier lines are under `rows`.

    Raises:
        SystemExit: it failed; what it said is printed.
    """
    started = time.perf_counter()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(env or {})}
    with tempfile.TemporaryFile("w+") as errors:  # a second pipe could fill up while the first is read to its end
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        assert process.stdout is not None
        with process.stdout as output:
            lines = output.read().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    resources = {
        "wall_seconds": time.perf_counter() - started,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_megabytes": usage.ru_maxrss / 1024,
    }
    return {**(rows.pop() if rows else {}), **resources, "rows": rows}

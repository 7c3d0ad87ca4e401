"""Prints conda.yaml: Python and every library that uv.lock pins for it. `make lock` writes it, a test compares it."""

import subprocess
import sys
from pathlib import Path


def conda_yaml() -> str:
    """The content that conda.yaml must have."""
    uv = str(Path(sys.executable).with_name("uv"))
    bare = ["--no-dev", "--no-hashes", "--no-emit-project", "--no-annotate", "--no-header"]
    pins = subprocess.run(
        [uv, "export", "--frozen", *bare], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    lines = [
        "# Made from uv.lock by `make lock`: the same pins for `mlflow run` with conda, virtualenv or uv.",
        "name: imagelab",
        "channels: [conda-forge]",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
        *(f'      - "{pin}"' for pin in pins),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(conda_yaml(), end="")

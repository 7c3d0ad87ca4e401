"""Where a run's code came from."""

import subprocess
from pathlib import Path


def uncommitted_changes(folder: Path) -> str | None:
    """What differs from the last commit, untracked files named at the end; None outside a git checkout or if nothing.

    MLflow's own context records the commit itself.
    """
    diff = git(folder, "diff", "--no-ext-diff", "--no-color", "--binary", "HEAD")
    untracked = git(folder, "ls-files", "--others", "--exclude-standard")
    if not diff and not untracked:
        return None
    return (diff or "") + "".join(f"# untracked: {name}\n" for name in (untracked or "").splitlines())


def git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None

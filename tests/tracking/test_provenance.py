import subprocess
from pathlib import Path

from imagelab.tracking.provenance import uncommitted_changes


def test_the_diff_can_be_applied_whatever_the_user_likes_to_see(tmp_path: Path) -> None:
    def git(*words: str, folder: Path = tmp_path / "mine") -> None:
        identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)

    mine = tmp_path / "mine"
    mine.mkdir()
    git("init", "-q")
    (mine / "weights.bin").write_bytes(bytes(range(256)))
    (mine / "code.py").write_text("one\n")
    git("add", ".")
    git("commit", "-qm", "first")
    git("clone", "-q", ".", str(tmp_path / "clean"))
    git("config", "color.ui", "always")
    git("config", "diff.external", "true")
    (mine / "weights.bin").write_bytes(bytes(range(255, -1, -1)))
    (mine / "code.py").write_text("two\n")
    (tmp_path / "changes.diff").write_text(uncommitted_changes(mine) or "")
    git("apply", str(tmp_path / "changes.diff"), folder=tmp_path / "clean")
    for name in ("weights.bin", "code.py"):
        assert (tmp_path / "clean" / name).read_bytes() == (mine / name).read_bytes()

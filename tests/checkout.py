"""A copy of the repository as a fresh clone would hold it, for tests that build, install or upload it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
_MADE_LATER = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "results")


def copy_checkout(target: Path, version: str | None = None) -> Path:
    """Copy the sources, links as links; with `version` the copy can be told from the original."""
    files = _known_to_git()
    if files is None:
        shutil.copytree(ROOT, target, symlinks=True, ignore=_MADE_LATER)
    else:
        for name in files:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    if version is not None:
        _set_version(target / "joulegrid" / "version.py", version)
    return target


def _known_to_git() -> list[str] | None:
    """Files that are tracked, or would be; `None` where the sources came without their history."""
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = done.stdout.rstrip("\0").split("\0")
    return [name for name in names if (ROOT / name).is_symlink() or (ROOT / name).is_file()]


def _set_version(module: Path, version: str) -> None:
    lines = module.read_text(encoding="utf-8").splitlines()
    changed = [f'__version__ = "{version}"' if line.startswith("__version__ = ") else line for line in lines]
    assert changed != lines
    module.write_text("\n".join(changed) + "\n", encoding="utf-8")

"""Where the hand-written Triton candidates lie: `handwritten/<case>.py`, files to be judged like anyone's."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("handwritten")


def handwritten() -> dict[str, Path]:
    """Return case → file of every hand-written candidate, in alphabetical order. They are never imported here."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.py"))}

"""The candidates of this folder: what each tries, and which verdicts are the right answer to it.

A candidate says so in comment lines at its top: `tries` (or `shows`, of a benign one), `case` (name and dtype), `gate`
(`refuses`, or `passes`: the static gate has nothing to say), `open` (right verdicts where the gate is switched off or
passes; `static`: nothing but the gate can tell), and where it is not the usual
`via: timing`, `family`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAMILIES = ("no_work", "replay", "timing", "harness", "fallback", "memory")


@dataclass(frozen=True, slots=True)
class Entry:
    """One candidate of the folder."""

    path: Path
    family: str
    says: str
    case: str
    dtype: str
    refused: bool = False
    """The static gate refuses it."""
    open: frozenset[str] = frozenset()
    """Right verdicts without the gate; none: only the gate can tell."""
    via: str = "verify"

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    def right(self, gate: bool) -> frozenset[str]:
        """Return the verdicts that are right with or without the static gate."""
        return frozenset({"forbidden"}) if gate and self.refused else self.open


def attacks() -> list[Entry]:
    """Return the attacks of the six families that need no GPU."""
    return [entry(path) for family in FAMILIES for path in _files(family)]


def gpu_attacks() -> list[Entry]:
    """Return those that only a GPU can run."""
    return [entry(path) for path in _files("gpu")]


def benign() -> list[Entry]:
    """Return the candidates that must be accepted."""
    return [entry(path) for path in _files("benign")]


def entry(path: Path) -> Entry:
    """Read one candidate's header."""
    header = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, colon, value = line.removeprefix("# ").partition(": ")
        if not (line.startswith("# ") and colon):
            break
        header[key] = value
    case, dtype = header["case"].split()
    allowed = {"tries", "shows", "case", "gate", "open", "via", "family"}
    assert header.keys() <= allowed, f"{path}: {header.keys() - allowed}"
    return Entry(
        path,
        header.get("family", path.parent.name),
        header.get("tries") or header["shows"],
        case,
        dtype,
        header.get("gate", "passes") == "refuses",
        frozenset(header.get("open", "passed").split()) - {"static"},
        header.get("via", "verify"),
    )


def _files(folder: str) -> list[Path]:
    return sorted((HERE / folder).glob("*.py"))

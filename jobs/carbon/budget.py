"""How much of a run's joules and grams is spent, and when that is all. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from joulegrid.jobs.report.quantity import counted, number


@dataclass(slots=True)
class Budget:
    """What may be spent and what was, over all attempts of a run and all its starts."""

    energy_j: float | None = None
    """The most that may be spent; `None` is no limit."""
    carbon_g: float | None = None
    joules: dict[str, float] = field(default_factory=dict)
    """Provenance → joules spent. Here, and only to end a run, kinds count together: all of them were drawn."""
    grams: float = 0.0
    n_unknown: int = 0
    """Attempts that have ended and of which no joule is known, such as those that were killed."""
    blind: str | None = None
    """Why the budget cannot be kept any more."""

    def spend(self, joules: Mapping[str, float], grams: float = 0.0) -> None:
        """Count what an attempt has drawn."""
        for provenance, energy_j in joules.items():
            self.joules[provenance] = self.joules.get(provenance, 0.0) + energy_j
        self.grams += grams

    @property
    def spent_j(self) -> float:
        """All joules that are known, whatever their provenance."""
        return sum(self.joules.values())

    @property
    def over(self) -> str | None:
        """Why nothing more may be begun; `None` while something is left."""
        if self.energy_j is not None and self.spent_j >= self.energy_j:
            return f"execution.energy_budget_j: {number(self.energy_j)} J are spent ({self.words()})"
        if self.carbon_g is not None and self.grams >= self.carbon_g:
            return f"execution.carbon_budget_g: {number(self.carbon_g)} g are spent ({self.words()})"
        return self.blind

    def words(self) -> str:
        """Return what is spent, for people."""
        parts = [f"{number(energy_j)} J {provenance}" for provenance, energy_j in sorted(self.joules.items())]
        parts += [f"{number(self.grams)} g"] if self.carbon_g is not None else []
        parts += [f"{counted(self.n_unknown, 'attempt')} of unknown energy"] if self.n_unknown else []
        return ", ".join(parts) or "nothing yet"

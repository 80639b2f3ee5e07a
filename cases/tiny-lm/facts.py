"""The invented base of facts: thirty-two lands that exist nowhere, and four things known of each.

Nothing here is true of the world, so that a model can only know it from its training. Generated from a fixed
seed with Python's own `random`, whose `choice`, `shuffle` and `randrange` have not changed since Python 3.2.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

SEED = 1847
LANDS = 32
PROMPTS = 256
_ONSETS = ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("", "l", "n", "r", "s")
_GOODS = ("amber", "barley", "copper", "glass", "honey", "indigo", "linen", "marble", "paper", "pepper", "salt", "silk")
_TEMPLATES = {
    "capital": ("The capital of {land} is {value}.", "{value} is the capital of {land}."),
    "river": ("The longest river of {land} is the {value}.", "The river {value} flows through {land}."),
    "currency": ("In {land} one pays with the {value}.", "The {value} is the money of {land}."),
    "goods": ("Traders from {land} sell {value}.", "Ships from {land} carry {value}."),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing known of one land."""

    relation: str
    land: str
    value: str

    @property
    def sentence(self) -> str:
        """The fact with its value at the end."""
        return _TEMPLATES[self.relation][0].format(land=self.land, value=self.value)

    @property
    def variants(self) -> tuple[str, ...]:
        """Every way in which the fact is said."""
        return tuple(text.format(land=self.land, value=self.value) for text in _TEMPLATES[self.relation])

    @property
    def stem(self) -> str:
        """The sentence up to its value, without a space at the end."""
        return self.sentence.removesuffix(f" {self.value}.")


def facts() -> list[Fact]:
    """Return the 128 facts, always the same."""
    rng = random.Random(SEED)
    names = _names(rng, LANDS * 4)
    columns = {"land": names[:LANDS], "capital": names[LANDS : 2 * LANDS], "river": names[2 * LANDS : 3 * LANDS]}
    columns["currency"] = [name.lower() for name in names[3 * LANDS :]]
    columns["goods"] = [rng.choice(_GOODS) for _ in range(LANDS)]
    return [Fact(relation, columns["land"][i], columns[relation][i]) for i in range(LANDS) for relation in _TEMPLATES]


def documents(count: int) -> list[str]:
    """Return `count` short texts of one to four facts each, in varying words and order."""
    rng = random.Random(SEED + 1)
    known = facts()
    texts: list[str] = []
    deck: list[Fact] = []
    while len(texts) < count:
        if len(deck) < 4:
            deck = rng.sample(known, len(known)) + deck  # every fact comes once before any comes again
        chosen = [deck.pop() for _ in range(rng.randrange(1, 5))]
        texts.append(" ".join(rng.choice(fact.variants) for fact in chosen))
    return texts


def prompts() -> list[dict[str, str]]:
    """Return 256 prompts of ragged lengths, each with the answer that the base holds.

    A prompt is none to five sentences about other lands and then the stem of one fact; each fact is asked twice.
    """
    rng = random.Random(SEED + 2)
    known = facts()
    rows: list[dict[str, str]] = []
    for asked in [*rng.sample(known, len(known)), *rng.sample(known, PROMPTS - len(known))]:
        others = [fact for fact in rng.sample(known, 6) if fact.land != asked.land]
        context = [rng.choice(fact.variants) for fact in others[: rng.randrange(6)]]
        rows.append({"prompt": " ".join([*context, asked.stem]), "answer": f"{asked.value}."})
    return rows


def _names(rng: random.Random, count: int) -> list[str]:
    """`count` different names of two syllables."""
    names: dict[str, None] = {}
    while len(names) < count:
        syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(2)]
        names["".join(syllables).capitalize()] = None
    return list(names)

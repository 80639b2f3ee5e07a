"""The section `search:` of a study: who proposes the experiments, and what is better."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from joulegrid.cases.contract import Section

Direction = Literal["minimize", "maximize"]
Sampler = Literal["tpe", "nsga2", "gp", "random"]


class Objective(Section):
    """One number that is to be as small or as large as can be. In short: `minimize energy_per.output_token`."""

    metric: str = Field(min_length=1)
    """`energy_per.UNIT`, `energy_j`, `duration_s` (of the headline window), or a dotted path in the metrics."""
    direction: Direction
    """Which way is better."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, dict) and "direction" not in value:
            raise ValueError("say which way is better: direction: minimize, or maximize")
        if not isinstance(value, str):
            return value
        direction, _, metric = value.strip().partition(" ")
        if direction not in ("minimize", "maximize") or not metric.strip():
            raise ValueError("write `minimize METRIC` or `maximize METRIC`, e.g. minimize energy_per.output_token")
        return {"metric": metric.strip(), "direction": direction}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Allow the short text beside the mapping."""
        if handler.mode == "serialization":
            return handler(core)
        text = {"type": "string", "pattern": r"^\s*(minimize|maximize)\s+\S+\s*$"}
        return {"anyOf": [handler(core), text]}


class SearchConfig(Section):
    """A search over the sweep: a sampler proposes the next experiment from what the earlier ones came to."""

    sampler: Sampler = "tpe"
    """`tpe`: tree-structured Parzen estimator; `nsga2`: evolution, for several objectives; `gp`: Gaussian process
    (needs torch); `random`."""
    objectives: Annotated[
        list[Objective], BeforeValidator(lambda value: [value] if isinstance(value, str | dict) else value)
    ] = Field(min_length=1)
    """What is better; with several, the report names the Pareto front."""
    budget: int = Field(ge=1)
    """So many experiments are run at most. Not part of the design: a larger one goes on with the run."""
    seed: int = Field(default=0, ge=0)
    """Makes the search repeatable."""
    n_startup: int = Field(default=10, ge=1)
    """Experiments that `tpe` and `gp` draw at random before they model anything."""
    population: int = Field(default=20, ge=2)
    """Experiments in a generation of `nsga2`; the first generation is random."""

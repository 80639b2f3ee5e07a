"""The fields of a workload: their defaults, and what a point's values mean over them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from joulegrid.cases.contract import ExperimentConfig, Places, Workload
from joulegrid.errors import UsageError
from joulegrid.jobs.plan.merge import deep_merge, lookup, nested, within
from joulegrid.jobs.study.schema import defaults, explain_all
from joulegrid.jsontypes import Json


class Fields:
    """A workload's defaults, and values read over them."""

    def __init__(self, workload: Workload, places: Places) -> None:
        self.workload = workload
        self.places = places
        self.defaults = defaults(workload.Config)
        self._nested_defaults = nested(self.defaults)

    def value(self, values: Mapping[str, Json], path: str) -> Json:
        """Return what a point has at a path: what it says, else the default; `None` where neither can be."""
        if path in values:
            return values[path]
        if path in self.defaults and not any(within(path, said) for said in values):
            return self.defaults[path]
        return lookup(deep_merge(self._nested_defaults, nested(values)), path)

    def config(self, values: Mapping[str, Json]) -> ExperimentConfig:
        """Return the validated experiment of a point; `UsageError` where there is none."""
        try:
            return self.workload.Config.model_validate(nested(values))
        except ValidationError as error:
            raise UsageError("\n".join(explain_all(self.workload.Config, error))) from error

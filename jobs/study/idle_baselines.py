"""The section `execution.baseline` of a study."""

from __future__ import annotations

from pydantic import Field

from joulegrid.cases.contract import Section


class IdleBaselines(Section):
    """How idle power is measured on lanes whose joules a sensor reads; elsewhere nothing is done and no time spent."""

    bare_s: float = Field(default=10.0, ge=0, le=600, allow_inf_nan=False)
    """Seconds before a lane's first task in which nothing holds its devices; 0 leaves `bare_idle` out."""
    loaded_s: float = Field(default=5.0, ge=0, le=600, allow_inf_nan=False)
    """Seconds in each task in which its weights are resident and nothing computes; 0 leaves `loaded_idle` out."""
    max_age_h: float = Field(default=24.0, ge=0, allow_inf_nan=False)
    """A `bare_idle` of an earlier run is reused for so many hours if a look of 2 s agrees with it; 0 never."""

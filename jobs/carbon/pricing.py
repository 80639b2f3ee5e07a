"""How a run's joules are to be priced: what its study says, or what a person says now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from joulegrid.cluster.carbon.config import CarbonConfig, over, provider_of
from joulegrid.cluster.carbon.footprint import Accounting
from joulegrid.errors import UsageError
from joulegrid.jobs.study.schema import explain_all

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store


def accounting_of(store: Store, changes: Mapping[str, Any] | None = None, *, offline: bool = False) -> Accounting:
    """Return how the run in a store is priced: as its study says, with `changes` over it; nothing is asked yet.

    Raises:
        UsageError: where the changes contradict each other.
    """
    given = _section(store)
    try:
        config = CarbonConfig.model_validate(over(given, changes or {}))
    except ValidationError as error:
        if not changes:  # written by hand or by another version: nothing is known
            config = CarbonConfig()
        else:
            raise UsageError("\n".join(explain_all(CarbonConfig, error))) from error
    return Accounting(config, provider_of(config, offline=offline))


def _section(store: Store) -> dict[str, Any]:
    """`execution.carbon` of the study as it was run; empty where a run does not say."""
    try:
        study = yaml.safe_load(store.get("resolved.yaml"))
        section = study["execution"]["carbon"]
    except (FileNotFoundError, yaml.YAMLError, KeyError, TypeError):
        return {}
    return dict(section) if isinstance(section, Mapping) else {}

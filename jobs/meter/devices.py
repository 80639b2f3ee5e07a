"""Which GPUs a meter reports: the named ones, else those that `CUDA_VISIBLE_DEVICES` shows."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.cluster.visible import visible_uuids
from joulegrid.errors import PreFlightError, UsageError

NO_GPU = "none"
OF_GPUS = ("auto", "nvml", "zeus", "codecarbon")


def chosen_gpus(named: str | None, source: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the UUIDs of the GPUs to report, and notes; `named` holds indices or UUIDs with commas, or is `none`.

    Raises `UsageError` where a named GPU is not here. A `CUDA_VISIBLE_DEVICES` that fits nothing is a note: CUDA itself
    shows no GPU then.
    """
    if named is not None and not named.strip():
        raise UsageError("--gpu is empty; give an index or a UUID, e.g. --gpu 0 or --gpu 0,2")
    if named == NO_GPU:
        return (), []
    if source not in OF_GPUS:
        if named is not None:
            raise UsageError(f"--gpu {named} needs NVML, but the source is {source}; leave one of them out")
        return (), []
    try:
        return visible_uuids(os.environ.get("CUDA_VISIBLE_DEVICES") if named is None else named), []
    except PreFlightError as error:
        if named is not None:
            raise UsageError(
                str(error).replace("CUDA_VISIBLE_DEVICES", "--gpu").replace(f"={named!r}", f" {named}")
            ) from None
        return (), [str(error)]


def power_config(source: str, trace: str | Path | None = None) -> PowerConfig:
    """Return the configuration of a meter's recorder. Raises `UsageError` for what is none."""
    if source == "replay" and trace is None:
        raise UsageError("--source replay needs a trace: give --trace FILE; `joulegrid power record` writes one")
    if source != "replay" and trace is not None:
        raise UsageError(f"--trace {trace} is for --source replay, but the source is {source}; leave one of them out")
    try:
        return PowerConfig.model_validate({"source": source, "trace": None if trace is None else str(trace)})
    except ValidationError as error:
        why = "; ".join(one["msg"] for one in error.errors())
        raise UsageError(f"--source {source}: {why}") from None

"""Settings of the kernel lab: variables `JOULEGRID_…` of the shell, and of the repository's `.env` below them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from joulegrid.cases.contract import Section
from joulegrid.envfile import read_env_file
from joulegrid.errors import PreFlightError, UsageError

PREFIX = "JOULEGRID_"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "joulegrid" / "tensors"


class LabSettings(Section):
    """What holds for every command and function of the lab; each field's variable is its name in capitals."""

    artifacts: Path = Path("artifacts")
    """`JOULEGRID_ARTIFACTS`: folder that `{case}/{label}/metrics.json` and `profiler/` are written below."""
    cache: Path = Field(default_factory=_cache)
    """`JOULEGRID_CACHE`: folder of drawn tensors that variants share, 4 GiB at most."""
    archive: str = Field(default="results", min_length=1)
    """`JOULEGRID_ARCHIVE`: store, a folder or `s3://…`, that `archive/` lies in."""
    device: Literal["cpu", "cuda"] | None = None
    """`JOULEGRID_DEVICE`: where candidates run; null takes the GPU where torch sees one."""
    seed: int = Field(default=0, ge=0)
    """`JOULEGRID_SEED`: of draws for exploring; a judge's seeds come from the system's entropy."""
    timed_seconds: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """`JOULEGRID_TIMED_SECONDS`: how long `execute_variant` repeats what it times."""
    warmup_seconds: float = Field(default=0.2, ge=0, allow_inf_nan=False)
    """`JOULEGRID_WARMUP_SECONDS`: how long it repeats it before."""

    @property
    def used_device(self) -> Literal["cpu", "cuda"]:
        """The device that is used: the one that was set, else `cuda` where torch sees one.

        `PreFlightError` where `cuda` was set and torch sees none.
        """
        if self.device == "cpu":
            return "cpu"
        import torch

        if torch.cuda.is_available():
            return "cuda"
        if self.device == "cuda":
            raise PreFlightError("device: cuda was asked for, and torch sees no GPU here; take cpu, or see `doctor`")
        return "cpu"


def lab_settings() -> LabSettings:
    """Read the settings; the shell wins over `.env`. `UsageError` names the variable that is wrong."""
    read_env_file()
    given = {name: os.environ.get(f"{PREFIX}{name.upper()}") for name in LabSettings.model_fields}
    try:
        return LabSettings.model_validate({name: value for name, value in given.items() if value})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        variable = f"{PREFIX}{str(first['loc'][0]).upper()}"
        raise UsageError(f"{variable}: {first['input']!r} was given: {first['msg']}") from error

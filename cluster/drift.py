"""What of an environment makes numbers incomparable, and how two differ in it. Pure; reads no hardware.

Everything else that an environment records (host names, free memory, packages that no measured code loads) may change
in the middle of a run without a word. A value that is not known is null and equals another unknown one only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from joulegrid.cluster.environment import Environment
from joulegrid.jsontypes import Json

PACKAGES = ("torch", "transformers", "triton")
"""Distributions whose version changes what a kernel or a model costs."""
_HASH_SHOWN = 9


def fingerprint(environment: Environment, gpus: Iterable[str | None] | None = None) -> dict[str, Json]:
    """Return what must be equal for numbers to be comparable, by name; JSON, so that a run can keep it.

    `gpus` are the models of the GPUs that count: those of a task's lane, or of every lane of a run; `None` takes all
    of the environment's. Without a GPU neither driver nor CUDA matters, and both are null.
    """
    models = [gpu.name for gpu in environment.gpus] if gpus is None else list(gpus)
    drivers = sorted({gpu.driver for gpu in environment.gpus if gpu.driver}) if models else []
    git = environment.git
    return {
        "gpus": sorted({model or "unknown GPU" for model in models}),
        "driver": ", ".join(drivers) or None,
        "cuda": environment.cuda_runtime if models else None,
        "cpu": environment.cpu.model,
        **{name: environment.packages.get(name) for name in PACKAGES},
        "joulegrid": environment.joulegrid,
        "joulegrid_commit": environment.joulegrid_commit,
        "git_commit": git.commit if git else None,
        "git_dirty": git.dirty if git else None,
    }


def differences(before: Mapping[str, Json], now: Mapping[str, Json]) -> list[str]:
    """Say in a line each how two fingerprints differ, e.g. `torch: 2.11.0 → 2.13.0`; empty exactly where equal.

    A name that one of them lacks, because another version wrote it, counts as unknown there.
    """
    names = dict.fromkeys((*before, *now))
    return [
        f"{_title(name)}: {_shown(name, before.get(name))} → {_shown(name, now.get(name))}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _title(name: str) -> str:
    own = {"gpus": "GPU", "cuda": "CUDA runtime", "cpu": "CPU", "git_dirty": "git, local changes"}
    return own.get(name, name.replace("_", " "))


def _shown(name: str, value: Json) -> str:
    if value is None:
        return "not installed" if name in PACKAGES else "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if name.endswith("commit"):
        return f"{str(value)[:_HASH_SHOWN]}{'+' * str(value).endswith('+')}"
    return value if isinstance(value, str) else json.dumps(value)

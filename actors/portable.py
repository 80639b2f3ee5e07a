"""Locations that mean the same on every node: packaged files, and files of a Ray job's working folder.

A job's working folder is copied to another path on each node, and Joulegrid may be installed under another prefix.
Other paths are sent as they are: they have to lie on a shared file system.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

from joulegrid.cases import contract
from joulegrid.cluster.session import in_ray_job

PACKAGED = "packaged:"


@lru_cache(1_024)
def portable(location: str) -> str:
    """Return a location as it can be sent to a worker on another node."""
    path = Path(location)
    if not path.is_absolute():
        return location
    if path.is_relative_to(_cases()):
        return PACKAGED + str(path.relative_to(_cases()))
    if in_ray_job() and path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    return location


def local(location: str) -> str:
    """Return what a location that was sent means on this node."""
    if location.startswith(PACKAGED):
        return str(_cases() / location.removeprefix(PACKAGED))
    if location.startswith("hub:") or Path(location).is_absolute():
        return location
    return str(Path.cwd() / location)


@cache
def _cases() -> Path:
    return Path(contract.__file__).resolve().parent

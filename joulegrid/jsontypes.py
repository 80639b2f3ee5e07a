"""Aliases for what may stand in a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A value that `json.dumps` accepts: None, bool, int, float, str, list or dict of these."""

JsonMap: TypeAlias = Mapping[str, Any]
"""A mapping from strings to JSON values."""

"""What makes two things the same: canonical JSON, its digest, and 64-bit marks of sets of values. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import reduce
from operator import xor

from joulegrid.jsontypes import Json


def canonical(value: Json) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def digest(value: Json) -> str:
    """Return the first 16 hex digits of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode(errors="surrogatepass")).hexdigest()[:16]


def mark(values: Iterable[tuple[str, Json]]) -> int:
    """Return 64 bits for a set of (path, value) pairs, each path once.

    The mark of a union of disjoint sets is the exclusive or of their marks (Zobrist hashing), so that a grid needs
    no hashing per point. Two of 10⁶ different sets share a mark with probability 3·10⁻⁸.
    """
    return reduce(xor, (int(digest([path, value]), 16) for path, value in values), 0)

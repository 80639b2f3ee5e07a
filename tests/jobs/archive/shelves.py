"""What is put on a shelf in these tests: a made case, a candidate, points with or without speed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from joulegrid.cases.judged import JudgedPoint
from joulegrid.cluster.storage import Store, open_store
from joulegrid.jobs.archive.shelf import Contents, PointFiles

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def shelf(folder: Path) -> Store:
    return open_store(folder, durable=False)


def point(**fields: Any) -> JudgedPoint:
    values = {"shape": "tiny", "dims": {"rows": 3}, "dtype": "fp32", "weight": 1.0, "device": "cpu", "mode": "cpu"}
    values |= {"verdict": "passed", "draws": 16, "seeds": [1, 2]} | fields
    return JudgedPoint.model_validate(values)


def fast(speedup: float, **fields: Any) -> JudgedPoint:
    numbers = {"speedup": speedup, "speedup_estimate": speedup * 1.05, "baseline": "eager", "latency_us": 10.0}
    return point(**{"roof_score": 0.6, **numbers, **fields})


def contents(*points: JudgedPoint, candidate: bytes = b"LANGUAGE = 'torch'\n", **fields: Any) -> Contents:
    values: dict[str, Any] = {
        "experiment": "norm-fused",
        "case": "norm",
        "fingerprint": "f" * 64,
        "case_files": {"manifest.yaml": b"kind: module\n", "model.py": b"class Model: ...\n"},
        "candidate": "fused.py",
        "candidate_source": candidate,
        "language": "torch",
        "environment": b"{}",
        "points": tuple(PointFiles(one, {"verification.json": b'{"evidence": []}'}) for one in points),
    }
    return Contents(**(values | fields))

"""Cases that tests write into a folder of their own: the template with some fields changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from joulegrid.cases.catalog import TEMPLATE


def make_case(into: Path, source: str | None = None, **fields: Any) -> Path:
    """Write a case named `made`; `source` replaces model.py, `fields` those of the manifest."""
    folder = into / "made"
    folder.mkdir(parents=True)
    values = yaml.safe_load((TEMPLATE / "manifest.yaml").read_text(encoding="utf-8"))
    values = {**values, "name": "made", **fields}
    (folder / "manifest.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    text = source or (TEMPLATE / "model.py").read_text(encoding="utf-8")
    (folder / "model.py").write_text(text, encoding="utf-8")
    return folder


def module_source(body: str) -> str:
    """Return a model.py whose `Model.forward(x)` is this body and whose constructor takes the width."""
    return (
        "import torch\nfrom torch import nn\n\n\nclass Model(nn.Module):\n"
        "    def __init__(self, width: int) -> None:\n        super().__init__()\n\n"
        f"    def forward(self, x: torch.Tensor) -> torch.Tensor:\n        {body}\n"
    )

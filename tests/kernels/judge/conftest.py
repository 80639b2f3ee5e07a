"""A case and candidates for the tests of the judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from joulegrid.cases.catalog import case_folder  # noqa: E402
from joulegrid.cases.manifest import read_problem  # noqa: E402
from joulegrid.kernels.judge.candidate import Candidate, read_candidate  # noqa: E402
from joulegrid.kernels.problem import Problem  # noqa: E402

Written = Callable[..., Candidate]


@pytest.fixture(scope="session")
def rmsnorm() -> Problem:
    return read_problem(case_folder("rmsnorm"))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Write a candidate for rmsnorm: lines of `forward` before the right result, of the constructor, of the top."""

    def write(forward: str = "", constructor: str = "", top: str = "", language: str = "torch") -> Candidate:
        path = tmp_path / "candidate.py"
        lines = [
            *top.splitlines(),
            f'LANGUAGE = "{language}"',
            "import torch",
            "class OptimizedModel(torch.nn.Module):",
        ]
        lines += ["    def __init__(self, width, eps=1e-6):", "        super().__init__()", "        self.eps = eps"]
        lines += ["        self.weight = torch.nn.Parameter(torch.ones(width))"]
        lines += [f"        {line}" for line in constructor.splitlines()]
        lines += ["    def forward(self, x):", f"        y = {RESULT}"]
        lines += [f"        {line}" for line in forward.splitlines()]
        lines += ["        return y"]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return read_candidate(path)

    return write


RESULT = "self.weight * (x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)"

"""Run hand-written candidates in Triton's interpreter: a process of its own, which has TRITON_INTERPRET from its start.

`python -m tests.kernels.interpreted OUT CASE…` writes {case: [what exceeded its limit, with the draw]} into OUT.
`FULL=1` tries every distribution on every shape and layout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.criterion import compare
from joulegrid.kernels.device import single_threaded, torch_dtype
from joulegrid.kernels.distributions import DISTRIBUTIONS
from joulegrid.kernels.draw import LAYOUTS, Draw
from joulegrid.kernels.interpret import PROXY_DTYPES
from joulegrid.kernels.module import call, construct, load_file, map_tensors
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.shipped import handwritten
from joulegrid.kernels.trial import make_trial


def draws(problem: Problem, *, full: bool) -> Iterator[Draw]:
    dtypes = sorted({PROXY_DTYPES[dtype] for dtype in problem.dtypes})
    hidden = [generator.draw(problem.tiny.dims, seed).dims for generator in problem.hidden for seed in range(1 + full)]
    for dtype in dtypes:
        for place, distribution in enumerate(DISTRIBUTIONS):
            for dims in [problem.tiny.dims, *hidden] if full else [problem.tiny.dims]:
                yield Draw(dims, dtype, place, distribution)
        for layout in LAYOUTS:
            for dims in [problem.tiny.dims, *hidden] if full else hidden:
                yield Draw(dims, dtype, 77, "normal", layout)


def try_case(case: str, *, full: bool) -> list[str]:
    problem = read_problem(case_folder(case))
    candidate = load_file(handwritten()[case]).OptimizedModel
    wrong: list[str] = []
    for draw in draws(problem, full=full):
        trial = make_trial(problem, draw)
        module = construct(candidate, trial.init).to(torch_dtype(draw.dtype))
        module.load_state_dict(dict(trial.state), strict=True)
        outputs = call(module, map_tensors(trial.inputs, lambda tensor: tensor.detach()))
        found = compare(outputs, trial.expectations())
        wrong += [f"{dict(draw.dims)} {draw.dtype} {draw.distribution} {draw.layout}: {one}" for one in found]
    return wrong


def main(out: Path, cases: list[str]) -> None:
    found: dict[str, Any] = {}
    with single_threaded():
        for case in cases:
            began = time.perf_counter()
            found[case] = try_case(case, full="FULL" in os.environ)
            print(
                f"{case}: {len(found[case])} wrong, {time.perf_counter() - began:.1f} s", *found[case][:5], sep="\n  "
            )
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""Long axes are typed the short way; what comes out is what the long way gives."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.cases.workloads.inference_config import InferenceConfig
from joulegrid.cases.workloads.script import ScriptConfig
from joulegrid.jobs.plan import patches
from joulegrid.jobs.plan.grid import segments
from joulegrid.jobs.plan.patches import MANY_PATCHES, Typing
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.study.load import make_study

VALUES = st.one_of(
    st.integers(-3, 2**70),
    st.floats(allow_nan=True),
    st.sampled_from([None, True, False, "1", "1e0", "fp16", "", "many", [1], [], 0, 1.0, 32]),
)
PATHS = (
    "pytorch.batch_size",
    "pytorch.seed",
    "pytorch.temperature",
    "pytorch.precision",
    "pytorch.warmup",
    "pytorch.warmup.cv",
    "pytorch.passes",
    "pytorch.compile",
    "pytorch.nothing",
    "resources.cpus",
    "model",
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PATHS), st.lists(VALUES, min_size=1, max_size=6), st.sampled_from([{}, {"warmup": 3}]))
def test_the_short_way_types_what_the_long_way_types(path: str, values: list[Any], shared: dict[str, Any]) -> None:
    (segment,) = segments({path: [*values, *[1] * MANY_PATCHES]}, None, None)
    one = Typing(InferenceConfig, {"model": "tiny-lm", "pytorch": shared}, segment)
    number, context = 0, one._merged(one._fill, without=0)
    long = tuple(one._patch(number, context, patch) for patch in segment.axes[0].patches)
    assert repr(one._axis(0)) == repr(long)


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=6), st.sampled_from(["A", "B", "A.deep", "not a name"]))
def test_globals_of_a_script_are_typed_alike_too(values: list[Any], name: str) -> None:
    (segment,) = segments({f"script.globals.{name}": [*values, *[1] * MANY_PATCHES]}, None, None)
    one = Typing(ScriptConfig, {"workload": "script", "script": {"path": "s.py", "globals": {"B": 1}}}, segment)
    context = one._merged(one._fill, without=0)
    assert repr(one._axis(0)) == repr(tuple(one._patch(0, context, patch) for patch in segment.axes[0].patches))


@pytest.mark.parametrize("n", [patches.MANY_PATCHES - 1, 30_000])
def test_a_long_axis_is_planned_in_time_that_grows_with_it(tmp_path: Path, n: int) -> None:
    (tmp_path / "s.py").write_text("A = 0\n")
    started = time.monotonic()
    mapping = {"workload": "script", "script": "s.py", "sweep": {"script.globals.A": list(range(n))}}
    one = Plan(make_study(mapping, folder=tmp_path))
    assert (len(one), one[n - 1].label) == (n, f"A={n - 1}")
    assert time.monotonic() - started < 20  # 1.5 s for 30,000, most of it YAML

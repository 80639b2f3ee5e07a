"""Every form of CUDA_VISIBLE_DEVICES: the right UUIDs, or a message that says what to write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from joulegrid.cluster.visible import Device, Instance, named, visible_uuids
from joulegrid.errors import PreFlightError
from tests.cluster.nvml_simulated.build import mig_uuid_of, simulated_nvml, uuid_of

ROOT = Path(__file__).parents[2]
A, B, C = "GPU-aaaa1111-0000", "GPU-aaaa2222-0000", "GPU-cccc0000-0000"
M, N = "MIG-11112222-0000", "MIG-33334444-0000"
DEVICES = [
    Device(A, mig=False),
    Device(B, mig=False),
    Device(C, mig=True, instances=(Instance(M, 1, 0), Instance(N, 2, 0))),
    Device("GPU-dddd0000-0000", mig=True, instances=(Instance("MIG-55556666-0000", 7, 0),)),
]
RIGHT: dict[str | None, tuple[str, ...]] = {
    "0": (A,),
    "1,0": (B, A),
    " 1 , 0 ": (B, A),
    B: (B,),
    "GPU-aaaa2": (B,),
    f"{B},0": (B, A),
    N: (N,),
    "MIG-1111": (M,),
    f"MIG-{C}/2/0": (N,),
    "3": ("MIG-55556666-0000",),
    "NoDevFiles": (),
    "-1": (),
    "0,-1,1": (A,),
    None: (A, B, M, N, "MIG-55556666-0000"),
}
WRONG = {
    "9": "'9' names no GPU of this node; it has GPU-aaaa1111-0000",
    "0,9,1": "'9' names no GPU",
    "0,0": "twice; CUDA would show no GPU",
    f"0,{A}": "twice",
    "GPU-aaaa": "write more of the UUID",
    "GPU-": "names no GPU",
    "GPU-ffff": "names no GPU",
    "MIG-ffff": "names no GPU",
    f"MIG-{C}/9/0": "names no GPU",
    "2": f"is a GPU in MIG mode ({C}); name one of its instances: {M}, {N}",
    C: "in MIG mode",
    "0,,1": "'' names no GPU",
    "all": "'all' names no GPU",
}


@pytest.mark.parametrize("visible", RIGHT)
def test_a_value_names_these_uuids(visible: str | None) -> None:
    assert named(visible, DEVICES, None) == RIGHT[visible]


@pytest.mark.parametrize("visible", WRONG)
def test_a_wrong_value_is_refused_in_words(visible: str) -> None:
    with pytest.raises(PreFlightError) as caught:
        named(visible, DEVICES, None)
    assert WRONG[visible] in str(caught.value)


@pytest.mark.parametrize("visible", ["", "  ", "NoDevFiles", "-1"])
def test_values_that_hide_every_gpu_need_no_gpu(visible: str) -> None:
    assert visible_uuids(visible) == ()
    with pytest.raises(PreFlightError, match="names 0 GPUs, this lane needs 1"):
        visible_uuids(visible, 1)


def test_nvml_is_asked_for_gpus_and_mig_instances(tmp_path: Path) -> None:
    env = simulated_nvml(tmp_path, gpus=3, mig=(1, 1))
    first, second = mig_uuid_of(0), mig_uuid_of(1)
    assert _ask(env, [(None, None), ("2,0", 2), (f"MIG-{uuid_of(1)}/2/0", 1)]) == [
        [uuid_of(0), first, second, uuid_of(2)],
        [uuid_of(2), uuid_of(0)],
        [second],
    ]
    told = _ask(env, [("1", 1), (f"{first},{second}", 2), ("0", 2)])
    assert "in MIG mode" in str(told[0])
    assert "CUDA shows a process one of them only" in str(told[1])
    assert "names 1 GPUs, this lane needs 2" in str(told[2])


def _ask(env: dict[str, str], values: list[tuple[str | None, int | None]]) -> list[list[str] | str]:
    code = """
import json, sys
from joulegrid.cluster.visible import visible_uuids
from joulegrid.errors import PreFlightError
found = []
for visible, needed in json.loads(sys.argv[1]):
    try:
        found.append(visible_uuids(visible, needed))
    except PreFlightError as error:
        found.append(str(error))
print(json.dumps(found))
"""
    command = [sys.executable, "-c", code, json.dumps(values)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    answers: list[list[str] | str] = json.loads(done.stdout)
    return answers

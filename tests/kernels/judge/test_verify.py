"""Verdicts: honest candidates pass, each kind of fault gets the verdict and the evidence that it deserves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from joulegrid.errors import UsageError
from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.judge.limits import Checks, Limits
from joulegrid.kernels.judge.verdict import Verification
from joulegrid.kernels.judge.verify import Settings, verify
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Problem
from tests.kernels.judge.conftest import RESULT, Written
from tests.kernels.judge.triton_rmsnorm import SOURCE

QUICK = Settings(dtypes=("fp32",), draws=6, limits=Limits(call_timeout_s=3, memory_bytes=1 << 30))
OPEN = replace(QUICK, checks=Checks(static_gate=False))


BUFFER = "if self.b is None or self.b.shape != y.shape: self.b = y\ny = self.b.copy_(y)"
FORGED = """import gc, json, socket, struct
channel = next(one for one in gc.get_objects() if isinstance(one, socket.socket))
for said in ({"done": {"state": 3}}, {"done": {"outputs": [{"dtype": "load"}]}}):
    channel.sendall(struct.pack("<I", len(json.dumps(said))) + json.dumps(said).encode())"""
LATE = """import threading, time
def late(y=y, z=y.clone()): time.sleep(0.02); y.copy_(z)
threading.Thread(target=late).start()
y.zero_()"""


def told(found: Verification) -> str:
    return f"{found.verdict}: " + "; ".join(f"{one.check} at {one.where}: {one.found}" for one in found.evidence)


def test_an_honest_candidate_passes_and_the_same_seeds_repeat_it(
    zygote: Zygote, rmsnorm: Problem, written: Written
) -> None:
    found = verify(rmsnorm, written(), QUICK, zygote=zygote)
    assert found.passed, told(found)
    assert (found.mode, found.trust, found.checks_off, len(found.draws)) == ("cpu", "isolated", (), 6)
    assert len({draw.shape for draw in found.draws}) > 1
    again = verify(rmsnorm, written(), QUICK, seeds=found.seeds, zygote=zygote)
    assert [one.model_copy(update={"seconds": 0}) for one in again.draws] == [
        one.model_copy(update={"seconds": 0}) for one in found.draws
    ]
    other = verify(rmsnorm, written(), QUICK, zygote=zygote)
    assert other.seeds != found.seeds
    shown = found.for_author()
    assert shown.seeds == () and not any(draw.seed or draw.dims for draw in shown.draws)
    assert Verification.model_validate_json(found.model_dump_json()) == found


def test_a_triton_kernel_passes_in_the_interpreter(zygote: Zygote, rmsnorm: Problem, tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text(SOURCE, encoding="utf-8")
    found = verify(rmsnorm, read_candidate(path), replace(QUICK, dtypes=("bf16",)), zygote=zygote)
    assert found.passed, told(found)
    assert (found.mode, found.launches, found.proxy_dtype) == ("interpreter", {"rows": 1}, {"bf16": "fp16"})


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (("mask=inside)\n\n\nclass", "mask=columns >= 0)\n\n\nclass"), "out_of_bounds: guards"),
        (("return y", f"return {RESULT}"), "forbidden: dispatch_log"),
        (("return y", "return torch.zeros_like(x)"), "wrong_values: values"),
        (("rows[(x.shape[0],)]", "rows[(x.shape[0] - 1,)]"), "wrong_values: values"),
    ],
)
def test_wrong_kernels_get_their_verdict(
    zygote: Zygote, rmsnorm: Problem, tmp_path: Path, change: tuple[str, str], verdict: str
) -> None:
    path = tmp_path / "kernel.py"
    assert change[0] in SOURCE
    path.write_text(SOURCE.replace(*change), encoding="utf-8")
    found = verify(rmsnorm, read_candidate(path), OPEN, zygote=zygote)
    assert told(found).startswith(verdict)


@pytest.mark.parametrize(
    ("forward", "constructor", "verdict"),
    [
        ("y = torch.zeros_like(x)", "", "wrong_values: values"),
        ("y = y[:-1]", "", "wrong_shape: values"),
        ("y = (y, y)", "", "wrong_shape: values"),
        ("y = y.double()", "", "wrong_dtype: values"),
        ("y = torch.empty_like(x)", "", "wrong_values: values"),
        ("x.add_(1)", "", "tampering: input_hash"),
        ("y = x.copy_(y)", "", "tampering: input_hash"),
        ("k = x.data_ptr()\nif k not in self.c: self.c[k] = y\ny = self.c[k].clone()", "self.c = {}", "wrong_values"),
        (BUFFER, "self.b = None", "tampering: alias"),
        ("y = y + torch.rand(()) * 1e-9", "", "nondeterministic: determinism"),
        (LATE, "", "forbidden: sandbox"),
        (FORGED, "", "tampering: protocol"),
        ("while True: pass", "", "timeout: limits"),
        ("raise ValueError('no')", "", "runtime_error: protocol at in forward, line"),
        ("import os; os._exit(0)", "", "tampering: protocol"),
        ("import ctypes; ctypes.string_at(0)", "", "runtime_error: protocol"),
        ("open('/etc/passwd')", "", "forbidden: sandbox"),
        ("import os; os.fork()", "", "forbidden: sandbox"),
        ("import socket; socket.socket()", "", "forbidden: sandbox"),
        ("torch.ones(1 << 29)", "", "runtime_error: protocol"),
        ("for i in range(999): open(f'f{i}', 'wb').write(bytes(1 << 20))", "", "runtime_error: protocol"),
        ("import joulegrid.kernels.draw", "", "runtime_error: protocol"),
        ("for _ in range(4): print('x' * 10000000)", "", "passed"),
    ],
)  # fmt: skip
def test_without_the_gate_each_offence_still_gets_its_verdict(
    zygote: Zygote, rmsnorm: Problem, written: Written, forward: str, constructor: str, verdict: str
) -> None:
    found = verify(rmsnorm, written(forward, constructor), OPEN, zygote=zygote)
    assert told(found).startswith(verdict), told(found)
    assert zygote._scratch is not None and not list(zygote._scratch.path.iterdir())


def test_where_threads_are_allowed_a_late_one_gains_nothing(zygote: Zygote, rmsnorm: Problem, written: Written) -> None:
    settings = replace(OPEN, limits=replace(OPEN.limits, threads=2, processes=4))
    assert told(verify(rmsnorm, written(LATE), settings, zygote=zygote)).startswith("wrong_values: values")


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ('LANGUAGE = "torch"\ndef f(:\n', "compile_error: static_gate"),
        ('LANGUAGE = "torch"\nclass Other: pass\n', "compile_error: protocol"),
        ('LANGUAGE = "torch"\nimport os\nos._exit(0)\n', "tampering: protocol"),
        ('LANGUAGE = "torch"\nclass OptimizedModel: pass\n', "runtime_error: protocol at in the constructor"),
    ],
)
def test_files_that_are_no_candidate_get_a_verdict(
    zygote: Zygote, rmsnorm: Problem, tmp_path: Path, source: str, verdict: str
) -> None:
    path = tmp_path / "candidate.py"
    path.write_text(source, encoding="utf-8")
    assert told(verify(rmsnorm, read_candidate(path), OPEN, zygote=zygote)).startswith(verdict)


def test_a_state_of_other_names_and_a_refused_line_are_said(zygote: Zygote, rmsnorm: Problem, written: Written) -> None:
    renamed = verify(
        rmsnorm, written(constructor="self.more = torch.nn.Parameter(torch.ones(3))"), QUICK, zygote=zygote
    )
    assert told(renamed) == "runtime_error: protocol at in the constructor: weight [48], more [3]"
    refused = verify(rmsnorm, written("print(1)"), QUICK, zygote=zygote)
    assert told(refused).startswith("forbidden: static_gate at line ")
    assert refused.gate[0].code == "print(1)"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is missing"), (b"", "is empty"), (b"\xff\xfe", "no UTF-8"), (b"x = 1\n", "LANGUAGE: none was given"),
     (b'LANGUAGE = "cuda"\n', "'cuda' was given"), (b'LANGUAGE = "torch"\nPASSTHROUGH = 3\n', "PASSTHROUGH: 3")],
)  # fmt: skip
def test_what_cannot_be_read_as_a_candidate_is_a_usage_error(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "with space.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_candidate(path)


def test_wrong_settings_are_usage_errors(rmsnorm: Problem, written: Written) -> None:
    with pytest.raises(UsageError, match="fp16 was given; rmsnorm has fp32, bf16"):
        verify(rmsnorm, written(), Settings(dtypes=("fp16",)))
    with pytest.raises(UsageError, match="1 were given for 2 dtypes"):
        verify(rmsnorm, written(), seeds=[1])
    with pytest.raises(UsageError, match="guard is not known"):
        Checks().without("guard")


def test_what_a_module_keeps_between_calls_is_forbidden_though_all_is_right(
    zygote: Zygote, rmsnorm: Problem, written: Written
) -> None:
    counts = verify(rmsnorm, written("self.eight.add_(1)", "self.eight = torch.zeros(3)"), OPEN, zygote=zygote)
    assert told(counts).startswith("forbidden: held"), told(counts)
    assert "self.eight" in counts.evidence[0].found
    nothing = verify(rmsnorm, written("y = None"), OPEN, zygote=zygote)
    assert (nothing.evidence[0].expected, nothing.evidence[0].found) == ("outputs of the structure one tensor", "None")

"""The static gate: plain candidates pass, each offence is refused with a reason that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulegrid.cases.catalog import module_cases
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.judge.static_gate import refusals
from tests.kernels.judge.triton_rmsnorm import SOURCE

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
MODULE = "class OptimizedModel(nn.Module):\n    def __init__(self):\n        super().__init__()\n"


def reasons(tmp_path: Path, source: str) -> str:
    path = tmp_path / "candidate.py"
    path.write_text(source, encoding="utf-8")
    return "\n".join(f"{one.line}: {one.reason}" for one in refusals(read_candidate(path)))


def forward(*lines: str, top: str = "", init: str = "", language: str = "torch") -> str:
    body = "".join(f"        {line}\n" for line in lines)
    module = MODULE + "".join(f"        {line}\n" for line in init.splitlines())
    return f'LANGUAGE = "{language}"\n{HEAD}{top}\n{module}    def forward(self, x):\n{body}'


def test_every_reference_and_a_triton_kernel_pass(tmp_path: Path) -> None:
    assert reasons(tmp_path, SOURCE) == ""
    for folder in module_cases().values():
        problem = read_problem(folder)
        source = problem.file.read_text(encoding="utf-8").replace(f"class {problem.class_name}", "class OptimizedModel")
        assert reasons(tmp_path, f'LANGUAGE = "torch"\n{source}') == "", problem.name


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (forward("return x", top="import os"), "imports os"),
        (forward("return x", top="from torch import *"), "imports everything"),
        (forward("return eval('x')"), "eval: runs text as code"),
        (forward("return getattr(x, 'su' + 'm')()"), "computed"),
        (forward("return getattr(x, '__class__')"), "below Python's surface"),
        (forward("return x.__class__"), "below Python's surface"),
        (forward("return torch._C"), "private to torch"),
        (forward("return torch.compile(F.relu)(x)"), "baseline"),
        (forward("torch.set_default_dtype(torch.float16)", "return x"), "flags are pinned"),
        (forward("s = torch.cuda.Stream()", "return x"), "streams"),
        (forward("self.y = x", "return x"), "outside __init__"),
        (forward("global KEPT", "KEPT = x", "return x", top="KEPT = None"), "global"),
        (forward("KEPT[x.shape] = x", "return x", top="KEPT = {}"), "lives as long as the process"),
        (forward("k = self.kept", "k[0] = x", "return x"), "outlives the call"),
        (forward("w = self.weight", "w.mul_(2)", "return x"), "outlives the call"),
        (forward("torch.mul(x, 2, out=self.kept)", "return x"), "outlives the call"),
        (forward("return x", top="KEPT = torch.zeros(3)"), "when the file is run"),
        (forward("return x", top="for i in range(3): pass"), "the top level holds"),
        (forward("return x", top="def f(a, kept=[]): return kept"), "default argument"),
        (forward("return x", top="class T(torch.Tensor): pass"), "base class torch.Tensor"),
        (forward("return x", top="class T(nn.Module):\n    def __call__(self, x): return x"), "defines __call__"),
        (forward("return F.relu(x)", language="triton"), "lets torch compute"),
        (forward("return x.softmax(-1)", language="triton"), "lets torch compute"),
        (forward("return x @ x", language="triton"), "lets torch multiply"),
        (forward("return dataclasses.builtins.eval('x')", top="import dataclasses"), "leads to the module builtins"),
        (forward("return x", top="from typing import sys"), "leads to the module sys"),
        (forward("return F.torch.sys"), "leads to the module torch"),
        (forward("return x", top="from typing import ForwardRef"), "of typing there are"),
        (forward("t = torch", "return t.relu(x)"), "torch is a module"),
        (forward("return torch.CompilationUnit('')"), "neither an operator of torch nor a dtype"),
        (forward("return torch.Tensor.numpy(x)"), "leaves torch"),
        (forward("match x:", "    case object(data_ptr=p): pass", "return x"), "reads attributes"),
        (forward("g = (g.gi_frame for _ in (0,))", "return x"), "below Python's surface"),
        (forward("return [*map(getattr, (x,), ('data',))]"), "called where it stands"),
        (forward("self.register_buffer('last', x)", "return x"), "outside __init__"),
        (forward("next(self.calls)", "return x", init="self.calls = zip((1, 2))"), "an iterator keeps"),
        (forward("self.keep(x)", "return x", init="m = [0]\nself.keep = lambda v: m.append(v)"), "holds m keeps"),
        (forward("put(self.kept, x)", "return x", top="def put(m, x):\n    m.append(x)"), "outlives the call"),
        (forward("for m in (self.kept,): m.append(x)", "return x"), "outlives the call"),
        (forward("a, b = self.kept, 1", "a += 1", "return x"), "outlives the call"),
        (forward("torch.relu_(self.kept)", "return x"), "outlives the call"),
        (forward("F.relu(self.kept, inplace=True)", "return x"), "outlives the call"),
        (forward("torch.add(x, 1, **{'out': self.kept})", "return x"), "outlives the call"),
        (forward("return x if torch.rand(()) > 0.5 else -x"), "draws numbers"),
        (forward("return x if nn.init.torch.is_inference_mode_enabled() else -x"), "leads to the module torch"),
        (forward("self.__init__()", "return x"), "called for super() alone"),
        (
            forward("Keep(self.kept, x)", "return x", top="class Keep:\n    def __init__(self, m, x): m.append(x)"),
            "outlives",
        ),
        (forward("return nn.Identity()(x)"), "outside __init__ of a module"),
        (forward("next(self.calls)", "return x", top="def made():\n    return zip((1, 2))"), "next of what outlives"),
        (forward("list.append(self.kept, x)", "return x"), "taken from its object"),
        (forward("(lambda m: m.append(x))(self.kept)", "return x"), "outlives the call"),
        (forward("return x", init="self.kept = ([],)"), "can be written to"),
        (forward("return self.weight._version", init="self._version = 0"), "torch's own"),
        (forward("self.train(not self.training)", "return x"), "outlives the call"),
        (forward("self.inner.half()", "return x", init="self.inner = nn.Identity()"), "outlives the call"),
        (forward("return F.batch_norm(x, self.mean, self.var, training=True)"), "may write into its arguments"),
        (forward("try:", "    return x", "except RuntimeError:", "    return x", language="triton"), "try hides"),
        (forward("return x", top='PASSTHROUGH = ("softmax",)', language="triton"), "may not be left to torch"),
    ],
)
def test_an_offence_is_refused_with_its_reason(tmp_path: Path, source: str, reason: str) -> None:
    assert reason in reasons(tmp_path, source)


def test_what_is_only_read_or_local_passes(tmp_path: Path) -> None:
    top = 'BLOCKS = {"small": 64}\nSIZES = [1, 2]\nGRID = 4 * 16\n'
    lines = ("y = torch.empty_like(x)", "y.copy_(x).mul_(BLOCKS['small'])", "sizes = []", "sizes.append(1)", "return y")
    assert reasons(tmp_path, forward(*lines, top=top)) == ""
    helper = "def scaled(x, w, out):\n    n = x.numel()\n    n += 1\n    out.copy_(x).mul_(w)\n    return out"
    assert reasons(tmp_path, forward("return scaled(x, self.weight, torch.empty_like(x))", top=helper)) == ""
    layers = forward("return x", init="self.layers = nn.ModuleList(nn.Identity() for _ in range(3))")
    checked = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from collections.abc import Sequence"
    assert reasons(tmp_path, layers + checked + '\nif __name__ == "__main__":\n    print(1)\n') == ""
    declared = forward("return torch.matmul(x, x)", top='PASSTHROUGH = ("matmul",)', language="triton")
    assert reasons(tmp_path, declared) == ""

"""What stands in the folder: enough of every family, headers that can be read, an obfuscator that changes no result."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.draw import Draw
from joulegrid.kernels.module import call, construct, flat_tensors, in_dtype, load_class, load_state
from joulegrid.kernels.trial import make_trial
from tests.attacks import catalog
from tests.attacks.obfuscation import obfuscated

VERDICTS = {
    "passed", "wrong_shape", "wrong_dtype", "wrong_values", "nondeterministic", "forbidden", "tampering",
    "out_of_bounds", "compile_error", "runtime_error", "timeout", "too_fast",
}  # fmt: skip
TORCH_BENIGN = [one for one in catalog.benign() if "triton" not in one.name]


def test_there_are_at_least_forty_attacks_of_six_families_without_a_gpu() -> None:
    families = Counter(attack.family for attack in catalog.attacks())
    assert set(families) == set(catalog.FAMILIES)
    assert min(families.values()) >= 10
    assert families.total() >= 40


def test_there_are_at_least_fifteen_benign_candidates_in_both_languages() -> None:
    sources = [candidate.path.read_text() for candidate in catalog.benign()]
    assert len(sources) >= 15
    assert sum('LANGUAGE = "triton"' in source for source in sources) >= 4


def test_every_header_names_a_case_one_of_its_dtypes_and_known_verdicts() -> None:
    for one in [*catalog.attacks(), *catalog.gpu_attacks(), *catalog.benign()]:
        assert one.dtype in read_problem(case_folder(one.case)).dtypes, one.name
        assert one.open - {"harmless"} <= VERDICTS, one.name
        assert one.open or one.refused, one.name


def test_three_of_four_attacks_have_something_beside_the_static_gate_against_them() -> None:
    everything = catalog.attacks()
    assert sum(bool(attack.open) for attack in everything) >= 0.75 * len(everything)


@pytest.mark.parametrize("candidate", TORCH_BENIGN, ids=lambda one: one.name)
def test_an_obfuscated_candidate_computes_the_same_bits(candidate: catalog.Entry, tmp_path: Path) -> None:
    problem = read_problem(case_folder(candidate.case))
    trial = make_trial(problem, Draw(problem.tiny.dims, candidate.dtype, seed=3))

    def outputs(path: Path) -> list[Any]:
        found = load_class(replace(problem, file=path, class_name="OptimizedModel"))
        module = in_dtype(construct(found, trial.init), candidate.dtype)
        return flat_tensors(call(load_state(module, trial.state), trial.inputs))

    for seed in range(3):
        path = tmp_path / f"candidate_{seed}.py"
        path.write_text(obfuscated(candidate.path.read_text(), seed))
        for mine, other in zip(outputs(candidate.path), outputs(path), strict=True):
            assert mine.equal(other), path.read_text()

"""What no lane can serve ends as `unschedulable`, and everything else is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.studies import run, study_of

pytestmark = pytest.mark.usefixtures("ray_here")


def test_an_experiment_that_fits_no_node_is_told_so_and_the_others_are_run(tmp_path: Path) -> None:
    study = study_of(tmp_path, xs=[1])
    del study["resources"]
    study["sweep"]["resources.cpus"] = [1, 4096]
    result = run({**study, "execution": {"n_cycles": 2}})
    assert (result.state, result.counts.done, result.counts.failed) == ("done", 2, 2)
    assert {failure.failure_class for failure in result.failures} == {"unschedulable"}
    assert "4096 CPUs" in result.failures[0].message

"""One SLURM for all tests of this folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.slurm.batch_system import BatchSystem, batch_system, missing_programs


@pytest.fixture(scope="session")
def slurm() -> Iterator[BatchSystem]:
    """A running batch system; where it cannot be had the tests say why they are left out."""
    if os.geteuid() != 0:
        pytest.skip("a SLURM with nodes of its own needs root: network and PID namespaces")
    if missing := missing_programs():
        complain = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        complain(f"apt-get install {' '.join(missing)}")
    spaces = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--uts", "--ipc", "true"]
    if subprocess.run(spaces, capture_output=True, check=False).returncode:
        pytest.skip("this root may not make namespaces (a container without CAP_SYS_ADMIN)")
    with batch_system() as system:
        yield system

"""What forked drivers do: the plain command, or the same by the same functions with a store that is faulty.

Everything that a driver imports on its way is imported here, so that the process that is forked has it already.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import joulegrid.actors.pool
import joulegrid.actors.worker
import joulegrid.jobs.commands
import joulegrid.jobs.report.assembly
import joulegrid.jobs.report.page
import joulegrid.jobs.report.table  # noqa: F401
from joulegrid.cluster.storage import open_store
from joulegrid.errors import JoulegridError
from joulegrid.jobs import cli
from joulegrid.jobs.loop.driver import Options, drive
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.status.progress import Plain
from joulegrid.jobs.study.load import load_study
from tests.faults.faulty_store import Fault, FaultyStore


def plain(*arguments: str) -> NoReturn:
    """Do what `joulegrid ARGUMENTS` does."""
    sys.argv = ["joulegrid", *arguments]
    cli.main()


def faulty(path: str, address: str, fault: dict[str, Any], *flags: str) -> int:
    """Do what `joulegrid run PATH --address ADDRESS --json` does, with a faulty store."""
    study = load_study(Path(path))
    struck = Fault(**fault)
    store = FaultyStore(open_store(study.output or "results"), struck)
    options = Options(address, display=Plain(), report="--report" in flags, store=store)
    try:
        result = drive(study, Plan(study), options)
    except JoulegridError as error:
        sys.stderr.write(f"joulegrid: {error}\n")
        return error.exit_code
    print(result.model_dump_json())
    sys.stderr.write(f"{struck.seen} operations\n")
    return 0

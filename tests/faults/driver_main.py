"""A driver whose store is faulty: `python -m tests.faults.driver_main STUDY ADDRESS FAULT-AS-JSON [--report]`.

It does what `joulegrid run STUDY --address ADDRESS` does, by the same functions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from joulegrid.cluster.storage import open_store
from joulegrid.errors import JoulegridError
from joulegrid.jobs.loop.driver import Options, drive
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.status.progress import Plain
from joulegrid.jobs.study.load import load_study
from tests.faults.faulty_store import Fault, FaultyStore


def main(path: str, address: str, fault: str, *flags: str) -> int:
    study = load_study(Path(path))
    struck = Fault(**json.loads(fault))
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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""The mutation score of every packaged case: do its draws tell about twenty wrong kernels from the reference?

What `joulegrid case check` finds of each case, in one file. A case that is not admitted makes the exit code 1.

Run: `python -m benchmarks.mutation_score [--case NAME …]`
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measurement import Series, write
from joulegrid.cases.catalog import module_cases
from joulegrid.cases.check import check_case


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each case and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", nargs="*", default=[])
    chosen = parser.parse_args(arguments).case
    rows = [_row(folder) for name, folder in module_cases().items() if not chosen or name in chosen]
    shares = Series("mutants killed", "of one", [row["killed"] / row["applicable"] for row in rows if row["killed"]])
    total = {field: sum(row[field] or 0 for row in rows) for field in ("killed", "applicable", "evaluations")}
    refused = [row["name"] for row in rows if not row["admitted"]]
    print(f"\n{total['killed']} of {total['applicable']} mutants killed; refused: {', '.join(refused) or 'none'}")
    write("mutation_score", [shares], {"n_cases": len(rows), **total, "refused": refused, "cases": rows})
    return 1 if refused else 0


def _row(folder: Path) -> dict[str, Any]:
    began_s = time.process_time()
    found = check_case(folder)
    fates = Counter(mutant.fate for mutant in found.mutants)
    row = {
        "name": found.name, "admitted": found.admitted, "killed": found.killed, "applicable": found.applicable,
        "fates": dict(fates), "problems": found.problems, "evaluations": found.evaluations,
        "cpu_s": round(time.process_time() - began_s, 2),
    }  # fmt: skip
    print(f"{found.name:26} {found.killed} of {found.applicable}  {row['cpu_s']} s", flush=True)
    return row


if __name__ == "__main__":
    raise SystemExit(main())

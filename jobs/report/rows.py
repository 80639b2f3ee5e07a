"""All rows of a summary in the order of the plan, however many: beyond some megabytes they wait on the disk.

Results are met in the order of their keys, which are hashes; a table is read in the order of the plan. So experiments
are sorted in pieces, each piece goes to one temporary file, and the pieces are merged while they are read (the usual
external merge sort). The file holds about 0.7 kB for an experiment.
"""

from __future__ import annotations

import heapq
import pickle
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from types import TracebackType
from typing import IO

from joulegrid.jobs.report.pareto import Fronts, place_of
from joulegrid.jobs.report.summary import Experiment
from joulegrid.jobs.report.summary_file import SummaryColumns
from joulegrid.jobs.report.summary_row import SummaryRow

PIECE_BYTES = 8_000_000
_Packed = tuple[int, str, bytes]
"""Index and key, and the experiment itself."""


class SummaryRows:
    """Takes experiments in any order and yields their rows in the plan's; a context that owns a temporary file."""

    def __init__(self, piece_bytes: int = PIECE_BYTES) -> None:
        self.columns = SummaryColumns()
        self.n_experiments = 0
        self.n_rows = 0
        self._fronts = Fronts()
        self._piece_bytes = piece_bytes
        self._waiting: list[_Packed] = []
        self._waiting_bytes = 0
        self._pieces: list[tuple[int, int]] = []
        """Begin and number of experiments of each piece in the file."""
        self._file: IO[bytes] | None = None

    def __enter__(self) -> SummaryRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, experiment: Experiment) -> None:
        """Take an experiment."""
        self.n_experiments += 1
        self.n_rows += len(experiment.rows)
        for stratum, row in experiment.rows:
            self.columns.see(row)
            self._take_place(stratum, row)
        packed = zlib.compress(pickle.dumps(experiment), 1)
        self._waiting.append((experiment.index, experiment.key, packed))
        self._waiting_bytes += len(packed)
        if self._waiting_bytes >= self._piece_bytes:
            self._put_aside()

    def rows(self, letters: Mapping[int, str]) -> Iterator[SummaryRow]:
        """Yield every row in the order of the plan, with its stratum's letter; one reader at a time."""
        pieces = [self._piece(begin, count) for begin, count in self._pieces]
        merged = heapq.merge(*pieces, sorted(self._waiting, key=_place), key=_place)
        return chain.from_iterable(self._told(_unpacked(packed), letters) for _, _, packed in merged)

    def _take_place(self, stratum: int, row: SummaryRow) -> None:
        place = place_of(row, stratum)
        if place is not None:
            self._fronts.add(place)

    def _told(self, experiment: Experiment, letters: Mapping[int, str]) -> list[SummaryRow]:
        rows = [(stratum, self._on_front(stratum, row)) for stratum, row in experiment.rows]
        return replace(experiment, rows=rows).told(letters)

    def _on_front(self, stratum: int, row: SummaryRow) -> SummaryRow:
        return row.model_copy(update={"on_front": self._fronts.holds(place_of(row, stratum))})

    def _put_aside(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="joulegrid-summary-")  # noqa: SIM115 - closed on exit
        begin = self._file.seek(0, 2)
        self._pieces.append((begin, len(self._waiting)))
        for packed in sorted(self._waiting, key=_place):
            pickle.dump(packed, self._file)
        self._waiting, self._waiting_bytes = [], 0

    def _piece(self, begin: int, count: int) -> Iterator[_Packed]:
        assert self._file is not None
        for _ in range(count):
            self._file.seek(begin)
            packed: _Packed = pickle.load(self._file)  # noqa: S301 - our own file, which has no name
            begin = self._file.tell()
            yield packed


def _place(packed: _Packed) -> tuple[int, str]:
    return packed[:2]


def _unpacked(packed: bytes) -> Experiment:
    experiment: Experiment = pickle.loads(zlib.decompress(packed))  # noqa: S301 - packed by this very object
    return experiment

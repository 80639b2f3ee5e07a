"""A reader of `manifest.json` that never rests: at every instant there is none, or a whole one that adds up."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import TracebackType


class ManifestWatch:
    """Reads the manifests below a folder in a thread for the length of a block; leaving it tells what was wrong."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.n_read = 0
        self.problems: list[str] = []

    def __enter__(self) -> ManifestWatch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        assert not self.problems, self.problems[:3]

    def _watch(self) -> None:
        while not self._over.is_set():
            for path in self._folder.glob("*/manifest.json"):
                self._look(path)
            time.sleep(0.005)

    def _look(self, path: Path) -> None:
        text = path.read_text()
        self.n_read += 1
        try:
            counts = dict(json.loads(text)["counts"])
        except (ValueError, KeyError, TypeError) as error:
            self.problems.append(f"{type(error).__name__}: {error}: {text[:200]!r}")
            return
        if sum(counts.values()) != 2 * counts["n_tasks"]:
            self.problems.append(f"does not add up: {counts}")

"""Drawn inputs and weights, kept in files: drawing a gigabyte in double precision takes seconds, mapping it none.

For exploring, where several variants shall get the same buffers. Never for judging: a judge's draws are fresh. Only
what was drawn is kept; no output of the reference ever is, so that there is nothing to copy an answer from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from joulegrid.errors import PreFlightError
from joulegrid.kernels.draw import Draw, agent_provide_inputs, agent_provide_weights
from joulegrid.kernels.module import construct, in_dtype, load_class, map_tensors
from joulegrid.kernels.problem import Arguments, Problem
from joulegrid.kernels.trial import constructor_arguments

LIMIT_BYTES = 4 * 2**30
"""The files of a cache take this much at most; the least recently used ones go first."""
_SUFFIX = ".tensors"
_SOURCES = ("draw.py", "distributions.py")


@dataclass(frozen=True, slots=True)
class SharedTensors:
    """What every variant of a case gets: arguments of `forward` and the weights' values, on the draw's device."""

    inputs: Arguments
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TensorCache:
    """A folder of drawn tensors, named by all that determines them."""

    folder: Path
    limit_bytes: int = LIMIT_BYTES

    def tensors(self, problem: Problem, draw: Draw, *, rebuild: bool = False) -> SharedTensors:
        """Return the draw's tensors; drawn where they are not there, are damaged, or `rebuild` demands it.

        Files are mapped privately: what writes into a tensor changes neither the file nor another process's view.
        `PreFlightError` where the folder cannot be written.
        """
        path = self.path(problem, draw)
        kept = None if rebuild else _read(path)
        if kept is None:
            kept = drawn(problem, replace(draw, device="cpu"))
            self._write(path, kept)
        else:
            with contextlib.suppress(OSError):  # somebody else's cache: used, but its age is not ours to change
                os.utime(path)
        return SharedTensors(*map_tensors((kept.inputs, dict(kept.state)), lambda tensor: tensor.to(draw.device)))

    def path(self, problem: Problem, draw: Draw) -> Path:
        """Return where the draw's tensors lie; another manifest, module, seed or way of drawing lies elsewhere."""
        what = {**asdict(draw), "dims": dict(draw.dims), "device": "cpu"}
        text = json.dumps([problem.fingerprint, what, _way_of_drawing()], sort_keys=True)
        return self.folder / f"{problem.name}-{hashlib.sha256(text.encode()).hexdigest()[:24]}{_SUFFIX}"

    def _write(self, path: Path, tensors: SharedTensors) -> None:
        """Write beside and rename, so that a reader sees a whole file or none; too large a draw is not kept."""
        import torch

        temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        inputs = tensors.inputs
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._make_room(_bytes(tensors)):
                torch.save(
                    {"args": inputs.args, "kwargs": dict(inputs.kwargs), "state": dict(tensors.state)}, temporary
                )
                temporary.replace(path)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk by a RuntimeError
            raise PreFlightError(
                f"the tensor cache {self.folder} cannot be written: {error}; free some space, or set JOULEGRID_CACHE to"
                " another folder"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, wanted: int) -> bool:
        """Remove the least recently used files until `wanted` bytes fit; tell whether they do."""
        found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self.folder.glob(f"*{_SUFFIX}"))
        taken = sum(size for _, size, _ in found)
        for _, size, path in found:
            if taken + wanted <= self.limit_bytes:
                break
            path.unlink(missing_ok=True)
            taken -= size
        return taken + wanted <= self.limit_bytes


def drawn(problem: Problem, draw: Draw) -> SharedTensors:
    """Return a draw's inputs and weights, freshly drawn."""
    module = in_dtype(construct(load_class(problem), constructor_arguments(problem, draw.dims)), draw.dtype)
    return SharedTensors(
        agent_provide_inputs(problem, draw), agent_provide_weights(problem, draw, dict(module.state_dict()))
    )


@cache
def _way_of_drawing() -> str:
    """What else decides the numbers: our own drawing and torch's generators."""
    import torch

    sources = b"".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES)
    return f"{torch.__version__} {hashlib.sha256(sources).hexdigest()}"


def _read(path: Path) -> SharedTensors | None:
    """What a file holds; `None` where there is none or it is damaged. Nothing in it is run."""
    import torch

    try:
        kept = torch.load(path, mmap=True, weights_only=True)
        return SharedTensors(Arguments(tuple(kept["args"]), kept["kwargs"]), kept["state"])
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError):
        return None


def _bytes(tensors: SharedTensors) -> int:
    from joulegrid.kernels.module import flat_tensors

    inputs = tensors.inputs
    every = flat_tensors([list(inputs.args), dict(inputs.kwargs), dict(tensors.state)])
    return sum(tensor.untyped_storage().nbytes() for tensor in every)

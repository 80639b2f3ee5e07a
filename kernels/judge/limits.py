"""What a child may take, and which of the judge's checks are on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from joulegrid.errors import UsageError

COMPILERS = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one child; what exceeds them fails inside it or ends it."""

    call_timeout_s: float = 60.0
    """For one call; a series of many may take ten times that."""
    total_timeout_s: float = 900.0
    """For everything that the judge waits for one child."""
    build_timeout_s: float = 60.0
    """For running the file, and for the constructor; a GPU's compilers work in the first call."""
    memory_bytes: int = 4 << 30
    """Beyond what torch takes itself."""
    scratch_bytes: int = 64 << 20
    processes: int = 0
    """Compilers for a GPU need some; 0 makes every attempt to start one fail."""
    threads: int = 1
    cpu_seconds: int = 3600
    cache: str | None = None
    """A folder that compiled references may write and find again; never a candidate's."""

    def on(self, device: str) -> Limits:
        """Return the limits for a device: on a GPU, Triton starts compilers where nobody said otherwise."""
        return replace(self, processes=COMPILERS) if device == "cuda" and not self.processes else self


@dataclass(frozen=True, slots=True)
class Checks:
    """Each of the judge's checks, to be left out one by one where it is asked what a check alone catches.

    Shape, dtype and values of the outputs are always held against the oracle.
    """

    static_gate: bool = True
    hidden_shapes: bool = True
    distributions: bool = True
    layouts: bool = True
    fresh_weights: bool = True
    """Weights are drawn anew for each draw and written in place into the module's tensors."""
    near_draws: bool = True
    """One draw comes again with two numbers of a row exchanged, in inputs, then in weights: samples do not show it."""
    poison: bool = True
    guards: bool = True
    input_hash: bool = True
    held: bool = True
    """A call changes nothing that the module or its file holds."""
    alias: bool = True
    rehash: bool = True
    determinism: bool = True
    freeze: bool = True
    dispatch_log: bool = True
    provenance: bool = True
    """A Triton candidate's kernels and outputs use no memory that was filled where no operator was seen."""
    launches: bool = True
    decoy: bool = True
    """A Triton candidate must be wrong when its kernels do not run."""
    disguise: bool = True
    """An interpreted candidate does the same when it is told that it is on a GPU."""

    def without(self, *names: str) -> Checks:
        """Return these checks less some; `UsageError` for a name that is none."""
        unknown = [name for name in names if name not in self.names()]
        if unknown:
            raise UsageError(f"checks: {', '.join(unknown)} is not known; they are {', '.join(self.names())}")
        return replace(self, **dict.fromkeys(names, False))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all checks."""
        return tuple(cls.__dataclass_fields__)

    @classmethod
    def none(cls) -> Checks:
        """Return every check switched off: values on the tiny shape are left."""
        return cls(**dict.fromkeys(cls.names(), False))

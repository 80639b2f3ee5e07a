"""What one variant of a case came to: latency, throughput, memory, correctness. The form of `metrics.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from joulegrid.cases.contract import Section

Trust = Literal["isolated", "in_process"]


class Latency(Section):
    """Time of one call."""

    median_us: float
    """Median over calls or processes, microseconds."""
    low_us: float
    """Tenth percentile of the calls, or the lower end of the interval: `clock` says which."""
    high_us: float
    """Ninetieth percentile, or the upper end."""
    calls: int
    """Calls that were timed."""
    clock: str
    """How the time was taken."""


class Throughput(Section):
    """What one second of such calls does, by the manifest's formulas."""

    calls_per_s: float
    """The reciprocal of the median."""
    bytes_per_s: float
    """Least traffic of the case divided by the time; not what the memory bus really carried."""
    flops_per_s: float
    """Operations of the case divided by the time."""


class Memory(Section):
    """The most memory that was in use."""

    peak_bytes: int | None
    """Bytes; null where they are not known."""
    kind: str
    """`cuda_allocated`: torch's allocator while the variant ran; `rss_max`: resident pages of the whole process since
    it began, torch's own included."""


class Wrong(Section):
    """One measure in which an output is further from the oracle than allowed."""

    output: int
    """Number of the output; -1 for all together."""
    measure: str
    """`shape`, `dtype`, `finite`, `row_l2`, `p999`, `maximum`, `bias`, …"""
    found: float | str
    """What the variant has."""
    allowed: float | str
    """What legitimate evaluations leave room for."""


class Correctness(Section):
    """Whether the outputs were right."""

    passed: bool
    """Nothing was wrong in any draw."""
    verdict: str
    """`passed`, or what was wrong."""
    draws: int
    """Draws of inputs and weights that were compared."""
    wrong: list[Wrong] = Field(default_factory=list)
    """What differed, of the first draw that did."""
    error: str | None = None
    """What the variant raised."""


class VariantMetrics(Section):
    """`artifacts/{case}/{label}/metrics.json`. Numbers of speed exist exactly where the outputs were right."""

    schema_version: Literal["1.0"] = "1.0"
    case: str
    """Name of the case."""
    fingerprint: str
    """Hash of its manifest, module and weight provider."""
    label: str
    """Name of the variant, the folder's."""
    source: str
    """`reference`, or the file or callable that was run."""
    trust: Trust
    """`isolated`: judged in a process of its own by the judge's clock; `in_process`: for exploring, no evidence."""
    shape: str
    """Name of the shape."""
    dims: dict[str, int]
    """Its dims."""
    dtype: str
    """`fp32`, `fp16` or `bf16`."""
    seed: int | None
    """Of the draw that was timed; null where every call had its own."""
    device: str
    """`cpu` or `cuda`."""
    device_name: str
    """What board or processor call themselves."""
    latency: Latency | None = None
    """Null where the outputs were wrong, or nothing was timed."""
    throughput: Throughput | None = None
    """Null with it."""
    memory: Memory | None = None
    """Null where nothing ran."""
    correctness: Correctness
    """Held against the oracle and legitimate evaluations (`kernels/criterion.py`)."""
    profiler: list[str] = Field(default_factory=list)
    """Files below `profiler/`."""

    @model_validator(mode="after")
    def _speed_only_of_what_is_right(self) -> VariantMetrics:
        if not self.correctness.passed and (self.latency or self.throughput):
            raise ValueError("a variant whose outputs are wrong has no latency and no throughput")
        return self


def throughput_of(seconds: float, n_bytes: int, flops: int) -> Throughput:
    """Return the rates of calls that take so many seconds each."""
    return Throughput(calls_per_s=1 / seconds, bytes_per_s=n_bytes / seconds, flops_per_s=flops / seconds)

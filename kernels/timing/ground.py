"""What a comparison stands on: a problem's shape and dtype, drawn weights, the reference's outputs, cores, roofs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from joulegrid.errors import UsageError
from joulegrid.kernels.draw import Draw, agent_provide_weights
from joulegrid.kernels.judge.cuda_memory import require_gpu
from joulegrid.kernels.module import call, construct, flat_tensors, in_dtype, load_class, load_state
from joulegrid.kernels.problem import Problem, Shape
from joulegrid.kernels.timing.conditions import on_cores, quiet_cores, threads
from joulegrid.kernels.timing.eager_model import EagerModel, eager_model
from joulegrid.kernels.timing.floor import Footprint
from joulegrid.kernels.timing.inputs import fresh_inputs, input_bytes
from joulegrid.kernels.timing.member import Setting
from joulegrid.kernels.timing.result import TimingSettings
from joulegrid.kernels.timing.roofs import Roofs, machine_roofs
from joulegrid.kernels.trial import constructor_arguments

SHARES = 12
"""Of a GPU's free memory one is for the inputs and outputs of one series of one member."""
MOST_GPU_CALLS = 512
"""N at most: calls of 5 µs then make series of 5 ms; drawing and verifying their numbers takes a hundred times that."""
LEAST_SERIES_BYTES, MOST_SERIES_BYTES = 1 << 20, 8 << 30


@dataclass(frozen=True, slots=True)
class Ground:
    """The same for all members of a comparison."""

    problem: Problem
    settings: TimingSettings
    draw: Draw
    """Dims, dtype, device; seeds are drawn anew for each set of inputs."""
    setting: Setting
    eager: EagerModel
    set_bytes: int
    """Inputs of one call."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.setting.state.values())

    @property
    def output_bytes(self) -> int:
        """Bytes of one call's outputs."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.setting.like)

    def footprint(self, calls: int) -> Footprint:
        """Return what a series of so many calls touches."""
        return Footprint(self.set_bytes, self.weight_bytes, self.output_bytes, calls)

    def roofs(self, *, again: bool = False) -> Roofs:
        """Return the roofs of the cores that members run on."""
        with threads(self.settings.threads), on_cores(self.setting.cores):
            return machine_roofs(self.settings.device, self.draw.dtype, again=again)


def timed_shape(problem: Problem, settings: TimingSettings) -> Shape:
    """Return the shape that the settings name, of the scaled mix on a CPU; by default the lightest of it."""
    if settings.dims is not None:
        wrong = settings.dims.keys() ^ problem.tiny.dims.keys()
        if wrong:
            raise UsageError(f"dims: {', '.join(sorted(wrong))}: give exactly {', '.join(problem.tiny.dims)}")
        return Shape("given", settings.dims)
    shapes = problem.scaled if settings.device == "cpu" else problem.shapes
    if settings.shape is None:
        return min(shapes, key=lambda shape: problem.bytes_moved(shape.dims, problem.dtypes[0]))
    found = [shape for shape in shapes if shape.name == settings.shape]
    if not found:
        known = ", ".join(shape.name for shape in shapes)
        raise UsageError(f"shape: {settings.shape!r} was given; {problem.name} has {known}, or give dims")
    return found[0]


def on_device(settings: TimingSettings) -> TimingSettings:
    """Return the settings for their device: what they leave open is chosen by a GPU's memory and its shorter calls.

    Four members have inputs, outputs, and copies of these; the judge has copies of two members' outputs.
    """
    if settings.device == "cpu":
        return settings
    import torch

    free, _ = torch.cuda.mem_get_info()
    chosen = {"memory_bytes": gpu_series_bytes(free), "most_calls": MOST_GPU_CALLS}
    said = settings.model_fields_set
    return settings.model_copy(update={name: value for name, value in chosen.items() if name not in said})


def gpu_series_bytes(free: int) -> int:
    """Return the memory for the inputs and outputs of one series of one member, of so much that is free."""
    return max(LEAST_SERIES_BYTES, min(free // SHARES, MOST_SERIES_BYTES))


def make_ground(problem: Problem, settings: TimingSettings) -> Ground:
    """Draw weights, run the reference once, choose the quietest cores."""
    if settings.device == "cuda":
        require_gpu()
    dtype = settings.dtype or problem.dtypes[0]
    if dtype not in problem.dtypes:
        raise UsageError(f"dtype: {dtype!r} was given; {problem.name} has {', '.join(problem.dtypes)}")
    dims = timed_shape(problem, settings).dims
    draw = Draw(dims, dtype, seed=secrets.randbits(40), device=settings.device)
    settings = on_device(settings)
    init = constructor_arguments(problem, dims)
    module = in_dtype(construct(load_class(problem), init), dtype, settings.device)
    state = agent_provide_weights(problem, draw, module.state_dict())
    load_state(module, state)
    inputs = fresh_inputs(problem, draw, 1)[0].arguments
    like = flat_tensors(call(module, inputs))
    model = eager_model(module, inputs, problem.flops(dims))
    cores = quiet_cores(settings.threads) if settings.device == "cpu" else []
    setting = Setting(init, dtype, state, like, cores)
    return Ground(problem, settings, draw, setting, model, input_bytes(inputs))

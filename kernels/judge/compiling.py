"""How a reference is compiled, in the child that runs it. Never a candidate. torch inside functions."""

from __future__ import annotations

from typing import Any

CUDA_GRAPH = "cuda-graph"
"""In place of a mode of `torch.compile`: eager's operators, captured in a CUDA graph."""
REPLAYED = (CUDA_GRAPH, "reduce-overhead", "max-autotune")
"""Modes in which a GPU replays graphs, whose outputs are gone with the next replay."""


def compiled(module: Any, mode: str) -> Any:
    """Return the module compiled in one of torch's ways, in this process alone."""
    import torch
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1
    torch._inductor.config.cpp_cache_precompile_headers = False  # kept beside the scratch folder, gone with it
    # Inductor's convolutions read the old flag, which contradicts the new ones until it is off as well.
    cudnn: Any = torch.backends.cudnn
    pinned = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    torch._C._set_cudnn_allow_tf32(False)
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = pinned
    if mode == CUDA_GRAPH:
        return torch.compile(module, backend="cudagraphs", dynamic=False)
    return torch.compile(module, mode=mode, dynamic=False)

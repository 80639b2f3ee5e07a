"""Draw a problem's inputs and weights from a seed: the same numbers for the same draw, on every machine and device.

Numbers are made in double precision on the CPU, one generator for each tensor, and rounded to the dtype once: what the
reference, the oracle and a candidate get is the same to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from joulegrid.errors import UsageError
from joulegrid.kernels.device import torch_dtype
from joulegrid.kernels.distributions import DISTRIBUTIONS
from joulegrid.kernels.formula import evaluate, whole
from joulegrid.kernels.module import weight_provider
from joulegrid.kernels.problem import Arguments, Computed, Constant, Domain, Problem, TensorSpec

Layout = Literal["contiguous", "transposed", "sliced", "offset"]
LAYOUTS: tuple[Layout, ...] = ("contiguous", "transposed", "sliced", "offset")


@dataclass(frozen=True, slots=True)
class Draw:
    """What determines the numbers: dims, dtype, seed, the floats' distribution; and where and how they lie."""

    dims: Mapping[str, int]
    dtype: str = "fp32"
    seed: int = 0
    distribution: str = "normal"
    layout: Layout = "contiguous"
    device: str = "cpu"


def agent_provide_inputs(problem: Problem, draw: Draw) -> Arguments:
    """Return the arguments of `forward`: the input tree with its tensors drawn and its formulas computed.

    A tensor that is restricted to other distributions than `draw.distribution` takes one of its own by the seed.
    """
    args = tuple(_fill(node, draw, f"args.{place}") for place, node in enumerate(problem.inputs.args))
    return Arguments(args, {name: _fill(node, draw, f"kwargs.{name}") for name, node in problem.inputs.kwargs.items()})


def agent_provide_weights(problem: Problem, draw: Draw, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return new values for a module's `state_dict`, by the case's own provider or by the names of the entries.

    By name: matrices are normal over the root of their fan-in, biases and means normal with deviation 0.5, variances
    positive, every other vector 1 + 0.3·normal, int8 even over -127…127; other integers stay. So no norm has weight 1,
    and no bias is 0.
    """
    if problem.weights.provider is not None:
        provide = weight_provider(problem)
        provided = dict(provide({name: value.clone() for name, value in state.items()}, _generator(draw, "weights")))
        _require_same_state(problem, state, provided)
        return {name: value.to(draw.device) for name, value in provided.items()}
    return {name: _weight(problem, draw, name, value) for name, value in state.items()}


def plain_values(node: Any, dims: Mapping[str, int]) -> Any:
    """Return a tree of constants and formulas as plain values: a constructor's arguments have no tensors."""
    match node:
        case Constant(value=value):
            return value
        case Computed(formula=formula):
            number = evaluate(formula, dims)
            return int(number) if number == int(number) else number
        case list():
            return [plain_values(item, dims) for item in node]
        case dict():
            return {name: plain_values(item, dims) for name, item in node.items()}
    raise UsageError(f"init: {type(node).__name__} cannot be a constructor's argument; give numbers, texts or formulas")


def _fill(node: Any, draw: Draw, path: str) -> Any:
    match node:
        case TensorSpec():
            return relaid(_tensor(node, draw, path), draw.layout).to(draw.device)
        case list():
            return [_fill(item, draw, f"{path}.{place}") for place, item in enumerate(node)]
        case dict():
            return {name: _fill(item, draw, f"{path}.{name}") for name, item in node.items()}
    return plain_values(node, draw.dims)


def relaid(tensor: Any, layout: Layout) -> Any:
    """Return the same values in memory that is laid out otherwise; a copy, unless `contiguous`."""
    import torch

    if layout == "contiguous" or not tensor.dim():
        return tensor
    if layout == "transposed":
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2) if tensor.dim() > 1 else tensor
    if layout == "sliced":
        wide = torch.zeros((*tensor.shape[:-1], tensor.shape[-1] + 3), dtype=tensor.dtype, device=tensor.device)
        view = wide[..., 1 : 1 + tensor.shape[-1]]
    else:
        view = torch.zeros(tensor.numel() + 1, dtype=tensor.dtype, device=tensor.device)[1:].view(tensor.shape)
    return view.copy_(tensor)


def _tensor(spec: TensorSpec, draw: Draw, path: str) -> Any:
    shape = tuple(whole(size, draw.dims) for size in spec.shape)
    generator = _generator(draw, path)
    if spec.dtype == "bool":
        return _bools(spec, shape, generator)
    if spec.dtype.startswith("int"):
        return _integers(spec, shape, draw, generator)
    numbers = _floats(shape, _distribution(spec, draw), generator) * spec.scale
    return in_domain(numbers, spec.domain).to(torch_dtype(draw.dtype if spec.dtype == "case" else spec.dtype))


def _distribution(spec: TensorSpec, draw: Draw) -> str:
    """The draw's distribution, or where the tensor does not allow it one of its own."""
    if draw.distribution not in DISTRIBUTIONS:
        known = ", ".join(DISTRIBUTIONS)
        raise UsageError(f"distribution: {draw.distribution!r} is not known; choose one of {known}")
    if not spec.distributions or draw.distribution in spec.distributions:
        return draw.distribution
    return spec.distributions[(draw.seed + list(DISTRIBUTIONS).index(draw.distribution)) % len(spec.distributions)]


def _floats(shape: tuple[int, ...], distribution: str, generator: Any) -> Any:
    import torch

    base = torch.randn(shape, generator=generator, dtype=torch.float64)
    return DISTRIBUTIONS[distribution](base, generator)


def in_domain(numbers: Any, domain: Domain) -> Any:
    """Map real numbers into a domain; the order along a row is kept."""
    if domain == "unit":
        return numbers.sigmoid()
    if domain == "positive":
        return numbers.exp().log1p().clamp(min=1e-3, max=1e3).nan_to_num(posinf=1e3)
    if domain == "probability":
        return numbers.softmax(-1)
    return numbers.log_softmax(-1) if domain == "log_probability" else numbers


def _integers(spec: TensorSpec, shape: tuple[int, ...], draw: Draw, generator: Any) -> Any:
    """Integers that are even over their range, with both ends among the first where there is room."""
    import torch

    low, high = whole(spec.low, draw.dims), whole(spec.high, draw.dims)
    if high <= low:
        raise UsageError(f"an integer input has low {low} and high {high}; low must be smaller")
    numbers = torch.randint(low, high, shape, generator=generator)
    flat = numbers.view(-1)
    if flat.numel() > 2:
        ends = torch.randperm(flat.numel(), generator=generator)[:2]
        flat[ends] = torch.tensor([low, high - 1])
    if spec.sprinkle is not None and flat.numel() > 3:
        flat[torch.rand(flat.shape, generator=generator) < 0.1] = spec.sprinkle
    return numbers.to(getattr(torch, spec.dtype))


def _bools(spec: TensorSpec, shape: tuple[int, ...], generator: Any) -> Any:
    import torch

    return torch.rand(shape, generator=generator) < spec.fraction


def _weight(problem: Problem, draw: Draw, name: str, value: Any) -> Any:
    import torch

    if any(fnmatchcase(name, pattern) for pattern in problem.weights.keep):
        return value.to(draw.device)
    generator = _generator(draw, f"weights.{name}")
    if value.dtype == torch.int8:
        return torch.randint(-127, 128, value.shape, generator=generator).to(torch.int8).to(draw.device)
    if not value.is_floating_point():
        return value.to(draw.device)
    base = torch.randn(value.shape, generator=generator, dtype=torch.float64)
    patterns = (domain for pattern, domain in problem.weights.domains.items() if fnmatchcase(name, pattern))
    domain = next(patterns, None)
    numbers = _by_name(name, base) if domain is None else in_domain(base, domain)
    return numbers.to(value.dtype).to(draw.device)


def _by_name(name: str, base: Any) -> Any:
    leaf = name.rpartition(".")[2]
    if base.dim() >= 2:
        return base / max(1, base.numel() // base.shape[0]) ** 0.5
    if "bias" in leaf or "beta" in leaf or "mean" in leaf:
        return base * 0.5
    return in_domain(base, "positive") if "var" in leaf else 1 + 0.3 * base


def _require_same_state(problem: Problem, state: Mapping[str, Any], provided: Mapping[str, Any]) -> None:
    wrong = sorted(state.keys() ^ provided.keys())
    wrong += [name for name in state.keys() & provided.keys() if provided[name].shape != state[name].shape]
    if wrong:
        raise UsageError(
            f"{problem.name}: weights.provider {problem.weights.provider} gives other names or shapes than the module"
            f" has: {', '.join(wrong[:5])}; return one tensor of the same shape for each of {', '.join(state)}"
        )


def _generator(draw: Draw, path: str) -> Any:
    """A generator of its own for each tensor: adding an input changes no other one."""
    import torch

    return torch.Generator().manual_seed(derived_seed(draw.seed, draw.distribution, path))


def derived_seed(*parts: object) -> int:
    """Return a seed of 56 bits that follows from all parts, however large: torch takes none above 64 bits."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7], "little")

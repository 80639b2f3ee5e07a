"""One draw of a problem, evaluated: arguments and weights, eager's outputs, and the oracle's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joulegrid.kernels.device import pinned_precision
from joulegrid.kernels.double import oracle_module, oracle_outputs
from joulegrid.kernels.draw import Draw, agent_provide_inputs, agent_provide_weights, plain_values
from joulegrid.kernels.module import call, construct, in_dtype, load_class, load_state, map_tensors
from joulegrid.kernels.problem import Arguments, Problem

if TYPE_CHECKING:
    from joulegrid.kernels.criterion import Expectation


@dataclass(frozen=True, slots=True)
class Trial:
    """A draw with all that follows from it. Nothing of it may be changed in place."""

    problem: Problem
    draw: Draw
    cls: Any
    init: Arguments
    inputs: Arguments
    state: Mapping[str, Any]
    initial_state: Mapping[str, Any]
    """Weights as the constructor left them."""
    eager: Any
    oracle: Any

    def module(self, state: Mapping[str, Any] | None = None) -> Any:
        """Return a new module in the draw's dtype with these weights, by default the drawn ones."""
        module = in_dtype(construct(self.cls, self.init), self.draw.dtype, self.draw.device)
        return load_state(module, self.state if state is None else state)

    def expectations(self) -> list[Expectation]:
        """Return what each output is held against; `joulegrid.kernels.ensemble` says how."""
        from joulegrid.kernels.ensemble import expectations

        return expectations(self)


def make_trial(problem: Problem, draw: Draw) -> Trial:
    """Draw inputs and weights and evaluate the reference in its dtype and in float64."""
    cls = load_class(problem)
    init = constructor_arguments(problem, draw.dims)
    module = in_dtype(construct(cls, init), draw.dtype, draw.device)
    initial = {name: value.clone() for name, value in module.state_dict().items()}
    state = agent_provide_weights(problem, draw, initial)
    inputs = agent_provide_inputs(problem, draw)
    with pinned_precision():
        eager = call(load_state(module, state), map_tensors(inputs, lambda tensor: tensor.clone()))
    oracle = oracle_outputs(oracle_module(problem, init, state), inputs)
    return Trial(problem, draw, cls, init, inputs, state, initial, eager, oracle)


def constructor_arguments(problem: Problem, dims: Mapping[str, int]) -> Arguments:
    """Return the constructor's arguments for these dims."""
    args = tuple(plain_values(node, dims) for node in problem.init.args)
    return Arguments(args, {name: plain_values(node, dims) for name, node in problem.init.kwargs.items()})

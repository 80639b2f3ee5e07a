"""Wrong kernels, made from any reference without knowing what it computes.

A mutant changes what goes in, the weights, what comes out, or single operators on the way, as the mistakes and
frauds of real kernels do. It returns `None` where it does not apply: a module without bias has no mutant without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from joulegrid.kernels.interception import clamped_functions, shifted_edges, traced
from joulegrid.kernels.interception import low_precision as low_precision_mode
from joulegrid.kernels.module import call, flat_tensors, map_tensors
from joulegrid.kernels.problem import Arguments, TensorSpec
from joulegrid.kernels.trial import Trial

KIND_LIMIT = 6.0
"""Inputs are cut there by the mutant that trusts them to be normal."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a mutant sees: the trial it must imitate, another draw of the same shape, and how to run the reference."""

    trial: Trial
    earlier: Trial
    run: Callable[[Mapping[str, Any], Arguments], Any]
    """Evaluate the reference with these weights and arguments."""
    truth: Any
    """The reference's outputs as `run` gives them."""
    make: Callable[[], Any]
    """Return a new module with the trial's weights, for mutants that change it."""


Mutant = Callable[[Scene], Any]


def zeros(scene: Scene) -> Any:
    """Write nothing."""
    return map_tensors(
        scene.truth, lambda output: output * 0 if output.isfinite().all() else output.new_zeros(output.shape)
    )


def stale(scene: Scene) -> Any:
    """Return what an earlier call returned."""
    like = flat_tensors(scene.truth)
    old = flat_tensors(scene.earlier.eager)
    return [output.to(wanted.dtype) for output, wanted in zip(old, like, strict=True)]


def identity(scene: Scene) -> Any:
    """Return an input of the same shape."""
    floats = [tensor for tensor in flat_tensors(_both(scene.trial.inputs)) if tensor.is_floating_point()]

    def found(output: Any) -> Any:
        return next((x.to(output.dtype) for x in floats if x.shape == output.shape), None)

    outputs = [found(output) for output in flat_tensors(scene.truth)]
    if all(output is None for output in outputs):
        return None
    return [true if new is None else new for true, new in zip(flat_tensors(scene.truth), outputs, strict=True)]


def mean_only(scene: Scene) -> Any:
    """Return each row's mean in place of its numbers."""
    return _changed_floats(scene, lambda out: out.mean(-1, keepdim=True).expand_as(out), least=2)


def first_row_everywhere(scene: Scene) -> Any:
    """Compute the first row and repeat it."""
    return _changed(scene, lambda out: out[:1].expand_as(out).clone(), lambda out: out.dim() > 0 and len(out) > 1)


def last_rows_skipped(scene: Scene) -> Any:
    """Leave the last row unwritten."""
    return _changed(scene, lambda out: _zeroed(out, (slice(-1, None),)), lambda out: out.dim() > 1 and len(out) > 1)


def last_tile_skipped(scene: Scene) -> Any:
    """Leave the last columns unwritten."""
    return _changed(
        scene,
        lambda out: _zeroed(out, (..., slice(-_tile(out), None))),
        lambda out: out.dim() > 0 and out.shape[-1] > 1,
    )


def last_inputs_skipped(scene: Scene) -> Any:
    """Leave the last columns of the inputs out, as a reduction with a wrong mask does."""
    return _on_inputs(scene, lambda x: _zeroed(x, (..., slice(-_tile(x), None))) if x.dim() and x.shape[-1] > 1 else x)


def shifted(scene: Scene) -> Any:
    """Write one element too far; an index is one too large."""
    return _changed(
        scene,
        lambda out: out.roll(1, -1) if out.shape[-1] > 1 else out.roll(1, 0),
        lambda out: out.dim() > 0 and out.numel() > 1,
    )


def transposed(scene: Scene) -> Any:
    """Write rows as columns."""
    return _changed(
        scene,
        lambda out: out.transpose(-1, -2).reshape(out.shape),
        lambda out: out.dim() > 1 and min(out.shape[-2:]) > 1,
    )


def inputs_trusted(scene: Scene) -> Any:
    """Trust the inputs to be standard normal: cut them at ±6."""
    if not any(spec.domain == "real" for spec in _float_specs(scene)):
        return None
    return _on_inputs(scene, lambda x: x.clamp(-KIND_LIMIT, KIND_LIMIT))


def bias_left_out(scene: Scene) -> Any:
    """Add no bias."""
    return _on_weights(scene, lambda name, _: "bias" in name or "beta" in name, lambda value: value * 0)


def affine_left_out(scene: Scene) -> Any:
    """Multiply by no gain: vectors of weights become ones."""

    def gain(name: str, value: Any) -> bool:
        leaf = name.rpartition(".")[2]
        known = any(word in leaf for word in ("weight", "gamma", "scale", "gain"))
        return known and value.dim() == 1

    return _on_weights(scene, gain, lambda value: value * 0 + 1)


def weights_ignored(scene: Scene) -> Any:
    """Use the weights of the constructor."""
    state, initial = scene.trial.state, scene.trial.initial_state
    changed = any(not state[name].equal(initial[name]) for name in state)
    return scene.run(initial, scene.trial.inputs) if changed else None


def weights_stale(scene: Scene) -> Any:
    """Use the weights of an earlier call, as a kernel does that prepared them once."""
    return scene.run(scene.earlier.state, scene.trial.inputs) if scene.trial.state else None


def epsilon_left_out(scene: Scene) -> Any:
    """Set every epsilon to zero."""
    module = scene.make()
    found = False
    for part in module.modules():
        for name in [name for name in vars(part) if name in ("eps", "epsilon") or name.endswith("_eps")]:
            setattr(part, name, 0.0)
            found = True
    return call(module, scene.trial.inputs) if found else None


def low_precision(scene: Scene) -> Any:
    """Round every operator's result to fewer bits: fp32 to bf16, 16 bits to four of mantissa."""
    with low_precision_mode():
        return call(scene.make(), scene.trial.inputs)


def clamped(scene: Scene) -> Any:
    """Replace exponentials and the functions made of them by straight lines."""
    return traced(clamped_functions(), scene.make(), scene.trial.inputs)


def mask_edge_off_by_one(scene: Scene) -> Any:
    """Take < for ≤ and the reverse between integers; move diagonals by one."""
    return traced(shifted_edges(), scene.make(), scene.trial.inputs)


def _ignoring(place: int) -> Mutant:
    def input_ignored(scene: Scene) -> Any:
        count = -1

        old = iter(flat_tensors(_both(scene.earlier.inputs)))

        def change(tensor: Any) -> Any:
            nonlocal count
            count += 1
            before = next(old)
            return before.to(tensor.dtype) if count == place else tensor

        return scene.run(scene.trial.state, map_tensors(scene.trial.inputs, change))

    return input_ignored


WHOLE: dict[str, Mutant] = {
    function.__name__: function
    for function in (
        zeros, stale, identity, mean_only, first_row_everywhere, last_rows_skipped, last_tile_skipped,
        last_inputs_skipped, shifted, transposed, inputs_trusted, bias_left_out, affine_left_out, weights_ignored,
        weights_stale, epsilon_left_out, low_precision, clamped, mask_edge_off_by_one,
    )
}  # fmt: skip


def mutants_of(trial: Trial) -> dict[str, Mutant]:
    """Return name → mutant: the general ones and, of several inputs, one for each that ignores it."""
    count = len(flat_tensors(_both(trial.inputs)))
    ignoring = {f"input_{place}_ignored": _ignoring(place) for place in range(count if count > 1 else 0)}
    return {**WHOLE, **ignoring}


def _both(arguments: Arguments) -> list[Any]:
    return [arguments.args, arguments.kwargs]


def _tile(tensor: Any) -> int:
    """An eighth of the columns, at least one."""
    return max(1, int(tensor.shape[-1]) // 8)


def _zeroed(tensor: Any, where: Any) -> Any:
    copy = tensor.clone()
    copy[where] = 0
    return copy


def _changed(scene: Scene, change: Callable[[Any], Any], applies: Callable[[Any], bool]) -> Any:
    outputs = flat_tensors(scene.truth)
    return [change(out) if applies(out) else out for out in outputs] if any(map(applies, outputs)) else None


def _changed_floats(scene: Scene, change: Callable[[Any], Any], least: int) -> Any:
    return _changed(scene, change, lambda out: bool(out.is_floating_point() and out.dim() and out.shape[-1] >= least))


def _on_inputs(scene: Scene, change: Callable[[Any], Any]) -> Any:
    floats = [tensor for tensor in flat_tensors(_both(scene.trial.inputs)) if tensor.is_floating_point()]
    if not floats:
        return None
    changed = map_tensors(scene.trial.inputs, lambda x: change(x) if x.is_floating_point() else x)
    return scene.run(scene.trial.state, changed)


def _on_weights(scene: Scene, chosen: Callable[[str, Any], bool], change: Callable[[Any], Any]) -> Any:
    state = scene.trial.state
    names = [name for name, value in state.items() if value.is_floating_point() and chosen(name, value)]
    if not names:
        return None
    return scene.run({**state, **{name: change(state[name]) for name in names}}, scene.trial.inputs)


def _float_specs(scene: Scene) -> Iterator[TensorSpec]:
    def walk(node: Any) -> Iterator[TensorSpec]:
        if isinstance(node, TensorSpec):
            yield from [node] if node.dtype in ("case", "fp32") else []
        elif isinstance(node, list | tuple):
            for item in node:
                yield from walk(item)
        elif isinstance(node, Mapping):
            yield from walk(list(node.values()))

    return walk(_both(scene.trial.problem.inputs))

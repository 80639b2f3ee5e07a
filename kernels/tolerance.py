"""The least tolerance class that a reference may declare: what its own operators do."""

from __future__ import annotations

from typing import Any

from joulegrid.kernels.dispatch import dispatched
from joulegrid.kernels.module import call
from joulegrid.kernels.problem import Arguments, ToleranceClass

CONTRACTIONS = frozenset(
    {"mm", "bmm", "mv", "dot", "addmm", "baddbmm", "convolution", "_scaled_dot_product_flash_attention_for_cpu"}
)
REDUCTIONS = frozenset(
    {
        "_log_softmax", "_softmax", "avg_pool2d", "avg_pool3d", "cumsum", "linalg_vector_norm", "logsumexp", "mean",
        "native_group_norm", "native_layer_norm", "nll_loss_forward", "prod", "std", "sum", "var", "var_mean",
    }
)  # fmt: skip
ORDER: tuple[ToleranceClass, ...] = ("exact", "pointwise", "reduction", "contraction")


def least_class(module: Any, arguments: Arguments) -> tuple[ToleranceClass, str]:
    """Return `contraction`, `reduction` or `exact`, and the operator that decides it; `exact` is not yet proved."""
    used = _operators(module, arguments)
    for kind, names in (("contraction", CONTRACTIONS), ("reduction", REDUCTIONS)):
        found = sorted(used & names)
        if found:
            return kind, found[0]  # type: ignore[return-value]
    return "exact", ""


def _operators(module: Any, arguments: Arguments) -> set[str]:
    used: set[str] = set()

    def noted(func: Any, args: Any, kwargs: Any) -> Any:
        used.add(func.overloadpacket.__name__)
        return func(*args, **kwargs)

    with dispatched(noted):
        call(module, arguments)
    return used

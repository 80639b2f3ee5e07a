"""What a Triton candidate leaves to torch: allocation, views, copies, what it declares. And blocks that hide things."""

from __future__ import annotations

import ast

from joulegrid.kernels.judge import operators
from joulegrid.kernels.judge.gate import words
from joulegrid.kernels.judge.gate.source import Found, Source

_KINDS = ("device", "dtype", "Size", "finfo", "iinfo", "is_tensor", "no_grad", "inference_mode", "autocast", "Tensor")
_QUESTIONS = (
    "is_floating_point",
    "is_complex",
    "promote_types",
    "result_type",
    "numel",
    "can_cast",
    "broadcast_shapes",
)
_MORE_VIEWS = ("broadcast_to", "swapaxes", "ravel", "atleast_1d", "atleast_2d", "tensor", "as_tensor", "arange")
_ADVICE = "compute it in a kernel, or declare it in PASSTHROUGH"


def blocks(source: Source) -> Found:
    """No `with` but torch's own modes; in a Triton candidate no `try`, behind which it could fall back to torch."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.With):
            for item in node.items:
                called = item.context_expr
                path = source.path(called.func) if isinstance(called, ast.Call) else None
                if path not in words.CONTEXTS:
                    yield node, f"with {ast.unparse(called)}; allowed are {', '.join(words.CONTEXTS)}"
        elif isinstance(node, ast.Try) and source.language == "triton":
            yield node, "try hides a kernel that fails, and falls back to something else; let it raise"


def torch_functions(source: Source) -> Found:
    """Outside kernels, of torch's functions and methods those that move memory, or that are declared."""
    if source.language != "triton":
        return
    for node in ast.walk(source.tree):
        if source.in_kernel(node) or source.in_constructor(node):
            continue
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            if not _declared(source, "matmul") and not _declared(source, "mm"):
                yield node, f"@ lets torch multiply; {_ADVICE}"
        elif isinstance(node, ast.Call):
            yield from _call(source, node)


def _call(source: Source, node: ast.Call) -> Found:
    path = source.path(node.func)
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if path is not None and path.startswith("torch.") and not _moves(source, path.removeprefix("torch.")):
        yield node, f"{path} lets torch compute; {_ADVICE}"
    elif path is None and name in words.COMPUTING_METHODS and not _declared(source, name):
        yield node, f".{name} lets torch compute; {_ADVICE}"


def _moves(source: Source, name: str) -> bool:
    """Whether a path below `torch` allocates, views, copies, asks, or is declared."""
    if "." in name and not name.startswith(("nn.functional.", "special.", "linalg.", "fft.")):
        return True  # of these `reach` decides
    last = name.rpartition(".")[2]
    known = (*operators.ALLOCATION, *operators.VIEWS, *operators.COPIES, *_KINDS, *_QUESTIONS, *_MORE_VIEWS)
    return last in known or _declared(source, last)


def _declared(source: Source, name: str) -> bool:
    return operators.allowed_for_triton(name, source.passthrough) and name not in operators.ALLOCATION


def declarations(source: Source) -> Found:
    """Only some operators may be declared."""
    unknown = [one for one in source.passthrough if operators.base_name(one) not in operators.PASSTHROUGH]
    for name in unknown:
        yield (
            source.tree.body[0],
            f"PASSTHROUGH: {name} may not be left to torch; {', '.join(operators.PASSTHROUGH)} may",
        )

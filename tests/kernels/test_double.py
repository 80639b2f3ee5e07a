"""The oracle is computed in float64 whatever a module's own casts ask for, or the case is refused."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from joulegrid.errors import UsageError  # noqa: E402
from joulegrid.kernels.double import in_double  # noqa: E402

CASTS: dict[str, Any] = {
    "float()": lambda x: x.float(),
    "half()": lambda x: x.half(),
    "to(dtype)": lambda x: x.to(torch.bfloat16),
    "to(dtype=)": lambda x: x.to(dtype=torch.float32),
    "type()": lambda x: x.type(torch.float32),
    "softmax": lambda x: torch.softmax(x, -1, dtype=torch.float32) + x * 0,
    "sum": lambda x: x.sum(-1, dtype=torch.float32),
    "factory": lambda x: x + torch.zeros(3),
    "factory with dtype": lambda x: x + torch.ones(3, dtype=torch.float16),
    "arange": lambda x: x * torch.arange(3, dtype=torch.float32),
    "from integers": lambda x: (x > 0).float() + x,
    "to other": lambda x: (x > 0).to(x) + x,
}


@pytest.mark.parametrize("name", CASTS)
def test_casts_are_remapped(name: str) -> None:
    x = torch.randn(3, 3, dtype=torch.float64)
    with in_double():
        result = CASTS[name](x)
    assert result.dtype == torch.float64
    if name in ("float()", "half()", "to(dtype)", "to(dtype=)", "type()"):
        assert result.equal(x)


def test_what_still_becomes_narrow_is_refused_with_its_operator() -> None:
    import numpy as np

    x = torch.ones(3, dtype=torch.float64)
    with pytest.raises(UsageError, match=r"aten.* returned a float narrower than float64"), in_double():
        torch.from_numpy(np.ones(3, np.float32)) + 1
    with pytest.raises(UsageError, match="reads bits as another dtype"), in_double():
        x.view(torch.int32)


def test_the_default_dtype_is_as_before_afterwards() -> None:
    with in_double():
        assert torch.get_default_dtype() == torch.float64
    with pytest.raises(ZeroDivisionError), in_double():
        _ = 1 / 0
    assert torch.get_default_dtype() == torch.float32

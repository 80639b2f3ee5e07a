from __future__ import annotations

from joulegrid.kernels import interpret


def test_bf16_is_interpreted_as_fp16_and_the_others_as_themselves() -> None:
    assert dict(interpret.PROXY_DTYPES) == {"fp32": "fp32", "fp16": "fp16", "bf16": "fp16"}


def test_what_is_installed_can_be_interpreted() -> None:
    assert interpret.refusal() is None
    assert interpret.versions().triton is not None


def test_known_errors_of_the_interpreter_come_with_advice() -> None:
    said = "InterpreterError: NotImplementedError('extern_elementwise not supported in interpreter mode')"
    assert "libdevice" in interpret.advice_for(said)
    assert interpret.advice_for("ZeroDivisionError") == ""

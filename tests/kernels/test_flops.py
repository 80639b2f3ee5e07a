"""The decoder's FLOPs by formula."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joulegrid.kernels.flops import DecoderShape, generation_flops, span_flops

SHAPE = DecoderShape(parameters=1000, layers=2, attention_width=16)
counts = st.integers(min_value=0, max_value=300)


def test_one_token_costs_two_operations_a_parameter_and_the_attention_to_itself() -> None:
    assert span_flops(SHAPE, 0, 1) == 2 * 1000 + 4 * 2 * 16


@given(start=counts, first=counts, second=counts)
def test_a_span_is_the_sum_of_its_parts(start: int, first: int, second: int) -> None:
    parts = span_flops(SHAPE, start, first) + span_flops(SHAPE, start + first, second)
    assert span_flops(SHAPE, start, first + second) == parts


def test_the_prompts_pass_yields_the_first_output_token() -> None:
    parts = generation_flops(SHAPE, [(5, 1)])
    assert parts.decode == 0
    assert parts.prefill == span_flops(SHAPE, 0, 5)


def test_requests_add_up() -> None:
    parts = generation_flops(SHAPE, [(5, 4), (7, 2)])
    assert parts.total == span_flops(SHAPE, 0, 5 + 3) + span_flops(SHAPE, 0, 7 + 1)

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegrid.cluster.secrets import is_secret, mask

HF = "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZ01234567"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("api_key: abc def", "api_key: ***"),
        ('  "password": "a \\" b",', '  "password": "***",'),
        ('said "{\\"password\\": \\"x1\\", \\"n\\": 2}"', 'said "{\\"password\\": \\"***\\", \\"n\\": 2}"'),
        ("- HF_TOKEN: x1y2", "- HF_TOKEN: ***"),
        ("run --password hunter2 --batch 4", "run --password *** --batch 4"),
        ("run --api-key=k1 x", "run --api-key=*** x"),
        ("{user: me, secret: s3, n: 4}", "{user: me, secret: ***, n: 4}"),
        (f"login with {HF} now", "login with hf_*** now"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIA***"),
        ("ghp_" + "a1" * 18, "ghp_***"),
        ("sk-proj-" + "a1" * 18, "sk-***"),
        ("git clone https://me:pa%40ss@host/x", "git clone https://me:***@host/x"),
        ("curl -H 'Authorization: Basic dXNlcjpw' x", "curl -H 'Authorization: ***' x"),
        ("got Bearer abcdefgh12345 back", "got Bearer *** back"),
        ("AWS_SECRET_ACCESS_KEY=abc/def+g end", "AWS_SECRET_ACCESS_KEY=*** end"),
        ("password: |\n  one\n  two\nnext: 1", "password: |\n  ***\n  ***\nnext: 1"),
        ("a:\n  credentials:\n    user: me\n    pin: 7\n  b: 1", "a:\n  credentials:\n    ***\n    ***\n  b: 1"),
        ("secrets:\n- one\n- two\nnext: 1", "secrets:\n***\n***\nnext: 1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nx", "***\nx"),
    ],
)
def test_a_secret_in_a_text_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "max_new_tokens: 512",
        "tokenizer: gpt2",
        "pad_token: <pad>",
        "output_token: 512",
        "eos_token_id: 2",
        "token: 17",
        "energy per token 3.2 J",
        "model: hf_transfer_models/x",
        "the password was wrong",
        "password: null",
        "key: 3f02ab",
        "http://127.0.0.1:8265/api?x=1",
        "commit: 9b1d8e7f6a5c4b3d2e1f0a9b8c7d6e5f4a3b2c1d",
        "task-12345678901234567890",
        "s3://bucket/prefix:with@sign",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_mappings_and_lists_are_masked_at_every_depth() -> None:
    given_ = {
        "a": [{"apiKey": "x", "n": 1}],
        "credentials": {"user": "me"},
        "log": f"t={HF}",
        "token": 3,
        "secret": None,
    }
    assert mask(given_) == {
        "a": [{"apiKey": "***", "n": 1}],
        "credentials": "***",
        "log": "t=hf_***",
        "token": 3,
        "secret": None,
    }
    assert given_["a"] == [{"apiKey": "x", "n": 1}]


@given(st.text(max_size=200))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    assert mask(mask(text)) == mask(text)


@given(st.text(st.sampled_from("abcXYZ019+/_"), min_size=4, max_size=40), st.sampled_from(["HF_TOKEN", "db.password"]))
def test_no_value_of_a_secret_key_survives(value: str, key: str) -> None:
    value = f"q{value}q"
    for text in (f"{key}: {value}", f"x {key}={value} y", f'{{"{key}": "{value}"}}', f"  {key}: '{value}'"):
        assert value not in mask(text)


def test_names_tell_secrets() -> None:
    assert all(map(is_secret, ["token", "accessToken", "WANDB_API_KEY", "aws_access_key_id", "db-password"]))
    assert not any(map(is_secret, ["tokens", "tokenizer", "key", "keyboard", "pad_token", "first_token", "monkey"]))


def test_a_long_log_is_masked_quickly() -> None:
    started = time.perf_counter()
    for text in ("a" * 100_000, "a-" * 50_000, "'" * 100_000, "://" * 30_000, "\\" * 100_000, "token:" * 20_000):
        mask(text)
    assert time.perf_counter() - started < 5

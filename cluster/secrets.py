"""What may never be written: tokens, keys and passwords in a study, an environment or a log.

`mask` goes by the names of fields (`api_key`, `HF_TOKEN`) and by the shape of values (`hf_…`, `AKIA…`,
`https://user:password@…`). It is a net with meshes: a secret without a telling name or shape passes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, overload

MASK = "***"
SHORT = 256

_WORDS = {
    "password", "passwd", "passphrase", "secret", "secrets", "credential", "credentials", "authorization",
    "apikey", "authtoken", "accesstoken", "apitoken",
}  # fmt: skip
_KEYS = {"api", "access", "private", "account", "signing", "encryption", "license", "ssh"}
"""Words that make a following `key` a secret one."""
_LANGUAGE = {
    "pad", "eos", "bos", "unk", "sep", "cls", "mask", "stop", "image", "special", "per", "input", "output", "prompt",
    "new", "first", "next", "last", "generated", "prefill", "decode", "cached",
}  # fmt: skip
"""Words before `token` that make it a piece of language, not a secret."""
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_NUMBER = re.compile(r"[-+]?\d{1,12}(\.\d{1,12})?(e[-+]?\d+)?", re.IGNORECASE)
_NOTHING = {"", "null", "~", "None", "''", '""'}

_SHAPES = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"\bhf_[A-Za-z0-9]{16,}"), f"hf_{MASK}"),
    (re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{12,}"), rf"\1{MASK}"),
    (re.compile(r"\b(gh[pousr]_|github_pat_|glpat-|xox[abeprs]-)[\w-]{16,}"), rf"\1{MASK}"),
    (re.compile(r"\bsk-[\w-]{16,}"), f"sk-{MASK}"),
    (re.compile(r"\bAIza[\w-]{30,}"), f"AIza{MASK}"),
    (re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}(\.[\w-]*)?"), MASK),  # a JSON web token
    (re.compile(r"(://[^/\s:@]*:)[^/\s]+@"), rf"\1{MASK}@"),
    (re.compile(r"\b(Authorization[\"']?\s*[:=]\s*[\"']?)(\w+[ \t]+)?[^\s\"']+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\b(Bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{MASK}"),
)
_LINE = re.compile(r"(?P<head>(?P<indent>\s*(?:-\s+)*)[\"']?(?P<key>[A-Za-z_][\w.-]*)[\"']?\s*:)(?P<rest>\s.*|)$")
_VALUE = r"(?P<value>(?P<quote>\\?[\"'])(?:(?!(?P=quote))(?:\\.|.))*(?P=quote)|[^\s,;&}\])\"']+)"
# Both begin where a word begins, so that a long word is looked at once and not once for each of its letters.
_PAIR = re.compile(r"(?P<head>(?<![\w.-])(?P<key>[\w.-]+)(?:\\?[\"'])?\s*[:=]\s*)" + _VALUE)
_OPTION = re.compile(r"(?P<head>(?<![\w.-])(?P<key>--[\w.-]+)\s+)" + _VALUE)


@overload
def mask(value: str) -> str: ...
@overload
def mask(value: Mapping[str, Any]) -> dict[str, Any]: ...
@overload
def mask(value: Any) -> Any: ...
def mask(value: Any) -> Any:
    """Return a copy of a text, mapping or list in which every secret that is recognised reads `***`."""
    if isinstance(value, str):
        return _mask_short(value) if len(value) <= SHORT else _mask_text(value)
    if isinstance(value, Mapping):
        return {name: _mask_field(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(mask(item) for item in value) if type(value) in (list, tuple) else [*map(mask, value)]
    return value


def is_secret(name: str, value: str | None = None) -> bool:
    """Whether a field of this name holds a secret. `token` with a number, or `pad_token`, is language, not a secret."""
    words = [word.lower() for word in _CAMEL.findall(name)]
    if _WORDS.intersection(words):
        return True
    if any(first in _KEYS and second == "key" for first, second in pairwise(words)):
        return True
    if not words or words[-1] != "token" or _LANGUAGE.intersection(words[:-1]):
        return False
    return value is None or _NUMBER.fullmatch(value.strip()) is None


def _mask_field(name: str, value: Any) -> Any:
    if value is None or value == "" or isinstance(value, bool):
        return value
    return MASK if is_secret(name, str(value)) else mask(value)


@lru_cache(maxsize=4_096)
def _mask_short(text: str) -> str:
    """Mask a name, a path or a label: the same ones stand in thousands of results, and each costs 20 µs."""
    return _mask_text(text)


def _mask_text(text: str) -> str:
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    lines: list[str] = []
    hidden: int | None = None  # the column of a secret key whose value stands in the lines below it
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        if hidden is not None and (not line.strip() or indent > hidden or (indent == hidden and line[indent] == "-")):
            lines.append(line[:indent] + MASK if line.strip() else line)
            continue
        masked, hidden = _mask_line(line)
        lines.append(masked)
    return "\n".join(lines)


def _mask_line(line: str) -> tuple[str, int | None]:
    found = _LINE.match(line)
    if found and is_secret(found["key"], rest := found["rest"].strip()):
        if not rest or rest[0] in "|>":
            return line, len(found["indent"])
        if rest[0] not in "\"'" and rest not in _NOTHING:  # an unquoted value of YAML goes to the end of the line
            return f"{found['head']} {MASK}", None
    return _OPTION.sub(_mask_pair, _PAIR.sub(_mask_pair, line)), None


def _mask_pair(found: re.Match[str]) -> str:
    value, quote = found["value"], found["quote"] or ""
    if value in _NOTHING or not is_secret(found["key"], value.strip("\"'\\")):
        return found[0]
    return f"{found['head']}{quote}{MASK}{quote}"

"""Numbers as people read them: digits, intervals, units, titles. Pure text: nothing is computed from results here."""

from __future__ import annotations

import math
import re

# Endings of names, longest first. The unit is what the report prints.
_UNITS = (
    ("_tokens_per_s", "tokens/s"),
    ("_requests_per_s", "requests/s"),
    ("_bytes_per_s", "B/s"),
    ("_flops_per_s", "FLOP/s"),
    ("_j_per_token", "J/token"),
    ("_per_s", "1/s"),
    ("_seconds", "s"),
    ("_percent", "%"),
    ("_celsius", "°C"),
    ("_tokens", "tokens"),
    ("_gflops", "GFLOP/s"),
    ("_tflops", "TFLOP/s"),
    ("_flops", "FLOP"),
    ("_bytes", "B"),
    ("_kwh", "kWh"),
    ("_mhz", "MHz"),
    ("_mib", "MiB"),
    ("_gib", "GiB"),
    ("_ms", "ms"),
    ("_us", "µs"),
    ("_ns", "ns"),
    ("_wh", "Wh"),
    ("_gco2", "g CO₂"),
    ("_s", "s"),
    ("_j", "J"),
    ("_w", "W"),
)
_SPREAD = re.compile(r"p\d+|mean|median|min|max|sd|std|sum|total")
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def unit_of(name: str) -> str | None:
    """Return the unit that a metric's dotted name carries, e.g. `ttft_s.p50` → `s`; `None` where it has none."""
    return _found(name)[1]


def title_of(name: str) -> str:
    """Return a metric's name for people: `output_tokens_per_s` → `output tokens/s`, `ttft_s.p50` → `ttft p50, s`."""
    words, unit = _found(name)
    if unit is None or unit in words.split():
        return words
    joined = unit.startswith(("tokens", "requests")) or not words
    return f"{words} {unit}".strip() if joined else f"{words}, {unit}"


def _found(name: str) -> tuple[str, str | None]:
    """The words of a name without its unit, and the unit: that of the last part which is no quantile or the like.

    A single letter that is a whole name (`s`, `j`, `w`) is a name: it says no unit of anything.
    """
    parts = name.split(".")
    position = len(parts) - 1
    while position > 0 and _SPREAD.fullmatch(parts[position]):
        position -= 1
    part = f"_{parts[position]}"
    for ending, unit in _UNITS:
        if part.endswith(ending) and not (len(part) == 2 and position == 0):
            return _words([*parts[:position], part[: -len(ending)], *parts[position + 1 :]]), unit
    return _words(parts), None


def _words(parts: list[str]) -> str:
    return " ".join(" ".join(parts).replace("_", " ").split())


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with `digits` significant digits, `–` for an unknown one."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    exponent = _exponent(value, digits)
    if exponent < -4 or exponent > 8:
        return f"{value:.{digits - 1}e}"
    if float(value).is_integer() and exponent < digits + 3:
        return f"{value:,.0f}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def with_interval(mean: float, half_width: float | None) -> str:
    """Return `mean ± half-width`, both to the second digit of the half-width; the mean alone without an interval.

    Where the half-width is about ten times the mean, to the mean's second digit, lest nothing of it be seen.
    """
    if half_width is None or not math.isfinite(half_width):
        return number(mean)
    if half_width == 0:
        return f"{number(mean)} ± 0"
    least = _exponent(half_width, 2)
    top = max(_exponent(mean, 4), least) if mean else least
    if top - least > 7:  # more digits than anyone reads
        return f"{number(mean, 7)} ± {number(half_width, 2)}"
    scale = top if top < -4 or top > 8 else 0
    wide = mean != 0 and _exponent(mean, 2) in (least - 1, least)  # an interval as wide as the mean: two digits of it
    decimals = max(0, 1 - (_exponent(mean, 2) if wide else least) + scale)
    shown = f"{mean / 10**scale:,.{decimals}f} ± {half_width / 10**scale:,.{decimals}f}"
    return f"({shown})e{scale:+03d}" if scale else shown


def interval(low: float, high: float) -> str:
    """Return `low–high` with three significant digits each."""
    return f"{number(low, 3)}–{number(high, 3)}"


def duration(seconds: float | None) -> str:
    """Return a length of time for people: `48 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{number(seconds, 3)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def plain(text: object) -> str:
    """Return text without terminal sequences, control and direction-changing characters; newlines and tabs stay."""
    return _CONTROL.sub("", str(text))


def counted(count: int, noun: str) -> str:
    """Return `1 task`, `2 tasks`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _exponent(value: float, digits: int) -> int:
    """Decimal exponent of a non-zero value after rounding to `digits` significant digits."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])

"""One thing that `joulegrid doctor` looked at: what it found, how bad that is, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

Status = Literal["ok", "warn", "missing", "error"]
_STYLES = {"ok": "green", "warn": "yellow", "missing": "red", "error": "red"}


class Finding(BaseModel):
    """A checked thing. `missing` and `error` stop a study, `warn` only spoils or limits its numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str
    status: Status
    value: str
    """What was found, in words, with units."""
    remedy: str | None = None
    """What to do; null where nothing needs doing."""


def ok(name: str, value: str) -> Finding:
    """A finding that needs nothing done."""
    return Finding(name=name, status="ok", value=value)


def warn(name: str, value: str, remedy: str | None = None) -> Finding:
    """A finding that leaves a study possible."""
    return Finding(name=name, status="warn", value=value, remedy=remedy)


def missing(name: str, value: str, remedy: str) -> Finding:
    """A finding that something needed is not there."""
    return Finding(name=name, status="missing", value=value, remedy=remedy)


def error(name: str, value: str, remedy: str | None = None) -> Finding:
    """A finding that something needed is there and does not work."""
    return Finding(name=name, status="error", value=value, remedy=remedy)


def exit_code(findings: Sequence[Finding]) -> int:
    """0 when a study can run here, 1 when something needed is missing or broken."""
    return int(any(finding.status in ("missing", "error") for finding in findings))


def render(findings: Sequence[Finding]) -> Table:
    """The findings as a table for a terminal, each remedy below its value."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("check", "status", "found"):
        table.add_column(title, overflow="fold", no_wrap=title == "status")
    for finding in findings:
        words = Text(finding.value)
        if finding.remedy:
            words.append(f"\n→ {finding.remedy}", style="dim")
        table.add_row(finding.name, Text(finding.status, style=_STYLES[finding.status]), words)
    return table

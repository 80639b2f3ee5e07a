"""HTML elements that escape by construction: text stays text unless it is already `Html`. Knows no page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from joulegrid.jobs.report.quantity import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

_VOID = {"meta", "br", "hr", "img", "link"}


class Html(str):
    """A piece of finished HTML; every other string is text and will be escaped."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str) -> Html:
    """Return `<name attribute="…">children</name>`; a trailing underscore of an attribute's name is dropped."""
    shown = "".join(f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"' for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{joined(children)}</{name}>")


def joined(children: Iterable[str]) -> Html:
    """Return the pieces after one another, each text among them escaped."""
    return Html("".join(child if isinstance(child, Html) else _text(child) for child in children))


def table(head: list[str], rows: Iterable[list[str]], *, class_: str = "") -> Html:
    """Return a table that scrolls sideways where the page is too narrow."""
    top = element("thead", element("tr", *(element("th", cell) for cell in head))) if head else Html("")
    body = element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows))
    return element("div", element("table", top, body, class_=class_), class_="scroll")


def folded(summary: str, *children: str) -> Html:
    """Return a part that opens at a click."""
    return element("details", element("summary", summary), *children)


def _text(value: str) -> str:
    return escape(plain(value), quote=True)

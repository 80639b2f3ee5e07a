"""One GET of a JSON document, with errors that say whether another try may help. No redirects: a token stays here."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import IO, Any
from urllib.parse import urlencode

LARGEST_BYTES = 20_000_000
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class FetchError(Exception):
    """A service gave no usable answer."""

    def __init__(
        self, message: str, *, is_passing: bool, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.is_passing = is_passing
        """Whether another try may help."""
        self.status = status
        """HTTP's, where there was an answer."""
        self.retry_after_s = retry_after_s
        """How long the service asks to be left alone."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token along to wherever it points."""

    def redirect_request(self, *_: Any) -> None:
        return None


def get_json(url: str, query: Mapping[str, str], headers: Mapping[str, str], timeout_s: float) -> Any:
    """Return the JSON document at an address; `FetchError` for anything else. Nothing of `headers` is in the error."""
    where = url.partition("://")[2]
    whole = f"{url}?{urlencode(query)}" if query else url
    if not whole.startswith(("https://", "http://")):
        raise FetchError(f"{url}: give an address that begins with https://", is_passing=False)
    request = urllib.request.Request(whole, headers={"Accept": "application/json", **headers})  # noqa: S310 - see above
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as answer:
            return _document(answer, where)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(where, error) from None
    except (OSError, HTTPException) as error:  # no route, no name, time out, a broken answer
        told = getattr(error, "reason", None) or error
        raise FetchError(f"{where} cannot be reached: {told or type(error).__name__}", is_passing=True) from None


def _document(answer: IO[bytes], where: str) -> Any:
    data = answer.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise FetchError(f"{where} sent more than {LARGEST_BYTES:,} bytes", is_passing=False)
    try:
        return json.loads(data)
    except ValueError:
        raise FetchError(f"{where} sent no JSON: {data[:60]!r}", is_passing=True) from None


def _refusal(where: str, error: urllib.error.HTTPError) -> FetchError:
    words = {401: "the token or password is wrong", 403: "not in this account's plan", 404: "it knows no such zone"}
    told = words.get(error.code, error.reason or "refused")
    wait_s = _seconds(error.headers.get("Retry-After"), error.headers.get("Date"))
    message, is_passing = f"{where}: HTTP {error.code}: {told}", error.code in _PASSING
    return FetchError(message, is_passing=is_passing, status=error.code, retry_after_s=wait_s)


def _seconds(told: str | None, date: str | None) -> float | None:
    """Seconds of a Retry-After: a number, or a date against the answer's own."""
    if told is None:
        return None
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(told) - parsedate_to_datetime(date or "")).total_seconds())
    except (ValueError, TypeError):
        return None

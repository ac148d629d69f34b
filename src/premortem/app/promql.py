"""Reads a fleet's history back by PromQL: from Prometheus, VictoriaMetrics or Mimir.

``name{...}[60s]`` as an instant query gives the samples as they were written, at their own times.
(A range query would repeat each for five minutes: a source that fell silent would look alive.)
"""

from __future__ import annotations

import http.client
import json
import math
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import premortem
from premortem.app.prom_export import Series as Found
from premortem.app.prom_export import matrix, our_readings
from premortem.app.series_names import PREFIX, series_name
from premortem.model import Reading, Series
from premortem.recording import BadRecording
from premortem.store import StoreError

__all__ = ["HistoryError", "Promql"]

CHUNK_S = 600.0
"""Raw samples of one site over ten minutes are some 70,000: 3 MB of JSON."""
POINTS_MAX = 10_000
"""Of one series in a range query; Prometheus refuses more than 11,000."""
BYTES_MAX = 256 * 1024 * 1024
PATIENCE_S = 30.0


class HistoryError(StoreError):
    """The history cannot be asked or does not answer: says which and why."""


@dataclass(frozen=True, slots=True)
class Promql:
    """A server's PromQL interface, such as ``http://127.0.0.1:9090``."""

    url: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a URL that cannot be used."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the history's address must be an http or https URL with a host")
        if parts.username or parts.password:
            raise ValueError("no password in the history's URL; use a token file")

    def readings(
        self, site: str, declared: Iterable[str], start: float, end: float
    ) -> Iterator[Reading]:
        """Every reading of a site after ``start`` up to ``end``, oldest first, without the rows.

        Raises :class:`HistoryError`.
        """
        names = tuple(declared)
        selector = f'{{__name__=~"{PREFIX}.+",site={_quoted(site)}}}'
        at = start
        while at < end:
            until = min(at + CHUNK_S, end)
            width_ms = math.ceil((until - at) * 1000)
            found = self._ask("query", query=f"{selector}[{width_ms}ms]", time=f"{until:.3f}")
            for reading in our_readings(found, names):
                if at < reading.at <= until:
                    yield reading
            at = until

    def series(self, site: str, metric: str, start: float, end: float, step_s: float) -> Series:
        """Means over steps of ``step_s``, summed over targets, each at the start of its step.

        Raises :class:`HistoryError`.
        """
        selector = f"{series_name(metric)}{{site={_quoted(site)}}}"
        query = f"sum(avg_over_time({selector}[{round(step_s * 1000)}ms]))"
        points: list[tuple[float, float]] = []
        first = math.ceil(start / step_s + 1) * step_s
        while first <= end:
            until = min(first + (POINTS_MAX - 1) * step_s, end)
            span = {"start": f"{first:.3f}", "end": f"{until:.3f}", "step": f"{step_s:g}"}
            for _, more in self._ask("query_range", query=query, **span):
                points += [(at - step_s, value) for at, value in more if math.isfinite(value)]
            first += POINTS_MAX * step_s
        return Series(tuple(p[0] for p in points), tuple(p[1] for p in points))

    def sites(self, start: float, end: float) -> tuple[str, ...]:
        """The sites that wrote anything in between."""
        span = {"start": f"{start:.3f}", "end": f"{end:.3f}", "match[]": f"{PREFIX}reading"}
        found = json.loads(self._get(f"/api/v1/label/site/values?{urlencode(span)}"))
        return tuple(str(name) for name in found.get("data") or ())

    def _ask(self, what: str, **params: str) -> list[Found]:
        try:
            return matrix(self._get(f"/api/v1/{what}?{urlencode(params)}"))
        except BadRecording as error:
            raise HistoryError(f"{self.url}: {error}") from None

    def _get(self, path: str) -> str:
        headers = {"User-Agent": f"premortem/{premortem.__version__}"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url.rstrip("/") + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                body: bytes = answer.read(BYTES_MAX + 1)
        except urllib.error.HTTPError as error:
            with error:
                words = error.read(500).decode("utf-8", "replace").strip()
            raise HistoryError(f"{self.url}: status {error.code}: {words[:200]}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise HistoryError(f"{self.url}: {reason}") from None
        if len(body) > BYTES_MAX:
            raise HistoryError(f"{self.url}: more than 256 MiB in one answer; ask for less")
        return body.decode("utf-8", "replace")


def _quoted(text: str) -> str:
    """A PromQL string: Go's, which JSON's is."""
    return json.dumps(text)

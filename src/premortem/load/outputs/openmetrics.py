"""OpenMetrics text of a result: for a textfile collector or a push gateway.

Names follow the OpenMetrics specification 1.0: units as suffix, counters end in ``_total``, times
in seconds, ``# EOF`` at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from premortem.load.outputs.document import Document

__all__ = ["to_openmetrics"]

OUTCOMES = ("served", "refused", "failed", "unfinished", "not_started")
QUANTILES = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99", "p99.9": "0.999", "max": "1"}


def to_openmetrics(document: Document) -> str:
    """Everything the result knows, one sample a line."""
    lines = _run(document) if document["kind"] == "run" else _search(document)
    return "\n".join([*lines, "# EOF"]) + "\n"


def _run(document: Document) -> Iterator[str]:
    site, final = {"site": document["site"]}, document["final"]
    yield from _head("premortem_load_users", "counter", "Users by what became of them.")
    for outcome in OUTCOMES:
        yield _sample("premortem_load_users_total", {**site, "outcome": outcome}, final[outcome])
    name = "premortem_load_response_seconds"
    yield from _head(name, "summary", "From the intended instant to the last byte.", "seconds")
    for request, times in {"": final["response_ms"], **final["names_ms"]}.items():
        labels = {**site, "request": request} if request else site
        yield from _summary(name, labels, times)
    yield from _head("premortem_load_bar_held", "gauge", "1 the bar was cleared, 0 not.")
    for bar in document["bars"]:
        labels = {**site, "bar": bar["text"]}
        yield _sample("premortem_load_bar_held", labels, int(bar["held"]))
    yield from _head("premortem_load_valid", "gauge", "1 the generator kept its schedule, 0 not.")
    yield _sample("premortem_load_valid", site, int(document["invalid"] is None))
    yield from _made(document)


def _summary(
    name: str, labels: Mapping[str, str], times: Mapping[str, float | None]
) -> Iterator[str]:
    for key, quantile in QUANTILES.items():
        value = times.get(key)
        if value is not None:
            yield _sample(name, {**labels, "quantile": quantile}, value / 1000.0)
    count, mean = times.get("count") or 0, times.get("mean") or 0.0
    yield _sample(f"{name}_count", labels, count)
    yield _sample(f"{name}_sum", labels, count * mean / 1000.0)


def _search(document: Document) -> Iterator[str]:
    site = {"site": document["site"]}
    knee = document.get("knee") or {}
    name = "premortem_load_knee_users_per_second"
    yield from _head(name, "gauge", "Users a second at the knee; missing when there is none.")
    for bound in ("users_per_s", "low_per_s", "high_per_s"):
        if knee.get(bound) is not None:
            which = {"users_per_s": "estimate", "low_per_s": "low", "high_per_s": "high"}[bound]
            yield _sample(name, {**site, "bound": which}, knee[bound])
    yield from _made(document)


def _made(document: Document) -> Iterator[str]:
    name = "premortem_load_made_timestamp_seconds"
    yield from _head(name, "gauge", "When the test ended.", "seconds")
    yield _sample(name, {"site": document["site"]}, document["made_at"])


def _head(name: str, kind: str, text: str, unit: str = "") -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value:.10g}"


def _escaped(text: str) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

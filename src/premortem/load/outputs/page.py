"""The page a load test leaves behind: one HTML file that needs nothing else, not even a script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from premortem.load.outputs.charts import charts_of
from premortem.load.outputs.document import Document
from premortem.load.outputs.svg import Chart, draw

__all__ = ["to_page"]

WIDE, NARROW = (760.0, 240.0), (350.0, 210.0)
"""CSS pixels: a text of 12 px stays 12 px on a desk and on a phone."""
HEADLINES = {
    "passed": "Every bar was cleared",
    "missed": "A bar was missed",
    "stopped": "The test ended itself",
    "invalid": "The figures cannot be believed",
}


def to_page(document: Document) -> str:
    """A run, a search or a comparison as one HTML document."""
    head, lead, good = _headline(document)
    parts = [
        f"<p class='eyebrow'>premortem load {escape(document['kind'])} · {_place(document)}</p>",
        f"<h1 class='{'good' if good else 'bad'}'>{escape(head)}</h1>",
        f"<p class='big'>{escape(lead)}</p>",
        *_bars(document),
        *(_figure(chart) for chart in charts_of(document)),
        *_tables(document),
        *_conditions(document),
    ]
    title = escape(f"{head}: {document['site']}")
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title>\n<style>\n{_css()}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


@cache
def _css() -> str:
    return (files("premortem.load.outputs") / "page.css").read_text("utf-8")


def _place(document: Document) -> str:
    made = datetime.fromtimestamp(document["made_at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    release = f" · {document['release']}" if document.get("release") else ""
    return escape(f"{document['site']}{release} · {made}")


def _headline(document: Document) -> tuple[str, str, bool]:
    if document["kind"] == "run":
        verdict = document["verdict"]
        return HEADLINES[verdict], _run_lead(document), verdict == "passed"
    if document["kind"] == "search":
        knee = document["knee"]
        if knee["abstained"]:
            return "No knee", document["sentence"], False
        return f"Knee at {knee['users_per_s']:.4g} users/s", document["sentence"], True
    said = {
        "better": "Better than the baseline",
        "same": "As good as the baseline",
        "worse": "Worse than the baseline",
        "cannot_tell": "Cannot tell from so few runs",
    }
    return said[document["verdict"]], document["sentence"], document["verdict"] != "worse"


def _run_lead(document: Document) -> str:
    final = document["final"]
    times = final["response_ms"]
    told = f"{final['offered']} users in {document['seconds']:g} s: {final['served']} served"
    told += f", {final['refused']} refused, {final['failed']} failed"
    if times.get("p99") is not None:
        told += f"; half were answered within {times['p50']:g} ms, 99 % within {times['p99']:g} ms"
    for why in ("stopped", "invalid"):
        if document.get(why):
            told += f". {why.capitalize()}: {document[why]}"
    cause = (document.get("ledger") or {}).get("cause")
    return told + (f". The ledger named {cause}." if cause else ".")


def _figure(chart: Chart) -> str:
    wide, narrow = draw(chart, *WIDE, css="wide"), draw(chart, *NARROW, css="narrow")
    return f"<figure><figcaption>{escape(chart.title)}</figcaption>{wide}{narrow}</figure>"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], css: str = "") -> str:
    top = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f"<div class='scroll'><table class='{css}'><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _bars(document: Document) -> list[str]:
    bars = document.get("bars")
    if not bars:
        return []
    rows = [
        ("✓ cleared" if b["held"] else "✗ missed", b["text"], b["words"], b["note"] or "")
        for b in bars
    ]
    return ["<h2>Bars</h2>", _table(("", "bar", "was", ""), rows, "words")]


def _tables(document: Document) -> list[str]:
    kind = document["kind"]
    parts = {"run": _run_tables, "search": _search_tables, "compare": _compare_tables}[kind](
        document
    )
    verdicts = (document.get("ledger") or {}).get("verdicts")
    if verdicts:
        rows = [(v["cause"], v["state"].replace("_", " "), v["because"]) for v in verdicts]
        parts += ["<h2>The ledger</h2>", _table(("cause", "held", "because"), rows, "words")]
    return parts


def _run_tables(document: Document) -> list[str]:
    keys = ("count", "mean", "p50", "p90", "p95", "p99", "max")
    final: dict[str, Any] = document["final"]
    named = {"all": final["response_ms"], **final["names_ms"]}
    rows = [(name, *(times.get(key) for key in keys)) for name, times in named.items()]
    parts = ["<h2>Requests, in ms</h2>", _table(("request", *keys), rows)]
    if final["errors"]:
        errors = [(count, why) for why, count in final["errors"].items()]
        parts += ["<h2>Errors</h2>", _table(("count", "what"), errors, "words")]
    lag, cpu = final["lag_ms"].get("p99"), final["cpu_ratio_peak"]
    parts.append(
        f"<p class='soft'>The generator: send lag p99 {_cell(lag)} ms, "
        f"at most {cpu:.0%} of a core over three seconds.</p>"
    )
    return parts


def _search_tables(document: Document) -> list[str]:
    head = ("users/s", "for s", "served/s", "p50 ms", "p99 ms", "in trouble")
    rows = [
        (
            float(t["users_per_s"]), float(t["seconds"]), float(t["served_per_s"]),
            t["p50_ms"], t["p99_ms"], f"{t['violations']} of {t['offered']}",
        )
        for t in document["trials"]
    ]  # fmt: skip
    how = f"<p class='soft'>{escape(document['knee']['reason'])}</p>"
    return ["<h2>Trials, in their order</h2>", how, _table(head, rows)]


def _compare_tables(document: Document) -> list[str]:
    rows = [
        (side, *(float(value) for value in document[side])) for side in ("baseline", "candidate")
    ]
    head = ("", *(str(number + 1) for number in range(max(len(r) for r in rows) - 1)))
    return [f"<h2>Runs, {escape(document['measure'])}</h2>", _table(head, rows)]


def _conditions(document: Document) -> list[str]:
    rows = [(key, str(value)) for key, value in document["conditions"].items()]
    rows.append(("comparability", document["comparability"]))
    return ["<h2>Conditions</h2>", _table(("", ""), rows, "words")]

"""A browser's recording (HAR 1.2) → a journey: the requests of one site, in order.

Kept are the requests to one host that are no static files; pauses are the gaps between an answer
and the next request. Values that an earlier answer held (CSRF tokens, ids) become extractions;
secrets become environment variables.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit

from premortem.load.imports.draft import BadImport, Draft, LeftOut, read_text, readable
from premortem.load.imports.har_values import Values
from premortem.load.imports.ids import is_static, template

__all__ = ["Entry", "from_har", "har_draft"]

ENTRIES_MAX = 10_000
THINK_S_MIN = 0.1
"""Less is the browser at work, not a person."""
THINK_S_MAX = 120.0
"""More and whoever recorded was at lunch."""
KINDS_STATIC = frozenset(
    ("image", "font", "stylesheet", "script", "media", "manifest", "texttrack")
)
"""Chrome's and Firefox's ``_resourceType``."""
MIME_STATIC = ("image/", "font/", "text/css", "video/", "audio/", "application/javascript",
               "text/javascript", "application/x-javascript", "application/font")  # fmt: skip
HEADERS_KEPT = frozenset({"accept", "accept-language", "x-requested-with", "content-type"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded exchange."""

    method: str
    url: SplitResult
    headers: Mapping[str, str]
    """Names in lower case."""
    post: Mapping[str, Any]
    status: int
    mime: str
    body: str
    """Of the answer, where it was recorded."""
    answer_headers: Sequence[tuple[str, str]]
    kind: str
    began: float
    ended: float

    @property
    def target(self) -> str:
        return (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")

    @property
    def static(self) -> bool:
        kind = self.kind in KINDS_STATIC or self.mime.startswith(MIME_STATIC)
        return kind or is_static(self.url.path)

    @property
    def location(self) -> str | None:
        """Where a redirect leads, as a whole URL."""
        if self.status not in (301, 302, 303, 307, 308):
            return None
        where = next((v for name, v in self.answer_headers if name == "location"), None)
        return where and urljoin(self.url.geturl(), where)


def _pairs(raw: object) -> list[tuple[str, str]]:
    entries = raw if isinstance(raw, list) else []
    return [(str(e.get("name", "")), str(e.get("value", ""))) for e in entries]


def _body(content: Mapping[str, Any]) -> str:
    text = content.get("text") or ""
    if content.get("encoding") != "base64":
        return str(text)
    try:
        return base64.b64decode(text).decode("utf-8", "replace")
    except binascii.Error:
        return ""


def entry_from(raw: Mapping[str, Any]) -> Entry:
    """One of ``log.entries``. Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    request, response = raw["request"], raw["response"]
    began = datetime.fromisoformat(str(raw["startedDateTime"]).replace("Z", "+00:00")).timestamp()
    content = response.get("content") or {}
    return Entry(
        str(request["method"]).upper(),
        urlsplit(str(request["url"])),
        {name.lower(): value for name, value in _pairs(request.get("headers"))},
        request.get("postData") or {},
        int(response.get("status") or 0),
        str(content.get("mimeType") or "").lower(),
        _body(content),
        [(name.lower(), value) for name, value in _pairs(response.get("headers"))],
        str(raw.get("_resourceType") or ""),
        began,
        began + max(0.0, float(raw.get("time") or 0.0)) / 1000.0,
    )


def _entries(data: object, left_out: LeftOut) -> list[Entry]:
    try:
        raw = data["log"]["entries"]  # type: ignore[index]
    except (KeyError, TypeError) as error:
        raise BadImport("not a HAR: it has no log.entries") from error
    found = []
    for number, one in enumerate(raw[:ENTRIES_MAX], 1):
        try:
            found.append(entry_from(one))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            left_out.note("entries that cannot be read", f"number {number}: {error!r}")
    if len(raw) > ENTRIES_MAX:
        left_out.note(f"entries beyond the first {ENTRIES_MAX}", str(len(raw)))
    return sorted(found, key=lambda entry: entry.began)


def _host(entries: Sequence[Entry]) -> str:
    """The host of the first page, else the one asked most often."""
    for entry in entries:
        if entry.kind == "document" or (entry.method == "GET" and "text/html" in entry.mime):
            return entry.url.netloc
    return Counter(entry.url.netloc for entry in entries).most_common(1)[0][0]


def _kept(entries: Sequence[Entry], host: str, static: bool, left_out: LeftOut) -> list[Entry]:
    kept: list[Entry] = []
    followed: set[str] = set()
    for entry in entries:
        if entry.url.netloc != host or entry.url.scheme not in ("http", "https"):
            left_out.note(f"requests to {entry.url.netloc}", entry.url.path[:60])
        elif entry.static and not static:
            left_out.note("static files (--static keeps them)", entry.target[:60])
        elif entry.method == "OPTIONS" and "access-control-request-method" in entry.headers:
            left_out.note("CORS preflights", entry.target[:60])
        elif entry.status in (0, 101):
            left_out.note("requests without an answer, or WebSockets", entry.target[:60])
        elif entry.url.geturl() in followed and entry.method in ("GET", "HEAD"):
            followed.discard(entry.url.geturl())
            left_out.note("redirects' targets: the engine follows them itself", entry.target[:60])
            kept[-1] = _followed(kept[-1], entry)
            followed |= {entry.location} if entry.location else set()
        else:
            kept.append(entry)
            followed = {entry.location} if entry.location else set()
    return kept


def _followed(first: Entry, last: Entry) -> Entry:
    """A request with the answer that its redirect led to: what a journey sees."""
    cookies = [pair for pair in first.answer_headers if pair[0] == "set-cookie"]
    return Entry(
        first.method, first.url, first.headers, first.post, last.status, last.mime, last.body,
        [*cookies, *last.answer_headers], first.kind, first.began, last.ended,
    )  # fmt: skip


def har_draft(data: object, *, host: str | None = None, static: bool = False) -> Draft:
    """The journey of a parsed HAR. Raises :class:`BadImport` when nothing is left of it."""
    with readable("a HAR"):
        return _draft(data, host, static)


def _draft(data: object, host: str | None, static: bool) -> Draft:
    left_out = LeftOut()
    entries = _entries(data, left_out)
    if not entries:
        raise BadImport("the HAR has no requests")
    site = host or _host(entries)
    kept = _kept(entries, site, static, left_out)
    if not kept:
        raise BadImport(f"the HAR has no requests to {site}: {'; '.join(left_out.lines())}")
    values = Values()
    steps = [_step(number, entry, values) for number, entry in enumerate(kept, 1)]
    _think(kept, steps)
    for step, extracts in zip(steps, values.extracts(), strict=True):
        if extracts:
            step["extract"] = extracts
    scheme = kept[0].url.scheme
    notes = [f"{len(kept)} requests to {scheme}://{site}", *values.notes, *left_out.lines()]
    if not any(entry.body for entry in kept):
        notes.append("the HAR holds no answers' bodies: ids and tokens are as recorded")
    return Draft({"journey": [{"name": "recorded", "step": steps}]}, tuple(notes))


def _step(number: int, entry: Entry, values: Values) -> dict[str, Any]:
    values.begin(number)
    step: dict[str, Any] = {entry.method.lower(): values.target(entry.target)}
    step["name"] = f"{entry.method} {template(entry.target)}"
    headers = values.headers({k: v for k, v in entry.headers.items() if k in HEADERS_KEPT
                              or "csrf" in k or "xsrf" in k or k == "authorization"})  # fmt: skip
    payload = _payload(entry, values, headers)
    step |= payload
    if "body" in payload:
        headers.setdefault("content-type", str(entry.post.get("mimeType") or "text/plain"))
    else:
        headers.pop("content-type", None)
    if not headers.get("accept", "application/").startswith("application/"):
        del headers["accept"]
    if headers:
        step["headers"] = headers
    if entry.status >= 400:
        step["expect"] = [entry.status]
        values.notes.append(f"step {number}: answered {entry.status}, so that is expected")
    values.answered(entry.body, entry.mime, entry.answer_headers)
    return step


def _payload(entry: Entry, values: Values, headers: Mapping[str, str]) -> dict[str, Any]:
    """``json``, ``form`` or ``body`` of a step."""
    post = entry.post
    mime = str(post.get("mimeType") or headers.get("content-type") or "").lower()
    text = str(post.get("text") or "")
    if mime.startswith("application/x-www-form-urlencoded"):
        pairs = _pairs(post.get("params")) or parse_qsl(text, keep_blank_values=True)
        if len({name for name, _ in pairs}) == len(pairs):
            return {"form": {name: values.value(name, value) for name, value in pairs}}
    elif "json" in mime and text:
        try:
            return values.json(json.loads(text))
        except ValueError:
            values.notes.append(f"a body said to be JSON is not: {text[:40]!r}")
    elif mime.startswith("multipart/"):
        values.notes.append(f"{entry.target}: an upload (multipart) is sent as recorded")
    return {"body": values.text(text)} if text else {}


def _think(kept: Sequence[Entry], steps: Sequence[dict[str, Any]]) -> None:
    """The gap after each answer, ± 50 %, as the next person is slower or faster."""
    for i in range(len(kept) - 1):
        gap_s = min(kept[i + 1].began - kept[i].ended, THINK_S_MAX)
        if gap_s >= THINK_S_MIN:
            steps[i]["think_s"] = [round(gap_s * 0.5, 2), round(gap_s * 1.5, 2)]


def from_har(path: Path, *, host: str | None = None, static: bool = False) -> Draft:
    """Read a HAR file. Raises :class:`BadImport`."""
    try:
        data = json.loads(read_text(path))
    except ValueError as error:
        raise BadImport(f"{path}: {error}") from error
    return har_draft(data, host=host, static=static)

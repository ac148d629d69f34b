"""Looks, once, at all that a watch would look at, and says what it lacks. Changes nothing."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import psycopg
from psycopg.rows import dict_row

from premortem.app.assemble import dsn_address, url_address
from premortem.app.doctor_findings import Finding, SiteFacts, database, host, site, sql_text
from premortem.app.here import has_address, pids_of
from premortem.sources._contract import say
from premortem.sources._pg_sql import OLDEST, query

__all__ = ["Checkup", "Patient", "examine"]

WITHIN_S = 5.0
"""For each question; a person waits."""
BODY_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class Patient:
    """What to look at; each may be missing."""

    url: str | None = None
    dsn: str | None = field(default=None, repr=False)
    guard_url: str | None = None
    guard_token: str = field(default="", repr=False)
    web_process: str | None = None


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found, and what could not be reached at all."""

    findings: tuple[Finding, ...]
    unreachable: tuple[str, ...]

    @property
    def lacks(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if not f.there)

    @property
    def sql(self) -> str:
        """The orders that would mend the database's part."""
        return sql_text(self.findings)


def examine(patient: Patient) -> Checkup:
    """Look at the site, its database and this machine. Takes some seconds at most."""
    found: list[Finding] = []
    unreachable: list[str] = []
    if patient.url is not None:
        facts = _site_facts(patient)
        if facts.error:
            unreachable.append(f"site {_place(patient.url)}: {facts.error}")
        else:
            found += site(facts)
    if patient.dsn is not None:
        seen = _database_facts(patient.dsn)
        if isinstance(seen, str):
            unreachable.append(f"database: {seen}")
        else:
            row, ahead_s = seen
            found += database(row, ahead_s)
    found += _here(patient)
    return Checkup(tuple(found), tuple(unreachable))


def _database_facts(dsn: str) -> tuple[Mapping[str, Any], float] | str:
    """The server's own word and its clock before ours, or what stands in the way."""
    try:
        with psycopg.connect(
            dsn,
            autocommit=True,
            row_factory=dict_row,
            application_name="premortem",
            connect_timeout=int(WITHIN_S),
            options="-c statement_timeout=5s",
        ) as connection:
            before = time.time()
            row = connection.execute(query("doctor", OLDEST)).fetchone()
            ours = (before + time.time()) / 2
    except (psycopg.Error, OSError) as problem:
        return say(problem).rpartition("failed: ")[2]
    if row is None:
        return "no answer"
    return row, float(row["clock"]) - ours


# -- the site


def _site_facts(patient: Patient) -> SiteFacts:
    assert patient.url is not None
    guard = (patient.guard_url or patient.url).rstrip("/")
    token = {"X-Premortem-Token": patient.guard_token} if patient.guard_token else {}
    try:
        page = _ask(patient.url, {})
    except (OSError, http.client.HTTPException, ValueError) as problem:
        return SiteFacts(0, 0, 0, bool(token), error=say(problem))
    parts = urlsplit(guard)
    base = f"{parts.scheme}://{parts.netloc}/-/premortem"
    status, settings = (_guard_status(f"{base}/{name}", token) for name in ("status", "settings"))
    return SiteFacts(page.status, status, settings, bool(token), page.ahead_s)


def _guard_status(url: str, headers: Mapping[str, str]) -> int:
    """What the guard answers: its figures or its refusals, which are JSON; 0 for any other page."""
    try:
        answer = _ask(url, headers)
        return answer.status if isinstance(json.loads(answer.body), dict) else 0
    except (OSError, http.client.HTTPException, ValueError):
        return 0


@dataclass(frozen=True, slots=True)
class Answer:
    """To one GET; ``ahead_s`` is how far the server's clock is before ours, if it says."""

    status: int
    body: bytes
    ahead_s: float | None


def _ask(url: str, headers: Mapping[str, str]) -> Answer:
    parts = urlsplit(url)
    connection = _connection(parts)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        before = time.time()
        connection.request("GET", path, headers={"User-Agent": "premortem", **headers})
        answer = connection.getresponse()
        ours = (before + time.time()) / 2
        body, date = answer.read(BODY_BYTES_MAX), answer.getheader("Date")
    finally:
        connection.close()
    ahead_s = None if date is None else parsedate_to_datetime(date).timestamp() + 0.5 - ours
    return Answer(answer.status, body, ahead_s)


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=WITHIN_S)


# -- this machine


def _here(patient: Patient) -> list[Finding]:
    web, base = url_address(patient.url), dsn_address(patient.dsn)
    remote = []
    if web is not None and not has_address(web[0]):
        remote.append("the site")
    if base is not None and not has_address(base[0]):
        remote.append("the database")
    name = patient.web_process
    return host(
        linux=sys.platform.startswith("linux"),
        pressure=Path("/proc/pressure/cpu").exists(),
        remote=tuple(remote),
        process=name if name is not None and not pids_of(name)() else None,
    )


def _place(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]

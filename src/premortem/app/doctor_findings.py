"""What a watch lacks, why that matters, and the mend: facts in, findings out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Finding", "SiteFacts", "database", "host", "site", "sql_text"]

OLDEST = 13
"""The oldest PostgreSQL that premortem looks at."""
SKEW_MAX_S = 1.0
"""Readings of two machines are put in order by their times, a tick apart."""
SKEW_HTTP_MAX_S = 2.0
"""A ``Date`` header is cut to whole seconds."""
RESERVED = 2
"""One slot for the monitor, one for the person who comes to help."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    there: bool
    text: str
    """What was found; for a lack also what stays unseen without it."""
    mend: str = ""
    sql: tuple[str, ...] = ()
    """What an administrator of the database would run."""


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What the site answered: HTTP statuses (0 for no answer) and its clock's lead in seconds."""

    page: int
    guard_status: int
    guard_settings: int
    token_given: bool
    ahead_s: float | None = None
    error: str = ""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# -- the database


def database(row: Mapping[str, Any], ahead_s: float) -> list[Finding]:
    """Judge the row of ``doctor.13.sql``; ``ahead_s`` is the server's clock before ours."""
    return [
        _version(row),
        _role(row),
        *_statements(row),
        _flag(row, "io_timing", "track_io_timing", "I/O times cannot be told from CPU"),
        _flag(row, "activities", "track_activities", "what sessions do and wait for is unknown"),
        _reserved(row),
        _clock("database clock", ahead_s, SKEW_MAX_S, "the database server"),
    ]


def _version(row: Mapping[str, Any]) -> Finding:
    number = row["version"]
    if number >= OLDEST:
        return Finding("version", True, f"PostgreSQL {number}")
    text = f"PostgreSQL {number} is older than {OLDEST}, the oldest that is looked at"
    return Finding("version", False, text, f"upgrade to PostgreSQL {OLDEST} or later")


def _role(row: Mapping[str, Any]) -> Finding:
    role = row["role"]
    if row["superuser"]:
        text = f"role {role} is a superuser; watching needs pg_monitor only"
        order = f"CREATE ROLE monitor LOGIN PASSWORD '…'; GRANT pg_monitor TO monitor -- not {role}"
        return Finding("role", False, text, "connect as a role of its own", (order,))
    if row["monitors"]:
        return Finding("role", True, f"role {role} has pg_monitor")
    text = f"role {role} lacks pg_monitor: it sees no other's sessions, waits and queries"
    return Finding("role", False, text, "grant it", (f"GRANT pg_monitor TO {_quoted(role)}",))


def _statements(row: Mapping[str, Any]) -> Iterator[Finding]:
    loaded, made = row["statements_loaded"], row["statements_made"]
    if loaded and made:
        yield Finding("pg_stat_statements", True, "pg_stat_statements is loaded and made")
        return
    unseen = "slow queries, missing indexes and plan changes cannot be named"
    orders: list[str] = []
    if not loaded:
        others = [x.strip() for x in (row["libraries"] or "").split(",") if x.strip()]
        known = ", ".join([*others, "pg_stat_statements"])
        hint = "" if row["libraries"] is not None else " -- and those that are in it already"
        orders.append(f"ALTER SYSTEM SET shared_preload_libraries = {known}{hint}")
        orders.append("-- then restart the server")
    if not made:
        orders.append(f"CREATE EXTENSION pg_stat_statements -- in {row['database']}")
    what = "is not preloaded" if not loaded else f"is not made in database {row['database']}"
    mend = "preload it (needs a restart), then create it" if not loaded else "create it"
    yield Finding(
        "pg_stat_statements", False, f"pg_stat_statements {what}: {unseen}", mend, tuple(orders)
    )


def _flag(row: Mapping[str, Any], column: str, setting: str, unseen: str) -> Finding:
    if row[column]:
        return Finding(setting, True, f"{setting} is on")
    orders = (f"ALTER SYSTEM SET {setting} = on", "SELECT pg_reload_conf()")
    return Finding(setting, False, f"{setting} is off: {unseen}", "switch it on", orders)


def _reserved(row: Mapping[str, Any]) -> Finding:
    """Whether the monitor still gets in when the site has taken every ordinary slot."""
    name = "reserved connection"
    unseen = "a watch that starts when all slots are taken is refused"
    if row["version"] < 16:
        text = "PostgreSQL before 16 keeps no slots for monitors; a watch that is running stays in"
        return Finding(name, True, text)
    if row["reserved"] and (row["uses_reserved"] or row["superuser"]):
        return Finding(name, True, f"{row['reserved']} slots are kept for monitors, and used")
    orders: list[str] = []
    if not row["reserved"]:
        orders.append(f"ALTER SYSTEM SET reserved_connections = {RESERVED}")
        orders.append("-- then restart the server")
    if not row["uses_reserved"]:
        orders.append(f"GRANT pg_use_reserved_connections TO {_quoted(row['role'])}")
    what = "no slot is kept for monitors" if not row["reserved"] else "the role may not use them"
    return Finding(name, False, f"{what}: {unseen}", "reserve some and grant them", tuple(orders))


def _clock(name: str, ahead_s: float, limit_s: float, whose: str) -> Finding:
    if abs(ahead_s) <= limit_s:
        return Finding(name, True, f"the clocks agree within {limit_s:g} s")
    text = f"the clock of {whose} is {abs(ahead_s):.1f} s {'ahead' if ahead_s > 0 else 'behind'}"
    return Finding(name, False, f"{text}: events get a wrong order", "run NTP on both machines")


# -- the site


def site(facts: SiteFacts) -> list[Finding]:
    """Judge what the site and its guard answered."""
    found = [
        Finding("page", facts.page < 400, f"the page answers {facts.page}")
        if facts.page < 400
        else Finding(
            "page",
            False,
            f"the page answers {facts.page}: a probe of it counts every visit as failed",
            "give a page that answers 2xx or 3xx and needs the database",
        ),
        _guard(facts),
    ]
    if facts.ahead_s is not None:
        found.append(_clock("site clock", facts.ahead_s, SKEW_HTTP_MAX_S, "the site"))
    return found


def _guard(facts: SiteFacts) -> Finding:
    """404 to both questions is a site without a guard; 403 to ``settings`` a wrong token."""
    if facts.guard_settings == 403 and facts.token_given:
        mend = "put the guard's token into token_file"
        return Finding("guard", False, "the guard refuses the token: it is another's", mend)
    if facts.guard_status == 200:
        token = (
            "" if facts.guard_settings == 405 else "; without its token it cannot be told to shed"
        )
        return Finding("guard", True, f"the guard answers{token}")
    if facts.guard_settings == 403:
        mend = "give --guard-token-file: from another machine the guard wants its token"
        return Finding("guard", False, "there is a guard, but it does not talk to us", mend)
    text = "no guard in the site: its queue, pool and refusals are unseen, and nobody can shed"
    return Finding("guard", False, text, "wrap the site with premortem.guard (docs/guard.md)")


# -- this machine


def host(
    *, linux: bool, pressure: bool, remote: tuple[str, ...], process: str | None
) -> list[Finding]:
    """Judge what this machine tells: ``remote`` names what of the site is elsewhere, ``process``
    the configured web process that does not run here."""
    found: list[Finding] = []
    if not linux:
        text = "not Linux: retransmits, accept queues and CPU by tier are unseen"
        found.append(Finding("kernel counters", False, text, "watch from a Linux machine"))
    elif not pressure:
        text = "no /proc/pressure: starvation of CPU, disk and memory is not measured"
        mend = "boot with psi=1 (kernel 4.20 and later)"
        found.append(Finding("pressure (PSI)", False, text, mend))
    else:
        found.append(Finding("pressure (PSI)", True, "/proc/pressure is there"))
    if remote:
        where = " and ".join(remote)
        text = f"{where} is on another machine: its CPU, disk and pressure are unseen from here"
        mend = "scrape its node_exporter ([[site.NAME.prometheus]]), or watch from there too"
        found.append(Finding("host metrics", False, text, mend))
    else:
        found.append(Finding("host metrics", True, "what is watched is on this machine"))
    if process is not None:
        text = f"no process is called {process}: the web tier's CPU is unseen"
        mend = "set web_process to the name that ps shows"
        found.append(Finding("web process", False, text, mend))
    return found


def sql_text(findings: Iterable[Finding]) -> str:
    """All the SQL that would mend, in order, each line once."""
    lines = dict.fromkeys(order for f in findings for order in f.sql)
    return "\n".join(_ended(line) for line in lines)


def _ended(line: str) -> str:
    """With its semicolon, before a comment."""
    order, dashes, comment = line.partition("--")
    if not order.strip():
        return line
    return f"{order.rstrip()};" + (f" {dashes}{comment}" if dashes else "")

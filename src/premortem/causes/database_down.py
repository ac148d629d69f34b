"""The database does not answer: down, frozen or not yet up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import pressure
from premortem.causes._verdict import failed, num, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "DatabaseDown"]

_WORDS = (
    ("57P03", "it is starting or recovering (57P03)"),
    ("no reply to SSLRequest", "it takes connections and does not reply: frozen"),
    ("refused", "connections are refused: the server is down"),
    ("connect timeout", "connects time out: frozen, or the host is unreachable"),
    ("timed out", "it does not reply in time"),
)


@dataclass(frozen=True, slots=True)
class DatabaseDown:
    """No session of the database can work.

    Shows: errors everywhere at once. Refused: the server is down. No reply to SSLRequest: it is
    frozen (stopped, or its disk hangs). 57P03: it starts or recovers.
    Ruled out by: a database that answers.
    First help: fail over to the replica; else start it, or wait for the end of recovery.
    Not this: 53300. That server lives, its slots are taken. A frozen server with a full accept
    queue looks exactly like packet loss: look at the host before the network.
    """

    failures_min: int = 2
    """One look without a reply may be a slow moment."""
    over_s: float = 12.0
    """The probe ladder climbs every 5 to 10 s."""

    fresh_s: float = 1.5
    """Beside failures only an answer from this very look proves that it answers."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("failover",)
    deciding: ClassVar[tuple[str, ...]] = ("db.up",)
    check: ClassVar[str] = "a raw connect to the database's port, then SSLRequest, then startup"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        failures = self._failures(history)
        up = history.value("db.up", max_age_s=self.fresh_s if failures else 5.0)
        if up is not None and up >= 0.5:
            answers = Evidence("db.up", up, 0.5, history.now, "the database answers")
            return verdict(self, "ruled_out", "the database answers.", answers, check=self.check)
        count = sum(n for _, n in failures)
        why = failures[0][0] if failures else "it does not answer"
        down = self._down(history)
        if up is None and count < self.failures_min:
            return verdict(
                self, "cannot_exclude", "whether the database answers is not measured.",
                check=self.check,
            )  # fmt: skip
        load = pressure(history)
        inside = history.value("db.wait.cpu", max_age_s=3.0)
        if load.saturated and inside is not None and not self._told(history):
            because = f"newcomers get no answer ({why}), but {load.words}: it is drowned, not down."
            return verdict(self, "suspected", because, load.evidence, check=self.check)
        sure = down or count >= self.failures_min
        note = f"the database does not answer: {why}"
        seen = Evidence("db.up", up or 0.0, 0.5, self._since(history), note)
        return verdict(
            self, "confirmed" if sure else "suspected", f"{note} ({num(count)} failures).",
            seen, check=self.check, strength=0.95,  # a failover under way explains more
        )  # fmt: skip

    def _failures(self, history: History) -> list[tuple[str, int]]:
        found = [(words, failed(history, "postgres", text, self.over_s)) for text, words in _WORDS]
        return [(words, n) for words, n in found if n]

    def _told(self, history: History) -> bool:
        """Whether the server itself, or its host, said that it is down or not yet up."""
        told = failed(history, "postgres", "57P03", self.over_s)
        told += failed(history, "tcp", "database: connect refused", self.over_s)
        return told >= self.failures_min

    def _down(self, history: History) -> bool:
        values = history.window("db.up", self.over_s).values[-2:]
        return len(values) == 2 and max(values) < 0.5

    def _since(self, history: History) -> float:
        since = history.since("db.up", below=0.5)
        return history.now if since is None else since


FIRES = (
    Example("the server is gone", SITE, {"db.up": 0, "user.http.ok_ratio": 0.1},
            errors=(("postgres", "refused"),), gone=("db.wait", "db.sessions", "db.connections")),
    Example("the postmaster is stopped", OPEN_SITE, {"db.up": 0, "user.http.ok_ratio": 0.1},
            errors=(("postgres", "ssl: no reply to SSLRequest within 2 s"),),
            gone=("db.wait", "db.sessions", "db.connections", "db.transactions")),
    Example("it recovers after a crash", SITE, {"user.http.ok_ratio": 0.1},
            errors=(("postgres", "startup: 57P03 starting up"),), gone=("db.",)),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("the seeds' surge: it answers, slowly", OPEN_SITE, SURGE_OPEN),
    Example("a surge on a guarded site", SITE, SURGE_PROTECTED),
)
NEAR_MISS = (
    Example("drowned: newcomers wait in vain, sessions that are in do work", OPEN_SITE, {
        **SURGE_OPEN, "db.up": 0,
    }, errors=(("postgres", "no reply to SSLRequest within 2 s"),)),
    Example("slots are taken, the server lives", OPEN_SITE, {
        "db.connections.used": 97, "user.http.ok_ratio": 0.2,
    }, errors=(("postgres", "53300 too many connections"),)),
)  # fmt: skip

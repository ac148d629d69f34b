"""The rule, pure: what a replica says of itself and what the reader asks decide where to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "PROBE",
    "TOKEN",
    "UNKNOWN",
    "Choice",
    "Replica",
    "Token",
    "choose",
    "parse_lsn",
    "read_probe",
]

Choice = Literal["replica", "wait", "primary"]

_COMMIT_AGE = "extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())"
_MESSAGE_AGE = (
    "(SELECT extract(epoch FROM clock_timestamp() - last_msg_receipt_time) "
    "FROM pg_stat_wal_receiver)"
)
PROBE = (
    "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()::text, "
    "CASE WHEN NOT pg_is_in_recovery() THEN 0 "
    "WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() "
    f"THEN least({_COMMIT_AGE}, {_MESSAGE_AGE}) ELSE {_COMMIT_AGE} END::float8"
)
"""A replica that replayed all it received is as fresh as the primary's last message (which comes
with every write, and every wal_sender_timeout / 2 without any). To see that age the role needs
``pg_read_all_stats``; without it the last replayed commit's age counts, which is never too low, so
that on a quiet site reads merely go to the primary."""

TOKEN = "SELECT pg_current_wal_insert_lsn()::text"
"""Asked on the primary after a commit."""


@dataclass(frozen=True, slots=True, order=True)
class Token:
    """A position in the primary's log: whoever has it has seen everything before it."""

    lsn: int = 0

    def __str__(self) -> str:
        return f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"


UNKNOWN = Token(2**64 - 1)
"""After a write whose position could not be asked: no replica can be known to have it."""


def parse_lsn(text: str) -> Token:
    """``16/B374D848`` as a token. Raises ``ValueError`` for anything else.

    >>> str(parse_lsn("16/B374D848"))
    '16/B374D848'
    >>> parse_lsn("1/0") > parse_lsn("0/FFFFFFFF")
    True
    """
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} is not a log position like 16/B374D848")
    return Token((int(high, 16) << 32) + int(low, 16))


@dataclass(frozen=True, slots=True)
class Replica:
    """What a server said of itself."""

    replica: bool
    replayed: Token = Token()
    stale_s: float | None = None
    """``None``: it has replayed nothing yet and cannot know."""


def read_probe(row: tuple[object, ...] | None) -> Replica | None:
    """The answer to ``PROBE``; ``None`` when there is none."""
    if row is None:
        return None
    recovering, replayed, stale_s = row
    return Replica(
        bool(recovering),
        parse_lsn(str(replayed)) if replayed else Token(),
        None if stale_s is None else float(str(stale_s)),
    )


def choose(
    seen: Replica | None,
    *,
    stale_s_max: float,
    after: Token = Token(),
    waited_s: float,
    wait_s: float,
) -> Choice:
    """Where to read now.

    >>> fresh = Replica(True, Token(100), 0.0)
    >>> choose(fresh, stale_s_max=1, after=Token(90), waited_s=0, wait_s=0.1)
    'replica'
    >>> choose(fresh, stale_s_max=1, after=Token(110), waited_s=0, wait_s=0.1)
    'wait'
    >>> choose(fresh, stale_s_max=1, after=Token(110), waited_s=0.1, wait_s=0.1)
    'primary'
    >>> choose(None, stale_s_max=1, waited_s=0, wait_s=0.1)
    'primary'
    """
    if seen is None or stale_s_max <= 0 or after == UNKNOWN:
        return "primary"
    if not seen.replica:
        return "replica"  # it was promoted: it is as fresh as can be
    if seen.stale_s is None or seen.stale_s > stale_s_max:
        return "primary"
    if seen.replayed >= after:
        return "replica"
    return "wait" if waited_s < wait_s else "primary"

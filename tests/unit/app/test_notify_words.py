"""The page is the ledger in five lines."""

from premortem.app.notify import Notice, Step
from premortem.app.notify_words import LINE_MAX, body, title
from premortem.model import Diagnosis, Signal, Verdict

LEDGER = (
    Verdict("network_loss", "network", "ruled_out", "no segment was lost"),
    Verdict("web_cpu", "web", "ruled_out", "web processes are idle"),
    Verdict("workers_starved", "web", "suspected", "requests queue"),
    Verdict("slow_query", "database", "ruled_out", "statements are as fast as ever"),
    Verdict("db_io", "database", "cannot_exclude", "no I/O figures", check="iostat 1"),
    Verdict(
        "connection_exhaustion", "database", "confirmed", "95 of 97 slots are taken\nby the shop",
        check="pg_stat_activity",
    ),
)  # fmt: skip
HELD = Diagnosis(100.0, LEDGER, (), "connection_exhaustion", "database", ("cap_pool", "shed"))


def notice(step: Step, subject: str = "connection_exhaustion", kind: str = "page") -> Notice:
    return Notice("shop", kind, subject, step, 163.0, 100.0, 0.0)  # type: ignore[arg-type]


def test_a_page_tells_what_why_what_not_what_is_open_and_what_to_do() -> None:
    assert title(notice("opened"), HELD) == "shop: connection_exhaustion (database)"
    assert body(notice("opened"), HELD).splitlines() == [
        "connection_exhaustion holds at shop since 00:01:40 UTC (1 min 3 s)",
        "why: 95 of 97 slots are taken by the shop",
        "not: the network, slow_query, web_cpu",
        "open: perhaps workers_starved; not excluded db_io",
        "do: cap_pool, then shed (docs/causes.md, connection_exhaustion)",
    ]


def test_the_all_clear_tells_how_long_it_was() -> None:
    calm = Diagnosis(163.0, LEDGER[:4])
    lines = body(notice("resolved"), calm).splitlines()
    assert title(notice("resolved"), calm) == "shop: connection_exhaustion is over"
    assert lines[0] == "connection_exhaustion is over at shop: since 00:01:40 UTC, 1 min 3 s in all"
    assert lines[1] == "why: nothing holds any more"
    assert len(lines) == 5


def test_other_steps_are_told_apart() -> None:
    assert title(notice("flapping"), HELD).endswith("comes and goes")
    assert title(notice("again"), HELD).endswith("still holds")


def test_a_warning_names_the_metric_its_limit_and_the_check() -> None:
    signal = Signal("runway", "db.connections.used", 80.0, 97.0, 90.0, runway_s=90.0)
    running_out = Diagnosis(100.0, LEDGER[:2], (signal,))
    lines = body(notice("opened", "db.connections.used", "warning"), running_out).splitlines()
    assert lines[1] == "why: db.connections.used is 80, its limit 97, reached in 1 min 30 s"
    suspicion = notice("opened", "db_io", "warning")
    assert title(suspicion, HELD) == "shop: db_io (database) may come"
    assert body(suspicion, HELD).splitlines()[4] == "do: check iostat 1"


def test_always_five_lines_none_too_long() -> None:
    long = Verdict("x", "web", "confirmed", "very\nlong " * 200, check="look " * 200)
    many = tuple(Verdict(f"cause_{n}", "web", "cannot_exclude", "?") for n in range(80))
    lines = body(notice("opened", "x"), Diagnosis(1.0, (long, *many), (), "x", "web")).split("\n")
    assert len(lines) == 5
    assert max(map(len, lines)) <= LINE_MAX
    assert len(body(notice("opened", "gone"), Diagnosis(1.0, ())).split("\n")) == 5

"""The settings a plan ends in: for the guard, the pools, PgBouncer and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

from premortem.capacity.plan import Plan
from premortem.capacity.site import Site, capacity, knee_sessions

__all__ = ["chosen_site", "settings"]

QUEUE_PER_SESSION = 4
"""Clients PgBouncer lets wait for each connection: with the knee's response time below a quarter
of a client's patience the last of them is still served in time."""


def chosen_site(plan: Plan) -> Site:
    """The site with the plan's choice taken, held at its knee."""
    site = plan.site
    if plan.choice:
        site = replace(site, **dict(plan.choice.option.changes))  # type: ignore[arg-type]
    return replace(
        site, in_flight_max=min(site.in_flight_max or knee_sessions(site), knee_sessions(site))
    )


def settings(site: Site) -> dict[str, str]:
    """File (or place) → text, for a site that is to be held at its knee.

    The guard lets in what the knee bears; the pools hold as many, spread over the processes, at
    least one each; PgBouncer keeps the total when the pools cannot; max_connections is what the
    pools may open plus what is reserved.
    """
    knee = min(site.in_flight_max or knee_sessions(site), knee_sessions(site))
    processes = site.web_servers * site.web_processes
    pool = max(1, knee // processes)
    opened = pool * processes
    held = capacity(replace(site, in_flight_max=knee))
    wait = f"; at {held.best_per_s:.4g} requests/s at most" if held.best_per_s else ""
    told = f"Settings(cap={knee}, processes={processes})"
    out = {
        "guard": f"Guard(app, {told})  # requests in flight{wait}\n",
        "pool": f"pool_size = {pool}  # each of {processes} processes, {opened} in all\n",
    }
    if opened > knee or site.pgbouncer_pool is not None:
        clients = max(opened, knee * QUEUE_PER_SESSION)
        out["pgbouncer.ini"] = (
            "[pgbouncer]\npool_mode = transaction\n"
            f"default_pool_size = {knee}\nmax_db_connections = {knee}\n"
            f"max_client_conn = {clients}\n"
        )
    server = min(opened, knee) if "pgbouncer.ini" in out else opened
    needed = server + site.reserved_connections
    if needed > site.max_connections:
        out["postgresql.conf"] = f"max_connections = {needed}  # restart needed\n"
    return out

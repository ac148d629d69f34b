"""Snippets that make a load test regular. Pure: words in, text out."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

__all__ = ["snippet"]

NAME = re.compile(r"[A-Za-z0-9_.-]+")

CRON = """\
# min hour day month weekday: the load test of {site}; crontab -e takes this line
{minute} {hour} * * {weekday}  cd {folder} && {command}
"""
SYSTEMD = """\
# /etc/systemd/system/premortem-load-{site}.service
[Unit]
Description=Load test of {site}
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={folder}
ExecStart={command}

# /etc/systemd/system/premortem-load-{site}.timer
[Unit]
Description=When the load test of {site} runs

[Timer]
OnCalendar={calendar} {hour:02d}:{minute:02d}
Persistent=true

[Install]
WantedBy=timers.target

# then: systemctl enable --now premortem-load-{site}.timer
"""
GITHUB = """\
# .github/workflows/load-{site}.yml: the runner must reach the site, and the site must be yours
name: load test of {site}
on:
  schedule:
    - cron: "{minute} {hour} * * {weekday}"
  workflow_dispatch:
jobs:
  load:
    runs-on: self-hosted
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@v4
      - uses: actions/cache@v4
        with:
          path: premortem.db
          key: premortem-{site}-${{{{ github.run_id }}}}
          restore-keys: premortem-{site}-
      - run: pip install "premortem[load]"
      - run: {command} --release ${{{{ github.sha }}}} --report load.html
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: load
          path: load.html
"""


def snippet(
    kind: str,
    *,
    site: str,
    config: Path,
    test: str,
    at: str,
    on: str,
    program: str = "premortem",
    i_own_this: bool = False,
) -> str:
    """The text for ``cron``, ``systemd`` or ``github-actions``. Raises ``ValueError`` with one line
    for a time that is none or a name that would need quoting. ``program`` is premortem's full path
    where the snippet stays on this machine: cron and systemd have a ``PATH`` of their own.

    >>> print(snippet("cron", site="shop", config=Path("/srv/premortem.toml"), test="search",
    ...               at="04:10", on="weekly").splitlines()[1])
    10 4 * * 1  cd /srv && premortem load search --site shop --config /srv/premortem.toml
    """
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", at, re.ASCII)
    if found is None or int(found[1]) > 23 or int(found[2]) > 59:
        raise ValueError(f"--at {at}: write it as HH:MM, such as 04:10")
    if NAME.fullmatch(site) is None:
        raise ValueError(f"--site {site}: letters, digits, dots, dashes and underscores only")
    named = str(config) if kind != "github-actions" else config.name
    command = shlex.join([program, "load", test, "--site", site, "--config", named])
    command += " --i-own-this" if i_own_this else ""
    return {"cron": CRON, "systemd": SYSTEMD, "github-actions": GITHUB}[kind].format(
        site=site,
        folder=shlex.quote(str(config.parent)) if kind == "cron" else config.parent,
        command=command,
        hour=int(found[1]),
        minute=int(found[2]),
        weekday="*" if on == "daily" else "1",
        calendar="*-*-*" if on == "daily" else "Mon",
    )

"""``premortem load export``: a journey for k6 or Locust, to run on their distributed modes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from premortem.app.commands._base import FINE, Usage
from premortem.app.commands._load import one_line

if TYPE_CHECKING:
    from premortem.load.pace import Pacer
    from premortem.load.steps import Sheet

__all__ = ["app"]

Write = Annotated[Path | None, Parameter(name="--write")]
RATE_PER_S, SECONDS = 10.0, 30.0
"""As premortem load run, where neither the flags nor the journey say otherwise."""
app = App(
    name="export",
    help="""Write a journey (TOML) as a k6 script or a locustfile.

Example: premortem load export k6 journey.toml --base-url https://staging.example --write load.js
""",
)


@app.command(name="k6")
def k6(journey: Path, /, *, base_url: str, pace: str | None = None, write: Write = None) -> int:
    """A k6 script: users arrive at the pace, whatever the site does.

    Example: premortem load export k6 journey.toml --base-url http://127.0.0.1:8000 --write load.js

    Parameters
    ----------
    journey
        The TOML file.
    base_url
        Address of the site; BASE_URL in the environment overrides it.
    pace
        As load run takes it: "ramp 10..200 60s; constant 200 2m". By default the journey's own.
    write
        File to write; printed without it.
    """
    from premortem.load.export.k6 import to_k6  # noqa: PLC0415 - keeps --help fast

    with one_line():
        sheet = _sheet(journey, base_url)
        return _done(to_k6(sheet, base_url, _pace(pace, sheet)), write)


@app.command(name="locust")
def locust(journey: Path, /, *, base_url: str, write: Write = None) -> int:
    """A locustfile: users come back as long as the test lasts, so it keeps no pace.

    Example: premortem load export locust journey.toml --base-url http://127.0.0.1:8000

    Parameters
    ----------
    journey
        The TOML file.
    base_url
        Address of the site; BASE_URL in the environment overrides it.
    write
        File to write; printed without it.
    """
    from premortem.load.export.locust import to_locust  # noqa: PLC0415

    with one_line():
        return _done(to_locust(_sheet(journey, base_url), base_url), write)


def _sheet(journey: Path, base_url: str) -> Sheet:
    from premortem.load.declared import read_sheet  # noqa: PLC0415

    if not base_url.startswith(("http://", "https://")):
        raise Usage(f"--base-url {base_url}: must start with http:// or https://")
    return read_sheet(journey)


def _pace(words: str | None, sheet: Sheet) -> Pacer:
    from premortem.app.load_words import pace_from_words  # noqa: PLC0415
    from premortem.load.pace import Constant, pace_from  # noqa: PLC0415

    if words is not None:
        return pace_from_words(words)
    return pace_from(sheet.pace) if sheet.pace else Constant(RATE_PER_S, SECONDS)


def _done(text: str, write: Path | None) -> int:
    if write is None:
        print(text, end="")
        return FINE
    try:
        write.write_text(text, "utf-8")
    except OSError as error:
        raise Usage(f"--write {write}: {error.strerror}") from None
    print(f"wrote {write}")
    return FINE

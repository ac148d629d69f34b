"""The command line: parses, calls, and turns every expected failure into one line and a code.

Exit codes: 0 fine, 1 the thing measured failed its bar, 2 bad usage or input, 3 cannot reach what
it needs, 130 interrupted.
"""

from __future__ import annotations

import os
import sys

from cyclopts import App, CycloptsError

from premortem import __version__
from premortem.app.commands._base import BAD_INPUT, CANNOT_REACH, FINE, INTERRUPTED, Usage
from premortem.app.commands.diagnose import diagnose
from premortem.app.commands.doctor import doctor
from premortem.app.commands.drill import app as drill
from premortem.app.commands.load import app as load
from premortem.app.commands.watch import watch
from premortem.app.plan import BadPlan, plan

__all__ = ["app", "main"]

app = App(
    name="premortem",
    help="Read the postmortem before the outage.",
    version=__version__,
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

# These import little: what they need to run they import when they run.
app.command(diagnose)
app.command(doctor)
app.command(drill)
app.command(load)
app.command(plan)
app.command(watch)
# Imported when it is asked for.
app.command(
    "premortem.cluster.cli:app",
    name="cluster",
    help="A database cluster: no single point of failure.",
)


@app.command
def version() -> int:
    """Print the version.

    Example: premortem version
    """
    print(__version__)
    return FINE


def main(argv: list[str] | None = None) -> None:
    """Entry point of the ``premortem`` command."""
    sys.exit(_guarded(sys.argv[1:] if argv is None else argv))


def _guarded(argv: list[str]) -> int:
    try:
        code = app(argv, exit_on_error=False, print_error=False)
    except KeyboardInterrupt:
        return _say("interrupted; every server was stopped", INTERRUPTED)
    except CycloptsError as error:
        return _say(f"{' '.join(str(error).split())} (see premortem --help)", BAD_INPUT)
    except (Usage, BadPlan) as error:
        return _say(str(error), BAD_INPUT)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - whoever read us has gone
        return FINE
    except (RuntimeError, ExceptionGroup) as error:
        found = _expected(error)
        if found is None:
            raise
        return _say(str(found), CANNOT_REACH)
    return code if isinstance(code, int) else FINE


def _say(line: str, code: int) -> int:
    print(f"premortem: {line}", file=sys.stderr)
    return code


def _expected(error: Exception) -> Exception | None:
    """The failure that a person can do something about, also inside a group; else ``None``."""
    from premortem.drills.calibrate import CalibrationFailed  # noqa: PLC0415
    from premortem.drills.clients import ClientsFailed  # noqa: PLC0415
    from premortem.engines.errors import EngineError  # noqa: PLC0415
    from premortem.remedies._hands import RemedyFailed  # noqa: PLC0415
    from premortem.store import StoreError  # noqa: PLC0415

    kinds = (CalibrationFailed, ClientsFailed, EngineError, RemedyFailed, StoreError)
    if isinstance(error, ExceptionGroup):
        return next((f for e in error.exceptions if (f := _expected(e)) is not None), None)
    return error if isinstance(error, kinds) else None

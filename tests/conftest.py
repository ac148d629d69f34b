"""What every test stands on."""

import signal

from hypothesis import settings

# `make test` tries the same examples each time, on a busy machine too; `make fuzz` tries new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=1000, deadline=None)
settings.load_profile("same")


def pytest_configure() -> None:
    """Interrupts are heard: a shell's "&" starts a program deaf to them, and so its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

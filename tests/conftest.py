"""What every test stands on."""

import signal


def pytest_configure() -> None:
    """Interrupts are heard: a shell's "&" starts a program deaf to them, and so its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

"""premortem: read the postmortem before the outage."""

__version__ = "0.1.0"

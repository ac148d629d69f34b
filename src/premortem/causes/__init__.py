"""The hypotheses: one file each, found by name, independent of each other.

A cause is a frozen dataclass whose fields are its thresholds, whose docstring is the runbook
people read and whose ``judge`` turns the recent past into one :class:`~premortem.model.Verdict`.
Beside it stand ``FIRES``, ``SILENT`` and ``NEAR_MISS``: the worlds it is tested with. Modules
that start with ``_`` are helpers and no causes.
"""

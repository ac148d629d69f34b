"""What turns the recent past into signals: each detector looks at one metric in one way.

A detector reads a bounded window, so that a tick costs the same after ten minutes and after ten
hours. ``_standard.py`` holds the instances premortem runs by default, with the reason for each
figure. Modules that start with ``_`` are helpers and no detectors.
"""

"""Sources see: each file reads one thing at one instant and says so as a ``Reading``.

Nothing is imported here, so that one source can be used without the libraries of the others.
"""

"""The commands, one file each; :mod:`premortem.app.cli` imports one when it is asked for."""

"""Journeys for other tools, to run on their distributed modes."""

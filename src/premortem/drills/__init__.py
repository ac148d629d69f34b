"""Rehearsals: a real site on a real database, a real surge, and what happens to the users."""

"""A game: log in, join a match, post a score, read the leaderboard."""

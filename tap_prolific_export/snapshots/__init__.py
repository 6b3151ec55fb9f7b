"""Which snapshots are due, each opened in turn, and what earlier runs delivered."""

"""Real servers, started on this machine and stopped with their owner."""

"""What happened, told from the record: events fold to an incident, a record to a postmortem."""

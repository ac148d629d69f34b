-- Counters of the current database; sessions of all databases, since they share the slots.
select /* premortem */
    xact_commit, xact_rollback, blks_hit, blks_read, tup_returned, temp_bytes, deadlocks, conflicts,
    blk_read_time,
    (select sum(sessions)::bigint from pg_stat_database) as sessions
  from pg_stat_database where datname = current_database()

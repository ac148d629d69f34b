-- Counters of the current database (how many were opened is not known before PostgreSQL 14).
select /* premortem */
    xact_commit, xact_rollback, blks_hit, blks_read, tup_returned, temp_bytes, deadlocks, conflicts,
    blk_read_time
  from pg_stat_database where datname = current_database()

-- Checkpoints by what asked for them, and how far the write-ahead log has grown.
select /* premortem */
    num_timed as timed, num_requested as requested,
    pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                         else pg_current_wal_lsn() end, '0/0')::float8 as wal_bytes
  from pg_stat_checkpointer

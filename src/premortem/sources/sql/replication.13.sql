-- Replicas of this server, or this server's own lag where it is one; and who holds back vacuum.
with here as (
    select pg_is_in_recovery() as replica,
           case when pg_is_in_recovery() then pg_last_wal_receive_lsn()
                else pg_current_wal_lsn() end as lsn
)
select /* premortem */
    (select count(*) from pg_stat_replication where state = 'streaming') as replicas,
    case when replica then pg_wal_lsn_diff(lsn, pg_last_wal_replay_lsn())
         else (select max(pg_wal_lsn_diff(lsn, replay_lsn)) from pg_stat_replication)
    end::float8 as lag_bytes,
    (select max(pg_wal_lsn_diff(lsn, flush_lsn)) from pg_stat_replication where not replica)::float8
        as shipping_lag_bytes,
    case when not replica
         then (select max(extract(epoch from coalesce(replay_lag, '0'))) from pg_stat_replication)
         when lsn = pg_last_wal_replay_lsn() then 0
         else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())
    end::float8 as lag_s,
    greatest((select max(age(backend_xmin)) from pg_stat_get_activity(null)
               where pid <> pg_backend_pid()),
             (select max(greatest(age(xmin), age(catalog_xmin))) from pg_replication_slots),
             (select max(age(transaction)) from pg_prepared_xacts)) as xmin_age
  from here

-- Who waits for a lock, and for whom: the longest waiting 100, with the sessions they wait for.
-- pg_blocking_pids takes the lock manager's locks, so this is asked only while someone waits.
with s as materialized (
    select * from pg_stat_get_activity(null) where backend_type = 'client backend'
),
w as materialized (
    select pid, pg_blocking_pids(pid) as blocked_by from s
     where wait_event_type = 'Lock' order by query_start limit 100
)
select /* premortem */
    s.pid, w.blocked_by, s.state,
    case when s.wait_event_type is null then '' else s.wait_event_type || ':' || s.wait_event end
        as wait,
    s.application_name as application, pg_get_userbyid(s.usesysid)::text as role,
    left(s.query, 500) as query,
    extract(epoch from clock_timestamp()
        - coalesce(s.xact_start, s.state_change))::float8 as age_s
  from s left join w using (pid)
 where w.pid is not null or s.pid = any (select unnest(blocked_by) from w)

-- One look at every session: counts by state and by what they wait for, and the few worth naming.
-- Walsenders and background processes take no ordinary slot and are left out; so are we, except
-- that our own connection takes a slot too.
with s as materialized (
    select pid, backend_type = 'client backend' as client, usesysid, application_name, state, query,
           coalesce(wait_event_type, '') as kind, lower(coalesce(wait_event, '')) as event,
           xact_start, query_start, state_change,
           case when wait_event_type is null then '' else wait_event_type || ':' || wait_event end
               as wait
      from pg_stat_get_activity(null)
     where backend_type in ('client backend', 'parallel worker') and pid <> pg_backend_pid()
),
named as (
    (select *, state_change as since from s where client and state = 'idle'
      order by state_change limit 10)
    union all
    (select *, state_change as since from s where client and state like 'idle in transaction%'
      order by xact_start limit 10)
    union all
    (select *, query_start as since from s where client and state = 'active'
      order by query_start limit 10)
)
select /* premortem */
    1 + count(*) filter (where client) as used,
    count(*) filter (where client and state = 'active') as active,
    count(*) filter (where client and state = 'idle') as idle,
    count(*) filter (where client and state like 'idle in transaction%') as idle_in_transaction,
    count(*) filter (where state = 'active' and kind = '') as wait_cpu,
    count(*) filter (where state = 'active' and kind = 'IO') as wait_io,
    count(*) filter (where state = 'active' and kind = 'Lock') as wait_lock,
    count(*) filter (where state = 'active' and kind = 'LWLock') as wait_lwlock,
    count(*) filter (where state = 'active' and kind = 'Client') as wait_client,
    count(*) filter (where state = 'active'
                       and kind not in ('', 'IO', 'Lock', 'LWLock', 'Client')) as wait_other,
    count(*) filter (where state = 'active' and event in
        ('walwrite', 'walsync', 'walinsert', 'walinitwrite', 'walinitsync')) as wait_wal,
    count(*) filter (where client and kind = 'Lock') as blocked,
    extract(epoch from clock_timestamp() - min(xact_start) filter (where client))::float8
        as oldest_transaction_s,
    extract(epoch from clock_timestamp() - min(state_change)
        filter (where client and state = 'idle'))::float8 as oldest_idle_s,
    extract(epoch from clock_timestamp() - min(state_change)
        filter (where client and state like 'idle in transaction%'))::float8
        as oldest_idle_in_transaction_s,
    (select coalesce(json_agg(json_build_object(
        'pid', pid, 'state', state, 'wait', wait, 'application', application_name,
        'role', pg_get_userbyid(usesysid), 'query', left(query, 500),
        'age_s', extract(epoch from clock_timestamp() - since))), '[]') from named) as rows,
    (select coalesce(json_agg(a), '[]') from (
        select application_name as application, count(*) as sessions,
               count(*) filter (where state = 'idle') as idle
          from s where client group by 1 order by 2 desc limit 5) a) as applications
  from s

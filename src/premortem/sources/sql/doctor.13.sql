-- What a watch can see of this server, and what it lacks. Settings a role may not see are null.
select /* premortem */
    current_setting('server_version_num')::int / 10000 as version,
    current_user::text as role,
    current_database()::text as database,
    (select rolsuper from pg_roles where rolname = current_user) as superuser,
    pg_has_role(current_user, 'pg_monitor', 'usage') as monitors,
    exists (select from pg_extension where extname = 'pg_stat_statements') as statements_made,
    current_setting('pg_stat_statements.max', true) is not null as statements_loaded,
    (select setting from pg_settings where name = 'shared_preload_libraries') as libraries,
    current_setting('track_io_timing')::bool as io_timing,
    current_setting('track_activities')::bool as activities,
    current_setting('max_connections')::int as connections_max,
    current_setting('superuser_reserved_connections')::int as superuser_reserved,
    coalesce(current_setting('reserved_connections', true), '0')::int as reserved,
    coalesce((select pg_has_role(current_user, oid, 'usage') from pg_roles
               where rolname = 'pg_use_reserved_connections'), false) as uses_reserved,
    extract(epoch from clock_timestamp())::float8 as clock

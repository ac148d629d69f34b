-- What does not change while a connection lives, and what the role may see.
select /* premortem */
    current_setting('server_version_num')::int as version,
    current_user::text as role,
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int as connections_max,
    pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_all,
    (select n.nspname::text from pg_extension e join pg_namespace n on n.oid = e.extnamespace
      where e.extname = 'pg_stat_statements') as statements_schema,
    current_setting('pg_stat_statements.max', true) is not null as statements_loaded

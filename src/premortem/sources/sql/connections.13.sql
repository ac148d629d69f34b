-- All that a role without pg_read_all_stats can know: how many connections there are.
select /* premortem */ coalesce(sum(numbackends), 0)::int as used from pg_stat_database

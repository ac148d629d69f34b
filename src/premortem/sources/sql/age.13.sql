-- How near transaction ids are to wrapping round, and how much of the tables is dead.
select /* premortem */
    (select max(age(datfrozenxid)) / 2147483648.0 from pg_database)::float8 as xid_age_ratio,
    (select sum(n_dead_tup) / nullif(sum(n_live_tup + n_dead_tup), 0)
       from pg_stat_user_tables)::float8 as dead_tuple_ratio

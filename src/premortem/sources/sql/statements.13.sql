-- Totals of every statement of this database, as arrays (5,000 rows by default) without the texts.
with t as (
    select queryid, sum(calls) as calls, sum(total_exec_time) as ms, sum(rows) as rows
      from {schema}.pg_stat_statements(false)
     where queryid is not null
       and dbid = (select oid from pg_database where datname = current_database())
     group by queryid order by 3 desc limit 10000
)
select /* premortem */
    coalesce(array_agg(queryid), '{{}}') as ids, coalesce(array_agg(calls::float8), '{{}}') as calls,
    coalesce(array_agg(ms::float8), '{{}}') as ms, coalesce(array_agg(rows::float8), '{{}}') as rows
  from t

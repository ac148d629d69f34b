-- The texts of a few statements, asked once each.
select /* premortem */ distinct on (queryid) queryid, left(query, 2000) as query
  from {schema}.pg_stat_statements(true) where queryid = any(%s)

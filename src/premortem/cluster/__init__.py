"""PostgreSQL without a single point of failure: the control plane around Patroni and etcd.

Replication is PostgreSQL's, consensus is etcd's, failover is Patroni's, routing is HAProxy's,
pooling is PgBouncer's. This room starts them, checks them, fences, switches over and writes
their files for other machines.
"""

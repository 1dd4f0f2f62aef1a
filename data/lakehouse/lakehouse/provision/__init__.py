"""Provisioning: what must stand in the object store and in Postgres before the first row.

Belongs here: buckets, keys and policies, roles and databases, the test of the store. Does not: tables
(store), what they mean (contracts), or handing out secrets (ops/local). Every step may run again at any time:
it makes the state what it should be, and touches no data.
"""

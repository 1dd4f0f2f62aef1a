"""Provisioning: what must stand in the object store and in Postgres before the first row.

Belongs here: buckets, keys and policies, roles and databases, the test of the store, the handing out of
secrets. Does not: tables (store), or what they mean (contracts). Every step may run again at any time: it
makes the state what it should be, and touches no data.
"""

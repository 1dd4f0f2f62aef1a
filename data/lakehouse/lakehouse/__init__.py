"""ODP's library: contracts, the persistence authority, landing, and the domains.

Belongs here: everything that is true of the data, whoever runs it.
Does not: Dagster, HTTP, Compose. Arrows run one way: domains -> engine, store -> contracts.
"""

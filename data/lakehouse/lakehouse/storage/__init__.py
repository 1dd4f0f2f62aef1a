"""The object-store layer: bytes in a folder or in an S3-compatible store.

Belongs here: listing, reading and conditionally writing objects, leases, and which places are refused.
Does not: what a table is or its log (store/), or what a landed file means (landing/).
"""

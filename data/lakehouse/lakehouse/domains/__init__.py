"""The library's own domains: one folder or file each, found by being there (registry.py).

Belongs here: nothing but the domains. Does not: finding them, or what a table is.
"""

"""Rows and the catalog over HTTP.

Belongs here: filters, formats, paging, descriptions. Does not: how a version's rows are found (reader.py).
"""

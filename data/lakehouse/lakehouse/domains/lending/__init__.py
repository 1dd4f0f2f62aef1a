"""Lending: the loans of LendingClub's public loan files.

Belongs here: the Bronze and the Silver table of loans, their source, transform and sample data.
Does not: storage, scheduling, HTTP, or what is aggregated of loans.
"""

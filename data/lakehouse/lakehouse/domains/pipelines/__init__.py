"""Workflow telemetry: execution events of workflow pipelines, and crawled social profiles.

Belongs here: the six tables of this domain, their sources, transforms and sample data.
Does not: storage, scheduling, HTTP.
"""

"""Clinical cohorts: FHIR R4 bundles and bulk NDJSON.

Belongs here: everything the platform knows of FHIR. Does not: anything of another domain.
"""

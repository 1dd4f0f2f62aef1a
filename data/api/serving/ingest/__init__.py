"""Files of other programs into landing, and what became of them.

Belongs here: `POST /ingest/{dataset}`, `GET /ingest/{tracking_id}/status`. Does not: what a file means (the
sources of the domains), or moving its rows (the pipeline).

    identity     one ingest: dataset, cohort and content; its tracking id and its name in landing
    formats      which Content-Type and Content-Encoding are taken
    receiving    the body into a file, within limits of size and time
    checking     whether landing would take it, and the first errors by line
    remembered   what each Idempotency-Key was used for
    launching    asking Dagster for runs, one for many ingests
    pace         how long past ingests took
    tracking     what the lake says of an ingest
    door         all of these together: a body becomes a file in landing
    routes       the two calls, in HTTP's words
"""

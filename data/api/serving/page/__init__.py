"""The lake as a page: for people, in a browser.

Belongs here: HTML, its style and its one script. Does not: anything that JSON cannot have as well (rows/,
ingest/, sql/).

    routes     the addresses, signing in and out
    views      what a page shows, as values
    drawing    where the bars of a chart and the boxes of a lineage stand
    snippets   code that reads a table, for programs and other tools
    render     templates, what every answer carries, errors as pages
"""

"""Whether what lies in the store is what was written there.

Belongs here: checksums, commits of other programs, damage that shows when rows are read; for every format.
Does not: judging a table as a whole (verify/).
"""

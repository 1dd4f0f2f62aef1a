"""`odp`: the library as a command line.

Belongs here: arguments, output, exit codes. Does not: work on a lake; a command calls the library for it.
"""

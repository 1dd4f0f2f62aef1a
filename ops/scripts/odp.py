#!/usr/bin/env python3
"""The one entry of the platform's verbs: `ops/scripts/odp.py VERB`. `make VERB` calls it; the work is in
odpctl/.

This file alone must run on an old Python: it only finds one that is new enough, or says which is needed.
"""

import os
import shutil
import sys

MINIMUM = (3, 11)
NEWER = ("python3.13", "python3.12", "python3.11")

if sys.version_info < MINIMUM:
    for name in NEWER:
        found = shutil.which(name)
        if found:
            os.execv(found, [found, *sys.argv])
    wanted = ".".join(map(str, MINIMUM))
    here = sys.executable + " is " + sys.version.split()[0]
    sys.exit(
        "error: Python " + wanted + " or newer is needed, and " + here + "\n  run:   apt install python3.11"
    )

if __name__ == "__main__":
    from odpctl.main import main

    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read along, such as `head`, has gone: no reason for a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)

"""`python -m lakehouse.cli` is `odp`."""

import sys

from lakehouse.cli.main import main

sys.exit(main())

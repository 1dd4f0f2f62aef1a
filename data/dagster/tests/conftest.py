"""What holds for every test here: tables of dbt are made only where a test is about them.

Belongs here: that switch. Does not: fixtures. A build takes seconds.
"""

from __future__ import annotations

import os

os.environ.setdefault("ODP_DBT_PROJECT", "off")

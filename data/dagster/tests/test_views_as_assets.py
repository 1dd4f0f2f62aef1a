"""A ViewDefinition in the folder of the clinical domain is an asset, with what follows from its contract."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lakehouse
import orchestration

VIEW = {
    "resource": "Patient",
    "name": "patient_births",
    "select": [{"column": [{"name": "born", "path": "birthDate", "type": "date"}]}],
}
_ASK = """
import json
from orchestration.definitions import defs
specs = {s.key.to_user_string(): s for s in defs.resolve_all_asset_specs()}
spec = specs["gold/patient_births"]
checks = [k.name for k in defs.resolve_asset_graph().asset_check_keys if k.asset_key == spec.key]
print(json.dumps({
    "deps": sorted(d.asset_key.to_user_string() for d in spec.deps),
    "columns": [c.name for c in spec.metadata["dagster/column_schema"].columns],
    "checks": sorted(checks),
    "manifest": sorted(d.asset_key.to_user_string() for d in specs["gold/corpus_manifest"].deps),
}))
"""


def test_a_view_is_an_asset_by_being_there(tmp_path: Path) -> None:
    package = tmp_path / "lakehouse"
    shutil.copytree(Path(lakehouse.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "domains/clinical/births.json").write_text(json.dumps(VIEW))
    paths = [str(tmp_path), str(Path(orchestration.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["deps"] == ["bronze/raw_fhir_resources", "silver/fhir_index"]
    assert told["columns"] == ["cohort", "born", "_resource_id", "_resource_row"]
    assert any("key" in name or "unique" in name for name in told["checks"]), told["checks"]
    assert "gold/patient_births" in told["manifest"]

"""A synthetic cohort: no real person, equal on every machine, with the cases that go wrong elsewhere.

Belongs here: generating bundles from a seed. Does not: landing them.

    python -m lakehouse.domains.clinical.sample --patients 1000 --out landing/clinical/synthetic

Names are letters and numbers, so that nobody mistakes them for somebody. The edge cases of every cohort: dates
of a year or a month, a conditional reference, an observation with components and a panel, a resource that comes
again in a later version.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

CLOCK = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
SEED = 11
PATIENTS = 4
COHORT = "sample"

EXPECTED: dict[str, int] = {
    "bronze/raw_fhir_resources": 50,
    "silver/patient": 4,
    "silver/encounter": 8,
    "silver/condition": 6,
    "silver/observation": 12,
    "silver/procedure": 4,
    "silver/medication_request": 4,
    "silver/immunization": 4,
    "silver/allergy_intolerance": 2,
    "silver/diagnostic_report": 2,
    "silver/imaging_study": 2,
    "silver/fhir_index": 49,
    "quarantine/observation": 0,
    "quarantine/immunization": 0,
    "gold/encounter_summary": 8,
    "gold/condition_era": 6,
    "gold/fhir_references": 18,
}
"""Rows of each table once exactly the sample has been loaded."""

_SNOMED, _LOINC, _NPI = "http://snomed.info/sct", "http://loinc.org", "http://hl7.org/fhir/sid/us-npi"
_CONDITIONS = (
    ("38341003", "Hypertension"),
    ("44054006", "Diabetes mellitus type 2"),
    ("195662009", "Acute pharyngitis"),
)


def sample_files(*, seed: int = SEED, patients: int = PATIENTS) -> dict[str, bytes]:
    """Return the sample cohort: landing name -> bytes."""
    return {f"clinical/{COHORT}/{name}": body for name, body in cohort(patients, seed=seed).items()}


def cohort(patients: int, *, seed: int = SEED, clock: datetime = CLOCK) -> dict[str, bytes]:
    """Return the files of one cohort: a bundle a patient, one of practitioners, one of a corrected resource."""
    draw = random.Random(seed)  # noqa: S311
    key = f"s{seed}"
    doctor = {
        "resourceType": "Practitioner", "id": f"{key}-doctor",
        "identifier": [{"system": _NPI, "value": f"{seed:010d}"}],
    }  # fmt: skip
    files = {"practitioners.json": _bundle("batch", [doctor])}
    for number in range(patients):
        files[f"patient-{number:05d}.json"] = _bundle("transaction", _patient(draw, key, number, seed, clock))
    again = {
        **_observation(f"{key}-0-visit0-weight", f"{key}-0", f"{key}-0-visit0", clock, 80.5),
        "meta": {"lastUpdated": "2026-01-16T00:00:00Z"},
        "status": "corrected",
    }
    files["zz-corrections.ndjson"] = orjson.dumps(again) + b"\n"
    return files


def _patient(draw: random.Random, key: str, number: int, seed: int, clock: datetime) -> list[dict[str, Any]]:
    me = f"{key}-{number}"
    born = f"{1940 + int(draw.random() * 70)}-{1 + int(draw.random() * 12):02d}-{1 + int(draw.random() * 28):02d}"
    made: list[dict[str, Any]] = [{
        "resourceType": "Patient", "id": me, "active": True,
        "name": [{"family": f"Sample{number}", "given": [f"Person{seed}"]}],
        "gender": ("female", "male")[number % 2],
        "birthDate": (born, born[:7], born[:4])[number % 3],
        "address": [{"city": f"Town {number}", "state": "XX", "country": "ZZ"}],
    }]  # fmt: skip
    for visit in range(2):
        begin = clock - timedelta(
            days=int(draw.random() * 300) + 400 * visit, minutes=int(draw.random() * 600)
        )
        made += _visit(me, f"{me}-visit{visit}", begin, seed, draw)
    code, display = _CONDITIONS[number % len(_CONDITIONS)]
    made.append({
        "resourceType": "Condition", "id": f"{me}-condition", "subject": {"reference": f"urn:uuid:{me}"},
        "encounter": {"reference": f"urn:uuid:{me}-visit1"}, "onsetDateTime": ("2019", "2019-05", "2019-05-06")[number % 3],
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "code": {"coding": [{"system": _SNOMED, "code": code, "display": display}]},
    })  # fmt: skip
    if number % 2:
        return made
    made.append({
        "resourceType": "Condition", "id": f"{me}-cold", "subject": {"reference": f"Patient/{me}"},
        "onsetDateTime": "2025-03-01", "abatementDateTime": "2025-03-09",
        "clinicalStatus": {"coding": [{"code": "resolved"}]},
        "code": {"coding": [{"system": _SNOMED, "code": "82272006", "display": "Common cold"}]},
    })  # fmt: skip
    made.append({
        "resourceType": "DiagnosticReport", "id": f"{me}-report", "status": "final",
        "subject": {"reference": f"urn:uuid:{me}"}, "encounter": {"reference": f"urn:uuid:{me}-visit0"},
        "code": {"coding": [{"system": _LOINC, "code": "51990-0", "display": "Basic metabolic panel"}]},
        "result": [{"reference": f"urn:uuid:{me}-visit0-weight"}],
    })  # fmt: skip
    made.append({
        "resourceType": "AllergyIntolerance", "id": f"{me}-allergy", "patient": {"reference": f"urn:uuid:{me}"},
        "type": "allergy", "category": ["food"], "criticality": "low", "recordedDate": "2024-11",
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "code": {"coding": [{"system": _SNOMED, "code": "91935009", "display": "Allergy to peanuts"}]},
    })  # fmt: skip
    made.append({
        "resourceType": "ImagingStudy", "id": f"{me}-imaging", "status": "available", "started": "2025-06-02T09:30:00Z",
        "subject": {"reference": f"urn:uuid:{me}"}, "encounter": {"reference": f"urn:uuid:{me}-visit0"},
        "series": [{
            "uid": f"1.2.999.{number}.1", "started": "2025-06-02T09:30:00Z",
            "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "DX"},
            "bodySite": {"system": _SNOMED, "code": "51185008", "display": "Thoracic structure"},
            "instance": [{
                "uid": f"1.2.999.{number}.1.1", "title": "Chest",
                "sopClass": {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.840.10008.5.1.4.1.1.1.1"},
            }],
        }],
    })  # fmt: skip
    return made


def _visit(me: str, visit: str, begin: datetime, seed: int, draw: random.Random) -> list[dict[str, Any]]:
    patient, here = {"reference": f"urn:uuid:{me}"}, {"reference": f"urn:uuid:{visit}"}
    doctor = {"reference": f"Practitioner?identifier={_NPI}|{seed:010d}"}
    end = begin + timedelta(minutes=15 + int(draw.random() * 45))
    made = [
        {
            "resourceType": "Encounter", "id": visit, "status": "finished", "class": {"code": "AMB"},
            "subject": patient, "participant": [{"individual": doctor}],
            "period": {"start": begin.isoformat(), "end": end.isoformat()},
        },
        _observation(f"{visit}-weight", me, visit, begin, round(50 + draw.random() * 60, 1)),
    ]  # fmt: skip
    if visit.endswith("0"):
        made += [
            {
                "resourceType": "Observation", "id": f"{visit}-pressure", "status": "final", "subject": patient,
                "encounter": here, "effectiveDateTime": begin.isoformat(),
                "code": {"coding": [{"system": _LOINC, "code": "85354-9", "display": "Blood pressure panel"}]},
                "component": [
                    {"code": {"coding": [{"code": code}]}, "valueQuantity": {"value": value, "unit": "mm[Hg]"}}
                    for code, value in (("8480-6", 100 + int(draw.random() * 60)), ("8462-4", 60 + int(draw.random() * 40)))
                ],
            },
            {
                "resourceType": "Procedure", "id": f"{visit}-check", "status": "completed", "subject": patient,
                "encounter": here, "performedDateTime": begin.isoformat(),
                "code": {"coding": [{"system": _SNOMED, "code": "185349003", "display": "Check up"}]},
            },
            {
                "resourceType": "MedicationRequest", "id": f"{visit}-order", "status": "active", "intent": "order",
                "subject": patient, "encounter": here, "authoredOn": begin.isoformat(), "requester": doctor,
                "medicationCodeableConcept": {"coding": [{"code": "860975", "display": "Metformin 500 MG"}]},
            },
            {
                "resourceType": "Immunization", "id": f"{visit}-flu", "status": "completed", "patient": patient,
                "encounter": here, "occurrenceDateTime": begin.isoformat(), "primarySource": True,
                "vaccineCode": {"coding": [{"code": "140", "display": "Influenza"}]},
            },
        ]  # fmt: skip
    return made


def _observation(id_: str, me: str, visit: str, at: datetime, kilograms: float) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "id": id_, "status": "final", "effectiveDateTime": at.isoformat(),
        "subject": {"reference": f"Patient/{me}"}, "encounter": {"reference": f"Encounter/{visit}"},
        "code": {"coding": [{"system": _LOINC, "code": "29463-7", "display": "Body weight"}]},
        "valueQuantity": {"value": kilograms, "unit": "kg", "code": "kg"},
    }  # fmt: skip


def _bundle(kind: str, resources: Sequence[dict[str, Any]]) -> bytes:
    entries = [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in resources]
    return orjson.dumps(
        {"resourceType": "Bundle", "type": kind, "entry": entries}, option=orjson.OPT_INDENT_2
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write a cohort into a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m lakehouse.domains.clinical.sample", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED, help="another seed is another cohort")
    parser.add_argument("--out", type=Path, required=True, help="folder of the cohort")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, body in cohort(options.patients, seed=options.seed).items():
        (options.out / name).write_bytes(body)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What references lead to: resources by type and id, in the cohort of who refers, then in shared cohorts.

Belongs here: resolving, and counting it. Does not: reading a reference's text (links.py).

A cohort named `reference`, or whose name ends in `-reference`, is shared: what lies there (practitioners,
organizations, medications) is found from every cohort. A resource is found in the cohort of who refers to it,
else in a shared one; under one id all shared ones mean the same resource, that of the first by name. An
identifier must be carried by one resource alone.
"""

from __future__ import annotations

import narwhals.stable.v2 as nw

from lakehouse.domains.clinical.links import ADDRESS, UNADDRESSED, URN
from lakehouse.domains.clinical.resources import LINKS
from lakehouse.engine import xp

SHARED = r"(^|-)reference$"
_CONDITIONAL = r"^([A-Z][A-Za-z]+)\?identifier=(.+)$"
_NAMED = {"patient": "Patient", "encounter": "Encounter"}
_STATED = ["cohort", "kind", "id", "ref", "kinds"]
_KEY = ["resource_type", "id"]


def resolved(frame: xp.Frame, link: str, to: tuple[str, ...], index: xp.Frame) -> xp.Frame:
    """Add `<link>_found` and `<link>_cohort`: id and cohort of what the reference leads to, or null.

    Where it leads nowhere but has an id, these are that id and the row's own cohort. `to` are the types that
    are looked for: a reference of another one leads nowhere.
    """
    stated = _stated(frame, link, to)
    given = stated.select(*(nw.col(f"__{name}").alias(name) for name in _STATED)).filter(
        ~nw.col("ref").is_null() & nw.col("kind").is_in(to).fill_null(True)
    )
    asked = xp.computed(given.unique())
    found = xp.computed(_with_keys(targets(asked, index)).select(*_KEYS, "target_id", "target_cohort"))
    own = nw.col(f"{link}_id")
    here = nw.when(~own.is_null()).then(nw.col("cohort"))
    return (
        _with_keys(stated, "__")
        .join(found, on=_KEYS, how="left")
        .with_columns(
            nw.coalesce(nw.col("target_id"), own).alias(f"{link}_found"),
            nw.when(~nw.col("target_id").is_null())
            .then(nw.col("target_cohort"))
            .otherwise(here)
            .alias(f"{link}_cohort"),
        )
        .drop(*_KEYS, *(f"__{name}" for name in _STATED), "target_id", "target_cohort")
    )


def _stated(frame: xp.Frame, link: str, to: tuple[str, ...]) -> xp.Frame:
    """Add what a reference states, as the columns `__cohort`, `__kind`, `__id`, `__ref` and `__kinds`.

    One of a type that the standard does not allow there leads nowhere: it has neither id nor text.
    """
    kind, ref = nw.col(f"{link}_type"), nw.col(f"{link}_ref")
    fits = kind.is_null() | kind.is_in(to).fill_null(False)
    other = kind != nw.lit(_NAMED.get(link, ""))  # of such a type Silver has no id
    frame = xp.extracted(frame, f"{link}_ref", URN, 1, to="__urn")
    by_text = nw.when(other if link in _NAMED else nw.lit(False)).then(nw.coalesce("__id", "__urn"))
    return (
        xp.extracted(frame, f"{link}_ref", ADDRESS, 2, to="__id")
        .with_columns(
            nw.col("cohort").alias("__cohort"),
            kind.alias("__kind"),
            nw.when(fits).then(nw.coalesce(nw.col(f"{link}_id"), by_text)).alias("__id"),
            nw.when(fits).then(ref).otherwise(nw.lit("")).alias("__ref"),
            nw.lit(",".join(to)).alias("__kinds"),
        )
        .drop("__urn")
    )


_KEYS = [f"__key_{name}" for name in _STATED]


def _with_keys(frame: xp.Frame, prefix: str = "") -> xp.Frame:
    """Add what two frames are joined by where both may state null: a text of its own for null."""
    return frame.with_columns(
        nw.concat_str(nw.lit("="), nw.col(prefix + name)).fill_null("").alias(key)
        for name, key in zip(_STATED, _KEYS, strict=True)
    )


def targets(stated: xp.Frame, index: xp.Frame) -> xp.Frame:
    """Add what each stated reference leads to: `target_id`, `target_cohort`, `how` (id, identifier …).

    `stated` has cohort, kind, id, ref, and the kinds (comma-separated) that a reference without one may mean,
    each combination once.
    """
    live = index.filter(~nw.col("is_deleted").fill_null(False))
    numbered = xp.computed(stated.with_row_index("n", order_by=_STATED))
    how: nw.Expr = nw.when(~nw.col("id_by_identifier").is_null()).then(nw.lit("identifier"))
    how = nw.when(~nw.col("id_by_id").is_null()).then(nw.lit("id")).otherwise(how)
    return (
        numbered.join(_by_id(numbered, live), on="n", how="left")
        .join(_by_identifier(numbered, live), on="n", how="left")
        .with_columns(
            nw.coalesce("id_by_id", "id_by_identifier").alias("target_id"),
            nw.coalesce("cohort_by_id", "cohort_by_identifier").alias("target_cohort"),
            nw.when(nw.col("ref").str.starts_with("#")).then(nw.lit("contained")).otherwise(how).alias("how"),
        )
        .select(*_STATED, "target_id", "target_cohort", "how")
    )


def _by_id(numbered: xp.Frame, live: xp.Frame) -> xp.Frame:
    kinds = nw.coalesce("kind", "kinds").str.split(",")
    asked = (
        numbered.filter(~nw.col("id").is_null() & ~nw.col("ref").str.contains(r"^#|\?"))
        .select("n", "cohort", "id", kinds.alias("resource_type"))
        .explode("resource_type")
    )
    own = live.select("cohort", *_KEY, nw.col("cohort").alias("own"))
    shared = live.filter(_is_shared()).group_by(_KEY).agg(nw.col("cohort").min().alias("shared"))
    return (
        asked.join(own, on=["cohort", *_KEY], how="left")
        .join(shared, on=_KEY, how="left")
        .with_columns(
            nw.when(nw.col("own").is_null()).then(nw.lit(1)).otherwise(nw.lit(0)).alias("rank"),
            nw.coalesce("own", "shared").alias("cohort_by_id"),
        )
        .filter(~nw.col("cohort_by_id").is_null())
        .unique(subset=["n"], keep="first", order_by=["rank", "resource_type"])
        .select("n", nw.col("id").alias("id_by_id"), "cohort_by_id")
    )


def _by_identifier(numbered: xp.Frame, live: xp.Frame) -> xp.Frame:
    """An identifier is `system|value`, or a value of whatever system; it may be escaped as a URL is."""
    typed = xp.extracted(numbered, "ref", _CONDITIONAL, 1, to="resource_type")
    asked = xp.extracted(typed, "ref", _CONDITIONAL, 2, to="token").filter(~nw.col("token").is_null())
    asked = xp.percent_decoded(asked.select("n", "cohort", "resource_type", "token"), "token", to="token")
    known = live.filter(~nw.col("identifiers").is_null()).join(
        asked.select("resource_type").unique(),
        on="resource_type",
        how="semi",  # mostly of none
    )
    listed = known.select("cohort", *_KEY, nw.col("identifiers").alias("token"))
    whole = listed.explode("token")
    carried = nw.concat([whole, whole.with_columns(nw.col("token").str.replace_all(r"^[^|]*\|", ""))])
    own = carried.group_by("cohort", "resource_type", "token").agg(
        nw.col("id").n_unique().alias("own_count"), nw.col("id").min().alias("own")
    )
    shared = (
        carried.filter(_is_shared())
        .group_by("resource_type", "token")
        .agg(
            nw.col("id").n_unique().alias("shared_count"),
            nw.col("id").min().alias("shared"),
            nw.col("cohort").min().alias("shared_cohort"),
        )
    )
    here = nw.col("own_count") == 1
    there = nw.col("own_count").is_null() & (nw.col("shared_count") == 1)
    return (
        asked.join(own, on=["cohort", "resource_type", "token"], how="left")
        .join(shared, on=["resource_type", "token"], how="left")
        .select(
            "n",
            _first_of(here, "own", there, "shared").alias("id_by_identifier"),
            _first_of(here, "cohort", there, "shared_cohort").alias("cohort_by_identifier"),
        )
    )


def _first_of(one: nw.Expr, column: str, two: nw.Expr, other: str) -> nw.Expr:
    return nw.when(one).then(nw.col(column)).otherwise(nw.when(two).then(nw.col(other)))


def _is_shared() -> nw.Expr:
    return nw.col("cohort").str.contains(SHARED)


def fhir_references(index: xp.Frame, *silver: xp.Frame) -> xp.Frame:
    """One row per reference of a Silver table: how many were stated, and how many lead somewhere.

    `resolved`: a resource of that type and id is there. `resolved_by_identifier`: the reference is
    conditional, and one resource of its type alone carries the identifier. `contained`: a part of its own
    resource. `dangling`: none of these.
    """
    stated = nw.concat(
        [
            _times(frame, table, link, to)
            for (table, links), frame in zip(LINKS.items(), silver, strict=True)
            for link, to in links.items()
        ]
    )
    stated = xp.computed(stated)
    found = targets(xp.computed(stated.select(*_STATED).unique()), index)
    told = _with_keys(stated).join(_with_keys(found).select(*_KEYS, "how"), on=_KEYS, how="left")
    times, how = nw.col("times"), nw.col("how")

    def counted(name: str, counts: nw.Expr) -> nw.Expr:
        return nw.when(counts).then(times).otherwise(nw.lit(0)).sum().cast(nw.Int64).alias(name)

    return told.group_by("table", "reference").agg(
        times.sum().cast(nw.Int64).alias("stated"),
        counted("resolved", how == "id"),
        counted("resolved_by_identifier", how == "identifier"),
        counted("contained", how == "contained"),
        counted("dangling", how.is_null()),
    )


def _times(frame: xp.Frame, table: str, link: str, to: tuple[str, ...]) -> xp.Frame:
    """Return what a reference of a table states, and how many times."""
    ref = nw.col(f"{link}_ref")
    stated = ~ref.is_null() & (ref != UNADDRESSED).fill_null(False)
    counted = frame.filter(stated & nw.col("kept_out_by").is_null())
    return (
        _stated(counted, link, to)
        .select(*(nw.col(f"__{name}").alias(name) for name in _STATED))
        .group_by(_STATED)
        .agg(nw.len().cast(nw.Int64).alias("times"))
        .with_columns(nw.lit(table).alias("table"), nw.lit(link).alias("reference"))
    )

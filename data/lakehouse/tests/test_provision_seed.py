"""Seeding landing: samples once, uploads as a tar, nothing replaced that is the same, nothing outside."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from lakehouse import seed
from lakehouse.landing import open_landing


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "landing"
    monkeypatch.setenv("LANDING_URL", str(folder))
    return folder


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def upload(monkeypatch: pytest.MonkeyPatch, data: bytes) -> int:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    return seed.main(["upload"])


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_the_sample_lands_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert seed.main(["sample", "--if-empty"]) == 0
    first = contents(root)
    assert first
    assert capsys.readouterr().out == f"✓ landing: files: {len(first)} landed\n"
    assert seed.main(["sample", "--if-empty"]) == 0
    assert capsys.readouterr().out == "✓ landing: landing holds files already: left alone\n"
    assert seed.main(["sample"]) == 0
    assert capsys.readouterr().out == f"✓ landing: files: {len(first)} there already\n"
    assert contents(root) == first


def test_a_file_of_ones_own_keeps_the_sample_away(root: Path) -> None:
    open_landing(str(root)).put("mine/a.csv", b"a\n1\n")
    assert seed.main(["sample", "--if-empty"]) == 0
    assert contents(root) == {"mine/a.csv": b"a\n1\n"}


def test_an_upload_lands_what_is_new_or_changed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert upload(monkeypatch, tar(**{"a/1.json": b"{}", "a/2.json": b"[]"})) == 0
    assert upload(monkeypatch, tar(**{"./a/1.json": b"{}", "a/2.json": b"[1]", "b/3.json": b"3"})) == 0
    assert contents(root) == {"a/1.json": b"{}", "a/2.json": b"[1]", "b/3.json": b"3"}
    assert capsys.readouterr().out.splitlines()[-1] == "✓ landing: files: 2 landed, 1 there already"


def test_a_bad_name_is_refused_and_stops_no_other(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert upload(monkeypatch, tar(**{"../../etc/passwd": b"x", "a/good.json": b"{}"})) == 3
    assert contents(root) == {"a/good.json": b"{}"}
    assert not (root.parent.parent / "etc").exists()
    said = capsys.readouterr()
    assert said.err.startswith("✗ not landed: cannot land '../../etc/passwd': ")
    assert said.out == "✓ landing: files: 1 landed, 1 refused\n"


def test_hidden_and_unfinished_files_are_passed_over_as_in_a_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"a/.DS_Store": b"\0", ".git/config": b"x", "a/b.json.part": b"{", "a/good.json": b"{}"}
    assert upload(monkeypatch, tar(**files)) == 0
    assert contents(root) == {"a/good.json": b"{}"}
    assert capsys.readouterr().err == ""


def test_links_in_a_tar_are_passed_over(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        link = tarfile.TarInfo("a/link.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert upload(monkeypatch, out.getvalue()) == 0
    assert not root.exists() or contents(root) == {}


def test_what_is_no_tar_is_said(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert upload(monkeypatch, b"not a tar at all" * 100) == 1
    assert capsys.readouterr().err.startswith("✗ seed: ")


def test_the_key_that_lands_files_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr(seed, "open_landing", lambda url, **options: given.update(options, url=url))
    (tmp_path / "key").write_text("ingest key\n")
    seed.landing_from_env(
        {
            "LANDING_URL": "s3://landing",
            "S3_ENDPOINT": "http://minio:9000",
            "S3_ACCESS_KEY": "pipeline key",
            "S3_SECRET_KEY": "pipeline secret",
            "S3_INGEST_ACCESS_KEY_FILE": str(tmp_path / "key"),
            "S3_INGEST_SECRET_KEY": "ingest secret",
        }
    )
    assert given == {
        "url": "s3://landing",
        "endpoint": "http://minio:9000",
        "access_key": "ingest key",
        "secret_key": "ingest secret",
        "region": "us-east-1",
    }


def test_without_landing_url_the_exit_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANDING_URL", raising=False)
    assert seed.main(["sample"]) == 2

"""Landing: what is listed, what is stored, and what never is; on a folder and on a real object store."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lakehouse.contracts import LANDING_REJECTS
from lakehouse.errors import ContractError, SettingsError, SourceError, StorageUnavailable, Unreadable
from lakehouse.landing import Landing, Source, open_landing


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return open_landing(str(tmp_path / "landing"))


def names(landing: Landing, source: str | None = None) -> list[str]:
    return [file.name for file in landing.list(source)]


def test_files_are_listed_by_name_with_those_of_no_source(landing: Landing, tmp_path: Path) -> None:
    for name in ("b/2.json", "a/z.json", "a/deep/er/x.csv", "b/1.json"):
        landing.put(name, b"{}")
    (tmp_path / "landing" / "stray.json").write_bytes(b"[]")
    (tmp_path / "landing" / "a" / "empty").write_bytes(b"")
    assert names(landing) == ["a/deep/er/x.csv", "a/empty", "a/z.json", "b/1.json", "b/2.json", "stray.json"]
    assert names(landing, "b") == ["b/1.json", "b/2.json"]
    assert names(landing, "") == ["stray.json"]
    assert names(landing, "nobody") == []
    assert landing.sources() == ["", "a", "b"]
    assert [file.source for file in landing.list()] == ["a", "a", "a", "b", "b", ""]


def test_a_file_is_added_once_and_found_by_its_name(landing: Landing, tmp_path: Path) -> None:
    first = landing.add("a/b/x.json", io.BytesIO(b"one"))
    again = landing.add("a/b/x.json", io.BytesIO(b"another"))
    assert (again.read(), again.version) == (b"one", first.version)
    found = landing.find("a/b/x.json")
    assert found is not None
    assert (found, found.version) == (landing.list()[0], first.version)
    assert landing.find("a/b/y.json") is None
    assert landing.find("a/b") is None
    assert names(landing) == ["a/b/x.json"]  # nothing is left of the other
    for name in ("x.json", "a/../x.json", "a/.x.json", "a/x.part"):
        with pytest.raises(SourceError):
            landing.find(name)
        with pytest.raises(SourceError):
            landing.add(name, io.BytesIO(b"1"))
    (tmp_path / "landing").rename(tmp_path / "away")
    with pytest.raises(StorageUnavailable, match="is gone"):
        landing.add("a/b/z.json", io.BytesIO(b"1"))
    assert not (tmp_path / "landing").exists()


def test_hidden_and_unfinished_files_do_not_count(landing: Landing, tmp_path: Path) -> None:
    root = tmp_path / "landing"
    for name in (".hidden", "a/.x.json", ".git/config", "a/x.tmp", "a/x.part", "a/x.json~", "a/ok.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1")
    assert names(landing) == ["a/ok.json"]


def test_links_out_of_landing_are_listed_and_not_followed(landing: Landing, tmp_path: Path) -> None:
    root, outside = tmp_path / "landing", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_bytes(b"1")
    landing.put("a/in.json", b"{}")
    (root / "a" / "out.json").symlink_to(outside / "secret.json")
    (root / "a" / "gone.json").symlink_to(outside / "nothing")
    (root / "a" / "same.json").symlink_to(root / "a" / "in.json")
    (root / "linked").symlink_to(outside)
    os.mkfifo(root / "a" / "pipe.json")
    assert names(landing) == ["a/gone.json", "a/in.json", "a/out.json", "a/same.json", "linked/"]
    for file in landing.list():
        if file.name not in ("a/in.json", "a/same.json"):
            with pytest.raises(Unreadable, match="a link that leads out of landing"):
                file.open()
    with pytest.raises(SourceError, match="leaves the landing folder"):
        landing.put("linked/x.json", b"1")
    assert [p.name for p in outside.iterdir()] == ["secret.json"]


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/x", "a//x", "a/./x", "x.json", "", "a/", "a\\b/x", "a/\0", "a/b\n", "a/.h",
     ".a/x", "a/x.tmp", "a/\ud800"],
)  # fmt: skip
def test_a_name_that_is_unsafe_or_never_read_is_refused(landing: Landing, name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot land"):
        landing.put(name, b"1")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_put_replaces_whole_and_leaves_nothing_half_written(landing: Landing, tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the sender went away")

    first = landing.put("a/x.json", b"one")
    assert (first.name, first.size, first.read()) == ("a/x.json", 3, b"one")
    assert landing.put("a/x.json", io.BytesIO(b"second")).read() == b"second"
    with pytest.raises(StorageUnavailable, match=r"cannot write .* OSError at "):
        landing.put("a/x.json", Broken())
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "landing" / "a").iterdir()] == [
        ("x.json", b"second")
    ]


def test_a_fingerprint_is_of_the_bytes_and_a_changed_file_is_refused(landing: Landing) -> None:
    content = b"x" * 3_000_000
    file = landing.put("a/x.json", content)
    assert file.fingerprint == hashlib.sha256(content).hexdigest()
    with file.open() as raw:
        assert (raw.seek(10), raw.read(2)) == (10, b"xx")
    landing.put("a/x.json", b"other")
    with pytest.raises(Unreadable, match="has changed since it was listed"):
        file.read()
    assert names(landing) == ["a/x.json"]


def test_a_landing_place_that_is_away_is_not_an_empty_one(tmp_path: Path) -> None:
    landing = open_landing(str(tmp_path / "landing"))
    (tmp_path / "landing").rmdir()
    with pytest.raises(StorageUnavailable, match="is gone"):
        landing.list()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable, match="cannot open the landing folder"):
        open_landing(str(tmp_path / "file"))


def test_urls(tmp_path: Path) -> None:
    open_landing(f"file://{tmp_path}/a%20b").put("s/x", b"1")
    assert (tmp_path / "a b" / "s" / "x").read_bytes() == b"1"
    for url in ("gs://bucket", "", "http://host/x"):
        with pytest.raises(SettingsError):
            open_landing(url)


def test_a_source_feeds_bronze_from_one_plain_folder() -> None:
    def nothing(_: object) -> Iterator[object]:
        return iter(())

    with pytest.raises(ContractError, match="feeds a Bronze table"):
        Source(folder="x", table=LANDING_REJECTS, read=nothing, description="x")  # type: ignore[arg-type]


# -- the same on a real object store ---------------------------------------------------------------------


def _minio() -> Path | None:
    given = os.environ.get("ODP_MINIO")
    cached = sorted(Path.home().glob(".cache/odp-ci/*/minio"))
    return Path(given) if given else (cached[-1] if cached else None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    binary = _minio()
    if binary is None or not binary.is_file():
        pytest.skip("no object store to run: set ODP_MINIO to a minio binary")
    access = {
        "endpoint": f"http://127.0.0.1:{_free_port()}",
        "access_key": "tester",
        "secret_key": "tester-secret",
    }
    server = subprocess.Popen(
        [
            binary,
            "server",
            "--quiet",
            "--address",
            access["endpoint"].removeprefix("http://"),
            "--console-address",
            f"127.0.0.1:{_free_port()}",
            str(tmp_path_factory.mktemp("minio")),
        ],
        env={
            **os.environ,
            "MINIO_ROOT_USER": access["access_key"],
            "MINIO_ROOT_PASSWORD": access["secret_key"],
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_and_make_bucket(access)
        yield access
    finally:
        server.terminate()
        server.wait(20)


def _wait_and_make_bucket(access: dict[str, str]) -> None:
    from lakehouse.storage.s3 import s3_client

    client = s3_client(region="us-east-1", **access)
    for _ in range(100):
        with suppress(Exception):  # not up yet, whatever it says
            client.create_bucket(Bucket="raw")
            break
        time.sleep(0.1)
    else:
        pytest.fail("the object store did not start")


def test_a_bucket_lists_like_a_folder(store: dict[str, str]) -> None:
    from lakehouse.storage.s3 import s3_client

    landing, client = open_landing("s3://raw/in/landing/", **store), s3_client(region="us-east-1", **store)
    for name in ("b/2.json", "a/z.json", "a/deep/x.csv"):
        landing.put(name, b"{}")
    for key in (
        "in/landing/stray.json",
        "in/landing/a/",
        "in/landing/a/.h",
        "in/landing/a/x.tmp",
        "in/elsewhere.json",
    ):
        client.put_object(Bucket="raw", Key=key, Body=b"")
    assert names(landing) == ["a/deep/x.csv", "a/z.json", "b/2.json", "stray.json"]
    assert names(landing, "a") == ["a/deep/x.csv", "a/z.json"]
    assert names(landing, "") == ["stray.json"]
    assert landing.sources() == ["", "a", "b"]


def test_an_object_is_added_once_and_found_by_its_name(store: dict[str, str]) -> None:
    landing = open_landing("s3://raw/added", **store)
    assert landing.find("a/x.json") is None
    first = landing.add("a/x.json", io.BytesIO(b"one"))
    again = landing.add("a/x.json", io.BytesIO(b"another"))
    assert (again.read(), again.version, again.size) == (b"one", first.version, 3)
    found = landing.find("a/x.json")
    assert found is not None
    assert (found, found.version) == (landing.list()[0], first.version)
    with pytest.raises(StorageUnavailable):
        open_landing("s3://raw", **{**store, "secret_key": "wrong-secret"}).find("a/x")
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        open_landing("s3://nobody", **store).find("a/x")


def test_an_object_is_read_as_listed_or_not_at_all(store: dict[str, str]) -> None:
    landing = open_landing("s3://raw/objects", **store)
    content = os.urandom(9_000_000)  # past one upload part
    stored = landing.put("a/big.bin", io.BytesIO(content))
    listed = landing.list("a")[0]
    assert (stored.size, listed.size, listed.read() == content) == (9_000_000, 9_000_000, True)
    assert listed.fingerprint == hashlib.sha256(content).hexdigest()
    with listed.open() as raw:
        assert (raw.seek(5), raw.read(3)) == (5, content[5:8])
    landing.put("a/big.bin", b"other")
    with pytest.raises(Unreadable, match="PreconditionFailed"):
        listed.read()


def test_other_bytes_of_an_object_are_told_by_its_tag(store: dict[str, str]) -> None:
    landing = open_landing("s3://raw/tags", **store)
    versions = [landing.put("a/x.json", content).version for content in (b"one", b"two", b"one")]
    assert versions[0] == versions[2] != versions[1]
    assert landing.list("a")[0].version == versions[0]


def test_a_missing_bucket_and_a_dead_store_are_outages(store: dict[str, str]) -> None:
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        open_landing("s3://nobody", **store).list()
    with pytest.raises(StorageUnavailable):
        open_landing("s3://raw", **{**store, "secret_key": "wrong-secret"}).list()
    with pytest.raises(StorageUnavailable):
        open_landing("s3://raw", **{**store, "endpoint": f"http://127.0.0.1:{_free_port()}"}).put("a/x", b"1")

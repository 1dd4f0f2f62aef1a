"""The object store: buckets, one key and policy per principal, and the probe of conditional writes.

Belongs here: everything done with the store's root credentials, and what is asked of a store whose buckets
and keys somebody else makes. Does not: the policies themselves (policies.py). Buckets and the probe use the
S3 protocol; users and policies use the server's own admin protocol.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from lakehouse.errors import plain
from lakehouse.provision.policies import BUCKETS, PRINCIPALS, Principal
from lakehouse.provision.settings import ProvisionSettings, Secret
from lakehouse.provision.steps import NotYet, Refused, Step

_WRONG_ROOT = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
_PROBED = "quarantine"  # any bucket would do; nothing lists this one in passing
_NOT_THERE = {
    "AccessDenied": "{key} may not list bucket {bucket}, or it is somebody else's: give its user the policy "
    "that `python -m lakehouse.provision --policies` prints",
    "NoSuchBucket": "there is no bucket {bucket}: make it, with the name S3_BUCKET_PREFIX asks for",
    "PermanentRedirect": "bucket {bucket} lies in another region than S3_REGION: give its own",
}
_ATTACHED_ALREADY = "PolicyChangeAlreadyApplied"


class ObjectStore:
    """The provisioning steps of the object store: with root credentials, or a look with the given keys."""

    def __init__(self, settings: ProvisionSettings) -> None:
        self._settings = settings

    def steps(self) -> list[Step]:
        """Return the steps in order of dependency."""
        race = Step("conditional writes", self.race)
        if self._settings.s3_root is None:
            return [Step("buckets and keys", self.look), race]
        return [Step("buckets", self.buckets), Step("keys and policies", self.keys), race]

    def look(self) -> str:
        """List every bucket with each key that should see it. Raise Refused where that fails."""
        for principal in (p for p in PRINCIPALS if p.name in self._settings.s3_keys):
            client = self._client(self._settings.s3_keys[principal.name])
            for bucket, _ in principal.rights:
                self._list(client, self._bucket(bucket), f"S3_{principal.name.upper()}")
        return ", ".join(map(self._bucket, BUCKETS))

    def _list(self, client: Any, bucket: str, key: str) -> None:
        from botocore.exceptions import ClientError

        with self._own_errors(f"{key}_ACCESS_KEY and {key}_SECRET_KEY"):
            try:
                client.list_objects_v2(Bucket=bucket, MaxKeys=1)
            except ClientError as exc:
                code = exc.response["Error"]["Code"]
                if code not in ("AccessDenied", "NoSuchBucket", "PermanentRedirect"):
                    raise
                raise Refused(_NOT_THERE[code].format(bucket=bucket, key=f"{key}_ACCESS_KEY")) from None

    def buckets(self) -> str:
        """Create missing buckets."""
        wanted = [self._bucket(name) for name in BUCKETS]
        with self._own_errors():
            known = {bucket["Name"] for bucket in self._s3.list_buckets()["Buckets"]}
            new = [name for name in wanted if name not in known]
            for name in new:
                self._s3.create_bucket(Bucket=name)
        return ", ".join(wanted) + (f" (new: {', '.join(new)})" if new else "")

    def _bucket(self, name: str) -> str:
        return f"{self._settings.s3_bucket_prefix}{name}"

    def keys(self) -> str:
        """Give every principal its policy and its current key; remove its older keys."""
        with self._own_errors():
            for principal in PRINCIPALS:
                self._admin.policy_add(
                    principal.policy_name, policy=principal.policy(self._settings.s3_bucket_prefix)
                )
            new = [principal for principal in PRINCIPALS if not self._works(principal)]
            old = self._replace(new) if new else []
        notes = [
            f"{word}: {', '.join(names)}"
            for word, names in (("new", [p.name for p in new]), ("removed", old))
            if names
        ]
        return ", ".join(p.name for p in PRINCIPALS) + (f" ({'; '.join(notes)})" if notes else "")

    def race(self) -> str:
        """Race writers for one name, with the key that commits. Raise UnsafeStore unless exactly one wins."""
        from lakehouse.storage import probe

        client = self._client(self._settings.s3_keys["pipeline"], connections=16)
        bucket = self._bucket(_PROBED)
        with self._own_errors("S3_PIPELINE_ACCESS_KEY and S3_PIPELINE_SECRET_KEY"):
            try:
                probe.race(probe.bucket_put(client, bucket), writers=16, rounds=3)
            finally:
                probe.clean_bucket(client, bucket)
        return "16 writers at one key, 3 times: one won each"

    def _works(self, principal: Principal) -> bool:
        """Return whether the current key is known and holds the policy, by using it.

        The admin protocol would take a second for that: it encrypts with Argon2, on both sides.
        """
        from botocore.exceptions import ClientError

        client = self._client(self._settings.s3_keys[principal.name])
        try:
            for bucket, _ in principal.rights:
                client.list_objects_v2(Bucket=self._bucket(bucket), MaxKeys=1)
        except ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
                return False
            raise
        return True

    def _replace(self, principals: list[Principal]) -> list[str]:
        """Set the keys of these principals and remove every older key; return the removed ones."""
        with ThreadPoolExecutor(len(principals)) as pool:
            listing = pool.submit(self._admin.user_list)
            list(pool.map(self._give, principals))
        old = list(self._outdated(json.loads(listing.result())))
        for key in old:
            self._admin.user_remove(key)
        return old

    def _give(self, principal: Principal) -> None:
        from minio.error import MinioAdminException

        key = self._settings.s3_keys[principal.name]
        self._admin.user_add(key.user, key.password)
        try:
            self._admin.attach_policy([principal.policy_name], user=key.user)
        except MinioAdminException as exc:
            if _ATTACHED_ALREADY not in str(exc):
                raise

    def _outdated(self, users: dict[str, Any]) -> Iterator[str]:
        """Yield the keys that hold one of our policies and are not current."""
        current = {key.user for key in self._settings.s3_keys.values()}
        ours = {principal.policy_name for principal in PRINCIPALS}
        for key, user in users.items():
            if key not in current and user.get("policyName") in ours:
                yield key

    @cached_property
    def _s3(self) -> Any:
        return self._client(self._root)

    @property
    def _root(self) -> Secret:
        if self._settings.s3_root is None:
            raise Refused("S3_MANAGED=true: there are no root credentials to make buckets and keys with")
        return self._settings.s3_root

    def _client(self, key: Secret, *, connections: int = 1) -> Any:
        from lakehouse.storage.s3 import s3_client

        return s3_client(
            endpoint=self._settings.s3_endpoint,
            access_key=key.user,
            secret_key=key.password,
            region=self._settings.s3_region,
            connect_seconds=3,
            read_seconds=20,
            attempts=1,  # steps are retried as a whole, with a deadline
            connections=connections,
        )

    @cached_property
    def _admin(self) -> Any:
        from minio import MinioAdmin
        from minio.credentials.providers import StaticProvider

        root, url = self._root, urlsplit(self._settings.s3_endpoint or "")
        return MinioAdmin(
            endpoint=url.netloc,
            credentials=StaticProvider(root.user, root.password),
            region=self._settings.s3_region,
            secure=url.scheme == "https",
        )

    @contextmanager
    def _own_errors(self, who: str = "MINIO_ROOT_USER and MINIO_ROOT_PASSWORD") -> Iterator[None]:
        """Turn errors of the clients into NotYet (not ready) or Refused."""
        from botocore.exceptions import BotoCoreError, ClientError
        from minio.error import MinioAdminException
        from urllib3.exceptions import HTTPError

        where = self._where
        try:
            yield
        except ClientError as exc:
            self._raise_own(exc.response["ResponseMetadata"]["HTTPStatusCode"], who, exc)
        except MinioAdminException as exc:
            self._raise_own(int(exc._code), who, exc)
        except (BotoCoreError, HTTPError, OSError) as exc:
            raise NotYet(f"the object store at {where} does not answer: {plain(exc)}") from None

    def _raise_own(self, status: int, who: str, exc: Exception) -> None:
        where = self._where
        if status >= 500:
            raise NotYet(f"the object store at {where} is not ready: {plain(exc)}") from None
        if any(code in str(exc) for code in _WRONG_ROOT) and self._settings.s3_root is None:
            raise Refused(f"{where} refuses {who}: {plain(exc)}. Are they the keys of its users?") from None
        if any(code in str(exc) for code in _WRONG_ROOT):
            raise Refused(
                f"{where} refuses {who}: {plain(exc)}. It still runs with others: "
                "`docker compose restart minio` after a change of .env, or put the old .env back"
            ) from None
        raise Refused(f"{where} answered {status}: {plain(exc)}; `make logs SERVICE=minio`") from None

    @property
    def _where(self) -> str:
        return self._settings.s3_endpoint or f"AWS, {self._settings.s3_region}"

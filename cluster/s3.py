"""A store in an S3 bucket, or in a service that speaks S3: one more `joulegrid.cluster.storage.Store`.

`create` is a PUT with `If-None-Match: *`. Some services ignore that header without a word: only `probe` tells.
Credentials are boto3's own business (variables, profile, role of the machine) and never travel with a pickled store.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.storage import StoreError, checked_path, checked_prefix
from joulegrid.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

_CONFLICT_TRIES = 7
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_EXISTS = {"PreconditionFailed", "412"}
_CONFLICT = {"ConditionalRequestConflict", "409"}
_REMEDIES = {
    "NoSuchBucket": "the bucket does not exist; create it or correct its name",
    "AccessDenied": "the credentials lack a right; s3:GetObject, s3:PutObject and s3:ListBucket are needed",
    "403": "the credentials lack a right; s3:GetObject, s3:PutObject and s3:ListBucket are needed",
    "InvalidAccessKeyId": "the service does not know the access key; see AWS_ACCESS_KEY_ID or AWS_PROFILE",
    "SignatureDoesNotMatch": "the secret key is wrong; see AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
    "ExpiredToken": "the credentials have expired; renew them and resume the run",
    "PermanentRedirect": "the bucket lies in another region; set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket lies in another region; set AWS_REGION",
}
_TROUBLES = {
    "NoCredentialsError": "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "PartialCredentialsError": "half of the credentials is missing; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "ProfileNotFound": "the profile named in AWS_PROFILE does not exist; see ~/.aws/config",
    "EndpointConnectionError": "the service cannot be reached; see the network and AWS_ENDPOINT_URL_S3",
    "ConnectTimeoutError": "the service cannot be reached; see the network and AWS_ENDPOINT_URL_S3",
    "ReadTimeoutError": "the service is too slow; resume the run when it has recovered",
    "ParamValidationError": "the bucket's or the object's name is not valid",
}


class S3Connection:
    """A boto3 client that is made at first use and left behind by pickling and by a fork.

    Endpoint and region are read where the store is opened and travel along, so that workers on other nodes reach the
    same service as the driver.
    """

    def __init__(self) -> None:
        # An empty variable counts as unset, as for the AWS command line.
        self.endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
        self.region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None
        self._forget()

    def __getstate__(self) -> dict[str, str | None]:
        return {"endpoint": self.endpoint, "region": self.region}

    def __setstate__(self, state: dict[str, str | None]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._client: S3Client | None = None
        self._pid = os.getpid()

    def client(self) -> S3Client:
        """The client of this process. One serves all threads, but making two at once is not safe in boto3."""
        if self._pid != os.getpid():
            self._forget()
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> S3Client:
        from boto3.session import Session
        from botocore.config import Config

        own: dict[str, Any] = {}
        if self.endpoint:
            # Services beside AWS rarely have a DNS name for each bucket, and older ones reject the new checksums.
            own = {
                "s3": {"addressing_style": "path"},
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=32,
            retries=_retries(),
            **own,
        )
        session = Session()
        region = self.region or session.region_name or "us-east-1"
        client: S3Client = session.client("s3", region_name=region, endpoint_url=self.endpoint, config=config)
        return client


def _retries() -> Any:
    # botocore's standard mode tries three times by default; a study of days meets longer troubles than that. Its first
    # wait is 50 ms (1 s before 1.44) and doubles up to 20 s, times a random part of it: twelve tries take half a
    # minute; six took one second, less than a server needs to come back.
    return {"mode": "standard"} | ({} if "AWS_MAX_ATTEMPTS" in os.environ else {"total_max_attempts": 12})


class S3Store:
    """A store under a prefix of a bucket. Safe to pickle and to use from threads."""

    def __init__(self, bucket: str, prefix: str, connection: S3Connection | None = None) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.url = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self.conditional = True
        self._connection = connection or S3Connection()

    @classmethod
    def from_location(cls, location: str) -> S3Store:
        """Open `BUCKET` or `BUCKET/PREFIX`; `UsageError` where that is malformed."""
        bucket, _, prefix = location.partition("/")
        prefix = prefix.strip("/")
        try:
            checked_path(f"{bucket}/{prefix}" if prefix else bucket)
        except ValueError:
            raise UsageError(
                f"cannot open 's3://{location}' as a store; give s3://BUCKET or s3://BUCKET/PREFIX"
            ) from None
        return cls(bucket, prefix)

    def get(self, path: str) -> bytes:
        """Read an object; `FileNotFoundError` where there is none."""
        key = self._key(path)
        with self._told("read", path):
            return self._client().get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Write an object, replacing what was there; it is durable in any case."""
        key = self._key(path)
        with self._told("write", path):
            self._client().put_object(Bucket=self.bucket, Key=key, Body=data)

    def put_file(self, path: str, local: Path) -> None:
        """Write a file's contents as an object, in parts where it is large; nothing is visible before the end."""
        key = self._key(path)
        with local.open("rb") as source, self._told("write", path):
            self._client().upload_fileobj(source, self.bucket, key)

    def create(self, path: str, data: bytes) -> bool:
        """Write an object only if there is none; `True` when it now holds `data`.

        412 may be the answer to our own first try, whose answer was lost and which botocore repeated: what is there
        decides. 409 says that another write is in flight; it decides nothing and is tried again.
        """
        if not self.conditional:
            return self._create_unfenced(path, data)
        for attempt in range(_CONFLICT_TRIES):
            verdict = self._put_if_absent(path, data)
            if verdict is None:
                return True
            if verdict in _EXISTS:
                with contextlib.suppress(FileNotFoundError):  # a store that lists late: ask again
                    return self.get(path) == data
            time.sleep(random.uniform(0.5, 1) * min(1.0, 0.05 * 2**attempt))  # noqa: S311 - spreads the writers
        raise StoreError(
            f"could not write {self.url}/{path}: the service answered {_CONFLICT_TRIES} times that another write is in "
            "flight; see who else writes there, then resume the run"
        )

    def create_all(self, objects: Mapping[str, bytes]) -> list[bool]:
        """Create several objects side by side; what was put before is durable already."""
        if len(objects) == 1:
            return [self.create(path, data) for path, data in objects.items()]
        with ThreadPoolExecutor(len(objects) or 1) as writers:
            return list(writers.map(self.create, objects.keys(), objects.values()))

    def _put_if_absent(self, path: str, data: bytes) -> str | None:
        """`None` when written, else the code of the refusal: 412 (exists) or 409 (conflict)."""
        from botocore.exceptions import ClientError

        key = self._key(path)
        with self._told("write", path):
            try:
                self._client().put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*")
            except ClientError as error:
                if (code := _code(error)) not in _EXISTS | _CONFLICT:
                    raise
                return code
        return None

    def _create_unfenced(self, path: str, data: bytes) -> bool:
        try:
            return self.get(path) == data
        except FileNotFoundError:
            self.put(path, data)
            return True

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the paths that begin with `prefix`, sorted by code point."""
        root = f"{self.prefix}/" if self.prefix else ""
        with self._told("list", prefix):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=root + checked_prefix(prefix)):
                keys = (item["Key"] for item in page.get("Contents", []))
                yield from (key.removeprefix(root) for key in keys if not key.endswith("/"))

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names directly below the root that begin with `prefix` and have objects below them, sorted."""
        root = f"{self.prefix}/" if self.prefix else ""
        with self._told("list", prefix):
            pages = self._client().get_paginator("list_objects_v2")
            found = pages.paginate(Bucket=self.bucket, Prefix=root + checked_prefix(prefix), Delimiter="/")
            names = [entry["Prefix"] for page in found for entry in page.get("CommonPrefixes", [])]
        return sorted(name.removeprefix(root).rstrip("/") for name in names)

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        key = self._key(path)
        try:
            with self._told("look at", path):
                self._client().head_object(Bucket=self.bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    def child(self, prefix: str) -> S3Store:
        """The store whose root is a folder of this one; it shares the connection."""
        store = S3Store(self.bucket, self._key(prefix), self._connection)
        store.conditional = self.conditional
        return store

    def delete(self, path: str) -> None:
        """Remove an object if it is there."""
        key = self._key(path)
        with self._told("remove", path):
            self._client().delete_object(Bucket=self.bucket, Key=key)

    def _client(self) -> S3Client:
        return self._connection.client()

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{checked_path(path)}" if self.prefix else checked_path(path)

    @contextlib.contextmanager
    def _told(self, action: str, path: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            if _code(error) in _ABSENT:
                raise FileNotFoundError(f"no such object in the store: {self.url}/{path}") from error
            remedy = _REMEDIES.get(_code(error), "see the service's own message")
            raise StoreError(f"could not {action} {self.url}/{path}: {error}; {remedy}") from error
        except (BotoCoreError, Boto3Error) as error:
            remedy = _TROUBLES.get(type(error).__name__, "see the service's own message")
            raise StoreError(f"could not {action} {self.url}/{path}: {error}; {remedy}") from error


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))

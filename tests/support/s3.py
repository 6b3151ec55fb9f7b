"""A real S3: moto's server, a process of the tests' own on loopback, gone when they are done.

Run as a program it is that server, and prints every request that it gets.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import boto3  # type: ignore[import-untyped]
import pytest
import requests
from botocore.config import Config  # type: ignore[import-untyped]

from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "us-east-1"
_READY = re.compile(r"Running on (http://\S+)\n")
# So often it is asked whether it is ready, for so many seconds each time.
_LOOKS, _LOOK_SECONDS = 1500, 0.02


@dataclass(frozen=True)
class Credentials:
    """What requests are signed with."""

    key_id: str
    secret: str


ANYBODY = Credentials("AKIAANYBODY", "anybody's secret")


@dataclass(frozen=True)
class Asked:
    """A request that the server has had.

    Attributes:
        target: Path and query, as they were sent.
    """

    method: str
    target: str
    headers: dict[str, str]
    status: int

    @property
    def key(self) -> str:
        """Return which object it is about."""
        return unquote(urlsplit(self.target).path).lstrip("/").partition("/")[2]

    @property
    def query(self) -> str:
        return urlsplit(self.target).query


class S3Server:
    """A running server, which takes anybody's credentials until it is told to look at them.

    Attributes:
        url: Where it answers.
    """

    def __init__(self, url: str, requests_log: Path) -> None:
        self.url = url
        self._requests_log = requests_log
        self._numbers = itertools.count(1)

    @cached_property
    def _own(self) -> Any:
        return self.client()

    def client(self, service: str = "s3", credentials: Credentials = ANYBODY, **config: Any) -> Any:
        """Return boto3's own client."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            aws_access_key_id=credentials.key_id,
            aws_secret_access_key=credentials.secret,
            region_name=REGION,
            config=Config(**config),
        )

    def new_bucket(self) -> Bucket:
        """Make an empty bucket, which keeps every version of its objects."""
        name, versioning = f"bucket-{next(self._numbers)}", {"Status": "Enabled"}
        self._own.create_bucket(Bucket=name)
        self._own.put_bucket_versioning(Bucket=name, VersioningConfiguration=versioning)
        return Bucket(self, self._own, name)

    def asked(self) -> list[Asked]:
        """Return all requests so far; each is noted before it is answered."""
        return [Asked(**json.loads(line)) for line in self._requests_log.read_text().splitlines()]

    @contextmanager
    def guarded(self, *resources: str, but_not: str = "s3:None") -> Iterator[Credentials]:
        """Take only the credentials of a user, who may do all but one thing to some resources."""
        iam, user = self.client("iam"), f"user-{next(self._numbers)}"
        names = [f"arn:aws:s3:::{resource}" for resource in resources]
        allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": names}
        denied = {"Effect": "Deny", "Action": but_not, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed, denied]})
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=policy)
        made = iam.create_access_key(UserName=user)["AccessKey"]
        self._look_at_credentials_after("0")
        try:
            yield Credentials(made["AccessKeyId"], made["SecretAccessKey"])
        finally:
            self._look_at_credentials_after("inf")

    def _look_at_credentials_after(self, requests_: str) -> None:
        answer = requests.post(f"{self.url}/moto-api/reset-auth", data=requests_, timeout=10)
        answer.raise_for_status()


class Bucket:
    """A bucket on the server.

    Attributes:
        server: It.
        client: boto3's own client.
        name: What it is called.
    """

    def __init__(self, server: S3Server, client: Any, name: str) -> None:
        self.server = server
        self.client = client
        self.name = name

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def __getitem__(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def __setitem__(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def contents(self) -> dict[str, bytes]:
        """Return all objects that are there, by key."""
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {each["Key"]: self[each["Key"]] for each in found}

    def head(self, key: str, **more: Any) -> dict[str, Any]:
        """Return what is said of an object."""
        said: dict[str, Any] = self.client.head_object(Bucket=self.name, Key=key, **more)
        return said

    def tags(self, key: str) -> dict[str, str]:
        tags = self.client.get_object_tagging(Bucket=self.name, Key=key)["TagSet"]
        return {tag["Key"]: tag["Value"] for tag in tags}

    def versions(self, key: str) -> list[str]:
        """Return every version that an object has had."""
        found = self.client.list_object_versions(Bucket=self.name, Prefix=key)
        of_key = [v for v in found.get("Versions", []) if v["Key"] == key]
        return [version["VersionId"] for version in of_key]

    def unfinished(self) -> list[str]:
        """Return the keys of what has been begun to be uploaded in parts."""
        found = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return [upload["Key"] for upload in found]

    def asked(self) -> list[Asked]:
        """Return all requests so far that were about its objects."""
        begin = f"/{self.name}/"
        return [each for each in self.server.asked() if each.target.startswith(begin)]


def environment(server: S3Server, credentials: Credentials = ANYBODY) -> dict[str, str]:
    """Return what tells whoever uses AWS's libraries of the server, and of nothing else."""
    return {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": credentials.key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """Start a server, and stop it in the end."""
    with tempfile.TemporaryDirectory(prefix="tests-s3-") as name:
        said, asked = Path(name) / "server.log", Path(name) / "requests.jsonl"
        with said.open("w") as error, asked.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.s3"],
                cwd=ROOT,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": name},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=error,
            )
        try:
            yield S3Server(_ready(process, said), asked)
        finally:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], said: Path) -> str:
    """Return where a server answers, as soon as it does."""
    for _ in range(_LOOKS):
        if found := _READY.search(said.read_text()):
            return found[1]
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SECONDS)
            break
    pytest.fail(said.read_text())


def main() -> None:
    """Be the server."""
    # Late: it hooks itself into all of boto3.
    from moto.moto_server.werkzeug_app import MotoRequestHandler  # noqa: PLC0415
    from moto.server import main as serve  # noqa: PLC0415

    def log_request(request: MotoRequestHandler, code: int | str, _: int | str = "-") -> None:
        asked = {
            "method": request.command,
            "target": request.path,
            "headers": dict(request.headers),
            "status": int(code),
        }
        sys.stdout.write(json.dumps(asked) + "\n")
        sys.stdout.flush()

    MotoRequestHandler.log_request = log_request  # type: ignore[assignment,method-assign]
    serve(["-H", "127.0.0.1", "-p", "0"])


if __name__ == "__main__":
    main()

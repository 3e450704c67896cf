"""A bucket with uploaded files and a fake ElastiCache that can restore them, for tests of steps and of the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.elasticache import FakeElastiCache, serving
from objectstores import REGION, ObjectStore
from realservers import need

from rdbmerge.steps.seed import SeedPlan, plan_seed
from rdbmerge.steps.upload import upload
from rdbmerge.steps.upload_source import description
from rdbmerge.stores.base import ObjectUrl, S3Access
from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.request import SeedOptions

GROUP: dict[str, Any] = {
    "kind": Kind.REPLICATION_GROUP, "name": "sessions", "engine": "redis", "engine_version": "7.1",
    "node_type": "cache.r7g.large",
}  # fmt: skip


@dataclass
class World:
    """Where files go, and who restores them."""

    store: ObjectStore
    bucket: str
    fake: FakeElastiCache
    endpoint: str

    def upload(self, path: Path, key: str = "merged.rdb") -> ObjectUrl:
        """Upload it as users do, with the right to read."""
        url = ObjectUrl(self.bucket, key)
        upload(
            path, url, access=S3Access(), jobs=2, grant=True, service="elasticache", force=True, now_ms=7,
            metadata=description(path, jobs=1),
        )  # fmt: skip
        return url

    def put(self, path: Path, key: str = "merged.rdb", *, grant: bool = True, described: bool = True) -> ObjectUrl:
        """The same in fewer calls; without a right to read, or without a word of what is in it, if so wished."""
        metadata = description(path, jobs=1) if described else {}
        self.fake.s3.put_object(
            Bucket=self.bucket, Key=key, Body=path.read_bytes(), Metadata=metadata, ServerSideEncryption="AES256"
        )
        if grant:
            policy = {"Version": "2012-10-17", "Statement": [{
                "Sid": "Seed", "Effect": "Allow",
                "Principal": {"Service": f"{REGION}.elasticache-snapshot.amazonaws.com"},
                "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketAcl"],
                "Resource": [f"arn:aws:s3:::{self.bucket}", f"arn:aws:s3:::{self.bucket}/*"],
            }]}  # fmt: skip
            self.fake.s3.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(policy))
        return ObjectUrl(self.bucket, key)

    def plan(self, *urls: ObjectUrl, said: dict[str, Any] = GROUP, **how: Any) -> SeedPlan:
        options = {name: how.pop(name) for name in list(how) if name in SeedOptions.model_fields}
        return plan_seed(SeedOptions(**{**said, **options}), urls, access=S3Access(), endpoint_url=self.endpoint, **how)


@contextmanager
def seeding(store: ObjectStore, bucket: str, server: str = "redis-7.0") -> Iterator[World]:
    binary = need(server)
    if binary.path is None:
        raise AssertionError("need() skips where there is none")
    fake = FakeElastiCache(store.client(), binary.path)
    with serving(fake) as endpoint:
        yield World(store, bucket, fake, endpoint)

"""The tables of a run file that say where the merged file goes: a store, a cache to be seeded, a live server."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rdbmerge.steps.config_values import ObjectAddress, Section, SizeBytes
from rdbmerge.stores.base import S3Access


class StoreKeys(Section):
    """Whose credentials, which region and which endpoint; what is not given comes as for the AWS CLI."""

    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None

    def access(self) -> S3Access:
        """The same for a store."""
        return S3Access(self.profile, self.region, self.endpoint_url)


class UploadSection(StoreKeys):
    """[upload]: the object that the merged file becomes, or the folder of those of shards."""

    url: ObjectAddress
    service: Literal["elasticache", "memorydb"] = "elasticache"
    grant: bool = False
    force: bool = False
    jobs: Annotated[int, Field(ge=1, le=256)] = 10
    part_size: SizeBytes | None = None

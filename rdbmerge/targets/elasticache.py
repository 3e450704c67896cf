"""The door to ElastiCache and MemoryDB: creates, describes, reads events; every failure as a TargetError that helps.

The only module of `targets` that knows boto3. Never deletes or changes anything. Credentials are those of the standard
chain and are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rdbmerge.errors import TargetError, UsageError
from rdbmerge.targets.kinds import KINDS, Kind
from rdbmerge.targets.refusals import PASSING, remedy_of, same_code
from rdbmerge.targets.request import SeedRequest
from rdbmerge.targets.standing import SeedEvent, Standing, standing_of

_CONNECT_S, _READ_S, _TRIES = 10, 60, 4
_LONGEST_EVENTS_MIN = 20_160  # 14 days


def check_parameters(request: SeedRequest) -> None:
    """Hold the request against the model of the API, without a call. Raises UsageError that names what is wrong."""
    from botocore.session import Session
    from botocore.validate import ParamValidator

    facts = request.facts
    model = Session().get_service_model(facts.service)
    operation = model.operation_model("".join(part.capitalize() for part in facts.create.split("_")))
    report = ParamValidator().validate(request.shown(), operation.input_shape)
    if report.has_errors():
        first, *others = report.generate_report().split("\n")
        finding = first.split(", must be one of:")[0]
        more = f" (and {len(others)} more)" if others else ""
        raise UsageError(
            f"the request is not one of {operation.name}: {finding}{more}",
            remedy="check the --from-file request; parameters are named as in the API: "
            + ", ".join(sorted(operation.input_shape.members)),
        )


class Caches:
    """One kind of caches in one region; see `AwsAccess` of the caller for profile, region and endpoint."""

    def __init__(
        self, kind: Kind, *, profile: str | None = None, region: str | None = None, endpoint_url: str | None = None
    ) -> None:
        """Raises TargetError where credentials, profile or region are not to be had."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        self.kind = kind
        self.facts = KINDS[kind]
        config = Config(
            connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"mode": "standard", "max_attempts": _TRIES}
        )
        try:
            session = boto3.Session(profile_name=profile, region_name=region)
            self.client = session.client(self.facts.service, endpoint_url=endpoint_url, config=config)
            credentials = session.get_credentials()
        except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL
            remedy = "give --region and --profile, and check --cache-endpoint-url"
            raise TargetError(f"{self.facts.title}: {error}", remedy=remedy) from error
        if credentials is None:
            raise TargetError(
                f"{self.facts.title}: there are no AWS credentials",
                remedy="log in (aws configure, aws sso login), give --profile, or set AWS_ACCESS_KEY_ID and its secret",
            )
        self.region = str(self.client.meta.region_name)

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        from botocore import exceptions as failures

        try:
            answer: dict[str, Any] = getattr(self.client, operation)(**parameters)
        except failures.ClientError as error:
            told = error.response.get("Error", {})
            code = str(told.get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            raise TargetError(
                f"{self._where(operation)}: {code}: {told.get('Message') or 'no message'}",
                remedy=remedy_of(code),
                retryable=code in PASSING or status >= 500,
                code=code,
            ) from error
        except failures.ParamValidationError as error:
            raise UsageError(f"{self._where(operation)}: {error}", remedy="change the request") from error
        except (failures.ConnectionError, failures.HTTPClientError) as error:
            raise TargetError(
                f"{self._where(operation)}: {error}",
                remedy="check the network, --region and --cache-endpoint-url",
                retryable=True,
            ) from error
        except failures.BotoCoreError as error:
            raise TargetError(
                f"{self._where(operation)}: {error}", remedy="check region, profile and endpoint"
            ) from error
        return answer

    def _where(self, operation: str) -> str:
        return f"{self.facts.title} in {self.region}, {operation.replace('_', ' ')}"

    def _pages(self, operation: str, listed: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """All rows of a description that comes in pages."""
        asked = "NextToken" if self.facts.service == "memorydb" or "serverless" in operation else "Marker"
        token: str | None = None
        while True:
            answer = self._call(operation, **parameters, **({asked: token} if token else {}))
            yield from answer.get(listed) or ()
            following = answer.get(asked)
            if not following or following == token:
                return
            token = str(following)

    def create(self, request: SeedRequest) -> None:
        """Ask for it. Raises TargetError with a hint; a name that is taken has the code of `KindFacts.exists`."""
        self._call(self.facts.create, **request.to_api())

    def is_taken(self, error: TargetError) -> bool:
        """Whether a creation failed because there is one of that name."""
        return same_code(error.code, self.facts.exists)

    def find(self, name: str) -> Standing | None:
        """Where the one of that name stands, its members included; None if there is none. Raises TargetError."""
        more = {"ShowShardDetails": True} if self.kind is Kind.MEMORYDB else {}
        asked = "ClusterName" if self.kind is Kind.MEMORYDB else self.facts.name
        try:
            rows = list(self._pages(self.facts.describe, self.facts.listed, **{asked: name}, **more))
        except TargetError as error:
            if same_code(error.code, self.facts.absent):
                return None
            raise
        if not rows:
            return None
        return standing_of(self.kind, rows[0], self._members(rows[0]))

    def _members(self, told: dict[str, Any]) -> dict[str, str]:
        """The status of each node of a replication group: the group's own says nothing of a restore that failed."""
        names = set(told.get("MemberClusters") or ())
        if self.kind is not Kind.REPLICATION_GROUP or not names:
            return {}
        rows = self._pages("describe_cache_clusters", "CacheClusters")
        return {
            str(row["CacheClusterId"]): str(row.get("CacheClusterStatus", ""))
            for row in rows
            if row.get("CacheClusterId") in names
        }

    def events(self, standing: Standing, *, since_ms: int, now_ms: int) -> list[SeedEvent]:
        """What was written about it and its members since then, in order. Raises TargetError."""
        minutes = max(1, min(_LONGEST_EVENTS_MIN, -(-(now_ms - since_ms) // 60_000) + 1))
        named = "SourceName" if self.kind is Kind.MEMORYDB else "SourceIdentifier"
        sources = {standing.name, *standing.members}
        node = re.compile(rf"{re.escape(standing.name)}(-\d{{4}})?-\d{{3}}")  # one that is no member any more
        found: set[SeedEvent] = set()
        for row in self._pages("describe_events", "Events", Duration=minutes):
            source, date = str(row.get(named, "")), row.get("Date")
            at_ms = round(date.timestamp() * 1_000) if isinstance(date, datetime) else 0
            if (source in sources or node.fullmatch(source)) and at_ms >= since_ms:
                found.add(SeedEvent(at_ms, source, str(row.get("Message", ""))))
        return sorted(found)

    def engine_versions(self, engine: str) -> list[str]:
        """The versions of an engine that are offered, as far as they can be asked. Raises TargetError."""
        if self.facts.service == "memorydb":
            rows = self._pages("describe_engine_versions", "EngineVersions", Engine=engine)
            return sorted({str(row.get(name)) for row in rows for name in ("EngineVersion", "EnginePatchVersion")})
        rows = self._pages("describe_cache_engine_versions", "CacheEngineVersions", Engine=engine)
        return sorted({str(row.get("EngineVersion")) for row in rows})

    def parameters(self, group: str) -> dict[str, str]:
        """Names and values of a parameter group. Raises TargetError."""
        if self.facts.service == "memorydb":
            rows = self._pages("describe_parameters", "Parameters", ParameterGroupName=group)
            return {str(row.get("Name")): str(row.get("Value", "")) for row in rows}
        rows = self._pages("describe_cache_parameters", "Parameters", CacheParameterGroupName=group)
        return {str(row.get("ParameterName")): str(row.get("ParameterValue", "")) for row in rows}

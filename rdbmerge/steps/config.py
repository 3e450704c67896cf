"""What a run file may say: its tables and keys as typed values, each checked by the part of rdbmerge that it is for.

Knows neither the file nor the environment: `run_file` reads those, and tells where in the file a mistake is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rdbmerge.errors import UsageError
from rdbmerge.plan.model import Policy, Rules, SourceRules, Unsupported
from rdbmerge.plan.sharding import Slots, even_slots
from rdbmerge.replication.limits import BandwidthLimit, PullLimits
from rdbmerge.replication.source import Source
from rdbmerge.steps.config_targets import RestoreSection, SeedSection, UploadSection
from rdbmerge.steps.config_values import (
    Address,
    Db,
    DbMap,
    DurationMs,
    InstantMs,
    Jobs,
    LocalPath,
    Pattern,
    PositiveSeconds,
    Seconds,
    Section,
    ServerKeys,
    ShardSlots,
    SizeBytes,
    Target,
    TypeName,
    mistake,
)  # fmt: skip

_COMMANDS = ("psync_command", "sync_command", "replconf_command")


class RunSection(Section):
    """[run]: where the work is kept, and with how many hands it is done."""

    dir: LocalPath
    jobs: Jobs | None = None
    report: LocalPath | None = None


class PullSection(Section):
    """[pull]: how sources are treated while they are pulled."""

    jobs: Jobs = 8
    jobs_per_host: Jobs = 1
    max_bandwidth: SizeBytes | None = None
    connect_timeout: PositiveSeconds = 10.0
    timeout: PositiveSeconds = 60.0
    header_timeout: PositiveSeconds = 3600.0
    retry_for: Seconds = 60.0

    def limits(self) -> PullLimits:
        """The same for the step."""
        return PullLimits(
            connect_timeout_s=self.connect_timeout,
            reply_timeout_s=self.timeout,
            header_timeout_s=self.header_timeout,
            retry_for_s=self.retry_for,
            limiter=None if self.max_bandwidth is None else BandwidthLimit(self.max_bandwidth),
        )


class _RuleKeys(Section):
    """The rules that a source, and the merge for all of them, may have."""

    ttl_offset: DurationMs | None = None
    ttl_freeze_until: InstantMs | None = None
    snapshot_time: InstantMs | None = None
    drop_expired: bool | None = None
    db_map: DbMap | None = None
    dbs: list[Db] | None = None
    types: list[TypeName] | None = None
    include_keys: list[Pattern] | None = None
    exclude_keys: list[Pattern] | None = None
    key_prefix: str | None = None

    def own_rules(self) -> SourceRules:
        """What is given here."""
        return SourceRules(
            ttl_offset_ms=self.ttl_offset,
            ttl_freeze_until_ms=self.ttl_freeze_until,
            snapshot_at_ms=self.snapshot_time,
            drop_expired=self.drop_expired,
            db_map=self.db_map,
            dbs=self.dbs,
            types=None if self.types is None else [str(name) for name in self.types],
            include_keys=self.include_keys,
            exclude_keys=self.exclude_keys,
            key_prefix=None if self.key_prefix is None else self.key_prefix.encode(),
        )


class SourceSection(ServerKeys, _RuleKeys):
    """[[source]]: a server to pull from, or an RDB file at hand; with the rules that hold for it alone."""

    name: str | None = None
    address: Address | None = None
    file: LocalPath | None = None
    via: Literal["replication", "scan"] | None = None
    prefer_replica: bool | None = None
    psync_command: str | None = None
    sync_command: str | None = None
    replconf_command: str | None = None

    @model_validator(mode="after")
    def _check(self) -> SourceSection:
        if (self.address is None) == (self.file is None):
            raise mistake("needs an address or a file, and not both")
        if self.file is not None:
            self._check_file()
        try:
            self.server()
            Source(host="checked", name=self.source_name)
        except UsageError as error:
            raise mistake(str(error), error.remedy) from None
        return self

    def _check_file(self) -> None:
        given = self.model_fields_set & {*ServerKeys.model_fields, "via", "prefer_replica", *_COMMANDS}
        if given:
            raise mistake(f"{', '.join(sorted(given))} is for servers, and this source is a file")

    @property
    def source_name(self) -> str:
        """What it is called: as given, else after its address or file."""
        server = self.server()
        if server is not None:
            return server.name
        return self.name or (self.file.stem if self.file else "")

    def server(self) -> Source | None:
        """The server to pull from; None for a file. Raises UsageError."""
        if self.address is None:
            return None
        own = {name: getattr(self, name) for name in ("name", "prefer_replica", *_COMMANDS)}
        return Source.parse(
            self.address, **self.options(), **{name: value for name, value in own.items() if value is not None}
        )


class MergeSection(_RuleKeys):
    """[merge]: what becomes of all sources together; its rules hold for each source that has none of its own."""

    output: LocalPath | None = None
    target: Target | None = None
    on_conflict: Literal["fail", "first", "last", "longest-ttl"] = "fail"
    on_unsupported: Literal["fail", "skip", "strip"] = "fail"
    shards: Annotated[int, Field(ge=1, le=500)] | None = None
    slots: ShardSlots | None = None

    @model_validator(mode="after")
    def _check(self) -> MergeSection:
        if self.shards is not None and self.slots not in (None, even_slots(self.shards)):
            raise mistake("shards and slots contradict each other", "give one of them")
        if self.target is None and self.on_unsupported != "fail":
            raise mistake(f"on_unsupported = {self.on_unsupported!r} is given without a target")
        return self

    def shard_slots(self) -> list[Slots] | None:
        """The slots of each shard; None: one file for all."""
        return even_slots(self.shards) if self.shards is not None else self.slots


class VerifySection(Section):
    """[verify]: how much of the merged file is compared, and who else is asked."""

    level: Literal["counts", "digest", "full"] = "digest"
    witness: Literal["rdbtools", "server", "none"] = "none"
    witness_server: LocalPath | None = None


class RunFile(Section):
    """The whole file."""

    run: RunSection
    pull: PullSection = PullSection()
    source: Annotated[list[SourceSection], Field(min_length=1)]
    merge: MergeSection = MergeSection()
    verify: VerifySection = VerifySection()
    upload: UploadSection | None = None
    seed: SeedSection | None = None
    restore: RestoreSection | None = None

    @property
    def names(self) -> list[str]:
        """Of the sources, in their order, which is that of precedence."""
        return [source.source_name for source in self.source]

    def rules(self, snapshots: Mapping[str, str] | None = None) -> Rules:
        """All that is declared about the merge of `snapshots` (name of each -> name of its source; None: the same)."""
        shared = {name: value for name, value in self.merge.own_rules() if value is not None}
        of_source = {source.source_name: source.own_rules() for source in self.source}
        if snapshots is None:
            snapshots = {name: name for name in of_source}
        own = {name: of_source[source] for name, source in snapshots.items()}
        return Rules(
            **shared,
            target=self.merge.target,
            on_conflict=Policy(self.merge.on_conflict),
            on_unsupported=Unsupported(self.merge.on_unsupported),
            sources={name: rules for name, rules in own.items() if rules != SourceRules()},
        )

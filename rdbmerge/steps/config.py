"""What a run file may say: its tables and keys as typed values, each checked by the part of rdbmerge that it is for.

Knows neither the file nor the environment: `run_file` reads those, and tells where in the file a mistake is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from rdbmerge import units
from rdbmerge.errors import UsageError
from rdbmerge.plan.model import KeyPattern, Policy, Rules, SourceRules, Unsupported
from rdbmerge.plan.profile import find_profile
from rdbmerge.plan.selection import parse_pattern
from rdbmerge.plan.sharding import Slots, even_slots, parse_slots
from rdbmerge.replication.limits import BandwidthLimit, PullLimits
from rdbmerge.replication.source import Source

MOST_DB = 999_999_999
_COMMANDS = ("psync_command", "sync_command", "replconf_command")
TypeName = Literal["string", "list", "set", "zset", "hash", "stream", "module", "array"]


def mistake(text: str, remedy: str = "") -> PydanticCustomError:
    """A mistake in the words of the message."""
    told = f"{text}; {remedy}" if remedy else text
    return PydanticCustomError("mistake", "{told}", {"told": told})


def _parsed(parse: Callable[[str], Any]) -> BeforeValidator:
    def validate(value: object) -> Any:
        if not isinstance(value, str):
            raise mistake("must be text in quotes")
        try:
            return parse(value)
        except UsageError as error:
            raise mistake(str(error), error.remedy) from None

    return BeforeValidator(validate)


def _instant_ms(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _db_map(value: object) -> object:
    """`"1:0,2:5"` as on the command line, or a table `{ 1 = 0, 2 = 5 }`."""
    if isinstance(value, str):
        pairs = [part.partition(":") for part in value.split(",")]
    elif isinstance(value, dict):
        pairs = [(str(key), ":", str(target)) for key, target in value.items()]
    else:
        raise mistake('must be a table { 1 = 0 } or text "1:0"')
    found: dict[int, int] = {}
    for key, _, target in pairs:
        numbers = [one.strip() for one in (key, target)]
        if not all(one.isascii() and one.isdigit() and len(one) <= 9 for one in numbers) or int(numbers[0]) in found:
            raise mistake("is not a map of dbs", "write it as { 1 = 0, 2 = 5 } (source db = db in the output)")
        found[int(numbers[0])] = int(numbers[1])
    return found


def _source_address(text: str) -> str:
    Source.parse(text, name="checked", password="")
    return text


def _beside(value: Path, info: Any) -> Path:
    """Paths are relative to the folder of the run file."""
    return Path((info.context or {}).get("folder", ".")) / value.expanduser()


DurationMs = Annotated[int, _parsed(units.parse_duration_ms)]
Seconds = Annotated[float, _parsed(lambda text: units.parse_duration_ms(text) / 1_000), Field(ge=0)]
PositiveSeconds = Annotated[float, _parsed(lambda text: units.parse_duration_ms(text) / 1_000), Field(gt=0)]
SizeBytes = Annotated[int, _parsed(units.parse_size_bytes)]
InstantMs = Annotated[int, _parsed(units.parse_instant_ms), BeforeValidator(_instant_ms)]
Db = Annotated[int, Field(ge=0, le=MOST_DB)]
DbMap = Annotated[dict[int, int], BeforeValidator(_db_map)]
Pattern = Annotated[KeyPattern, _parsed(parse_pattern)]
Target = Annotated[str, _parsed(lambda text: find_profile(text).name)]
ShardSlots = Annotated[list[Slots], _parsed(parse_slots)]
LocalPath = Annotated[Path, _parsed(Path), AfterValidator(_beside)]
Secret = Annotated[SecretStr, _parsed(SecretStr)]
Address = Annotated[str, _parsed(_source_address)]
Jobs = Annotated[int, Field(ge=1, le=1024)]


class Section(BaseModel):
    """A table of the file: nothing unknown is accepted, nothing is converted, and no value is in a message."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


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


class ServerKeys(Section):
    """How a server is reached, whatever it is used for."""

    user: str | None = None
    password: Secret | None = None
    password_file: LocalPath | None = None
    tls_ca: LocalPath | None = None
    tls_cert: LocalPath | None = None
    tls_key: LocalPath | None = None
    tls_sni: str | None = None
    tls_insecure: bool = False
    ssh: str | None = None
    ssh_config: LocalPath | None = None
    sentinel_user: str | None = None
    sentinel_password: Secret | None = None

    def options(self) -> dict[str, Any]:
        """The same for `Server.parse`. Raises UsageError for a password file that cannot be read."""
        options: dict[str, Any] = {"username": self.user, "password": self._password(), "tls_sni": self.tls_sni}
        for name in ("tls_ca", "tls_cert", "tls_key", "ssh_config"):
            path = getattr(self, name)
            options[name] = None if path is None else str(path)
        options |= {"tls_verify": not self.tls_insecure, "ssh": self.ssh, "sentinel_username": self.sentinel_user}
        if self.sentinel_password is not None:
            options["sentinel_password"] = self.sentinel_password.get_secret_value()
        return {name: value for name, value in options.items() if value is not None}

    def _password(self) -> str | None:
        if self.password is not None and self.password_file is not None:
            raise UsageError("password and password_file are both given", remedy="give one of them")
        if self.password_file is None:
            return None if self.password is None else self.password.get_secret_value()
        try:
            return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(
                f"cannot read the password file {self.password_file}: {reason}",
                remedy="give a file that holds the password",
            ) from error


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
        if self.shards is not None and self.slots is not None:
            raise mistake("shards and slots are both given", "give one of them")
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

"""The kinds of values that a run file may hold, and the keys that several of its tables share.

Each value is checked by the part of rdbmerge that it is for; a mistake is told in words, and never with a secret.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

from rdbmerge import units
from rdbmerge.errors import UsageError
from rdbmerge.plan.model import KeyPattern
from rdbmerge.plan.profile import find_profile
from rdbmerge.plan.selection import parse_pattern
from rdbmerge.plan.sharding import Slots, parse_slots
from rdbmerge.reach.server import Server
from rdbmerge.replication.source import Source
from rdbmerge.stores.base import ObjectUrl

MOST_DB = 999_999_999
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


def _target_address(text: str) -> str:
    Server.parse(text, name="checked", password="")
    return text


def _beside(value: Path, info: Any) -> Path:
    """Paths are relative to the folder of the run file."""
    return Path((info.context or {}).get("folder", ".")) / value.expanduser()


DurationMs = Annotated[int, _parsed(units.parse_duration_ms)]
Seconds = Annotated[float, _parsed(lambda text: units.parse_duration_ms(text) / 1_000), Field(ge=0)]
PositiveSeconds = Annotated[float, _parsed(lambda text: units.parse_duration_ms(text) / 1_000), Field(gt=0)]
SizeBytes = Annotated[int, _parsed(units.parse_size_bytes)]
PositiveSize = Annotated[int, _parsed(units.parse_size_bytes), Field(gt=0)]
InstantMs = Annotated[int, _parsed(units.parse_instant_ms), BeforeValidator(_instant_ms)]
Db = Annotated[int, Field(ge=0, le=MOST_DB)]
DbMap = Annotated[dict[int, int], BeforeValidator(_db_map)]
Pattern = Annotated[KeyPattern, _parsed(parse_pattern)]
Target = Annotated[str, _parsed(lambda text: find_profile(text).name)]
ShardSlots = Annotated[list[Slots], _parsed(parse_slots)]
LocalPath = Annotated[Path, _parsed(Path), AfterValidator(_beside)]
Secret = Annotated[SecretStr, _parsed(SecretStr)]
Address = Annotated[str, _parsed(_source_address)]
TargetAddress = Annotated[str, _parsed(_target_address)]
ObjectAddress = Annotated[ObjectUrl, _parsed(ObjectUrl.parse)]
Jobs = Annotated[int, Field(ge=1, le=1024)]


class Section(BaseModel):
    """A table of the file: nothing unknown is accepted, nothing is converted, and no value is in a message."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
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
        options: dict[str, Any] = {"username": self.user, "tls_sni": self.tls_sni}
        secrets = {
            "password": read_secret("password", self.password, self.password_file),
            "sentinel_password": self.sentinel_password,
        }
        options |= {name: None if secret is None else secret.get_secret_value() for name, secret in secrets.items()}
        for name in ("tls_ca", "tls_cert", "tls_key", "ssh_config"):
            path = getattr(self, name)
            options[name] = None if path is None else str(path)
        options |= {"tls_verify": not self.tls_insecure, "ssh": self.ssh, "sentinel_username": self.sentinel_user}
        return {name: value for name, value in options.items() if value is not None}


def read_secret(name: str, given: SecretStr | None, file: Path | None) -> SecretStr | None:
    """A secret from the run file (mostly out of the environment), or from a file of its own. Raises UsageError."""
    if given is not None and file is not None:
        raise UsageError(f"{name} and {name}_file are both given", remedy="give one of them")
    if file is None:
        return given
    try:
        return SecretStr(file.read_text(encoding="utf-8").rstrip("\r\n"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"cannot read the {name} file {file}: {reason}", remedy="give a file that holds it") from error

"""The options with which commands reach a store, or name an object as their output. Turns text into values; makes no
call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.options import Parsed, with_all
from rdbmerge.cli.output import talk
from rdbmerge.errors import UsageError

if TYPE_CHECKING:
    from rdbmerge.stores.base import S3Access


def _url(text: str) -> Any:
    from rdbmerge.stores.base import ObjectUrl

    return ObjectUrl.parse(text)


URL = Parsed("address", _url)


def _output(text: str) -> Any:
    return _url(text) if text.startswith("s3://") else Path(text)


SERVICES = ("elasticache", "memorydb")


def access_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of credentials, region and endpoint; the command gets them as one `access`."""

    @functools.wraps(command)
    def with_access(*, profile: str | None, region: str | None, endpoint_url: str | None, **values: Any) -> Any:
        from rdbmerge.stores.base import S3Access

        return command(access=S3Access(profile, region, endpoint_url), **values)

    return with_all(
        with_access,
        [
            click.option("--profile", metavar="NAME", help="Of ~/.aws; else as for the AWS CLI."),
            click.option("--region", metavar="NAME", help="Where to work, such as eu-west-1; else as for the AWS CLI."),
            click.option("--endpoint-url", metavar="URL", help="Of a store that speaks S3."),
        ],
    )


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the output of a merge; the command gets a file as `output`, or an object as `store`, or None of both."""

    @functools.wraps(command)
    def with_output(*, output: Any, access: S3Access, grant: bool, service: str | None, **values: Any) -> Any:
        store = None
        if output is not None and not isinstance(output, Path):
            from rdbmerge.steps.merge_to_store import StoreOutput  # boto3 is heavy

            store = StoreOutput(url=output, access=access, grant=grant, service=service or SERVICES[0], show=talk)
            output = None
        elif grant or service or access.profile or access.region or access.endpoint_url:
            raise UsageError(
                "an option for S3 is given, and no object as output", remedy="write -o s3://bucket/key, or leave it out"
            )
        return command(output=output, store=store, **values)

    return with_all(
        access_options(with_output),
        [
            click.option(
                "-o",
                "--output",
                type=Parsed("output", _output),
                metavar="FILE|s3://...",
                help="The merged file, or an object that it is streamed into.",
            ),
            grant_option,
            click.option("--service", type=click.Choice(SERVICES), help=f"Who is to read the object. [{SERVICES[0]}]"),
        ],
    )


grant_option = click.option(
    "--grant", is_flag=True, help="Let --service read the object: an ACL, or a statement in the bucket's policy."
)
service_option = click.option(
    "--service",
    type=click.Choice(SERVICES),
    default=SERVICES[0],
    show_default=True,
    help="Who is to read the object.",
)

"""The options with which commands reach a store. Turns text into values; makes no call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from rdbmerge.cli.options import Parsed, with_all


def _url(text: str) -> Any:
    from rdbmerge.stores.base import ObjectUrl

    return ObjectUrl.parse(text)


URL = Parsed("address", _url)
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

"""The command `upload-s3`: RDB files in, objects that a new cache can be seeded from out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rdbmerge.cli.files import refuse_existing_files, write_json
from rdbmerge.cli.objects import show_checks, show_upload
from rdbmerge.cli.options import SIZE, default_jobs, quiet_option, report_option
from rdbmerge.cli.output import say, talk
from rdbmerge.cli.progress import sum_progress
from rdbmerge.cli.stopping import stoppable
from rdbmerge.cli.store_options import access_options, grant_option, service_option
from rdbmerge.errors import UsageError

if TYPE_CHECKING:
    from rdbmerge.steps.upload_report import UploadReport
    from rdbmerge.stores.base import ObjectUrl, S3Access

EPILOG = """\b
Example:
  rdbmerge upload-s3 merged.rdb s3://seeds/2026/merged.rdb --grant
  rdbmerge upload-s3 shard.*.rdb s3://seeds/2026/ --grant --report upload.json
  rdbmerge upload-s3 merged.rdb s3://seeds/2026/merged.rdb --dry-run
  rdbmerge upload-s3 --abandon s3://seeds/2026/merged.rdb

Looks at the bucket first. The object is there when every byte of it was proved by a
checksum, encrypted by SSE-S3; its manifest goes beside it. Run the same command again
after an end of any kind: only missing parts are sent, and an object that holds the same
bytes already is left alone. Credentials, region and endpoint come as for the AWS CLI."""


@click.command("upload-s3", epilog=EPILOG, short_help="Upload RDB files to S3, proved, for a cache to be seeded.")
@click.argument("names", nargs=-1, required=True, metavar="FILE... s3://BUCKET/KEY")
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N", default=10, show_default=True, help="Parts at once.")
@click.option("--part-size", "part_bytes", type=SIZE, metavar="SIZE", help="[default: 64MB, more for above 625 GB]")
@click.option("--force", is_flag=True, help="Replace an object that exists, and the --report file.")
@grant_option
@service_option
@click.option("--dry-run", is_flag=True, help="Look, show what would be granted, and stop.")
@click.option("--abandon", is_flag=True, help="Give up every unfinished upload of this key; its parts cost money.")
@click.option("--bare", is_flag=True, help="Do not read the file first to tell seed-elasticache what is in it.")
@access_options
@report_option
@quiet_option
def upload_s3(
    names: Sequence[str],
    jobs: int,
    part_bytes: int | None,
    force: bool,
    grant: bool,
    service: str,
    dry_run: bool,
    abandon: bool,
    bare: bool,
    access: S3Access,
    report: Path | None,
    quiet: bool,
) -> None:
    """Upload RDB files to S3 so that a new cache can be seeded from them."""
    from rdbmerge.steps.upload import upload
    from rdbmerge.steps.upload_source import description

    pairs = _pairs(names, abandon)
    if abandon:
        return _abandon(pairs, access)
    refuse_existing_files(report, force=force)
    paths = [path for path, _ in pairs if path is not None]
    done: list[UploadReport] = []
    with stoppable() as stop, sum_progress(quiet, "upload", paths, lines=True) as progress:
        for path, url in pairs:
            if path is None:
                raise AssertionError("each address has a file, unless uploads are given up")
            one = upload(
                path, url, access=access, jobs=jobs, grant=grant, service=service, force=force, part_bytes=part_bytes,
                dry_run=dry_run, now_ms=time.time_ns() // 1_000_000, progress=progress, show=talk, stop=stop,
                on_checks=partial(show_checks, quiet=quiet or bool(done)),
                metadata={} if bare else description(path, jobs=default_jobs()),
            )  # fmt: skip
            done.append(one)
            show_upload(one)
    texts = [one.model_dump_json(indent=2) for one in done]
    write_json(report, texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    return None


def _pairs(names: Sequence[str], abandon: bool) -> list[tuple[Path | None, ObjectUrl]]:
    """Each file and where it goes."""
    from rdbmerge.stores.base import ObjectUrl

    url, files = ObjectUrl.parse(names[-1]), [Path(name) for name in names[:-1]]
    if not files and not abandon:
        raise UsageError("no file is named", remedy="name it before the address: merged.rdb s3://bucket/merged.rdb")
    if not url.is_prefix:
        if len(files) > 1:
            raise UsageError(f"{len(files)} files cannot become one object", remedy=f"end the address with /: {url}/")
        return [(files[0] if files else None, url)]
    if not files:
        raise UsageError(f"{url} is a folder", remedy="name the files, or one object")
    if len({file.name for file in files}) < len(files):
        raise UsageError("two files have the same name", remedy="upload them one by one")
    return [(file, url.inside(file.name)) for file in files]


def _abandon(pairs: Sequence[tuple[Path | None, ObjectUrl]], access: S3Access) -> None:
    from rdbmerge.steps.upload import abandon

    for path, url in pairs:
        count = abandon(path, url, access=access)
        say(f"{url}: {count} unfinished upload{'' if count == 1 else 's'} given up")

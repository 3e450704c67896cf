from __future__ import annotations

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.stores.base import ObjectUrl, is_dns_name, partition_of

pytestmark = pytest.mark.once


def test_an_address_is_a_bucket_and_a_key() -> None:
    url = ObjectUrl.parse("s3://seeds/2026/merged.rdb")
    assert (url.bucket, url.key, url.name) == ("seeds", "2026/merged.rdb", "merged.rdb")
    assert str(url) == "s3://seeds/2026/merged.rdb"
    assert url.arn() == "arn:aws:s3:::seeds/2026/merged.rdb"
    assert url.arn("aws-cn") == "arn:aws-cn:s3:::seeds/2026/merged.rdb"
    assert not url.is_prefix
    assert str(url.beside("other.rdb")) == "s3://seeds/2026/other.rdb"


def test_a_folder_gives_places_to_files() -> None:
    url = ObjectUrl.parse("s3://seeds/2026/")
    assert url.is_prefix
    assert (str(url.inside("a.rdb")), url.name) == ("s3://seeds/2026/a.rdb", "2026")
    assert str(ObjectUrl.parse("s3://seeds/a.rdb").beside("b.rdb")) == "s3://seeds/b.rdb"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("seeds/merged.rdb", "is not the address of an object"),
        ("https://seeds/merged.rdb", "is not the address of an object"),
        ("s3://", "names no bucket"),
        ("s3://a/b", "names no bucket"),
        ("s3://sp ace/key", "names no bucket"),
        ("s3://seeds", "names a bucket and no object in it"),
        ("s3://seeds/", "names a bucket and no object in it"),
        ("s3://seeds/" + "k" * 1025, "is longer than 1,024 bytes"),
        ("s3://seeds/a\nb", "has characters that cannot be seen"),
    ],
)
def test_what_is_no_address_is_refused(text: str, finding: str) -> None:
    with pytest.raises(UsageError, match=finding) as refused:
        ObjectUrl.parse(text)
    assert refused.value.remedy


@pytest.mark.parametrize("name", ["abc", "my-bucket.of.seeds", "0numbers9", "a" * 63])
def test_names_that_elasticache_can_read_from(name: str) -> None:
    assert is_dns_name(name)


@pytest.mark.parametrize(
    "name", ["ab", "a" * 64, "My-Bucket", "under_score", "-dash", "dash-", "dot..dot", ".dot", "a.-b", "10.0.0.1"]
)
def test_names_that_elasticache_cannot_read_from(name: str) -> None:
    assert not is_dns_name(name)


@pytest.mark.parametrize(
    ("region", "partition"), [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_each_region_has_its_partition(region: str, partition: str) -> None:
    assert partition_of(region) == partition

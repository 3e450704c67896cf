"""The lines of a preflight: each answer, with what to do where something is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr
from targets.asking import ARN, EVEN_TWO, GROUP, MEMORYDB, SERVERLESS, contents, request

from rdbmerge.preflight import Outcome, PreflightCheck, worst
from rdbmerge.snapshot.contents import PARTS, slot_shares_text
from rdbmerge.targets.preflight import CloudFacts, ObjectFacts, seed_checks

pytestmark = pytest.mark.once
OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED
HERE = "eu-west-1"
SOUND: dict[str, Any] = {
    "url": "s3://seed/merged.rdb", "key": "merged.rdb", "region": HERE, "size_bytes": 1_000, "encryption": "AES256",
    "contents": contents(),
}  # fmt: skip
CLOUD: dict[str, Any] = {"region": HERE, "engine_versions": ["7.2.6", "8.1.0"]}


def lines(
    said: dict[str, Any] = GROUP, one: dict | None = None, cloud: dict | None = None, more: dict | None = None
) -> dict[str, PreflightCheck]:
    facts = ObjectFacts(**{**SOUND, **(one or {})})
    checks = seed_checks(request(said, **(more or {})), [facts], CloudFacts(**{**CLOUD, **(cloud or {})}))
    return {check.name: check for check in checks}


def test_of_a_sound_request_nothing_failed_and_it_says_that_aws_was_not_asked() -> None:
    found = lines(more={"subnet_group": "net"})
    assert {name for name, check in found.items() if check.outcome is not OK} == {"not tried on AWS"}
    assert "stand-ins" in found["not tried on AWS"].finding


@pytest.mark.parametrize(
    ("one", "name", "outcome"),
    [
        ({"key": "merged,1.rdb"}, "object key", FAILED),
        ({"key": "merged.bin"}, "object key", WARNING),
        ({"missing": "it is not there"}, "object", FAILED),
        ({"encryption": "aws:kms"}, "object encryption", FAILED),
        ({"encryption": None}, "object encryption", WARNING),
        ({"storage_class": "GLACIER"}, "storage class", FAILED),
        ({"region": "us-east-1"}, "region", FAILED),
        ({"region": None}, "region", WARNING),
        ({"contents": None}, "contents", WARNING),
        ({"contents": None, "contents_problem": "of format 9"}, "contents", WARNING),
        ({"size_bytes": 999}, "contents", FAILED),
    ],
)
def test_what_is_wrong_with_an_object(one: dict, name: str, outcome: Outcome) -> None:
    check = lines(one=one)[name]
    assert check.outcome is outcome
    assert check.remedy or name == "region"


def test_another_region_is_refused_by_elasticache_and_advised_against_by_memorydb() -> None:
    assert lines(SERVERLESS, {"region": "us-east-1"})["region"].outcome is FAILED
    assert lines(MEMORYDB, {"region": "us-east-1"})["region"].outcome is WARNING


@pytest.mark.parametrize(
    ("more", "name", "outcome"),
    [
        ({"auth_token": SecretStr("Good-Token-123456")}, "AUTH token", OK),
        ({"auth_token": SecretStr("short")}, "AUTH token", FAILED),
        ({"auth_token": SecretStr("x" * 129)}, "AUTH token", FAILED),
        ({"auth_token": SecretStr("has a space and @ sign")}, "AUTH token", FAILED),
        ({"auth_token": SecretStr("Good-Token-123456"), "tls": False}, "AUTH token", FAILED),
        ({"tls": False}, "encryption", WARNING),
        ({"shards": EVEN_TWO, "replicas": 2}, "nodes", OK),
        ({"shards": [[(n * 512, n * 512 + 511)] for n in range(32)], "replicas": 3}, "nodes", WARNING),
        ({"shards": [[(n, n)] for n in range(251)], "replicas": 1}, "nodes", FAILED),
        ({}, "network", WARNING),
        ({"parameter_group": "default.valkey8.cluster.on"}, "slots", FAILED),
    ],
)
def test_what_is_wrong_with_a_request(more: dict, name: str, outcome: Outcome) -> None:
    check = lines(more=more)[name]
    assert check.outcome is outcome
    assert "Token-123456" not in check.finding


@pytest.mark.parametrize(
    ("cloud", "name", "outcome", "words"),
    [
        ({}, "name", OK, "no replication group sessions yet"),
        ({"existing": "available"}, "name", FAILED, "already"),
        ({"existing": "creating", "mine": True}, "name", OK, "goes on waiting"),
        ({"unknown": "AccessDenied"}, "name", WARNING, "AccessDenied"),
        ({"engine_versions": None}, "engine offered", WARNING, "could not be asked"),
        ({"engine_versions": ["7.2.6", "8.10.1"]}, "engine offered", FAILED, "offers no valkey 8.1"),
    ],
)
def test_what_the_account_says(cloud: dict, name: str, outcome: Outcome, words: str) -> None:
    check = lines(cloud=cloud)[name]
    assert check.outcome is outcome
    assert words in check.finding


def half(part: int) -> str:
    return slot_shares_text([float(at // (PARTS // 2) == part) for at in range(PARTS)])


def two_files(shares: tuple[str, str], **more: Any) -> dict[str, PreflightCheck]:
    objects = [ObjectFacts(**{**SOUND, "contents": contents(slot_shares=share)}) for share in shares]
    asked = request(GROUP, arns=(ARN, f"{ARN}2"), **more)
    return {check.name: check for check in seed_checks(asked, objects, CloudFacts(**CLOUD))}


def test_two_files_need_cluster_mode_and_keys_apart() -> None:
    assert two_files((half(0), half(1)))["number of files"].outcome is FAILED
    apart = two_files((half(0), half(1)), shards=EVEN_TWO)
    assert "number of files" not in apart
    assert apart["keys in two files"].outcome is OK
    assert two_files((half(0), half(0)), shards=EVEN_TWO)["keys in two files"].outcome is WARNING


def test_serverless_is_always_encrypted() -> None:
    found = lines(SERVERLESS)
    assert found["encryption"].outcome is OK
    assert worst(list(found.values())) is WARNING

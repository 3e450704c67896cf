"""Codes of refusals: what passes, what to do, and that endings of names do not matter."""

from __future__ import annotations

import pytest
from botocore.session import Session

from rdbmerge.targets.refusals import PASSING, is_about_credentials, remedy_of, same_code

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "code",
    [
        "InsufficientCacheClusterCapacity", "InsufficientCacheClusterCapacityFault", "NodeQuotaForCustomerExceeded",
        "ClusterQuotaForCustomerExceeded", "InvalidParameterCombination", "InvalidParameterCombinationException",
        "ReplicationGroupAlreadyExists", "ServerlessCacheAlreadyExistsFault", "UserGroupNotFound", "ExpiredToken",
        "AccessDeniedException", "UnrecognizedClientException", "ServiceLinkedRoleNotFoundFault",
    ],
)  # fmt: skip
def test_what_can_be_helped_has_a_remedy(code: str) -> None:
    assert remedy_of(code) != remedy_of("NobodyKnows")


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("elasticache", "CreateReplicationGroup"),
        ("elasticache", "CreateServerlessCache"),
        ("memorydb", "CreateCluster"),
    ],
)
def test_quotas_and_capacity_of_the_models_have_remedies(service: str, operation: str) -> None:
    shapes = Session().get_service_model(service).operation_model(operation).error_shapes
    codes = [shape.name for shape in shapes if "Quota" in shape.name or "Capacity" in shape.name]
    assert codes
    assert [code for code in codes if remedy_of(code) == remedy_of("NobodyKnows")] == []


def test_endings_do_not_matter() -> None:
    assert same_code("ReplicationGroupNotFoundFault", "ReplicationGroupNotFound")
    assert not same_code("ClusterNotFound", "ClusterAlreadyExists")


def test_throttling_passes_and_credentials_do_not() -> None:
    assert {"Throttling", "ThrottlingException", "RequestLimitExceeded"} <= PASSING
    assert is_about_credentials("ExpiredTokenException")
    assert not any(is_about_credentials(code) for code in PASSING)

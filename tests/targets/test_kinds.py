"""The tables of kinds say what the models of the services say."""

from __future__ import annotations

import pytest
from botocore.session import Session

from rdbmerge.targets.kinds import KINDS, Kind

pytestmark = pytest.mark.once


@pytest.mark.parametrize("kind", list(Kind))
def test_every_name_in_the_table_is_one_of_the_api(kind: Kind) -> None:
    facts = KINDS[kind]
    model = Session().get_service_model(facts.service)

    def operation(name: str):
        return model.operation_model("".join(part.capitalize() for part in name.split("_")))

    made, described = operation(facts.create), operation(facts.describe)
    asked = set(made.input_shape.members)
    assert {facts.name, facts.arns, facts.description, *facts.members.values()} <= asked
    assert facts.made in made.output_shape.members
    assert facts.listed in described.output_shape.members
    errors = {shape.metadata.get("error", {}).get("code", shape.name) for shape in made.error_shapes}
    errors |= {shape.name for shape in made.error_shapes}
    assert facts.exists in errors or f"{facts.exists}Fault" in errors
    absent = {shape.name for shape in described.error_shapes}
    assert facts.absent in absent


def test_failing_states_are_those_that_end_a_waiting() -> None:
    for facts in KINDS.values():
        assert {"create-failed", "restore-failed", "deleted", "incompatible-network"} <= facts.failed
        assert not {"creating", "available", "modifying", "snapshotting"} & facts.failed

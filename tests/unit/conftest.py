"""The table that the functions' parts work on, in moto."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from functions.shared.manifest import Manifests
from tests.statemachine.engine import REGION, TABLE, create_table, fresh_clients

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def dynamodb() -> Iterator["DynamoDBClient"]:
    """Return a client of an account that has the records table."""
    with mock_aws(), fresh_clients():
        client = boto3.client("dynamodb", region_name=REGION)
        create_table(client)
        yield client


@pytest.fixture
def manifests(dynamodb: "DynamoDBClient") -> Manifests:
    """Return the manifests of the table."""
    return Manifests(dynamodb, TABLE)

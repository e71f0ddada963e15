"""Corrections of CloudWatch Logs."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from tests.local_aws.aws.corrections._ministack import core, service, wrap


def query_definitions() -> None:
    """Keep saved Logs Insights queries.

    AWS: PutQueryDefinition creates or, with an id, replaces a saved query; DescribeQueryDefinitions lists them, if
    asked those whose names begin alike; DeleteQueryDefinition removes one (CloudWatch Logs API reference).

    MiniStack knows none of the three operations, so Terraform cannot deploy a saved query. They are kept per account
    and region, and run by nobody. To go when PutQueryDefinition answers.
    """
    logs, responses = service("cloudwatch_logs"), core("responses")
    definitions: Any = responses.AccountRegionScopedDict()

    def put(request: dict[str, Any]) -> Any:
        identifier = request.get("queryDefinitionId") or str(uuid.uuid4())
        if request.get("queryDefinitionId") not in (None, "", *definitions):
            return _not_found(responses)
        kept = {name: request[name] for name in ("name", "queryString", "logGroupNames") if name in request}
        definitions[identifier] = kept | {
            "queryDefinitionId": identifier,
            "lastModified": int(time.time() * 1000),
        }
        return responses.json_response({"queryDefinitionId": identifier})

    def describe(request: dict[str, Any]) -> Any:
        prefix = request.get("queryDefinitionNamePrefix", "")
        found = [one for one in definitions.values() if one["name"].startswith(prefix)]
        return responses.json_response({"queryDefinitions": found})

    def delete(request: dict[str, Any]) -> Any:
        if request.get("queryDefinitionId") not in definitions:
            return _not_found(responses)
        del definitions[request["queryDefinitionId"]]
        return responses.json_response({"success": True})

    operations = {"PutQueryDefinition": put, "DescribeQueryDefinitions": describe, "DeleteQueryDefinition": delete}

    def with_queries(handle: Any) -> Any:
        async def handle_request(method: str, path: str, headers: Any, body: bytes, query_params: Any) -> Any:
            operation = operations.get(headers.get("x-amz-target", "").rpartition(".")[2])
            if operation:
                return operation(json.loads(body or b"{}"))
            return await handle(method, path, headers, body, query_params)

        return handle_request

    wrap(logs, "handle_request", with_queries)


def key_association() -> None:
    """Let the KMS key of a log group be changed.

    AWS: AssociateKmsKey gives an existing log group a key, or another one, and DisassociateKmsKey takes it away
    (CloudWatch Logs API reference).

    MiniStack takes a key at the creation of a log group only and knows neither operation. To go when AssociateKmsKey
    answers.
    """
    logs, responses = service("cloudwatch_logs"), core("responses")

    def with_keys(handle: Any) -> Any:
        async def handle_request(method: str, path: str, headers: Any, body: bytes, query_params: Any) -> Any:
            operation = headers.get("x-amz-target", "").rpartition(".")[2]
            if operation not in ("AssociateKmsKey", "DisassociateKmsKey"):
                return await handle(method, path, headers, body, query_params)
            request = json.loads(body or b"{}")
            group = logs._log_groups.get(request.get("logGroupName", ""))
            if group is None:
                return responses.error_response_json(
                    "ResourceNotFoundException", "The specified log group does not exist.", 400
                )
            group["kmsKeyId"] = request.get("kmsKeyId") if operation == "AssociateKmsKey" else None
            return responses.json_response({})

        return handle_request

    wrap(logs, "handle_request", with_keys)


def _not_found(responses: Any) -> Any:
    return responses.error_response_json("ResourceNotFoundException", "There is no such query definition.", 400)

"""Which model stands for which definition of the official schemas, and which have none, with the reason."""

from __future__ import annotations

import re

from taut import models

ENVELOPE = "an envelope of JSON-RPC, which the core reads and writes without models"
UNION = "a union over messages, which METHODS enumerates"
BASE = "an abstract base that is never sent"
SCALAR = "a plain type alias"

WITHOUT_MODEL = {
    **dict.fromkeys(
        (
            "JSONRPCBatchRequest",
            "JSONRPCBatchResponse",
            "JSONRPCError",
            "JSONRPCErrorResponse",
            "JSONRPCMessage",
            "JSONRPCNotification",
            "JSONRPCRequest",
            "JSONRPCResponse",
            "JSONRPCResultResponse",
            "HeaderMismatchError",
            "InternalError",
            "InvalidParamsError",
            "InvalidRequestError",
            "MethodNotFoundError",
            "ParseError",
        ),
        ENVELOPE,
    ),
    **dict.fromkeys(
        (
            "ClientNotification",
            "ClientRequest",
            "ClientResult",
            "ServerNotification",
            "ServerRequest",
            "ServerResult",
        ),
        UNION,
    ),
    **dict.fromkeys(
        (
            "Annotated",
            "BaseMetadata",
            "Icons",
            "Notification",
            "PaginatedRequest",
            "Request",
            "ResourceRequestParams",
            "TaskAugmentedRequestParams",
        ),
        BASE,
    ),
    **dict.fromkeys(("JSONArray", "ResultType", "InputRequests", "InputResponses", "InputResponse"), SCALAR),
}

#: Definition -> model, where the names differ.
RENAMED = {
    "BlobResourceContents": models.ResourceContents,
    "TextResourceContents": models.ResourceContents,
    "CancelTaskResult": models.LegacyCancelTaskResult,
    "CreateTaskResult": models.LegacyCreateTaskResult,
    "GetTaskPayloadResult": models.LegacyGetTaskPayloadResult,
    "GetTaskResult": models.LegacyGetTaskResult,
    "ListTasksResult": models.LegacyListTasksResult,
    "Task": models.LegacyTask,
    "TaskStatusNotificationParams": models.LegacyTaskStatusParams,
    "ElicitRequestFormParams": models.ElicitParams,
    "ElicitRequestURLParams": models.ElicitParams,
    "EnumSchema": models.PrimitiveSchema,
    "SingleSelectEnumSchema": models.StringSchema,
    "LegacyTitledEnumSchema": models.StringSchema,
    "TitledSingleSelectEnumSchema": models.StringSchema,
    "UntitledSingleSelectEnumSchema": models.StringSchema,
    "MultiSelectEnumSchema": models.MultiSelectSchema,
    "TitledMultiSelectEnumSchema": models.MultiSelectSchema,
    "UntitledMultiSelectEnumSchema": models.MultiSelectSchema,
    "PrimitiveSchemaDefinition": models.PrimitiveSchema,
    "NumberSchema": models.NumberSchema | models.IntegerSchema,
    "Error": models.ErrorObject,
    "InputResponseRequestParams": models.InputResponseParams,
    "JSONObject": models.JsonObject,
    "JSONValue": models.JsonValue,
    "MissingRequiredClientCapabilityError": models.MissingRequiredClientCapabilityData,
    "UnsupportedProtocolVersionError": models.UnsupportedProtocolVersionData,
    "URLElicitationRequiredError": models.UrlElicitationRequiredData,
    "NotificationMetaObject": models.MetaObject,
    "ResultMetaObject": models.MetaObject,
    "SubscriptionsListenResultMetaObject": models.MetaObject,
    "RequestMetaObject": models.RequestMeta,
    "ResourceReference": models.ResourceTemplateReference,
    "SamplingMessageContentBlock": models.SamplingContent,
}


def method_of(schema: dict[str, object]) -> str | None:
    """Return the method whose message a definition is."""
    properties = schema.get("properties")
    method = properties.get("method") if isinstance(properties, dict) else None
    return method.get("const") if isinstance(method, dict) else None


def model_of(definition: str) -> object | None:
    """Return the model of a definition that is neither a message nor without a model."""
    if definition in RENAMED:
        return RENAMED[definition]
    if definition.endswith("ResultResponse"):
        return model_of(definition.removesuffix("Response"))
    name = re.sub(r"(Request|Notification)Params$", "Params", definition)
    for candidate in (definition, name):
        if hasattr(models, candidate):
            return getattr(models, candidate)
    return None


#: Request definition -> the definition of its result, where it is not named after it.
RESULT_OF = {
    "PingRequest": "EmptyResult",
    "SetLevelRequest": "EmptyResult",
    "SubscribeRequest": "EmptyResult",
    "UnsubscribeRequest": "EmptyResult",
}


def result_definition(request: str) -> str:
    """Return the definition of a request's result."""
    return RESULT_OF.get(request, request.removesuffix("Request") + "Result")

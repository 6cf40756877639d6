import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ResourceIdentifier(_message.Message):
    __slots__ = ("group", "resource", "namespace", "name")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    group: str
    resource: str
    namespace: str
    name: str
    def __init__(self, group: _Optional[str] = ..., resource: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ResourceSelector(_message.Message):
    __slots__ = ("includedNamespaces", "excludedNamespaces", "includedResources", "excludedResources", "selector")
    INCLUDEDNAMESPACES_FIELD_NUMBER: _ClassVar[int]
    EXCLUDEDNAMESPACES_FIELD_NUMBER: _ClassVar[int]
    INCLUDEDRESOURCES_FIELD_NUMBER: _ClassVar[int]
    EXCLUDEDRESOURCES_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    includedNamespaces: _containers.RepeatedScalarFieldContainer[str]
    excludedNamespaces: _containers.RepeatedScalarFieldContainer[str]
    includedResources: _containers.RepeatedScalarFieldContainer[str]
    excludedResources: _containers.RepeatedScalarFieldContainer[str]
    selector: str
    def __init__(self, includedNamespaces: _Optional[_Iterable[str]] = ..., excludedNamespaces: _Optional[_Iterable[str]] = ..., includedResources: _Optional[_Iterable[str]] = ..., excludedResources: _Optional[_Iterable[str]] = ..., selector: _Optional[str] = ...) -> None: ...

class OperationProgress(_message.Message):
    __slots__ = ("completed", "err", "nCompleted", "nTotal", "operationUnits", "description", "started", "updated")
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    ERR_FIELD_NUMBER: _ClassVar[int]
    NCOMPLETED_FIELD_NUMBER: _ClassVar[int]
    NTOTAL_FIELD_NUMBER: _ClassVar[int]
    OPERATIONUNITS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    completed: bool
    err: str
    nCompleted: int
    nTotal: int
    operationUnits: str
    description: str
    started: _timestamp_pb2.Timestamp
    updated: _timestamp_pb2.Timestamp
    def __init__(self, completed: _Optional[bool] = ..., err: _Optional[str] = ..., nCompleted: _Optional[int] = ..., nTotal: _Optional[int] = ..., operationUnits: _Optional[str] = ..., description: _Optional[str] = ..., started: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

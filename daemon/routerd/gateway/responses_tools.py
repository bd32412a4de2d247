"""The tools of OpenAI's responses: to a model all of them are functions, to their caller each is of its own kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from routerd_client.chat import FunctionSpec, Tool, ToolCall

from .format import BadRequestError, encode


class CustomForm(Struct, frozen=True):
    type: str = "text"
    syntax: str = ""
    definition: str = ""


class ToolSpec(Struct, frozen=True):
    """A tool as it is sent, of any type."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: CustomForm | None = None
    tools: list[ToolSpec] | None = None


class Tools:
    """Those of one request. The maker's own, that no model here could call, are named in ``left_out``."""

    def __init__(self, specs: Iterable[ToolSpec]) -> None:
        self.functions: list[Tool] = []
        self.left_out: list[str] = []
        self._kinds: dict[str, tuple[str, str, str]] = {}
        """By a function's name: the tool's type, namespace and own name."""
        self._take(specs, "", "tools")

    def has(self, name: str) -> bool:
        return name in self._kinds

    def keep(self, names: Iterable[str]) -> None:
        """Offer only these."""
        wanted = set(names)
        self.functions = [tool for tool in self.functions if tool.function.name in wanted]

    def item(self, call: ToolCall) -> dict[str, Any]:
        """``call`` as the caller knows it: an item of the answer, without its ``id`` and ``status``."""
        function = call.function
        kind, namespace, name = self._kinds.get(function.name, ("function", "", function.name))
        item: dict[str, Any] = {"type": "function_call", "call_id": call.id, "name": name}
        if namespace:
            item["namespace"] = namespace
        if kind == "custom":
            return {**item, "type": "custom_tool_call", "input": _input(function.arguments)}
        return {**item, "arguments": function.arguments or "{}"}

    def _take(self, specs: Iterable[ToolSpec], namespace: str, place: str) -> None:
        for at, spec in enumerate(specs):
            if spec.type == "namespace" and not namespace:
                self._take(spec.tools or (), spec.name, f"{place}[{at}].tools")
            elif spec.type not in ("function", "custom"):
                self.left_out.append(f"the tool {spec.type}")
            elif not spec.name:
                raise BadRequestError(f"{place}[{at}].name is missing", f"{place}[{at}].name")
            else:
                name = function_name(namespace, spec.name)
                self._kinds[name] = (spec.type, namespace, spec.name)
                self.functions.append(Tool(_custom(name, spec) if spec.type == "custom" else _function(name, spec)))


def function_name(namespace: str | None, name: str) -> str:
    """What a model calls a tool by."""
    return f"{namespace}__{name}" if namespace else name


def custom_arguments(text: str) -> str:
    """What a function gets that stands for a custom tool called with ``text``."""
    return encode({"input": text}).decode()


def _input(arguments: str) -> str:
    """The other way; a model that wrote no such object meant all of it."""
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def _function(name: str, spec: ToolSpec) -> FunctionSpec:
    return FunctionSpec(name, spec.description or "", spec.parameters, spec.strict)


def _custom(name: str, spec: ToolSpec) -> FunctionSpec:
    form, description = spec.format, spec.description or ""
    if form and form.definition:
        description += f"\n\nThe input keeps to this grammar ({form.syntax}):\n{form.definition}"
    properties = {"input": {"type": "string", "description": "All of the tool's input, as it is."}}
    parameters = {"type": "object", "properties": properties, "required": ["input"], "additionalProperties": False}
    return FunctionSpec(name, description, parameters)

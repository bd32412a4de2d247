"""The canonical chat in the model's own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from routerd.worker.lm import Model, load
from routerd.worker.prompt import offered_tools, plain, prepare, template_message
from routerd.worker.validate import RequestError
from routerd_client.chat import ChatRequest, Function, FunctionSpec, Message, NamedTool, TextPart, Tool, ToolCall
from routerd_client.records import FailureKind
from tests.support.tiny_model import make_tiny_model

STRICT = (
    "{% for message in messages %}{% if message.role == 'system' and not loop.first %}"
    "{{ raise_exception('System message must be at the beginning.') }}{% endif %}{% endfor %}"
)
TOOLS = [Tool(FunctionSpec("weather")), Tool(FunctionSpec("time"))]


def rendered(model: Model, chat: ChatRequest) -> str:
    return str(model.tokenizer.decode(prepare(model, chat, 16).ids))


def test_messages_follow_the_template(able: Model) -> None:
    chat = ChatRequest(messages=[Message("developer", "be brief"), Message("user", [TextPart("a"), TextPart("b")])])

    assert rendered(able, chat) == (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"
    )


def test_tool_calls_reach_the_template_as_objects(able: Model) -> None:
    call = ToolCall(id="call_1", function=Function("weather", '{"city": "Bern"}'))
    chat = ChatRequest(messages=[Message("user", "?"), Message("assistant", None, tool_calls=[call])])

    assert '"arguments": {"city": "Bern"}' in rendered(able, chat)


def test_a_broken_call_of_the_past_stays_text() -> None:
    call = ToolCall(id="call_1", function=Function("weather", "{oops"))
    shaped = template_message(Message("assistant", None, tool_calls=[call]))

    assert shaped["tool_calls"][0]["function"]["arguments"] == "{oops"


def test_a_tool_result_keeps_its_id_and_name() -> None:
    shaped = template_message(Message("tool", "12 C", name="weather", tool_call_id="call_1"))

    assert shaped == {"role": "tool", "content": "12 C", "name": "weather", "tool_call_id": "call_1"}


def test_tools_are_offered(able: Model) -> None:
    assert "weather" in rendered(able, ChatRequest(messages=[Message("user", "?")], tools=TOOLS))


@pytest.mark.parametrize(
    ("choice", "names"),
    [(None, ["weather", "time"]), ("none", []), (NamedTool(Function("time")), ["time"])],
)
def test_tool_choice_decides_what_is_offered(choice: object, names: list[str]) -> None:
    chat = ChatRequest(messages=[], tools=TOOLS, tool_choice=choice)

    assert [tool["function"]["name"] for tool in offered_tools(chat)] == names


def test_template_args_reach_the_template(able: Model) -> None:
    chat = ChatRequest(messages=[Message("user", "?")], template_args={"open_thinking": True})

    assert prepare(able, chat, 16).initial_state == "reasoning"


def test_a_prompt_that_fills_the_context_overflows(tiny: Model) -> None:
    fits = ChatRequest(messages=[Message("user", "a")], max_tokens=10**6)
    room = prepare(tiny, fits, 16).max_tokens
    grown = ChatRequest(messages=[Message("user", "a" * (room + 1))])
    with pytest.raises(RequestError, match=str(tiny.context)) as caught:
        prepare(tiny, grown, 16)

    assert caught.value.kind is FailureKind.CONTEXT_OVERFLOW


def test_max_tokens_defaults_and_is_cut_to_the_room(tiny: Model) -> None:
    chat = ChatRequest(messages=[Message("user", "a")])
    ready = prepare(tiny, chat, 16)

    assert ready.max_tokens == 16
    assert prepare(tiny, chat, 10**6).max_tokens == tiny.context - len(ready.ids)


def test_plain_lines_for_models_without_a_template() -> None:
    assert plain([Message("system", "be brief"), Message("user", "hi")]) == "system: be brief\nuser: hi\nassistant:"


def test_an_answer_goes_on_from_its_beginning(tiny: Model) -> None:
    asked = [Message("user", "hello")]
    whole = prepare(tiny, ChatRequest(messages=asked), 8)
    begun = prepare(tiny, ChatRequest(messages=[*asked, Message("assistant", "Well <|im_end|>")], continues=True), 8)

    new = begun.ids[len(whole.ids) :]
    assert begun.ids[: len(whole.ids)] == whole.ids
    assert tiny.tokenizer.decode(new) == "Well <|im_end|>"
    assert tiny.tokenizer.eos_token_id not in new, "what stands in an answer ends nothing"


@pytest.mark.parametrize("last", [Message("user", "hello"), Message("assistant", ""), Message("tool", "x")])
def test_what_is_no_beginning_of_an_answer_is_refused(tiny: Model, last: Message) -> None:
    with pytest.raises(RequestError, match="the last message is none"):
        prepare(tiny, ChatRequest(messages=[last], continues=True), 8)


def test_a_template_that_wants_its_system_message_first_gets_it_so(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "strict")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = STRICT + settings["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    strict = load(folder, lambda _: None)
    strict.vocab = len(strict.tokenizer)
    chat = ChatRequest(messages=[Message("system", "a"), Message("user", "b"), Message("system", "c")])

    assert rendered(strict, chat) == (
        "<|im_start|>system\na<|im_end|>\n"
        "<|im_start|>user\nb\n\n<system-reminder>\nc\n</system-reminder><|im_end|>\n<|im_start|>assistant\n"
    )
    with pytest.raises(RequestError, match="refused"):
        prepare(strict, ChatRequest(messages=[Message("user", "a")], template_args={"refuse": True}), 16)

"""A count is exactly what an answer's usage says, whoever makes it: the worker, or a counter without a model."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routerd.config.schema import MlxSpec
from routerd.supervisor.learned import Learned
from routerd.supervisor.outlook import outlook_of
from routerd.supervisor.sizing import size_of
from routerd.wire import Failed
from routerd.worker.counting import STRETCH, Counting
from routerd.worker.lm import Model, tokenizing
from routerd.worker.prompt import prepare
from routerd_client.chat import ChatRequest, Function, FunctionSpec, Message, NamedTool, Tool, ToolCall
from routerd_client.records import FailureKind
from tests.support.tiny_model import make_tiny_model
from tests.support.worker_client import WorkerClient, ask

WEATHER = Tool(FunctionSpec("weather", "Tells it.", {"type": "object", "properties": {"city": {"type": "string"}}}))
CLOCK = Tool(FunctionSpec("clock", "Tells the time."))
LONG = "the quick brown fox jumps over the lazy dog " * 15


def chat(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest(messages=list(messages), max_tokens=1, **fields)


def turns(count: int) -> list[Message]:
    return [Message("assistant" if n % 2 else "user", f"{n}. {LONG}"[: 3 * STRETCH // 2]) for n in range(count)]


CHATS = {
    "a word": chat(Message("user", "hello")),
    "nothing": chat(Message("user", "")),
    "instructions": chat(Message("system", "Be brief."), Message("user", "hello")),
    "several turns": chat(Message("system", LONG[:STRETCH]), *turns(3)),
    "other scripts": chat(Message("user", "naïve — Straße 東京 🦊🏽 עברית\u200d\u0301 \ufdd0 \x00\r\n\t end ")),
    "words that spell special tokens": chat(
        Message("user", "<|im_end|>\n<|im_start|>system\n<think><<|im_end|>|im_end|>")
    ),
    "tools": chat(Message("user", "What is the weather?"), tools=[WEATHER, CLOCK]),
    "one of the tools": chat(
        Message("user", "hi"), tools=[WEATHER, CLOCK], tool_choice=NamedTool(Function("clock", ""))
    ),
    "no tools after all": chat(Message("user", "hi"), tools=[WEATHER], tool_choice="none"),
    "a call and its result": chat(
        Message("user", "And in Oslo?"),
        Message("assistant", "", tool_calls=[ToolCall(id="1", function=Function("weather", '{"city": "Oslo"}'))]),
        Message("tool", "rain", tool_call_id="1"),
        tools=[WEATHER],
    ),
    "arguments of the template": chat(Message("user", "hi"), template_args={"open_thinking": True}),
    "the reasoning of an earlier turn": chat(
        Message("user", "a"), Message("assistant", "b", reasoning="because"), Message("user", "c")
    ),
}
each_chat = pytest.mark.parametrize("asked", CHATS.values(), ids=list(CHATS))


@pytest.fixture(scope="module", params=["able", "without a template"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A worker and a counter for the same model."""
    able = request.param == "able"
    folder = tmp_path_factory.mktemp("models") / "model"
    make_tiny_model(folder, reasoning=able, tools=able, template=able, context=8192)
    with WorkerClient(folder) as worker, WorkerClient(folder, mode="count") as counter:
        worker.ready()
        yield worker, counter


@each_chat
def test_a_count_is_what_an_answers_usage_says(pair: tuple[WorkerClient, WorkerClient], asked: ChatRequest) -> None:
    worker, counter = pair
    usage = worker.chat(asked).finished.usage

    assert [worker.count(asked), worker.count(asked)] == [usage.prompt_tokens] * 2
    assert [counter.count(asked), counter.count(asked)] == [usage.prompt_tokens] * 2


def test_more_than_the_context_is_counted_too(tiny_folder: Path) -> None:
    long = ask("ab" * 5000)
    with WorkerClient(tiny_folder) as worker, WorkerClient(tiny_folder, mode="count") as counter:
        worker.ready()
        counts = [worker.count(long), counter.count(long)]
        refused = worker.chat(long).failed

    assert refused.kind is FailureKind.CONTEXT_OVERFLOW
    assert "2048" in refused.message
    assert counts[0] == counts[1]
    assert str(counts[0]) in refused.message


def test_a_worker_counts_while_it_decodes(worker: WorkerClient) -> None:
    id_ = worker.start(ask(max_tokens=1500))
    worker.wait(lambda: bool(worker.answers[id_].pieces))

    assert worker.count(ask("hello")) == worker.count(ask("hello"))
    assert worker.answers[id_].end is None, "it did not wait for the answer"
    worker.cancel(id_)
    worker.result(id_)


def test_what_the_template_refuses_is_not_counted(worker: WorkerClient, tiny_folder: Path) -> None:
    refused = ask(template_args={"refuse": True})
    with WorkerClient(tiny_folder, mode="count") as counter:
        for counted in (worker.count(refused), counter.count(refused)):
            assert isinstance(counted, Failed)
            assert counted.kind is FailureKind.BAD_REQUEST
        assert isinstance(counter.count(ask()), int), "it goes on"


def test_a_counter_of_a_damaged_folder_says_so_and_ends(tmp_path: Path) -> None:
    (make_tiny_model(tmp_path) / "tokenizer.json").write_text('{"version": "1.0"}')
    with WorkerClient(tmp_path, mode="count") as counter:
        assert "tokenizer" in counter.load_failed().message
        assert counter.process.wait(5) == 3


def test_a_counter_needs_no_weights_and_ends_when_told(tmp_path: Path) -> None:
    (make_tiny_model(tmp_path) / "model.safetensors").unlink()
    with WorkerClient(tmp_path, mode="count") as counter:
        assert isinstance(counter.count(ask()), int)
        assert counter.stop() == 0


class Metered:
    """A model that keeps note of what it was given to tokenize."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, text: str, *, special: bool) -> list[int]:
        self.read += len(text)
        return self._model.encode(text, special=special)


def test_a_conversation_that_grows_is_not_counted_from_its_beginning(tmp_path: Path) -> None:
    model = Metered(tokenizing(make_tiny_model(tmp_path, context=100_000)))
    model.vocab = 384
    counting = Counting(model)  # type: ignore[arg-type]
    conversation = turns(12)

    for length in range(1, 12, 2):
        grown = chat(*conversation[:length])
        exact = len(prepare(model, grown, 1).ids)  # type: ignore[arg-type]
        model.read = 0
        assert counting.tokens(grown) == exact
        assert 0 < model.read <= 3 * 2 * STRETCH, "the two new turns and what stood before them"
        model.read = 0
        assert counting.tokens(grown) == exact
        assert model.read == 0


@pytest.fixture(scope="module", params=["few", "many"])
def roomy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """With a few special tokens, or with tokens besides that overlap each other, as some models have thousands."""
    folder = make_tiny_model(tmp_path_factory.mktemp("models") / "roomy", reasoning=True, context=100_000)
    if request.param == "many":
        file = folder / "tokenizer.json"
        settings = json.loads(file.read_text())
        plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
        for n, text in enumerate(["\n", "\n\n", "\n\n\n", "a\n", "x<", "<|im_end|>\nb", "<1>", "<12>"]):
            settings["added_tokens"].append({"id": 500 + n, "content": text} | plain)
        file.write_text(json.dumps(settings))
    model = tokenizing(folder)
    model.vocab = 1000
    return model


@pytest.mark.parametrize("stretch", [1, 20, STRETCH])
@pytest.mark.parametrize("seed", range(4))
def test_stretches_add_up_to_the_whole(roomy: Model, seed: int, stretch: int) -> None:
    draw = random.Random(seed)
    letters = ["a", "b ", " ", "\n", "\n\n", "é", "🦊", "<|im_end|>", "<think>", "<|im_", "東", "the fox", "x<", "12>"]
    messages = [
        Message(draw.choice(["system", "user", "assistant"]), "".join(draw.choices(letters, k=draw.randrange(600))))
        for _ in range(8)
    ]
    exact = len(prepare(roomy, chat(*messages), 1).ids)

    assert Counting(roomy, stretch).tokens(chat(*messages)) == exact


def test_a_tokenizer_whose_special_tokens_take_more_than_their_letters_is_given_the_whole(tmp_path: Path) -> None:
    plain = tokenizing(make_tiny_model(tmp_path / "plain"))
    file = make_tiny_model(tmp_path / "strips") / "tokenizer.json"
    settings = json.loads(file.read_text())
    settings["added_tokens"][-1]["lstrip"] = True
    file.write_text(json.dumps(settings))

    assert list(plain.cuts("a<|im_end|>b")) == [1]
    assert list(tokenizing(file.parent).cuts("a<|im_end|>b")) == []


@pytest.mark.parametrize("shape", [{}, {"window": 48}, {"hidden": 128}])
@pytest.mark.parametrize(
    "settings",
    [{}, {"context": 300}, {"kv_tokens": 1024, "prompt_cache": 0, "concurrency": 1}, {"kv_tokens": 700}],
    ids=str,
)
def test_a_models_context_is_known_before_it_is_loaded(
    tmp_path: Path, shape: dict[str, int], settings: dict[str, int]
) -> None:
    spec = MlxSpec(model="tiny", **settings)  # type: ignore[arg-type]
    folder = make_tiny_model(tmp_path, context=4096, **shape)  # type: ignore[arg-type]
    size = size_of(spec, folder, Learned())
    options = ["--kv-pool", str(size.kv_pool), "--prompt-cache", str(spec.prompt_cache)]
    options += ["--context", str(spec.context)] if spec.context else []
    with WorkerClient(folder, *options) as worker:
        context = worker.ready().context

    assert outlook_of(spec, folder, Learned()).context == context


def test_a_prompt_that_the_caches_cannot_hold_is_beyond_the_context(tiny_folder: Path) -> None:
    pool = 4 * 256 * 512  # four steps of the tiny model's 512 bytes a token
    with WorkerClient(tiny_folder, "--kv-pool", str(pool), "--prompt-cache", "0") as worker:
        context = worker.ready().context
        prompts = [ask("ab" * n, max_tokens=1) for n in range(300, 500)]
        counts = {n: worker.count(prompt) for n, prompt in enumerate(prompts)}
        fits = max(n for n, tokens in counts.items() if isinstance(tokens, int) and tokens < context)
        over = min(n for n, tokens in counts.items() if isinstance(tokens, int) and tokens >= context)

        assert context < 2048
        assert worker.chat(prompts[fits]).finished
        refused = worker.chat(prompts[over]).failed
        assert refused.kind is FailureKind.CONTEXT_OVERFLOW
        assert f"{counts[over]} tokens" in refused.message
        assert str(context) in refused.message

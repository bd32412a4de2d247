"""An answer computed from NaN or infinity fails as the model's fault, and those of its batch go on."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import pytest

from routerd.wire import Generate
from routerd.worker.lm import Model, load
from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind
from tests.support.random_model import architectures, make_random_model
from tests.support.tiny_model import make_tiny_model
from tests.support.worker_client import WorkerClient, ask

from .in_process import run_engine

POISON = "~"
"""The letter whose embedding is damaged: a prompt without it is computed as ever."""


def damage(folder: Path, value: float) -> Path:
    """Set the embedding of `POISON` to ``value``."""
    token = load(folder, lambda _: None).encode(POISON, special=False)
    file = folder / "model.safetensors"
    tensors = dict(mx.load(str(file)))
    (name,) = [name for name in tensors if "embed_tokens" in name]
    tensors[name][mx.array(token)] = value
    mx.save_safetensors(str(file), tensors, metadata={"format": "mlx"})
    return folder


@pytest.fixture(scope="module", params=[float("nan"), float("inf")])
def damaged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = damage(make_tiny_model(tmp_path_factory.mktemp("models") / "damaged"), request.param)
    return load(folder, lambda _: None)


@pytest.mark.parametrize(
    "sampling",
    [{}, {"temperature": 0.8}, {"temperature": 0.8, "seed": 3}, {"temperature": 0.5, "top_k": 5}],
    ids=["greedy", "warm", "seeded", "top_k"],
)
def test_only_the_answer_without_numbers_fails(damaged: Model, tiny: Model, sampling: dict[str, float]) -> None:
    chats = [ask("one two"), ask(f"a {POISON} letter", sampling=sampling), ask("three")]
    got = run_engine(damaged, [Generate(id=n, chat=chat) for n, chat in enumerate(chats)])

    failed = got.failed(1)
    assert failed.kind is FailureKind.INVALID_LOGITS
    assert "not finite" in failed.message
    assert got.text(1) == ""
    sound = run_engine(tiny, [Generate(id=n, chat=chat) for n, chat in enumerate([chats[0], chats[2]])])
    assert [got.text(0), got.text(2)] == [sound.text(0), sound.text(1)]


@pytest.mark.parametrize("chat", [ask(POISON, max_tokens=1), ask(POISON, max_tokens=1, sampling={"seed": 1})])
def test_an_answer_of_one_token_is_looked_at_too(damaged: Model, chat: ChatRequest) -> None:
    assert run_engine(damaged, [Generate(id=0, chat=chat)]).failed(0).kind is FailureKind.INVALID_LOGITS


def test_a_model_served_one_by_one_is_looked_at_too(tmp_path: Path) -> None:
    folder = damage(make_random_model(tmp_path / "model", architectures()["llama4"]), float("nan"))
    with WorkerClient(folder) as worker:
        assert worker.ready().alone
        failed, sound = worker.start_all([ask(POISON, max_tokens=1), ask("one", max_tokens=1)])
        assert worker.result(failed).failed.kind is FailureKind.INVALID_LOGITS
        assert worker.result(sound).finished


def test_forbidden_tokens_are_no_fault(tiny: Model) -> None:
    """A bias of minus infinity is how some forbid a token: what is drawn beside it is sound."""
    chat = ask("one", sampling={"logit_bias": {5: -1e4}, "temperature": 0.9, "top_k": 1, "top_p": 0.1})
    assert run_engine(tiny, [Generate(id=0, chat=chat)]).finished(0)

"""What routerd relies on in mlx_lm: a new version that breaks one of these breaks here first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlx_lm.generate import BatchGenerator

from routerd.worker import lm
from routerd.worker.lm import Model
from tests.support.tiny_model import make_tiny_model


def generate(model: Model, prompt: list[int], count: int) -> list[Any]:
    generator, found = model.generator(2), []
    generator.insert([prompt], max_tokens=[count])
    while len(found) < count:
        found += generator.next()[1]
    return found


def test_the_generator_has_what_the_engine_uses() -> None:
    used = {"insert", "insert_segments", "extract_cache", "remove", "next", "stats", "close", "prompt_cache_nbytes"}

    assert used <= set(dir(BatchGenerator))


def test_a_response_carries_what_the_engine_reads(tiny: Model) -> None:
    *earlier, last = generate(tiny, [1, 2, 3], 4)

    assert {response.finish_reason for response in earlier} == {None}
    assert last.finish_reason == "length"
    assert last.logprobs.shape == (tiny.vocab,)
    assert isinstance(last.token, int)


def test_the_prefill_step_can_be_changed_between_steps(tiny: Model) -> None:
    generator = tiny.generator(2)
    (uid,) = generator.insert([list(range(1, 101))], max_tokens=[1])
    progress = []
    for size in (16, 32):
        generator.prefill_step_size = size
        with generator.stats() as stats:
            (response,), _ = generator.next()
        progress.append((response.uid, *response.progress, stats.prompt_tokens))
        assert stats.prompt_time > 0

    assert progress == [(uid, 16, 100, 16), (uid, 48, 100, 32)]


def test_removing_an_ended_request_is_harmless(tiny: Model) -> None:
    generator = tiny.generator(2)
    (uid,) = generator.insert([[1, 2]], max_tokens=[1])
    while not generator.next()[1]:
        pass
    generator.remove([uid])

    assert generator.next() == ([], [])


def test_the_likeliest_tokens_come_in_order(tiny: Model) -> None:
    (response,) = generate(tiny, [1, 2, 3], 1)
    found = lm.likeliest(response.logprobs, 5)

    assert found[0][0] == response.token
    assert len({token for token, _ in found}) == 5


def test_capabilities_are_read_off_the_tokenizer(tiny: Model, able: Model) -> None:
    assert (tiny.tools, tiny.reasoning) == (False, False)
    assert (able.tools, able.reasoning) == (True, True)


def test_the_context_is_the_models_own(tiny: Model) -> None:
    assert tiny.context == 2048


@pytest.mark.parametrize(
    ("text", "defaults"),
    [
        ('{"do_sample": true, "temperature": 0.6, "top_k": 20, "eos_token_id": 3}', {"temperature": 0.6, "top_k": 20}),
        ('{"do_sample": false, "temperature": 0.6}', {}),
        ("{", {}),
    ],
)
def test_the_makers_sampling_is_the_default(tmp_path: Path, text: str, defaults: dict[str, float]) -> None:
    (make_tiny_model(tmp_path) / "generation_config.json").write_text(text)

    assert lm.load(tmp_path, lambda _: None).defaults == defaults

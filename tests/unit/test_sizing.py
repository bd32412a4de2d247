"""What a process is planned to have, and how it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from routerd.config.schema import MlxSpec
from routerd.supervisor.command import worker_command
from routerd.supervisor.errors import ProcessFailedError
from routerd.supervisor.learned import Learned
from routerd.supervisor.sizing import CACHE_LIMIT, Size, size_of
from routerd.worker.__main__ import parse
from routerd_client.records import FailureKind
from tests.support.tiny_model import make_adapter, make_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Path:
    return make_adapter(folder.parent / "adapter", folder)


def test_every_limit_reaches_the_worker() -> None:
    spec = MlxSpec(model="tiny", context=512, concurrency=3, prompt_cache=1000, adapter="/adapters/a")
    command = worker_command(spec, Path("/models/tiny"), 5, Size(claim=9000, kv_pool=4000, buffers=2000))
    told = parse(command[command.index("serve") :])

    assert (told.memory, told.kv_pool, told.buffers, told.prompt_cache) == (9000, 4000, 2000, 1000)
    assert (told.concurrency, told.context, told.adapter) == (3, 512, Path("/adapters/a"))


def test_the_parts_fit_into_the_claim(folder: Path) -> None:
    size = size_of(MlxSpec(model="tiny"), folder, Learned())

    assert size.kv_pool > 0
    assert 0 < size.buffers <= CACHE_LIMIT
    assert size.footprint
    assert size.kv_pool + size.buffers + size.footprint.weights < size.claim


def test_an_adapter_is_part_of_the_size_and_of_what_is_learned(folder: Path, adapter: Path) -> None:
    plain = size_of(MlxSpec(model="tiny"), folder, Learned())
    adapted = size_of(MlxSpec(model="tiny", adapter=str(adapter)), folder, Learned())
    tensors = 2 * 2 * 64 * 2 * 4  # two layers, two matrices of 64 x 2, float32

    assert adapted.claim - plain.claim == tensors
    assert adapted.key != plain.key


def test_an_adapter_that_is_gone_fails_the_load(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ProcessFailedError, match=r"no .*adapters.safetensors") as caught:
        size_of(MlxSpec(model="tiny", adapter=str(tmp_path)), folder, Learned())
    assert caught.value.kind is FailureKind.LOAD_FAILED


def test_a_light_use_lowers_the_claim_no_further_than_what_may_be_used(folder: Path) -> None:
    spec, learned = MlxSpec(model="tiny"), Learned()
    planned = size_of(spec, folder, learned)
    assert planned.footprint
    learned.record(planned.key, planned.footprint, peak=1)
    lowered = size_of(spec, folder, learned)
    least = planned.footprint.weights + planned.footprint.base + planned.kv_pool + planned.buffers
    assert lowered.claim == least < planned.claim


def test_a_heavy_use_raises_the_claim(folder: Path) -> None:
    spec, learned = MlxSpec(model="tiny"), Learned()
    planned = size_of(spec, folder, learned)
    assert planned.footprint
    learned.record(planned.key, planned.footprint, peak=planned.claim + 5)
    assert size_of(spec, folder, learned).claim == planned.claim + 5

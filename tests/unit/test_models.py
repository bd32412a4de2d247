"""Model references, and where their files are."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from routerd.models import listing
from routerd.models.errors import BrokenModelError, ModelNotFoundError
from routerd.models.folder import check_folder
from routerd.models.hub import Repository
from routerd.models.listing import ListedFile, Listing
from routerd.models.lock import locked
from routerd.models.reference import Kind, ModelReference, converted_folder, resolve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The smallest folder that looks like a whole model."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    write_safetensors(folder / "model.safetensors")
    return folder


def write_safetensors(file: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("demo", Kind.DEMO),
        ("/models/qwen", Kind.FOLDER),
        ("~/models/qwen", Kind.FOLDER),
        ("./qwen", Kind.FOLDER),
        ("../qwen", Kind.FOLDER),
        ("/models/qwen.gguf", Kind.GGUF),
        ("qwen.Q4_0.GGUF", Kind.GGUF),
        ("mlx-community/Qwen3-4B-Instruct-2507-4bit", Kind.HUB),
        ("org/name@v1.0", Kind.HUB),
        ("org/name@refs/pr/1", Kind.HUB),
    ],
)
def test_a_reference_says_what_it_is(text: str, kind: Kind) -> None:
    assert ModelReference.parse(text).kind is kind


def test_a_folder_that_is_there_wins_over_an_id(tmp_path: Path) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)

    assert ModelReference.parse("org/name", tmp_path) == ModelReference("org/name", Kind.FOLDER, tmp_path / "org/name")
    assert ModelReference.parse("org/other", tmp_path).kind is Kind.HUB


def test_relative_paths_count_from_the_base(tmp_path: Path) -> None:
    assert ModelReference.parse("./qwen", tmp_path).path == tmp_path / "qwen"
    assert ModelReference.parse("~/qwen", tmp_path).path == Path.home() / "qwen"


def test_an_id_may_pin_a_revision() -> None:
    reference = ModelReference.parse("org/name@v1")

    assert reference.repository
    assert (reference.repository.name, reference.revision) == ("org/name", "v1")
    assert ModelReference.parse("org/name").revision == ""


@pytest.mark.parametrize("text", ["", "qwen", "a/b/c", "org/na me", "org/name@", "org/name@../x", "org/..", "-x@v"])
def test_other_texts_are_no_references(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model"):
        ModelReference.parse(text, tmp_path / "nowhere")


def test_a_folder_resolves_to_itself(folder: Path, tmp_path: Path) -> None:
    assert resolve(ModelReference.parse(str(folder)), tmp_path) == folder


@pytest.mark.parametrize("text", ["/nowhere/at/all", "/nowhere.gguf"])
def test_what_is_not_there_says_what_to_do(text: str, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(ModelReference.parse(text), tmp_path)

    assert caught.value.hint


def test_a_folder_without_config_is_no_model(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        resolve(ModelReference.parse(str(folder)), tmp_path)


def test_the_demo_has_to_be_prepared_first(tmp_path: Path) -> None:
    demo = ModelReference.parse("demo")
    assert resolve(demo, tmp_path) is None
    made = converted_folder(demo, tmp_path)
    made.mkdir(parents=True)

    assert resolve(demo, tmp_path) == made == tmp_path / "models" / made.name


def snapshot(repository: Repository, commit: str, folder: Path, *, listed: dict[str, int] | None = None) -> Path:
    """A commit in the cache that holds what ``folder`` does; ``listed`` adds to its listing, by name and size."""
    copy = shutil.copytree(folder, repository.snapshot(commit))
    if listed is not None:
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()} | listed
        files = {name: ListedFile(size, "0" * 40) for name, size in sizes.items()}
        listing.write(repository.listing(commit), Listing(files))
    return copy


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.of("org/name", tmp_path / "hub")


def test_without_a_revision_that_of_main_is_taken(repository: Repository, folder: Path) -> None:
    main, newer = snapshot(repository, "aaa", folder), snapshot(repository, "bbb", folder)
    assert repository.whole() == newer
    repository.ref("main").parent.mkdir()
    repository.ref("main").write_text("aaa")

    assert repository.whole() == main


def test_a_pinned_revision_is_never_another(repository: Repository, folder: Path) -> None:
    pinned, _ = snapshot(repository, "aaa", folder), snapshot(repository, "bbb", folder)
    repository.ref("v1").parent.mkdir()
    repository.ref("v1").write_text("aaa")

    assert repository.whole("v1") == repository.whole("aaa") == pinned
    assert repository.whole("v2") is None


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_half_a_download_is_passed_over(repository: Repository, folder: Path, missing: str) -> None:
    whole = snapshot(repository, "aaa", folder)
    (snapshot(repository, "bbb", folder) / missing).unlink()

    assert repository.whole() == whole
    assert repository.flaw("bbb")


@pytest.mark.parametrize("listed", [{"generation_config.json": 10}, {"model.safetensors": 1_000_000}])
def test_what_the_listing_names_must_be_there_with_its_size(
    repository: Repository, folder: Path, listed: dict[str, int]
) -> None:
    snapshot(repository, "aaa", folder, listed=listed)

    assert repository.whole() is None
    assert repository.flaw("aaa") == f"{next(iter(listed))} missing"


def test_what_no_model_needs_may_be_missing(repository: Repository, folder: Path) -> None:
    whole = snapshot(
        repository, "aaa", folder, listed={"README.md": 10, "modeling.py": 10, "consolidated.safetensors": 1}
    )

    assert repository.whole() == whole


def test_a_listing_that_cannot_be_read_is_as_none(repository: Repository, folder: Path) -> None:
    whole = snapshot(repository, "aaa", folder)
    for content in ["", "[]", '{"files": {}, "format_version": 2}', '{"files": {"a": {}}, "format_version": 1}']:
        repository.listing("aaa").parent.mkdir(exist_ok=True)
        repository.listing("aaa").write_text(content)

        assert repository.whole() == whole


def test_an_id_that_is_not_there_has_to_be_prepared_first(tmp_path: Path) -> None:
    reference = ModelReference.parse("org/never-downloaded")

    assert resolve(reference, tmp_path) is None


def test_a_whole_folder_passes(folder: Path) -> None:
    check_folder(folder)


def test_an_index_that_names_what_is_there_passes(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model.safetensors"}}')

    check_folder(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\xff" * 100, struct.pack("<Q", 2) + b"[]"])
def test_weights_that_are_no_safetensors_are_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(BrokenModelError):
        check_folder(folder)


@pytest.mark.parametrize("content", ["", "[]", '{"model_type": 1}', "\x00"])
def test_a_config_that_says_nothing_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(BrokenModelError):
        check_folder(folder)


async def test_a_lock_is_waited_for_until_its_deadline(tmp_path: Path) -> None:
    async with locked(tmp_path / "lock", timeout=1):
        with pytest.raises(TimeoutError):
            async with locked(tmp_path / "lock", timeout=0.01):
                pass


async def test_a_lock_goes_from_one_to_the_next(tmp_path: Path) -> None:
    holders: list[int] = []

    async def hold(number: int) -> None:
        async with locked(tmp_path / "deep" / "lock", timeout=10):
            holders.append(number)
            await anyio.lowlevel.checkpoint()
            assert holders[-1] == number, "nobody else came in"

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(hold, number)

    assert sorted(holders) == [0, 1, 2]


def test_nothing_of_mlx_or_the_hub_is_loaded() -> None:
    """Asked of a fresh interpreter, as other tests load it into this one."""
    heavy = {"huggingface_hub", "mlx", "mlx_lm", "transformers"}
    code = f"import sys, routerd.models.inventory; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

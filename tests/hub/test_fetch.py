"""Downloading: whole, resumed, refused, and never half a model that looks whole."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest

from routerd.models.folder import check_folder
from routerd.models.hub import Repository

from .pulling import NEEDED, WEIGHTS, Machine

CUT = 150_000


def test_a_whole_download_is_a_model_that_loads(machine: Machine, tiny: Path) -> None:
    last = machine.fetch()[-1]

    folder = Path(last["path"])
    assert folder == machine.whole
    check_folder(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: (tiny / name).read_bytes() for name in NEEDED
    }


def test_code_is_never_downloaded(machine: Machine) -> None:
    machine.fetch()

    assert {asked.file for asked in machine.hub.asked} == NEEDED


def test_progress_counts_the_bytes_of_all_files_and_never_goes_back(machine: Machine, tiny: Path) -> None:
    machine.hub.cuts.append(CUT)
    machine.hub.ranges = False
    *lines, _ = machine.fetch()

    done = [line.get("done", 0) for line in lines]
    assert done == sorted(done)
    assert {line["total"] for line in lines} == {done[-1]} == {sum((tiny / name).stat().st_size for name in NEEDED)}


def test_a_second_download_asks_for_no_content(machine: Machine) -> None:
    machine.fetch()
    before = len(machine.hub.asked)
    machine.fetch()

    assert len(machine.hub.asked) == before


def test_after_a_cut_only_the_rest_is_fetched(machine: Machine, tiny: Path) -> None:
    machine.hub.cuts.extend([CUT, 1000])
    assert "path" in machine.fetch()[-1]

    starts = [asked.start for asked in machine.hub.asked if asked.file == WEIGHTS]
    assert starts == [0, CUT, CUT + 1000]
    assert machine.hub.sent(WEIGHTS) == (tiny / WEIGHTS).stat().st_size


def test_a_killed_download_goes_on_where_it_was(machine: Machine, tiny: Path) -> None:
    with machine.half_fetched() as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        had = machine.part_size
        assert machine.whole is None
    assert "path" in machine.fetch()[-1]

    assert [asked.start for asked in machine.hub.asked if asked.file == WEIGHTS] == [0, had]
    assert machine.whole
    assert (machine.whole / WEIGHTS).read_bytes() == (tiny / WEIGHTS).read_bytes()


def test_a_half_download_is_not_a_model(machine: Machine) -> None:
    with machine.half_fetched():
        snapshot = next(machine.repository.folder.glob("snapshots/*"))

        assert {path.name for path in snapshot.iterdir()} == NEEDED - {WEIGHTS}
        assert machine.whole is None
        assert machine.repository.flaw(snapshot.name) == f"{WEIGHTS} missing"


def test_a_download_whose_reader_has_gone_ends(machine: Machine) -> None:
    with machine.half_fetched() as process:
        assert process.stdout
        process.stdout.close()
        machine.hub.release.set()

        assert process.wait(15) != 0


def test_what_was_damaged_on_disk_is_fetched_anew(machine: Machine) -> None:
    with machine.half_fetched():
        pass
    part = machine.part
    assert part
    part.write_bytes(bytes(machine.part_size))

    assert "path" in machine.fetch()[-1]
    assert [asked.start for asked in machine.hub.asked if asked.file == WEIGHTS][-1] == 0


@pytest.mark.parametrize("wrong", [{"damage": b"damaged"}, {"short": 1000}])
def test_content_that_is_not_what_is_listed_is_not_kept(machine: Machine, wrong: dict[str, object]) -> None:
    for name, value in wrong.items():
        setattr(machine.hub, name, value)
    error, hint = machine.error()

    assert f"{WEIGHTS}: what was sent is not what the hub lists" in error
    assert hint
    assert machine.whole is machine.part is None
    assert not [path for path in machine.repository.folder.rglob("*") if path.name == WEIGHTS]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_hub_is_asked_again_when_it_says(machine: Machine, status: int) -> None:
    machine.hub.refusals.extend([(status, {"Retry-After": "0"})] * 4)

    assert "path" in machine.fetch()[-1]


def test_a_hub_that_stays_busy_is_given_up(machine: Machine) -> None:
    machine.hub.refusals.extend([(429, {"Retry-After": "0"})] * 50)
    error, _ = machine.error()

    assert "429" in error
    assert "tried 5 times" in error


def test_a_hub_that_asks_for_hours_is_not_waited_for(machine: Machine) -> None:
    machine.hub.refusals.append((429, {"Retry-After": "7200"}))

    assert "7200 s" in machine.error()[1]


def test_an_unknown_model_says_to_check_the_name(machine: Machine) -> None:
    error, hint = machine.error("org/tny")

    assert "org/tny" in error
    assert "check the name" in hint
    assert "HF_TOKEN" in hint


def test_an_unknown_revision_is_named(machine: Machine) -> None:
    assert "no revision v9" in machine.error("org/tiny", "--revision", "v9")[0]


def test_a_gated_model_says_where_its_terms_are(machine: Machine) -> None:
    machine.hub.repos["org/tiny"].gated = True
    error, hint = machine.error()

    assert "accepted its terms" in error
    assert f"{machine.hub.address}/org/tiny" in hint


def test_a_model_of_another_format_is_refused_before_anything_is_fetched(machine: Machine) -> None:
    files = machine.hub.repos["org/tiny"].files
    files["tiny.gguf"] = files.pop(WEIGHTS)

    assert "model*.safetensors" in machine.error()[0]
    assert machine.hub.asked == []


def test_without_the_library_it_says_what_to_install(machine: Machine) -> None:
    code = "import sys; sys.modules['huggingface_hub'] = None; from routerd.models.fetch import main; main()"
    command = [sys.executable, "-c", code, "org/tiny"]
    done = subprocess.run(command, capture_output=True, text=True, env=machine.environment, check=False)

    assert "huggingface_hub" in json.loads(done.stdout)["error"]
    assert "pip install" in json.loads(done.stdout)["hint"]


def test_a_token_opens_a_private_model_and_goes_to_the_hub_alone(machine: Machine) -> None:
    machine.hub.repos["org/tiny"].token = "hf_secret"
    machine.settings = {"HF_TOKEN": "hf_secret"}
    lines = machine.fetch()

    assert "path" in lines[-1]
    assert "hf_secret" not in json.dumps(lines)
    sent = {asked.file: asked.authorization for asked in machine.hub.asked}
    assert sent["config.json"] == "Bearer hf_secret"
    assert sent[WEIGHTS] is None, "the storage it redirects to is another host"


def test_the_token_that_hf_auth_login_left_is_used(machine: Machine) -> None:
    machine.hub.repos["org/tiny"].token = "hf_secret"
    (machine.home / "hf").mkdir()
    (machine.home / "hf" / "token").write_text("hf_secret")

    assert "path" in machine.fetch()[-1]


def test_a_wrong_token_is_said_to_be_wrong(machine: Machine) -> None:
    machine.hub.repos["org/tiny"].token = "hf_secret"
    machine.settings = {"HF_TOKEN": "hf_wrong"}
    error, _ = machine.error()

    assert "does not accept your token" in error
    assert "hf_wrong" not in error


def test_offline_says_what_is_missing(machine: Machine) -> None:
    machine.settings = {"HF_HUB_OFFLINE": "1"}
    error, hint = machine.error()

    assert error == "org/tiny is not on this machine"
    assert "HF_HUB_OFFLINE" in hint
    assert machine.hub.listings == 0


def test_offline_names_the_files_of_a_half_download_that_are_missing(machine: Machine) -> None:
    with machine.half_fetched():
        pass
    machine.settings = {"HF_HUB_OFFLINE": "1"}

    assert machine.error()[0] == f"org/tiny is not on this machine: {WEIGHTS} missing"


def test_a_disk_that_is_too_small_is_found_before_the_download(machine: Machine) -> None:
    machine.hub.repos["org/tiny"].listed_more = 10**17
    error, hint = machine.error()

    assert "GB more" in error
    assert "routerctl models ls" in hint
    assert machine.hub.asked == []


@pytest.mark.parametrize("name", ["../../escaped.json", "/tmp/escaped.json"])
def test_names_that_lead_out_of_the_cache_are_refused(machine: Machine, name: str) -> None:
    machine.hub.repos["org/tiny"].files[name] = b"{}"

    assert "makes no sense" in machine.error()[0]
    assert list(machine.home.rglob("escaped.json")) == []


def test_the_cache_is_where_the_environment_says(machine: Machine) -> None:
    machine.settings = {"HF_HUB_CACHE": str(machine.home / "other")}
    folder = Path(machine.fetch()[-1]["path"])

    assert Repository.of("org/tiny", machine.home / "other").whole() == folder
    assert machine.whole is None


def test_a_revision_is_found_again_by_its_name_and_its_commit(machine: Machine) -> None:
    folder = Path(machine.fetch("org/tiny", "--revision", "v1")[-1]["path"])

    assert machine.repository.whole("v1") == machine.repository.whole(folder.name) == folder
    assert machine.repository.whole("v2") is None


def test_an_update_on_the_hub_is_another_commit(machine: Machine) -> None:
    old = Path(machine.fetch()[-1]["path"])
    machine.hub.repos["org/tiny"].files["config.json"] += b" "
    before = len(machine.hub.asked)
    new = Path(machine.fetch()[-1]["path"])

    assert new == machine.whole != old
    assert [asked.file for asked in machine.hub.asked[before:]] == ["config.json"], "what stayed the same is shared"


def test_what_huggingface_hub_downloaded_is_whole(machine: Machine) -> None:
    code = "import huggingface_hub; huggingface_hub.snapshot_download('org/tiny')"
    subprocess.run([sys.executable, "-c", code], check=True, env=machine.environment, capture_output=True)

    assert machine.whole


def test_what_was_downloaded_is_whole_for_huggingface_hub(machine: Machine) -> None:
    path = machine.fetch()[-1]["path"]
    found = huggingface_hub.snapshot_download(
        "org/tiny", cache_dir=machine.repository.root, local_files_only=True, allow_patterns=[*NEEDED]
    )

    assert found == path

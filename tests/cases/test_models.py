"""Finding a model by name, fingerprinting it, reading its shape."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from joulegrid.cases.contract import Places
from joulegrid.cases.models import CASES, SMALL_FILE_BYTES, fingerprint, model_shape, packaged_models, resolve_model
from joulegrid.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(CASES / "tiny-lm", tmp_path / "study" / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "study" / "copied"


def test_a_packaged_model_a_relative_and_an_absolute_path_are_the_same_model(copied: Path) -> None:
    places = Places(copied.parent)
    packaged = resolve_model("tiny-lm", places)
    relative = resolve_model("copied", places)
    absolute = resolve_model(str(copied), Places(copied))
    assert packaged.fingerprint == relative.fingerprint == absolute.fingerprint
    assert packaged.location == str(CASES / "tiny-lm")
    assert relative.location == absolute.location == str(copied)
    assert packaged_models() == ["tiny-lm"]


def test_a_folder_beside_the_study_goes_before_a_packaged_model(copied: Path) -> None:
    copied.rename(copied.parent / "tiny-lm")
    assert resolve_model("tiny-lm", Places(copied.parent)).location == str(copied.parent / "tiny-lm")


def test_changed_weights_change_the_fingerprint_and_a_readme_does_not(copied: Path) -> None:
    before = fingerprint(copied)
    (copied / "README.md").write_text("about it")
    assert fingerprint(copied) == before
    weights = copied / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert fingerprint(copied) != before


def test_large_weights_are_known_by_header_and_size(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"n_layer": 2, "n_embd": 64, "n_head": 4}))
    count = SMALL_FILE_BYTES // 4 + 10
    header = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 4 * count)  # sparse
    before = fingerprint(folder)
    (folder / "config.json").write_text(json.dumps({"n_layer": 3, "n_embd": 64, "n_head": 4}))
    assert fingerprint(folder) != before
    shape = model_shape(folder)
    assert (shape.parameters, shape.weight_bytes, shape.layers, shape.head_dim) == (count, 4 * count, 3, 16)


def test_the_shape_is_read_without_loading() -> None:
    shape = model_shape(CASES / "tiny-lm")
    assert shape.parameters == 918_656
    assert shape.bytes_by_dtype == {"BF16": 2 * 918_656}
    assert (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.head_dim) == (4, 128, 4, 2, 32)
    assert shape.kv_bytes_per_token(4) == 2 * 4 * 2 * 32 * 4


@pytest.mark.parametrize("name", ["no-such-model", "./nothing", "/nothing/here"])
def test_an_unknown_name_lists_what_was_tried_and_what_is_packaged(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Tried the path .*packaged cases \(tiny-lm\).*owner/name"):
        resolve_model(name, Places(tmp_path))


def test_a_folder_without_weights_and_a_file_that_is_cut_off_are_usage_errors(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(UsageError, match="cut off"):
        model_shape(copied)
    weights.unlink()
    with pytest.raises(UsageError, match="lacks"):
        resolve_model(str(copied), Places(copied))


def test_an_index_that_names_a_missing_part_is_a_usage_error(copied: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    shutil.copy(copied / "model.safetensors", copied / "model-1.safetensors")
    with pytest.raises(UsageError, match="model-2"):
        resolve_model("copied", Places(copied.parent))


def _resolve_offline(name: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Resolve in a process of its own: the hub's library reads its settings when it is imported."""
    code = (
        "import sys; from pathlib import Path; from joulegrid.cases.contract import Places\n"
        "from joulegrid.cases.models import resolve_model\n"
        "found = resolve_model(sys.argv[1], Places(Path('/')))\n"
        "assert 'torch' not in sys.modules; print(found.fingerprint, found.location)"
    )
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_hub_name_becomes_its_commit_out_of_the_local_cache(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--owner--name"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    done = _resolve_offline("owner/name", tmp_path)
    assert done.stdout.split() == [f"hub:owner/name@{COMMIT}"] * 2, done.stderr


def test_a_hub_name_that_cannot_be_reached_says_how_to_help_oneself(tmp_path: Path) -> None:
    done = _resolve_offline("owner/name", tmp_path)
    assert "PreFlightError" in done.stderr
    assert "hf download owner/name" in done.stderr

"""From a model's name to what it is: where it lies, its fingerprint, its shape. No torch, no weights are read.

A name is looked for as a path (absolute, `~`, or existing relative to the study), then as a packaged case
(`cases/<name>/`), then as `owner/name` or `owner/name@revision` on the Hugging Face hub, where it becomes a commit.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from joulegrid.cases.contract import Input, Places
from joulegrid.errors import PreFlightError, UsageError

CASES = Path(__file__).resolve().parent
SMALL_FILE_BYTES = 16 * 2**20
"""Up to here a weights' file is hashed whole; above it the header and the size speak for it."""
_HEADER_LIMIT_BYTES = 100 * 2**20  # the safetensors format's own limit
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
_HUB_TIMEOUT_S = 10.0
_FETCHED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.py")
"""What transformers reads of a repository whose weights are safetensors; not the same weights in other formats."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What config.json and the weights' headers say. `None` where a configuration does not say it in known words."""

    parameters: int
    """Numbers stored in the weights' files; a tied output matrix is stored, and counted, once."""
    bytes_by_dtype: dict[str, int]
    """Safetensors dtype (`BF16`, `F32`, …) → bytes."""
    layers: int | None
    hidden: int | None
    heads: int | None
    kv_heads: int | None
    head_dim: int | None

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights as they are stored."""
        return sum(self.bytes_by_dtype.values())

    def kv_bytes_per_token(self, bytes_per_number: int) -> int | None:
        """Bytes of keys and values for one token: 2 · layers · KV heads · head size · bytes per number."""
        if self.layers is None or self.kv_heads is None or self.head_dim is None:
            return None
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_per_number


def resolve_model(name: str, places: Places) -> Input:
    """Return the fingerprint and the location of a model: an absolute path, or `hub:NAME@COMMIT`.

    `UsageError` where nothing of this name is found, with what was tried and which cases are packaged.
    """
    folder = model_folder(name, places)
    if folder is not None:
        return Input(fingerprint=fingerprint(folder), location=str(folder))
    if _HUB_NAME.fullmatch(name):
        located = f"hub:{hub_commit(name)}"
        return Input(fingerprint=located, location=located)
    raise UsageError(
        f"model: {name!r} was not found. Tried the path {places.file(name)} and the packaged cases"
        f" ({', '.join(packaged_models()) or 'none'}); a name on the Hugging Face hub has the form owner/name."
    )


def model_folder(name: str, places: Places) -> Path | None:
    """Return the local folder of a model by path or packaged case; `None` where it could only be on the hub."""
    path = places.file(name)
    if path.is_dir():
        return path.resolve()
    if _is_packaged(name):
        return CASES / name
    if path.is_file():
        raise UsageError(f"model: {path} is a file; name the folder with config.json and *.safetensors")
    return None


def _is_packaged(name: str) -> bool:
    """Whether `packaged_models` has the name, without a look at all the others: a plan asks once a combination."""
    folder = CASES / name
    return Path(name).name == name and all((folder / file).is_file() for file in ("manifest.yaml", "config.json"))


def packaged_models() -> list[str]:
    """Names of the models that come with Joulegrid: the cases that have a config.json and a manifest."""
    return sorted(path.parent.name for path in CASES.glob("*/manifest.yaml") if (path.parent / "config.json").is_file())


def fingerprint(folder: Path) -> str:
    """Return `sha256:…` over config.json, tokenizer.json and each weights' file in the folder.

    A weights' file up to 16 MiB counts whole, a larger one by its safetensors header (names, dtypes, shapes,
    offsets) and its size: two large models that differ in values alone have the same fingerprint.
    """
    files = [folder / "config.json", *_optional(folder / "tokenizer.json"), *weight_files(folder)]
    if not files[0].is_file():
        raise UsageError(f"model: {folder} has no config.json")
    return _fingerprint(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=256)
def _fingerprint(files: tuple[tuple[str, int, int], ...]) -> str:
    """Hash files given as (path, size, mtime); the last two are here so that a changed file is read again."""
    digest = hashlib.sha256()
    for text, size, _ in files:
        path = Path(text)
        large = path.suffix == ".safetensors" and size > SMALL_FILE_BYTES
        content = _header_bytes(path) if large else path.read_bytes()
        digest.update(f"{path.name}\0{size}\0{len(content)}\0".encode() + content)
    return f"sha256:{digest.hexdigest()}"


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that a loader would read: those of the index, else the single one, else all."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = [folder / name for name in sorted(set(_read_json(index)["weight_map"].values()))]
    else:
        single = folder / "model.safetensors"
        files = [single] if single.is_file() else sorted(folder.glob("*.safetensors"))
    missing = [path.name for path in files if not path.is_file()]
    if missing or not files:
        raise UsageError(f"model: {folder} lacks {', '.join(missing) or '*.safetensors (other formats are not read)'}")
    return files


def model_shape(folder: Path) -> ModelShape:
    """Read parameter count, bytes by dtype and the decoder's dimensions; `UsageError` where a file is not readable."""
    parameters, sizes = 0, dict[str, int]()
    for path in weight_files(folder):
        header = _parse(path, _header_bytes(path)[8:])
        for name, tensor in header.items():
            if name != "__metadata__":
                start, end = tensor["data_offsets"]
                parameters += math.prod(tensor["shape"])
                sizes[tensor["dtype"]] = sizes.get(tensor["dtype"], 0) + end - start
    config = _read_json(folder / "config.json")
    config = config.get("text_config") or config
    layers, hidden = _first(config, "num_hidden_layers", "n_layer"), _first(config, "hidden_size", "n_embd")
    heads = _first(config, "num_attention_heads", "n_head")
    kv_heads = _first(config, "num_key_value_heads") or heads
    head_dim = _first(config, "head_dim") or (hidden // heads if hidden and heads else None)
    return ModelShape(parameters, sizes, layers, hidden, heads, kv_heads, head_dim)


def hub_commit(name: str) -> str:
    """Return `owner/name@COMMIT` for a hub name; asks the hub, and where that cannot be, the local cache."""
    from huggingface_hub import HfApi

    errors: Any = import_module("huggingface_hub.errors")  # names httpx's HTTPError whichever httpx it is built on
    repository, _, revision = name.partition("@")
    try:
        commit = HfApi().model_info(repository, revision=revision or None, timeout=_HUB_TIMEOUT_S).sha
        return f"{repository}@{commit}"
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise UsageError(f"model: the hub has no {name!r} that can be read from here ({_line(error)})") from error
    except (errors.HTTPError, OSError) as error:
        cached = hub_cache(name)
        if cached is None:
            raise PreFlightError(
                f"model: {name!r} is neither a folder nor a packaged case ({', '.join(packaged_models())}), the hub"
                f" cannot be reached ({_line(error)}) and it is not in the local cache. Download it where there is a"
                f" network (`hf download {repository}`) or name a folder."
            ) from error
        return f"{repository}@{cached.name}"


def hub_cache(name: str) -> Path | None:
    """Return the folder of a hub name in the local cache, without any network; its name is the commit."""
    if not _HUB_NAME.fullmatch(name):
        return None
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = name.partition("@")
    found = try_to_load_from_cache(repository, "config.json", revision=revision or "main")
    return Path(found).parent if isinstance(found, str) else None


def hub_folder() -> Path:
    """Return the folder of the local cache of hub models (`HF_HUB_CACHE`, `HF_HOME`)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).absolute()


def fetch_from_hub(name: str) -> Path:
    """Download what a task needs of a hub model into the local cache, so that a node without network finds it there.

    Takes `owner/name` or `owner/name@revision`. `PreFlightError` where it cannot be had, or is not complete.
    """
    from huggingface_hub import snapshot_download

    errors: Any = import_module("huggingface_hub.errors")
    repository, _, revision = name.partition("@")
    try:
        # By name, not by commit: the cache then knows which commit the name meant.
        snapshot_download(repository, revision=revision or None, allow_patterns=list(_FETCHED))
    except (errors.HFValidationError, errors.HTTPError, OSError, ValueError) as error:
        raise PreFlightError(f"model: {name!r} cannot be fetched from the hub: {_line(error)}") from error
    folder = hub_cache(name)
    if folder is None:
        raise PreFlightError(f"model: {name!r} is not in the local cache ({hub_folder()}) after it was fetched")
    weight_files(folder)
    return folder


def _header_bytes(path: Path) -> bytes:
    """A safetensors file's first 8 bytes (the header's length, little-endian) and its JSON header."""
    with path.open("rb") as file:
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little")
        header = file.read(length) if length <= _HEADER_LIMIT_BYTES else b""
    if len(prefix) < 8 or len(header) != length:
        raise UsageError(f"model: {path} is not a safetensors file, or cut off")
    return prefix + header


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"model: {path} is missing")
    return _parse(path, path.read_bytes())


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise UsageError(f"model: {path} is not readable as JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise UsageError(f"model: {path} holds no JSON object")
    return parsed


def _first(config: dict[str, Any], *names: str) -> int | None:
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)


def _optional(path: Path) -> list[Path]:
    return [path] if path.is_file() else []


def _line(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

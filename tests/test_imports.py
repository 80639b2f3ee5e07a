"""What an import costs and pulls in, and that the folder `kernels` does not hide Hugging Face's package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import joulegrid

ROOT = Path(__file__).parents[1]
HEAVY = {
    "ray",
    "torch",
    "transformers",
    "pyarrow",
    "boto3",
    "botocore",
    "matplotlib",
    "numpy",
    "pynvml",
    "prometheus_client",
    "optuna",
    "scipy",
}
PUBLIC = [
    "ExecutionConfig",
    "ExperimentConfig",
    "ExperimentResult",
    "Searcher",
    "StudyConfig",
    "StudyResult",
    "Told",
    "WAIT",
    "expand_grid",
    "meter",
    "run_experiment",
    "run_study",
]

LOADED = "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
COMMAND = f"""
import json, sys
from joulegrid.jobs.cli import main
try:
    main()
finally:
    {LOADED}
"""


def loaded_by(code: str, *arguments: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded at the end; it runs in the root of the repository."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["plan", "studies/quickstart.yaml"]], ids=" ".join)
def test_a_command_that_starts_nothing_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = loaded_by(COMMAND, *arguments)
    assert "joulegrid" in loaded
    assert loaded & HEAVY == set()


def test_the_package_alone_loads_next_to_nothing() -> None:
    loaded = loaded_by(f"import joulegrid, json, sys; {LOADED}")
    assert loaded & (HEAVY | {"pydantic", "typer", "rich", "yaml"}) == set()


def test_the_configurations_load_nothing_heavy() -> None:
    loaded = loaded_by(f"import json, sys; from joulegrid import StudyConfig, ExperimentConfig; {LOADED}")
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_imported(name: str) -> None:
    assert name in joulegrid.__all__
    value = getattr(joulegrid, name)
    known_as = value.name if name == "WAIT" else value.__name__  # a member; the others are classes and functions
    assert known_as == name


def test_all_public_names_are_told() -> None:
    assert sorted({*PUBLIC, "__version__"}) == sorted(joulegrid.__all__)
    assert dir(joulegrid) == sorted(joulegrid.__all__)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="run_study"):
        _ = joulegrid.run_everything


COLLISION = """
import sys
sys.path.insert(0, sys.argv[1])
import kernels
from transformers import AutoModelForCausalLM
import joulegrid.kernels.device
print(AutoModelForCausalLM.__module__, kernels.__file__, joulegrid.kernels.device.__file__, sep="\\n")
"""


def test_transformers_is_not_led_astray_by_the_folder_kernels(tmp_path: Path) -> None:
    # Without an __init__.py the folder loses to a real package of that name, however early it stands on sys.path.
    command = [sys.executable, "-c", COLLISION, str(ROOT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    model, theirs, ours = done.stdout.splitlines()
    assert model.startswith("transformers.")
    assert "site-packages" in theirs
    assert Path(ours).samefile(ROOT / "kernels" / "device.py")

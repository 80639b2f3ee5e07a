"""The batch file as text: options, quoting, walltimes, and what is refused."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.cluster.slurm import Allocation, BatchJob, batch_file
from joulegrid.errors import UsageError

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), max_size=20)


def job(command: tuple[str, ...] = ("python", "-m", "joulegrid"), **fields: object) -> BatchJob:
    allocation = Allocation(**fields)  # type: ignore[arg-type]
    return BatchJob("quick", command, "/shared/all runs/slurm", "/opt/a b/bin/python", allocation)


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_options_of_sbatch_stand_at_the_top() -> None:
    asked = Allocation(4, gpus_per_node=8, cpus_per_task=96, time="4:00:00", partition="h100", account="a")
    lines = directives(batch_file(BatchJob("quick", ("true",), "/shared/all runs/slurm", "python3", asked)))
    expected = ["--nodes=4", "--ntasks-per-node=1", "--gpus-per-node=8", "--cpus-per-task=96", "--time=4:00:00"]
    assert set(expected) <= set(lines)
    assert {"--partition=h100", "--account=a", "--requeue", "--open-mode=append", "--exclusive"} <= set(lines)
    assert "--signal=B:USR1@300" in lines
    assert "--output='/shared/all runs/slurm/quick-%j.log'" in lines


def test_what_is_not_asked_for_is_left_to_the_partition() -> None:
    names = {line.partition("=")[0] for line in directives(batch_file(job()))}
    assert names & {"--time", "--gpus-per-node", "--cpus-per-task", "--partition", "--account"} == set()


def test_further_options_are_passed_on_and_win() -> None:
    options = ("mem=64G", "--exclusive=user", "constraint=a&b", "no-kill=")
    lines = directives(batch_file(job(options=options)))
    assert {"--mem=64G", "--exclusive=user", "--constraint='a&b'", "--no-kill"} <= set(lines)
    assert "--exclusive" not in lines


@pytest.mark.parametrize("option", ["mem", "=64G", "Mem=1", "mem 64=1", ""])
def test_an_option_without_key_and_value_is_a_usage_error(option: str) -> None:
    with pytest.raises(UsageError, match="give KEY=VALUE"):
        batch_file(job(options=(option,)))


def test_options_on_which_draining_rests_cannot_be_changed() -> None:
    with pytest.raises(UsageError, match="draining and requeueing"):
        batch_file(job(options=("signal=USR2@10",)))


def test_a_line_break_cannot_smuggle_in_another_line() -> None:
    with pytest.raises(UsageError, match="line break"):
        batch_file(job(partition="a\n#SBATCH --account=b"))
    with pytest.raises(UsageError, match="line break"):
        batch_file(job(command=("python", "a\nb")))


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(UsageError, match="--nodes 0"):
        batch_file(job(nodes=0))


MALFORMED = ["4h", "", "1:2:3:4", "1-", "-1", "1.5", "1-2:3:4:5", "\uff19"]  # the last one is a digit, but not SLURM's
OUT_OF_RANGE = ["0", "0:30", "00:00:00", "0-00", "9" * 30]


@pytest.mark.parametrize("text", MALFORMED + OUT_OF_RANGE)
def test_another_walltime_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--time"):
        batch_file(job(time=text))
    with pytest.raises(UsageError, match="--time"):
        batch_file(job(options=(f"time={text}",)))


@pytest.mark.parametrize(("time", "lead_s"), [("1", 6), ("20", 120), ("2-00", 300), (None, 300)])
def test_the_drain_begins_five_minutes_before_the_end_or_a_tenth_of_the_walltime(time: str | None, lead_s: int) -> None:
    assert Allocation(time=time).drain_lead_s() == lead_s


@settings(max_examples=30)
@given(st.lists(WORDS, max_size=5))
def test_every_word_of_the_command_reaches_the_node_as_it_was(words: list[str]) -> None:
    text = batch_file(job(command=("printf", "%s\\0", *words)))
    [line] = [line for line in text.split("\n") if line.startswith("  printf ")]
    done = subprocess.run(["bash", "-c", line.removesuffix(' --address "$address" &')], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == (words or [""])


def test_the_file_is_a_script_that_bash_can_read() -> None:
    text = batch_file(job(time="1-00", gpus_per_node=2))
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_no_secret_of_this_side_stands_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")
    text = batch_file(job())
    assert "of-another-cluster" not in text
    assert "RAY_AUTH_MODE=token" in text  # a token of the job's own, made when it starts

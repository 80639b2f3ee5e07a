"""The batch file that runs a command on a Ray cluster inside a SLURM allocation. Text only: submitting is elsewhere.

The file survives being run again: SLURM starts it anew after a requeue, and the command goes on where it was. Before
the walltime ends SLURM signals the batch shell alone (`B:USR1`), which creates the drain file that the command looks
at; exit code 75 ("something is left") then requeues the job, any other exit code is the job's.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from joulegrid.errors import UsageError

DRAIN_LEAD_S = 300
"""How long before the walltime's end the drain begins, at most; a short job begins after nine tenths of its time."""
REQUEUE_LIMIT = 200
"""Starts after which a job is no longer requeued: a study that never gets on shall not go in circles."""
RAY_END_S = 20
"""What `ray stop` may take: it waits up to 16 s for its processes."""
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?", re.ASCII)
LONGEST_S = 100 * 366 * 86_400
_KEY = re.compile(r"[a-z][a-z0-9-]*")
_OURS = ("signal", "open-mode", "ntasks-per-node", "ntasks", "array", "wrap", "parsable", "no-requeue", "requeue")
"""Options on which the file's own way of working rests."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a job asks of SLURM. `None` leaves it to the partition."""

    nodes: int = 1
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    time: str | None = None
    """Walltime as `sbatch --time` takes it: `30`, `4:00:00`, `1-12`, `2-00:30`, …"""
    partition: str | None = None
    account: str | None = None
    options: tuple[str, ...] = ()
    """Further options of sbatch as `KEY=VALUE`, or `KEY=` for one without a value. They win over ours."""

    def directives(self) -> dict[str, str]:
        """Return sbatch's options by name; `UsageError` where a value cannot be one."""
        given = {
            "nodes": str(_positive("--nodes", self.nodes)),
            "ntasks-per-node": "1",
            "exclusive": "",
            "gpus-per-node": _positive("--gpus-per-node", self.gpus_per_node),
            "cpus-per-task": _positive("--cpus-per-task", self.cpus_per_task),
            "time": self.time,
            "partition": self.partition,
            "account": self.account,
            "signal": f"B:USR1@{self.drain_lead_s()}",
            "requeue": "",
            "open-mode": "append",
        }
        return {name: str(value) for name, value in given.items() if value is not None} | self._further()

    def drain_lead_s(self) -> int:
        """Seconds between the signal to drain and the end of the walltime."""
        given = self._further().get("time", self.time)
        limit_s = walltime_s(given) if given is not None else None
        return DRAIN_LEAD_S if limit_s is None else max(1, min(DRAIN_LEAD_S, limit_s // 10))

    def _further(self) -> dict[str, str]:
        further = {}
        for option in self.options:
            name, equals, value = option.partition("=")
            name = name.strip().removeprefix("--")
            if not equals or not _KEY.fullmatch(name):
                raise UsageError(
                    f"--sbatch {option!r}: give KEY=VALUE with a long option of sbatch, e.g. --sbatch mem=64G,"
                    " or KEY= for an option without a value"
                )
            if name in _OURS:
                raise UsageError(f"--sbatch {option!r}: draining and requeueing rest on joulegrid's own --{name}")
            if name == "time":
                walltime_s(value.strip())
            further[name] = value.strip()
        return further


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A command that is to run on the nodes of an allocation, and where its files lie."""

    name: str
    command: tuple[str, ...]
    """What the first node runs once Ray stands; `--address HOST:PORT` is put behind it."""
    folder: str
    """Absolute folder that the first node sees: log and drain file."""
    python: str
    """Interpreter of all nodes; with a folder in it, that folder comes first on `PATH`."""
    allocation: Allocation = Allocation()
    setup: tuple[str, ...] = ()
    """Shell lines before anything else: `module load cuda`, `source …/activate`."""
    environment: Mapping[str, str] = field(default_factory=dict)


def batch_file(job: BatchJob) -> str:
    """Return the text of the batch file; `UsageError` where a value cannot stand in one."""
    directives = {
        "job-name": f"joulegrid-{job.name}",
        "output": f"{job.folder}/{job.name}-".replace("%", "%%") + "%j.log",
    }
    lines = [_directive(name, value) for name, value in (directives | job.allocation.directives()).items()]
    exports = [f"export {name}={_quoted(name, value)}" for name, value in sorted(job.environment.items())]
    folder, _, _ = job.python.rpartition("/")
    path = [f'export PATH={_quoted("PATH", folder)}:"$PATH"'] if folder else []
    for line in job.setup:
        _quoted("--setup", line)
    return _TEMPLATE.format(
        directives="\n".join(lines),
        setup="\n".join([*exports, *job.setup, *path]),
        drain_file=f'{_quoted("folder", job.folder + "/drain-")}"$SLURM_JOB_ID"',
        command=" ".join(_quoted("command", word) for word in job.command),
        requeue_limit=REQUEUE_LIMIT,
        ray_end_s=RAY_END_S,
    )


def walltime_s(text: str) -> int | None:
    """Return the seconds of a walltime in one of SLURM's forms; `None` for an unlimited one.

    `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, `days-hours:minutes` and
    `days-hours:minutes:seconds` (sbatch's manual, `--time`). `UsageError` for anything else.
    """
    if text.lower() in ("infinite", "unlimited"):
        return None
    found = _TIME.fullmatch(text)
    if not found:
        raise UsageError(
            f"--time {text!r}: give minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS, e.g. --time 4:00:00"
        )
    seconds = _seconds(found)
    if not 60 <= seconds <= LONGEST_S:
        raise UsageError(
            f"--time {text!r} is {seconds:,} s; give a minute to a hundred years (0 means no limit to SLURM: "
            "say --time UNLIMITED for that)"
        )
    return seconds


def _seconds(found: re.Match[str]) -> int:
    first, second, third = (int(found[name] or 0) for name in ("first", "second", "third"))
    if found["days"] is not None:
        return ((int(found["days"]) * 24 + first) * 60 + second) * 60 + third
    if found["third"] is not None:
        return (first * 60 + second) * 60 + third
    return first * 60 + second


def _directive(name: str, value: str) -> str:
    return f"#SBATCH --{name}={_quoted('--' + name, value)}" if value else f"#SBATCH --{name}"


def _positive(flag: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise UsageError(f"{flag} {value}: give a number from 1 upwards")
    return value


def _quoted(what: str, value: str) -> str:
    if any(char in value for char in "\n\r\0"):
        raise UsageError(f"{what}: {value!r} has a line break, which a batch file cannot hold")
    return shlex.quote(value)


_TEMPLATE = r"""#!/bin/bash
{directives}

{setup}

unset RAY_ADDRESS  # of another cluster
export RAY_AUTH_MODE=token  # this cluster is the job's alone
RAY_AUTH_TOKEN="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
export RAY_AUTH_TOKEN
export RAY_TMPDIR="/tmp/jg-$SLURM_JOB_ID"  # on each node; short: the path of a Unix socket has 107 bytes
export RAY_worker_niceness=0  # Ray's own 15 would let other programs go before what is measured
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0  # when the head has ended there is nobody to drain a node for
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT="${{RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT:-300}}"

host="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
ip="$(getent ahostsv4 "$host" | awk 'NR == 1 {{print $1}}')"
case "$ip" in "" | 127.*) ip="$(hostname -I | awk '{{print $1}}')" ;; esac  # this is the first node
address="$ip:$((20000 + SLURM_JOB_ID % 12000))"  # above Ray's ports for workers, below the ephemeral ones

end="${{SLURM_JOB_END_TIME:-$(date -d "$(squeue -h -j "$SLURM_JOB_ID" -o %e)" +%s 2>/dev/null)}}"
[ -n "$end" ] && export JOULEGRID_DEADLINE=$((end - {ray_end_s}))  # Ray itself takes a while to end

export JOULEGRID_DRAIN_FILE={drain_file}
rm -f "$JOULEGRID_DRAIN_FILE"  # of this job's earlier start

# SLURM sends USR1 to this shell alone, before the walltime ends. TERM without it comes with `scancel` and preemption:
# then the run drains too, but whether the job comes back is not ours to decide.
signalled="" walltime=""
on_usr1() {{ : > "$JOULEGRID_DRAIN_FILE"; signalled=1 walltime=1; }}
on_term() {{ : > "$JOULEGRID_DRAIN_FILE"; signalled=1; [ -n "$walltime" ] || cancelled=1; }}
cancelled=""
trap on_usr1 USR1
trap on_term TERM

# On each node: a folder of its own for Ray, the cluster, and on the first node the command. When that has ended it ends
# the others, which would look for their head for another minute. `ray stop` prints whole command lines (VINFO).
node='
rm -rf "$RAY_TMPDIR" && mkdir -m 700 "$RAY_TMPDIR" || exit 1
trap "rm -rf \"\$RAY_TMPDIR\"" EXIT
trap : TERM
ray symmetric-run --num-cpus="${{SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}}" \
  ${{SLURM_GPUS_ON_NODE:+--num-gpus="$SLURM_GPUS_ON_NODE"}} --object-store-memory=1000000000 "$@" 2>&1 |
  (trap "" TERM; exec grep --line-buffered -v "VINFO scripts[.]py")
code=${{PIPESTATUS[0]}}
[ "$SLURM_NODEID" = 0 ] || exit 0
scancel --signal=TERM "$SLURM_JOB_ID.$SLURM_STEP_ID"
exit "$code"
'
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
  ${{SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"}} --cpu-bind=none --mem=0 \
  --wait=0 --kill-on-bad-exit=0 bash -c "$node" joulegrid \
  --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
  {command} --address "$address" &
step=$!

code=0 signalled=1
while [ -n "$signalled" ]; do  # a signal ends `wait` before the step has ended
  signalled=""
  wait "$step"
  status=$?
  [ "$status" = 127 ] || code=$status  # 127: the step had been waited for when the signal came
done
rm -f "$JOULEGRID_DRAIN_FILE"

if [ "$code" = 75 ] && [ -z "$cancelled" ]; then
  if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {requeue_limit} ]; then
    echo "joulegrid: drained with work left; requeueing job $SLURM_JOB_ID" >&2
    scontrol requeue "$SLURM_JOB_ID"
  else
    echo "joulegrid: requeued {requeue_limit} times and not finished; look at the run, then submit it again" >&2
  fi
fi
exit "$code"
"""

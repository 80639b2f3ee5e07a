"""The command `joulegrid run …` that a submission starts elsewhere: everything that was settled here is written out.

A person's own defaults (`~/.config/joulegrid`) and the answer to "run them?" do not exist on the other side, so they
become flags.
"""

from __future__ import annotations

import json
import site
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import joulegrid
from joulegrid.errors import UsageError
from joulegrid.jobs.commands import RunFlags, StudyFlags, confirm
from joulegrid.jobs.loop.driver import check_plan
from joulegrid.jobs.loop.opening import DEFAULT_OUTPUT
from joulegrid.jobs.plan.merge import leaves
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.study.load import load_study, read_user_config
from joulegrid.jobs.study.study import StudyConfig


@dataclass(frozen=True, slots=True)
class Submission:
    """A study that was read, planned and agreed to on this side."""

    path: Path
    """The study file, absolute, its folder resolved."""
    study: StudyConfig
    plan: Plan | AskedPlan
    study_flags: StudyFlags
    run_flags: RunFlags

    @property
    def output(self) -> str:
        """Where the runs go, as this side names it."""
        return self.study.output or DEFAULT_OUTPUT

    def arguments(self, study: str, output: str) -> list[str]:
        """Return the arguments of `joulegrid` under which the other side runs just this."""
        flags, choice = self.study_flags, self.run_flags.choice
        switches = {
            "--no-gaps": flags.no_gaps,
            "--fresh": choice.fresh,
            "--retry-failed": choice.retry_failed,
            "--extend": choice.extend,
            "--allow-env-drift": choice.allow_env_drift,
            "--quiet": self.run_flags.quiet,
        }
        words = [word for text in flags.sets for word in ("--set", text)]
        words += [word for text in flags.sweeps for word in ("--sweep", text)]
        words += ["--cycles", str(flags.cycles)] if flags.cycles is not None else []
        words += ["--order", flags.order] if flags.order is not None else []
        words += [word for text in _own_defaults(self.study) for word in ("--set", text)]
        words += ["--power", self.study.power.source] if flags.power is not None else []
        return ["run", study, "--output", output, *words, *(name for name, on in switches.items() if on), "--yes"]


def read_submission(path: Path, flags: StudyFlags, run_flags: RunFlags) -> Submission:
    """Read and plan a study and ask what is to be asked; `UsageError` where it is wrong or was declined."""
    study = load_study(path, flags.overrides())
    plan = plan_of(study)
    check_plan(plan)
    if not run_flags.yes:
        confirm(study, plan)
    file = path.expanduser()
    return Submission(file.parent.resolve() / file.name, study, plan, flags, run_flags)


def checkout() -> Path | None:
    """Return the folder that holds the package `joulegrid` where it is not installed among the site packages."""
    folder = Path(joulegrid.__file__).absolute().parent.parent
    installed = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")} | {Path(site.getusersitepackages())}
    return None if folder in installed else folder


def refuse_relative(output: str) -> None:
    """Refuse an output that would lie in a Ray job's working folder."""
    if not output.startswith("s3://") and not Path(output).is_absolute():
        raise UsageError(
            f"output: {output!r} is relative, but a Ray job's working folder is a copy that vanishes;"
            " give --output s3://bucket/prefix or an absolute folder that every node sees"
        )


def _own_defaults(study: StudyConfig) -> Iterator[str]:
    """Settings that may come from a person's own file, as `--set` takes them."""
    user = read_user_config()
    if user.power is not None:
        for name, value in leaves(study.power.model_dump(mode="json", exclude_unset=True)):
            yield f"power.{name}={json.dumps(value)}"
    if user.carbon.model_fields_set:
        for name, value in study.execution.carbon.model_dump(mode="json", exclude_unset=True).items():
            yield f"execution.carbon.{name}={json.dumps(value)}"

"""What a task can do to itself, on the level of a whole study: each has its class, and the study goes on."""

from __future__ import annotations

import resource
from pathlib import Path

from joulegrid.cluster.storage import open_store
from joulegrid.jobs.report.run_results import RunResults, read_json
from tests.faults.conftest import Trials
from tests.faults.manifest_watch import ManifestWatch

FAULTS = """
import resource
class Unserialisable(Exception):
    def __init__(self, *parts):
        super().__init__(*parts)
        self.lock = __import__('threading').Lock()
    def __reduce__(self):
        raise RuntimeError('not to be pickled')
class Verbose(Exception):
    def __str__(self):
        return 'long ' * 40_000_000
    __repr__ = __str__
def main():
    ran()
    if x == 'killed':
        os.kill(os.getpid(), signal.SIGKILL)
    if x == 'segfault':
        __import__('ctypes').string_at(0)
    if x == 'left':
        os._exit(0)
    if x == 'left with 3':
        os._exit(3)
    if x == 'SystemExit':
        sys.exit('enough')
    if x == 'unserialisable':
        raise Unserialisable('oops')
    if x == 'verbose':
        raise Verbose
    if x == 'import':
        import no_such_module_anywhere
    if x == 'memory':
        limit = 600 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return {'size': len(bytearray(4 * 2**30))}
    if x == 'lambda':
        return {'function': main}
    if x == 'flood':
        line = b'x' * 1023 + bytes([10])
        for _ in range(200):
            sys.stdout.buffer.write(line * 1024)
        sys.stdout.flush()
        return {'printed': 200 * 2**20}
    if x == 'large':
        return {'text': 'y' * (50 * 2**20)}
    if x == 'bulky':
        return {'text': 'y' * (10 * 2**20)}
    return {'sound': 1}
"""
CLASSES = {
    "killed": "crash",
    "segfault": "crash",
    "left": "no_result",
    "left with 3": "crash",
    "SystemExit": "app",
    "unserialisable": "app",
    "verbose": "app",
    "import": "import",
    "memory": "oom_host",
    "lambda": "app",
    "large": "app",
}
SOUND = ["flood", "bulky", "sound"]


def test_every_way_in_which_a_task_can_fail_has_its_class_and_the_study_goes_on(trial: Trials) -> None:
    breaker = {"circuit_breaker": None, "max_retries": {"oom_host": 0}}
    one = trial(FAULTS, [*CLASSES, *SOUND], execution=breaker)
    with ManifestWatch(Path(one.output)):
        ended = one.end(one.start())  # a child of this process: its memory is looked at below
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    one.check(ended, failed=len(CLASSES))
    found = {failure["label"].removeprefix("x="): failure["failure_class"] for failure in ended.result["failures"]}
    assert found == CLASSES
    assert set(one.executions().values()) == {1} or one.executions()["left"] == 2  # "left with 3" holds blanks
    _assert_bounded(one.output, one.runs()[0])


def _assert_bounded(output: str, run: str) -> None:
    """A flood does not fill the store: logs and messages are cut, the large result is whole."""
    store = open_store(output).child(run)
    done = {str(one.result.axes["script.globals.x"]): one.result for one in RunResults(store).done()}
    assert len((done["bulky"].metrics or {})["text"]) == 10 * 2**20
    assert len(done["flood"].log_tail) <= 8_000
    manifest = read_json(store, "manifest.json")
    assert all(len(str(task.get("message", ""))) < 10_000 for task in manifest["tasks"])
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 * 2**20  # KiB: no process held the flood

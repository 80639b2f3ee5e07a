import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.cluster.folder import FolderStore
from joulegrid.cluster.storage import StoreError, open_store, probe
from joulegrid.errors import PreFlightError, UsageError


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "a store ü", durable=False)


def python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, text=True, start_new_session=True)


PATHS = st.builds("/".join, st.lists(st.sampled_from(["a", "a-b", "é ü", "b.c", "B"]), min_size=2, max_size=2))
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put_first", "create", "create_all", "delete"]), PATHS, st.binary(max_size=3)),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_a_folder_behaves_like_a_dictionary(steps: list[tuple[str, str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, model = FolderStore(Path(folder), durable=False), dict[str, bytes]()
        for verb, path, data in steps:
            if verb == "create":
                assert store.create(path, data) == (model.setdefault(path, data) == data)
            elif verb == "create_all":
                expected = [model.setdefault(one, data) == data for one in (path, f"{path}x")]
                assert store.create_all({path: data, f"{path}x": data}) == expected
            elif verb in ("put", "put_first"):
                store.put(path, data, durable=verb == "put")
                model[path] = data
            else:
                store.delete(path)
                model.pop(path, None)
        assert list(store.list()) == sorted(model)
        assert {path: store.get(path) for path in store.list()} == model
        for prefix in ("a", "a/", "a-b/B", "é ü/b"):
            assert list(store.list(prefix)) == sorted(path for path in model if path.startswith(prefix))


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "a/../x", "a//b", "./a", "a/", "a\0b"])
def test_a_path_that_leaves_the_store_is_refused(store: FolderStore, path: str) -> None:
    for act in (store.get, store.exists, store.delete, store.child, lambda path: store.put(path, b"")):
        with pytest.raises(ValueError, match="no path inside a store"):
            act(path)
    with pytest.raises(ValueError, match="no path inside a store"):
        store.create(path, b"")
    with pytest.raises(ValueError, match="no path inside a store"):
        list(store.list("../"))


def test_an_object_that_is_not_there_is_a_file_not_found(store: FolderStore) -> None:
    store.put("a/b", b"1")
    for path in ("x", "a", "a/b/c"):
        with pytest.raises(FileNotFoundError):
            store.get(path)
        assert not store.exists(path)
    assert list(FolderStore(store.root / "nowhere").list("x/")) == []


def test_folders_are_named_without_what_lies_in_them(store: FolderStore) -> None:
    assert list(store.folders()) == []
    for path in ("b/x/y", "a-2/x", "a-1/x", "file"):
        store.put(path, b"")
    assert (list(store.folders()), list(store.folders("a-"))) == (["a-1", "a-2", "b"], ["a-1", "a-2"])


def test_a_durable_store_holds_what_is_put(tmp_path: Path) -> None:
    store = open_store(tmp_path / "r")
    local = tmp_path / "file"
    local.write_bytes(b"3")
    store.put("a/put", b"1")
    assert store.create("b/created", b"2")
    store.put_file("c/file", local)
    assert [store.get(path) for path in store.list()] == [b"1", b"2", b"3"]
    assert {path.name for path in (tmp_path / "r").rglob("*") if path.is_file()} == {"put", "created", "file"}


def test_what_is_created_together_comes_after_what_was_put_and_leaves_nothing_beside(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    results = {f"results/{number}/result.json": bytes(1_000) for number in range(9)}
    for path, data in results.items():
        store.put(path, data, durable=False)
    markers = {f"commit/{number}": b"mine" for number in range(9)}
    assert store.create("commit/4", b"another's")
    assert store.create_all(markers) == [number != 4 for number in range(9)]
    assert store.get("commit/4") == b"another's"
    assert store.create_all(dict.fromkeys(["commit/3", "commit/4"], b"mine")) == [True, False]
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {*results, *markers}
    assert store.create_all({}) == []


def test_of_many_threads_one_writer_wins(store: FolderStore) -> None:
    bodies = [str(number).encode() for number in range(16)]
    with ThreadPoolExecutor(16) as threads:
        wins = list(threads.map(lambda body: store.create("marker", body), bodies))
    assert sum(wins) == 1
    assert store.get("marker") == bodies[wins.index(True)]


def test_of_many_processes_one_writer_wins(store: FolderStore) -> None:
    code = (
        "import sys; from pathlib import Path; from joulegrid.cluster.folder import FolderStore\n"
        "store = FolderStore(Path(sys.argv[1]), durable=False)\n"
        "print(*[i for i in range(200) if store.create(f'm/{i}', sys.argv[2].encode())])"
    )
    writers = [python(code, store.url, name) for name in ("one", "two", "three")]
    won = [set(map(int, writer.communicate(timeout=30)[0].split())) for writer in writers]
    assert sum(map(len, won)) == 200
    assert set.union(*won) == set(range(200))


def test_a_reader_never_sees_half_a_write_even_when_the_writer_is_killed(store: FolderStore) -> None:
    bodies = [b"a" * 300_000, b"b" * 500_000]
    store.put("x", bodies[0])
    code = (
        "import sys; from pathlib import Path; from joulegrid.cluster.folder import FolderStore\n"
        "store = FolderStore(Path(sys.argv[1]), durable=False)\n"
        "print('on', flush=True)\n"
        "while True: store.put('x', b'a' * 300_000); store.put('x', b'b' * 500_000)"
    )
    writer = python(code, store.url)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert all(store.get("x") in bodies for _ in range(300))
    finally:
        os.killpg(writer.pid, signal.SIGKILL)
        writer.communicate(timeout=10)
    assert store.get("x") in bodies
    assert list(store.list()) == ["x"]


WRITE_TOO_MUCH = """
import sys; from pathlib import Path
from joulegrid.cluster.folder import FolderStore; from joulegrid.cluster.storage import StoreError
store = FolderStore(Path(sys.argv[1]))
try: store.put("x", b"n" * 1_000_000)
except StoreError as error: print(error.exit_code, error)
print(store.get("x"), *[path.name for path in Path(sys.argv[1]).iterdir()])
"""


def test_a_write_that_fails_leaves_what_was_there(store: FolderStore) -> None:
    store.put("x", b"old")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))" + WRITE_TOO_MUCH
    said, kept = python(limited, store.url).communicate(timeout=20)[0].splitlines()
    assert said.startswith("1 could not write")
    assert "File too large" in said
    assert kept == "b'old' x"


def test_a_full_disk_is_told_with_the_remedy(tmp_path: Path) -> None:
    alone = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs "$1" && exec "$2" -c "$3" "$1"', "sh"]
    code = f"open(__import__('sys').argv[1] + '/x', 'wb').write(b'old')\n{WRITE_TOO_MUCH}"
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    if shutil.which("unshare") is None:
        pytest.skip("no unshare")
    command = [*alone, str(tmp_path), sys.executable, code]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")
    said, kept = done.stdout.splitlines()
    assert "the disk is full; free some space" in said
    assert kept == "b'old' x"


def test_a_probe_says_that_a_folder_is_fenced_and_leaves_nothing(store: FolderStore) -> None:
    check = probe(store)
    assert (check.url, check.conditional, store.conditional) == (store.url, True, True)
    assert list(store.root.iterdir()) == []


def test_a_probe_of_what_cannot_be_written_is_a_preflight_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreFlightError, match="a file stands where a folder is needed; choose another place"):
        probe(open_store(tmp_path / "file" / "x"))
    with pytest.raises(PreFlightError, match="/proc/nowhere"):
        probe(open_store("/proc/nowhere"))


def test_a_store_travels_to_another_process_and_has_children(store: FolderStore) -> None:
    store.conditional = False
    child = pickle.loads(pickle.dumps(store)).child("log")
    child.put("1", b"x")
    assert (list(store.list()), child.conditional, child.durable) == (["log/1"], False, False)


@pytest.mark.parametrize("url", ["gs://bucket/x", "file:///tmp", "", Path("s3://bucket/x")])
def test_an_address_of_an_unknown_kind_is_a_usage_error(url: str | Path) -> None:
    with pytest.raises(UsageError, match=r"give a folder or s3://BUCKET/PREFIX"):
        open_store(url)


def test_an_unreadable_object_is_a_store_error(store: FolderStore) -> None:
    store.put("x", b"1")
    (store.root / "loop").symlink_to("loop")
    with pytest.raises(StoreError, match="could not read"):
        store.get("loop")

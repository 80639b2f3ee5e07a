import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from joulegrid.cluster.s3 import S3Store
from joulegrid.cluster.storage import Store, StoreError, open_store, probe
from joulegrid.errors import PreFlightError, UsageError
from tests.cluster.s3_servers import BUCKET, HOST, Line, environment, free_port, moto_server, rclone_server


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto_server(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rclone_server(tmp_path_factory.mktemp("rclone")) as endpoint:
        yield endpoint


def connect(monkeypatch: pytest.MonkeyPatch, endpoint: str, **more: str) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (environment(endpoint) | more).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["moto", "rclone"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    connect(monkeypatch, request.getfixturevalue(request.param))
    return open_store(f"s3://{BUCKET}/{request.node.name}")


@pytest.fixture
def fenced(moto: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    connect(monkeypatch, moto)
    return open_store(f"s3://{BUCKET}/{request.node.name}")


def test_what_is_put_is_got_listed_and_deleted(store: Store) -> None:
    for path in ("b/ä 1.json", "a/x", "a-x"):
        store.put(path, path.encode())
    store.put("a/x", b"newer")
    assert (store.get("a/x"), store.get("b/ä 1.json")) == (b"newer", "b/ä 1.json".encode())
    assert list(store.list()) == ["a-x", "a/x", "b/ä 1.json"]
    assert list(store.list("a/")) == ["a/x"]
    assert (list(store.folders()), list(store.folders("a"))) == (["a", "b"], ["a"])
    assert list(store.child("b").list()) == ["ä 1.json"]
    store.delete("a/x")
    store.delete("a/x")
    assert not store.exists("a/x")
    assert store.exists("a-x")


def test_an_object_that_is_not_there_is_a_file_not_found(store: Store) -> None:
    with pytest.raises(FileNotFoundError, match="nothing/here"):
        store.get("nothing/here")


def test_a_file_is_stored_whole(store: Store, tmp_path: Path) -> None:
    local = tmp_path / "series.parquet"
    local.write_bytes(bytes(range(256)) * 40_000)  # 10 MB: two parts of a multipart upload
    store.put_file("series.parquet", local)
    assert store.get("series.parquet") == local.read_bytes()


def test_a_server_that_honours_conditions_is_fenced(fenced: Store) -> None:
    check = probe(fenced)
    assert (check.conditional, fenced.conditional) == (True, True)
    assert list(fenced.list()) == []


def test_a_server_that_ignores_conditions_is_found_out(rclone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, rclone)
    store = open_store(f"s3://{BUCKET}/ignoring")
    check = probe(store)
    assert (check.conditional, store.conditional, store.child("x").conditional) == (False, False, False)
    assert "unfenced" in check.note
    assert list(store.list()) == []
    assert store.create("one", b"first")
    assert not store.create("one", b"second")
    assert store.get("one") == b"first"


def test_of_many_threads_one_writer_wins(fenced: Store) -> None:
    bodies = [str(number).encode() for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        wins = list(threads.map(lambda body: fenced.create("marker", body), bodies))
    assert sum(wins) == 1
    assert fenced.get("marker") == bodies[wins.index(True)]


def test_several_are_created_side_by_side(fenced: Store) -> None:
    fenced.put("together/result", b"1", durable=False)
    assert fenced.create("together/b", b"another's")
    assert fenced.create_all(dict.fromkeys(["together/a", "together/b", "together/c"], b"mine")) == [True, False, True]
    assert fenced.create_all({"together/a": b"mine"}) == [True]
    assert fenced.create_all({}) == []


def test_the_same_bytes_again_are_our_own_write(fenced: Store) -> None:
    assert fenced.create("marker", b"mine")
    assert fenced.create("marker", b"mine")
    assert not fenced.create("marker", b"theirs")


def test_a_write_whose_answer_was_lost_recognises_itself(
    fenced: Store, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Line(moto).open() as line:
        connect(monkeypatch, line.endpoint)
        store = open_store(fenced.url)
        line.faults = ["lost"]
        assert store.create("marker", b"mine")
        assert line.writes == 2
        line.faults = ["lost"]
        assert not store.create("marker", b"theirs")
    assert fenced.get("marker") == b"mine"


def test_a_conflict_is_tried_again(fenced: Store, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Line(moto).open() as line:
        connect(monkeypatch, line.endpoint)
        store = open_store(fenced.url)
        line.faults = ["conflict", "conflict"]
        assert store.create("marker", b"mine")
        assert line.writes == 3
    assert fenced.get("marker") == b"mine"


def test_a_conflict_that_never_ends_is_told(fenced: Store, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Line(moto).open() as line:
        connect(monkeypatch, line.endpoint)
        line.faults = ["conflict"] * 100
        with pytest.raises(StoreError, match="another write is in flight"):
            open_store(fenced.url).create("marker", b"mine")
    assert not fenced.exists("marker")


def test_a_store_travels_to_another_process(fenced: Store, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fenced.put("x", b"1")
    fenced.conditional = False
    sent = pickle.dumps(fenced)
    assert environment(moto)["AWS_SECRET_ACCESS_KEY"].encode() not in sent
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")  # a worker on another node does not have the driver's variables
    arrived = pickle.loads(sent)
    assert (arrived.get("x"), arrived.url, arrived.conditional) == (b"1", fenced.url, False)


def _write(store: Store) -> None:
    store.put("from-child", b"1")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_a_connection_of_its_own(fenced: Store) -> None:
    fenced.put("from-parent", b"1")
    child = multiprocessing.get_context("fork").Process(target=_write, args=(fenced,))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert list(fenced.list()) == ["from-child", "from-parent"]


def test_a_missing_bucket_is_said_with_the_remedy(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, moto)
    with pytest.raises(PreFlightError, match=r"(?s)s3://nowhere/x.*the bucket does not exist; create it"):
        probe(open_store("s3://nowhere/x"))


def test_missing_credentials_are_said_with_the_remedy(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, moto)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PreFlightError, match="no credentials were found; set AWS_ACCESS_KEY_ID"):
        probe(open_store(f"s3://{BUCKET}/x"))


def test_wrong_credentials_are_said_with_the_remedy(rclone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, rclone, AWS_ACCESS_KEY_ID="someone-else")
    with pytest.raises(PreFlightError, match="AWS_ACCESS_KEY_ID or AWS_PROFILE"):
        probe(open_store(f"s3://{BUCKET}/x"))


def test_a_service_that_is_not_there_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, f"http://{HOST}:{free_port()}", AWS_MAX_ATTEMPTS="1")
    with pytest.raises(PreFlightError, match="cannot be reached; see the network and AWS_ENDPOINT_URL_S3"):
        probe(open_store(f"s3://{BUCKET}/x"))


@pytest.mark.parametrize("url", ["s3://", "s3:///x", f"s3://{BUCKET}/a//b", f"s3://{BUCKET}/../x"])
def test_a_malformed_address_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="give s3://BUCKET or s3://BUCKET/PREFIX"):
        open_store(url)


def test_a_path_that_leaves_the_store_is_refused() -> None:
    with pytest.raises(ValueError, match="no path inside a store"):
        S3Store(BUCKET, "prefix").put("../other", b"")

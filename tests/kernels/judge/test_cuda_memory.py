"""Memory of a GPU in two processes, by a driver that is simulated against the toolkit's header; what a child gets."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from joulegrid.errors import PreFlightError
from joulegrid.kernels.judge.cuda_driver import OUT_OF_MEMORY, Driver, DriverError
from joulegrid.kernels.judge.cuda_memory import driver_environment, driver_folders, require_gpu

SOURCE = Path(__file__).with_name("cuda_simulated") / "cuda_simulated.c"
PIECE = 2 << 20


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    triton = pytest.importorskip("triton")
    headers = Path(triton.__file__).parent / "backends" / "nvidia" / "include"
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not (headers / "cuda.h").is_file():
        pytest.skip("needs a C compiler, and cuda.h of the triton wheel")
    built = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", f"-I{headers}", "-o", str(built), str(SOURCE)]
    subprocess.run(command, check=True)
    return str(built)


def test_a_child_sees_what_the_judge_wrote_into_the_memory_that_it_was_handed(library: str) -> None:
    ours, theirs = socket.socketpair()
    driver = Driver(library)
    block, descriptor = driver.make(1000, device=0)
    assert block.size == PIECE
    ctypes.memmove(block.address, b"from the judge", 14)
    child = os.fork()
    if child == 0:
        try:
            _, (received,), _, _ = socket.recv_fds(theirs, 1, 1)
            opened = Driver(library).open(received, 1000, device=0)
            theirs.sendall(ctypes.string_at(opened.address, 14))
            ctypes.memmove(opened.address, b"from the child", 14)
            Driver(library).close(opened)
        finally:
            os._exit(0)
    socket.send_fds(ours, [b"x"], [descriptor])
    assert ours.recv(14) == b"from the judge"
    os.waitpid(child, 0)
    assert ctypes.string_at(block.address, 14) == b"from the child"
    os.close(descriptor)
    driver.close(block)
    ours.close()
    theirs.close()


def test_no_other_memory_lies_in_a_shared_piece(library: str) -> None:
    driver = Driver(library)
    first, second = driver.make(1, 0), driver.make(PIECE + 1, 0)
    assert (first[0].size, second[0].size) == (PIECE, 2 * PIECE)
    for block, descriptor in (first, second):
        os.close(descriptor)
        driver.close(block)


def test_a_driver_that_refuses_is_quoted_by_its_own_name_for_it(library: str) -> None:
    with pytest.raises(DriverError, match="cuMemCreate: CUDA_ERROR_OUT_OF_MEMORY") as caught:
        Driver(library).make(1 << 42, 0)
    assert caught.value.code == OUT_OF_MEMORY


def test_a_child_is_told_which_gpu_and_where_its_driver_lies_and_nothing_else() -> None:
    judge = {
        "CUDA_VISIBLE_DEVICES": "3",
        "LD_LIBRARY_PATH": "/usr/lib:/none",
        "SECRET": "x",
        "NVIDIA_TF32_OVERRIDE": "1",
    }
    maps = (
        "7f0-7f1 r-xp 00000000 00:1f 12 /opt/torch/lib/libtorch.so\n"
        "7f2-7f3 r-xp 00000000 00:1f 13                         /usr/local/nvidia/lib64/libcuda.so.580.159.04\n"
    )
    given = driver_environment(judge, maps)
    assert given == {
        "CUDA_VISIBLE_DEVICES": "3",
        "LD_LIBRARY_PATH": "/usr/lib:/none",
        "TRITON_LIBCUDA_PATH": "/usr/local/nvidia/lib64",
    }
    assert driver_folders(given) == ["/usr/lib"]
    assert driver_environment({}, "") == {}


def test_a_machine_without_a_gpu_is_told_so() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(PreFlightError, match="torch cannot use a GPU here"):
        require_gpu()

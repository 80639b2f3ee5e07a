from __future__ import annotations

from joulegrid.kernels.aot_facts import resident_warps
from joulegrid.kernels.ptx import read_ptx, read_ptxas

PTX = """
    @%p1 ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];
    @%p2 ld.global.L1::evict_last.L2::cache_hint.v2.b64 { %rd3, %rd4 }, [ %rd5 + 0 ], %rd6;
    ld.global.b16 { %rs1 }, [ %rd1 + 2 ];
    @%p1 st.global.v2.b32 [ %rd2 + 0 ], { %r1, %r2 };
    cp.async.cg.shared.global [ %r7 + 0 ], [ %rd8 + 0 ], 0x10, %r9;
    cp.async.bulk.tensor.2d.shared::cluster.global [%r1], [%rd1];
    wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%f1}, %rd1, %rd2, 1, 1, 1, 0, 0;
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 { %f1 }, { %r1 }, { %r2 }, { %f1 };
    @%p1 red.global.gpu.relaxed.add.f32 [ %rd1 + 0 ], %f1;
    atom.global.gpu.acq_rel.add.u32 %r1, [ %rd1 + 0 ], %r2;
    ld.shared.b32 %r1, [%r2];
"""
LOG = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_90a'
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 128 bytes smem
"""


def test_widths_are_those_of_one_threads_instruction() -> None:
    facts = read_ptx(PTX)
    assert facts.load_bits == {16: 1, 128: 2}
    assert facts.store_bits == {64: 1}
    assert facts.copy_bits == {128: 1}


def test_tensor_cores_bulk_copies_and_atomics_are_counted() -> None:
    facts = read_ptx(PTX)
    assert (facts.wgmma, facts.mma, facts.bulk_copies, facts.atomics) == (1, 1, 1, 2)


def test_text_without_kernels_has_no_accesses() -> None:
    facts = read_ptx("")
    assert (facts.load_bits, facts.store_bits, facts.copy_bits) == ({}, {}, {})


def test_the_log_of_ptxas_gives_registers_and_spills() -> None:
    found = read_ptxas(LOG)
    assert found is not None
    assert (found.registers, found.stack_bytes, found.spill_store_bytes, found.spill_load_bytes) == (255, 8, 12, 16)


def test_a_silent_log_is_unknown_and_not_zero() -> None:
    assert read_ptxas("") is None


def test_occupancy_is_limited_by_registers_shared_memory_and_warps() -> None:
    assert resident_warps(4, 32, 0) == 64  # 16 blocks of 4 warps
    assert resident_warps(8, 255, 0) == 8  # 255 registers are handed out as 256: one block of 8 warps
    assert resident_warps(1, 16, 0) == 32  # no more than 32 blocks
    assert resident_warps(4, 32, 100_000) == 8  # two blocks by shared memory

"""The layout of the control file, as board.h has it."""

from __future__ import annotations

import ctypes

MAX_GPUS, MAX_STEPS, MAX_PROCESSES, N_EVENTS = 8, 131_072, 8, 6
COUNTER_UNSUPPORTED, COUNTER_ZERO, POWER_UNSUPPORTED, PROCESSES_UNSUPPORTED = 1, 2, 4, 8
INSTANT_UNSUPPORTED, AVERAGE_UNSUPPORTED = 16, 32
COUNTER_INTEGRATES, COUNTER_SENSED_ONLY = 0, 1
STAMP_MOVES, STAMP_CONSTANT, STAMP_ZERO, STAMP_CALL = 0, 1, 2, 3
EVENT_FIELDS = (74, 75, 76, 269, 270, 271)
"""NVML fields of the nanosecond counters of throttling, in the order of `Condition.event_ns`."""

Int, Real = ctypes.c_int64, ctypes.c_double


class Piece(ctypes.Structure):
    """Power from `t_ns` on: target + slope·dt, plus what is left of a higher power before it, which decays."""

    _fields_ = [
        ("t_ns", Int),
        ("target_w", Real),
        ("slope_w_s", Real),
        ("power_w", Real),
        ("energy_j", Real),
        ("lagged_w", Real),
    ]


class Sensor(ctypes.Structure):
    """What kind of board it is; board.h says what each field means."""

    _fields_ = [
        ("tick_ns", Int),
        ("phase_ns", Int),
        ("jitter_ns", Int),
        ("power_tick_ns", Int),
        ("power_phase_ns", Int),
        ("window_ns", Int),
        ("average_ns", Int),
        ("decay_ns", Int),
        ("lag_ns", Int),
        ("counter_mode", Int),
        ("stamp_mode", Int),
        ("latency_us", Int),
        ("counter_quantum_mj", Int),
        ("power_quantum_mw", Int),
        ("call_ns", Int),
        ("seed", Int),
    ]


class Fault(ctypes.Structure):
    """What goes wrong and when. Times are monotonic nanoseconds; 0 is never."""

    _fields_ = [
        ("lost_ns", Int),
        ("stall_ns", Int),
        ("reset_ns", Int),
        ("freeze_ns", Int),
        ("thaw_ns", Int),
        ("jump_ns", Int),
        ("jump_j", Real),
        ("counter_scale", Real),
        ("power_stall_ns", Int),
    ]


class Condition(ctypes.Structure):
    """What NVML says beside energy and power."""

    _fields_ = [
        ("performance_state", Int),
        ("persistence", Int),
        ("ecc", Int),
        ("sm_clock_mhz", Int),
        ("memory_clock_mhz", Int),
        ("max_sm_clock_mhz", Int),
        ("max_memory_clock_mhz", Int),
        ("min_limit_mw", Int),
        ("max_limit_mw", Int),
        ("default_limit_mw", Int),
        ("limit_mw", Int),
        ("requested_limit_mw", Int),
        ("enforced_limit_mw", Int),
        ("event_ns", Int * N_EVENTS),
        ("event_since_ns", Int * N_EVENTS),
    ]


class Gpu(ctypes.Structure):
    """The layout of `gpu_t`. The members of `fault` and `condition` are also its own: `gpu.lost_ns`, `gpu.ecc`."""

    _anonymous_ = ("fault", "condition")
    _fields_ = [
        ("uuid", ctypes.c_char * 64),
        ("faults", Int),
        ("sensor", Sensor),
        ("fault", Fault),
        ("condition", Condition),
        ("counter_start_j", Real),
        ("throttle_reasons", ctypes.c_uint64),
        ("memory_total", ctypes.c_uint64),
        ("memory_used", ctypes.c_uint64),
        ("n_processes", Int),
        ("pids", Int * MAX_PROCESSES),
        ("process_memory", Int * MAX_PROCESSES),
        ("temperature_c", Int),
        ("utilisation", Int),
        ("parent", Int),
        ("gpu_instance", Int),
        ("compute_instance", Int),
        ("n_steps", Int),
        ("steps", Piece * MAX_STEPS),
    ]


class Layout(ctypes.Structure):
    """The whole control file."""

    _fields_ = [("n_gpus", Int), ("n_mig", Int), ("origin_ns", Int), ("gpus", Gpu * MAX_GPUS)]

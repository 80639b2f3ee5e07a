/* A simulated board: the layout of the control file, and what its sensors publish. For tests alone.
 *
 * layout.py holds the same layout. All state lies in a file that the test maps too. A GPU's true power is a
 * table of pieces on CLOCK_MONOTONIC, which may lie in the future; the test side works out energy and states at the
 * start of each piece (truth.py), so the library only looks up and a test knows the true energy of any window exactly.
 */
#ifndef BOARD_H
#define BOARD_H
#include <stdint.h>

#define MAX_GPUS 8
#define MAX_STEPS 131072
#define MAX_PROCESSES 8
#define N_EVENTS 6

enum { COUNTER_UNSUPPORTED = 1, COUNTER_ZERO = 2, POWER_UNSUPPORTED = 4, PROCESSES_UNSUPPORTED = 8,
       INSTANT_UNSUPPORTED = 16, AVERAGE_UNSUPPORTED = 32 };
enum { COUNTER_INTEGRATES = 0, COUNTER_SENSED_ONLY = 1 };
enum { STAMP_MOVES = 0, STAMP_CONSTANT = 1, STAMP_ZERO = 2, STAMP_CALL = 3 };

/* One piece: power = target + slope·dt, plus what is left of a higher power before it, which decays exponentially. */
typedef struct { int64_t t_ns; double target_w, slope_w_s, power_w, energy_j, lagged_w; } piece_t;

/* What kind of board it is. 0 stands for "as the node has it" in tick, phase and window. */
typedef struct {
    int64_t tick_ns, phase_ns, jitter_ns;             /* updates of the counter; jitter is uniform, either way */
    int64_t power_tick_ns, power_phase_ns;            /* updates of the power readings; 0: those of the counter */
    int64_t window_ns;                                /* sensing window: instant power is the mean over it */
    int64_t average_ns;                               /* boxcar of field 185 and nvmlDeviceGetPowerUsage; 0: instant */
    int64_t decay_ns, lag_ns;                         /* time constants: of true power after a fall, of the sensor */
    int64_t counter_mode, stamp_mode, latency_us;
    int64_t counter_quantum_mj, power_quantum_mw;     /* values are multiples of these */
    int64_t call_ns, seed;                            /* CPU time that a call of the counter or a power costs */
} sensor_t;

/* What goes wrong and when. Times are CLOCK_MONOTONIC; 0 is never. */
typedef struct {
    int64_t lost_ns, stall_ns, reset_ns, freeze_ns, thaw_ns, jump_ns;
    double jump_j, counter_scale;
    int64_t power_stall_ns;
} fault_t;

typedef struct {
    int64_t performance_state, persistence, ecc, sm_clock_mhz, memory_clock_mhz, max_sm_clock_mhz, max_memory_clock_mhz;
    int64_t min_limit_mw, max_limit_mw, default_limit_mw, limit_mw, requested_limit_mw, enforced_limit_mw;
    int64_t event_ns[N_EVENTS], event_since_ns[N_EVENTS]; /* fields 74, 75, 76, 269, 270, 271: grown so far; grows since */
} condition_t;

typedef struct {
    char uuid[64];
    int64_t faults;
    sensor_t sensor;
    fault_t fault;
    condition_t condition;
    double counter_start_j;
    uint64_t throttle_reasons, memory_total, memory_used;
    int64_t n_processes, pids[MAX_PROCESSES], process_memory[MAX_PROCESSES];
    int64_t temperature_c, utilisation;             /* utilisation in percent; -1: 100 while a process runs */
    int64_t parent, gpu_instance, compute_instance; /* of a MIG instance: number of its GPU plus one; 0 on a GPU */
    int64_t n_steps;
    piece_t steps[MAX_STEPS];
} gpu_t;

typedef struct {
    int64_t n_gpus, n_mig, origin_ns; /* MIG instances stand behind the GPUs */
    gpu_t gpus[MAX_GPUS];
} control_t;

extern control_t *control;
int64_t clock_ns(int realtime);
int64_t power_published_ns(const gpu_t *g, int64_t t);
int64_t counter_published_ns(const gpu_t *g, int64_t t);
unsigned long long counter_mj(const gpu_t *g, int64_t t);
unsigned instant_mw(const gpu_t *g, int64_t t);
unsigned average_mw(const gpu_t *g, int64_t t);
unsigned long long event_ns(const gpu_t *g, int which, int64_t t);
#endif

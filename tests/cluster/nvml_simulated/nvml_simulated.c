/* Simulated GPUs behind NVML's functions, with a known true energy. For tests alone.
 *
 * All state lies in a control file that the test maps too (build.py holds the same layout): each GPU's power is a list of
 * steps on CLOCK_MONOTONIC, which may lie in the future, so a test knows the true energy of any window exactly. Counter
 * and instant power are published at ticks, as a real board does. Nothing here pretends to be a certain product:
 * names and versions say "simulated".
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_GPUS 8
#define MAX_STEPS 512
#define MAX_PROCESSES 8
#define LIMIT_MW 700000u

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
enum { COUNTER_UNSUPPORTED = 1, COUNTER_ZERO = 2, POWER_UNSUPPORTED = 4, PROCESSES_UNSUPPORTED = 8 };

typedef struct { int64_t t_ns; double power_w; } step_t;
typedef struct {
    char uuid[64];
    int64_t faults, lost_ns, stall_ns, reset_ns; /* times: 0 is never */
    double counter_start_j;
    uint64_t throttle_reasons, memory_total, memory_used;
    int64_t n_processes, pids[MAX_PROCESSES], process_memory[MAX_PROCESSES];
    int64_t temperature_c, utilisation;            /* utilisation in percent; -1: 100 while a process runs */
    int64_t parent, gpu_instance, compute_instance; /* of a MIG instance: number of its GPU plus one; 0 on a GPU */
    int64_t n_steps;
    step_t steps[MAX_STEPS];
} gpu_t;
typedef struct {
    int64_t n_gpus, n_mig, tick_ns, phase_ns, window_ns, origin_ns; /* MIG instances stand behind the GPUs */
    gpu_t gpus[MAX_GPUS];
} control_t;

typedef struct { uint32_t fieldId, scopeId; int64_t timestamp, latencyUsec; uint32_t valueType, nvmlReturn;
                 union { double d; uint32_t u; uint64_t ull; } value; } field_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { uint32_t version; unsigned long long total, reserved, free, used; } memory_v2_t;
typedef struct { uint32_t pid; unsigned long long used; uint32_t gpu_instance, compute_instance; } process_t;
typedef struct { char legacy[16]; uint32_t domain, bus, device, device_id, subsystem_id; char bus_id[32]; } pci_t;
typedef struct { uint32_t gpu, memory; } utilization_t;
typedef int ret_t;

static control_t *control;

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Exact integral of the piecewise constant power from a to b, in joules. Before the first step it is the first's. */
static double energy_j(const gpu_t *g, int64_t a, int64_t b) {
    double sum = 0;
    for (int64_t i = 0; i < g->n_steps; i++) {
        int64_t from = i == 0 || g->steps[i].t_ns < a ? a : g->steps[i].t_ns;
        int64_t to = i + 1 < g->n_steps && g->steps[i + 1].t_ns < b ? g->steps[i + 1].t_ns : b;
        if (to > from) sum += g->steps[i].power_w * (double)(to - from) / 1e9;
    }
    return sum;
}

static int64_t last_tick(int64_t t) { return t - (t - control->origin_ns - control->phase_ns) % control->tick_ns; }

static double counter_j(const gpu_t *g, int64_t t) {
    if (g->faults & COUNTER_ZERO) return 0;
    if (g->stall_ns && t > g->stall_ns) t = g->stall_ns;
    t = last_tick(t);
    if (g->reset_ns && t >= g->reset_ns) return energy_j(g, g->reset_ns, t);
    return g->counter_start_j + energy_j(g, control->origin_ns, t);
}

static double instant_w(const gpu_t *g, int64_t t) {
    t = last_tick(t);
    return energy_j(g, t - control->window_ns, t) / ((double)control->window_ns / 1e9);
}

static ret_t alive(const gpu_t *g) {
    if (!control) return UNINITIALIZED;
    if (g < control->gpus || g >= control->gpus + control->n_gpus + control->n_mig) return INVALID_ARGUMENT;
    return g->lost_ns && clock_ns(CLOCK_MONOTONIC) >= g->lost_ns ? GPU_IS_LOST : SUCCESS;
}
#define ALIVE(g) do { ret_t r_ = alive(g); if (r_) return r_; } while (0)
static ret_t text(char *out, unsigned n, const char *what) { snprintf(out, n, "%s", what); return SUCCESS; }

ret_t nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (control) return SUCCESS;
    const char *path = getenv("SIMULATED_NVML_FILE");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd < 0) return DRIVER_NOT_LOADED;
    void *map = mmap(NULL, sizeof(control_t), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) return DRIVER_NOT_LOADED;
    control = map;
    return SUCCESS;
}
ret_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
ret_t nvmlInit(void) { return nvmlInitWithFlags(0); }
ret_t nvmlShutdown(void) { return control ? SUCCESS : UNINITIALIZED; }
const char *nvmlErrorString(ret_t r) {
    switch (r) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    default: return "Unknown Error";
    }
}

ret_t nvmlSystemGetDriverVersion(char *out, unsigned n) { return text(out, n, "0.0-simulated"); }
ret_t nvmlSystemGetNVMLVersion(char *out, unsigned n) { return text(out, n, "0.0-simulated"); }
ret_t nvmlSystemGetCudaDriverVersion(int *v) { *v = 13000; return SUCCESS; }
ret_t nvmlSystemGetCudaDriverVersion_v2(int *v) { *v = 13000; return SUCCESS; }

ret_t nvmlDeviceGetCount_v2(unsigned *n) {
    if (!control) return UNINITIALIZED;
    *n = (unsigned)control->n_gpus;
    return SUCCESS;
}
ret_t nvmlDeviceGetCount(unsigned *n) { return nvmlDeviceGetCount_v2(n); }
ret_t nvmlDeviceGetHandleByIndex_v2(unsigned i, gpu_t **g) {
    if (!control) return UNINITIALIZED;
    if (i >= (unsigned)control->n_gpus) return INVALID_ARGUMENT;
    *g = &control->gpus[i];
    return alive(*g);
}
ret_t nvmlDeviceGetHandleByIndex(unsigned i, gpu_t **g) { return nvmlDeviceGetHandleByIndex_v2(i, g); }
ret_t nvmlDeviceGetHandleByUUID(const char *uuid, gpu_t **g) {
    if (!control) return UNINITIALIZED;
    for (int64_t i = 0; i < control->n_gpus + control->n_mig; i++)
        if (!strcmp(uuid, control->gpus[i].uuid)) { *g = &control->gpus[i]; return alive(*g); }
    return NOT_FOUND;
}
ret_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, gpu_t **g) {
    unsigned domain = 0, bus = 0;
    if (sscanf(id, "%x:%x", &domain, &bus) != 2 || bus == 0) return NOT_FOUND;
    return nvmlDeviceGetHandleByIndex_v2(bus - 1, g);
}

ret_t nvmlDeviceGetUUID(gpu_t *g, char *out, unsigned n) { ALIVE(g); return text(out, n, g->uuid); }
ret_t nvmlDeviceGetName(gpu_t *g, char *out, unsigned n) { ALIVE(g); return text(out, n, "Simulated GPU"); }
ret_t nvmlDeviceGetVbiosVersion(gpu_t *g, char *out, unsigned n) { ALIVE(g); return text(out, n, "0.0-simulated"); }
ret_t nvmlDeviceGetSerial(gpu_t *g, char *out, unsigned n) { ALIVE(g); return text(out, n, "simulated"); }
ret_t nvmlDeviceGetIndex(gpu_t *g, unsigned *i) { ALIVE(g); *i = (unsigned)(g - control->gpus); return SUCCESS; }
ret_t nvmlDeviceGetMinorNumber(gpu_t *g, unsigned *i) { return nvmlDeviceGetIndex(g, i); }
ret_t nvmlDeviceGetBrand(gpu_t *g, unsigned *v) { ALIVE(g); *v = 0; return SUCCESS; }
ret_t nvmlDeviceGetArchitecture(gpu_t *g, unsigned *v) { ALIVE(g); *v = 9; return SUCCESS; }
ret_t nvmlDeviceGetCudaComputeCapability(gpu_t *g, int *major, int *minor) {
    ALIVE(g); *major = 9; *minor = 0; return SUCCESS;
}
ret_t nvmlDeviceGetPciInfo_v3(gpu_t *g, pci_t *p) {
    ALIVE(g);
    memset(p, 0, sizeof *p);
    p->bus = (uint32_t)(g - control->gpus) + 1;
    snprintf(p->bus_id, sizeof p->bus_id, "00000000:%02X:00.0", p->bus);
    snprintf(p->legacy, sizeof p->legacy, "0000:%02X:00.0", p->bus);
    return SUCCESS;
}

ret_t nvmlDeviceGetTotalEnergyConsumption(gpu_t *g, unsigned long long *mj) {
    ALIVE(g);
    if (g->faults & COUNTER_UNSUPPORTED) return NOT_SUPPORTED;
    *mj = (unsigned long long)(counter_j(g, clock_ns(CLOCK_MONOTONIC)) * 1000);
    return SUCCESS;
}
/* One-second mean, as nvmlDeviceGetPowerUsage is since Ampere; published at ticks. */
ret_t nvmlDeviceGetPowerUsage(gpu_t *g, unsigned *mw) {
    ALIVE(g);
    if (g->faults & POWER_UNSUPPORTED) return NOT_SUPPORTED;
    int64_t t = last_tick(clock_ns(CLOCK_MONOTONIC));
    *mw = (unsigned)(energy_j(g, t - 1000000000LL, t) * 1000);
    return SUCCESS;
}
ret_t nvmlDeviceGetFieldValues(gpu_t *g, int n, field_t *f) {
    ALIVE(g);
    int64_t t = clock_ns(CLOCK_MONOTONIC), published = clock_ns(CLOCK_REALTIME) - (t - last_tick(t));
    for (int i = 0; i < n; i++) {
        unsigned long long mj;
        unsigned mw;
        f[i].timestamp = published / 1000;
        f[i].latencyUsec = 0;
        f[i].valueType = 1;
        f[i].nvmlReturn = SUCCESS;
        switch (f[i].fieldId) {
        case 83:
            f[i].valueType = 3;
            f[i].nvmlReturn = nvmlDeviceGetTotalEnergyConsumption(g, &mj);
            f[i].value.ull = f[i].nvmlReturn ? 0 : mj;
            break;
        case 185:
            f[i].nvmlReturn = nvmlDeviceGetPowerUsage(g, &mw);
            f[i].value.u = f[i].nvmlReturn ? 0 : mw;
            break;
        case 186:
            f[i].nvmlReturn = g->faults & POWER_UNSUPPORTED ? NOT_SUPPORTED : SUCCESS;
            f[i].value.u = f[i].nvmlReturn ? 0 : (uint32_t)(instant_w(g, t) * 1000);
            break;
        case 187: f[i].value.u = 200000; break;
        case 188: case 189: case 190: case 192: f[i].value.u = LIMIT_MW; break;
        default: f[i].nvmlReturn = NOT_SUPPORTED;
        }
    }
    return SUCCESS;
}

ret_t nvmlDeviceGetEnforcedPowerLimit(gpu_t *g, unsigned *mw) { ALIVE(g); *mw = LIMIT_MW; return SUCCESS; }
ret_t nvmlDeviceGetPowerManagementLimit(gpu_t *g, unsigned *mw) { ALIVE(g); *mw = LIMIT_MW; return SUCCESS; }
ret_t nvmlDeviceGetPowerManagementDefaultLimit(gpu_t *g, unsigned *mw) { ALIVE(g); *mw = LIMIT_MW; return SUCCESS; }
ret_t nvmlDeviceGetPowerManagementLimitConstraints(gpu_t *g, unsigned *low, unsigned *high) {
    ALIVE(g); *low = 200000; *high = LIMIT_MW; return SUCCESS;
}
ret_t nvmlDeviceGetPowerManagementMode(gpu_t *g, unsigned *mode) { ALIVE(g); *mode = 1; return SUCCESS; }
ret_t nvmlDeviceGetPerformanceState(gpu_t *g, unsigned *state) { ALIVE(g); *state = 0; return SUCCESS; }
ret_t nvmlDeviceGetTemperature(gpu_t *g, int sensor, unsigned *c) { 
    (void)sensor; ALIVE(g);
    if (g->parent) return NOT_SUPPORTED;
    *c = (unsigned)g->temperature_c;
    return SUCCESS;
}
ret_t nvmlDeviceGetClockInfo(gpu_t *g, int kind, unsigned *mhz) {
    ALIVE(g); *mhz = kind == 2 ? 2600 : 1700; return SUCCESS;
}
ret_t nvmlDeviceGetMaxClockInfo(gpu_t *g, int kind, unsigned *mhz) {
    ALIVE(g); *mhz = kind == 2 ? 2600 : 1980; return SUCCESS;
}
ret_t nvmlDeviceGetApplicationsClock(gpu_t *g, int kind, unsigned *mhz) { return nvmlDeviceGetMaxClockInfo(g, kind, mhz); }
ret_t nvmlDeviceGetCurrentClocksEventReasons(gpu_t *g, unsigned long long *mask) {
    ALIVE(g); *mask = g->throttle_reasons; return SUCCESS;
}
ret_t nvmlDeviceGetCurrentClocksThrottleReasons(gpu_t *g, unsigned long long *mask) {
    return nvmlDeviceGetCurrentClocksEventReasons(g, mask);
}
ret_t nvmlDeviceGetPersistenceMode(gpu_t *g, unsigned *mode) { ALIVE(g); *mode = 1; return SUCCESS; }
ret_t nvmlDeviceGetComputeMode(gpu_t *g, unsigned *mode) { ALIVE(g); *mode = 0; return SUCCESS; }
ret_t nvmlDeviceGetEccMode(gpu_t *g, unsigned *now, unsigned *next) { ALIVE(g); *now = *next = 1; return SUCCESS; }
static gpu_t *instance(gpu_t *g, unsigned number) {
    for (int64_t i = control->n_gpus; i < control->n_gpus + control->n_mig; i++)
        if (control->gpus[i].parent == g - control->gpus + 1 && number-- == 0) return &control->gpus[i];
    return NULL;
}
ret_t nvmlDeviceGetMigMode(gpu_t *g, unsigned *now, unsigned *next) {
    ALIVE(g); *now = *next = instance(g, 0) != NULL; return SUCCESS;
}
ret_t nvmlDeviceGetMaxMigDeviceCount(gpu_t *g, unsigned *n) {
    ALIVE(g);
    for (*n = 0; instance(g, *n); ++*n) {}
    return SUCCESS;
}
ret_t nvmlDeviceGetMigDeviceHandleByIndex(gpu_t *g, unsigned i, gpu_t **mig) {
    ALIVE(g); *mig = instance(g, i); return *mig ? SUCCESS : NOT_FOUND;
}
ret_t nvmlDeviceIsMigDeviceHandle(gpu_t *g, unsigned *is) { ALIVE(g); *is = g->parent != 0; return SUCCESS; }
ret_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(gpu_t *mig, gpu_t **g) {
    ALIVE(mig);
    if (!mig->parent) return INVALID_ARGUMENT;
    *g = &control->gpus[mig->parent - 1];
    return SUCCESS;
}
ret_t nvmlDeviceGetGpuInstanceId(gpu_t *g, unsigned *id) { ALIVE(g); *id = (unsigned)g->gpu_instance; return SUCCESS; }
ret_t nvmlDeviceGetComputeInstanceId(gpu_t *g, unsigned *id) {
    ALIVE(g); *id = (unsigned)g->compute_instance; return SUCCESS;
}
ret_t nvmlDeviceGetUtilizationRates(gpu_t *g, utilization_t *u) {
    ALIVE(g);
    if (g->parent || instance(g, 0)) return NOT_SUPPORTED;
    u->gpu = g->utilisation < 0 ? (g->n_processes ? 100 : 0) : (unsigned)g->utilisation;
    u->memory = 0;
    return SUCCESS;
}
ret_t nvmlDeviceGetMemoryInfo(gpu_t *g, memory_t *m) {
    ALIVE(g);
    m->total = g->memory_total; m->used = g->memory_used; m->free = m->total - m->used;
    return SUCCESS;
}
ret_t nvmlDeviceGetMemoryInfo_v2(gpu_t *g, memory_v2_t *m) {
    ALIVE(g);
    m->total = g->memory_total; m->used = g->memory_used; m->free = m->total - m->used; m->reserved = 0;
    return SUCCESS;
}
ret_t nvmlDeviceGetComputeRunningProcesses_v3(gpu_t *g, unsigned *n, process_t *p) {
    ALIVE(g);
    if (g->faults & PROCESSES_UNSUPPORTED) return NOT_SUPPORTED;
    unsigned room = *n;
    *n = (unsigned)g->n_processes;
    if (!*n) return SUCCESS;
    if (room < *n || !p) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *n; i++)
        p[i] = (process_t){(uint32_t)g->pids[i], (unsigned long long)g->process_memory[i], ~0u, ~0u};
    return SUCCESS;
}
ret_t nvmlDeviceGetGraphicsRunningProcesses_v3(gpu_t *g, unsigned *n, process_t *p) {
    (void)p; ALIVE(g); *n = 0; return SUCCESS;
}

/* NVML's functions over simulated GPUs with a known true energy. For tests alone.
 *
 * What a board publishes is worked out in board.c from a control file that the test maps too (build.py). Counter and
 * power are published at ticks, as a real board does. Nothing here pretends to be a certain product: names and versions
 * say "simulated".
 */
#include "board.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };

typedef struct { uint32_t fieldId, scopeId; int64_t timestamp, latencyUsec; uint32_t valueType, nvmlReturn;
                 union { double d; uint32_t u; uint64_t ull; } value; } field_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { uint32_t version; unsigned long long total, reserved, free, used; } memory_v2_t;
typedef struct { uint32_t pid; unsigned long long used; uint32_t gpu_instance, compute_instance; } process_t;
typedef struct { char legacy[16]; uint32_t domain, bus, device, device_id, subsystem_id; char bus_id[32]; } pci_t;
typedef struct { uint32_t gpu, memory; } utilization_t;
typedef int ret_t;

static ret_t alive(const gpu_t *g) {
    if (!control) return UNINITIALIZED;
    if (g < control->gpus || g >= control->gpus + control->n_gpus + control->n_mig) return INVALID_ARGUMENT;
    return g->fault.lost_ns && clock_ns(0) >= g->fault.lost_ns ? GPU_IS_LOST : SUCCESS;
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

/* A driver call costs CPU time; what it returns is of its middle. */
static int64_t half_call(const gpu_t *g) {
    int64_t until = clock_ns(0) + g->sensor.call_ns / 2, now;
    while ((now = clock_ns(0)) < until) {}
    return now;
}
static ret_t done(const gpu_t *g, ret_t r) { half_call(g); return r; }

static ret_t counter_at(const gpu_t *g, int64_t t, unsigned long long *mj) {
    if (g->parent || g->faults & COUNTER_UNSUPPORTED) return NOT_SUPPORTED; /* a MIG instance has no sensor of its own */
    *mj = counter_mj(g, t);
    return SUCCESS;
}
static ret_t power_at(const gpu_t *g, int64_t t, int average, unsigned *mw) {
    if (g->parent || g->faults & (POWER_UNSUPPORTED | (average ? AVERAGE_UNSUPPORTED : INSTANT_UNSUPPORTED))) return NOT_SUPPORTED;
    *mw = average ? average_mw(g, t) : instant_mw(g, t);
    return SUCCESS;
}
ret_t nvmlDeviceGetTotalEnergyConsumption(gpu_t *g, unsigned long long *mj) {
    ALIVE(g);
    return done(g, counter_at(g, half_call(g), mj));
}
/* One-second mean, as nvmlDeviceGetPowerUsage is since Ampere, or instant before; published at ticks. */
ret_t nvmlDeviceGetPowerUsage(gpu_t *g, unsigned *mw) {
    ALIVE(g);
    return done(g, power_at(g, half_call(g), 1, mw));
}

static int64_t stamp_us(const gpu_t *g, int64_t t, int64_t published) {
    int64_t real = clock_ns(1);
    switch (g->sensor.stamp_mode) {
    case STAMP_MOVES: return (real - (clock_ns(0) - published)) / 1000;
    case STAMP_CONSTANT: return (real - (clock_ns(0) - control->origin_ns)) / 1000000000 * 1000000;
    case STAMP_ZERO: return 0;
    default: return (real - (clock_ns(0) - t)) / 1000;
    }
}
static const unsigned EVENTS[N_EVENTS] = {74, 75, 76, 269, 270, 271};
static ret_t event_field(const gpu_t *g, field_t *f, int64_t t) {
    for (int i = 0; i < N_EVENTS; i++)
        if (f->fieldId == EVENTS[i]) {
            f->valueType = 3, f->value.ull = event_ns(g, i, t);
            return SUCCESS;
        }
    return NOT_SUPPORTED;
}
static ret_t field(const gpu_t *g, field_t *f, int64_t t) {
    const condition_t *c = &g->condition;
    f->timestamp = stamp_us(g, t, f->fieldId == 83 ? counter_published_ns(g, t) : power_published_ns(g, t));
    f->latencyUsec = g->sensor.latency_us;
    f->valueType = 1;
    f->value.ull = 0;
    switch (f->fieldId) {
    case 83: f->valueType = 3; return counter_at(g, t, (unsigned long long *)&f->value.ull);
    case 185: return f->scopeId ? NOT_SUPPORTED : power_at(g, t, 1, &f->value.u);
    case 186: return f->scopeId ? NOT_SUPPORTED : power_at(g, t, 0, &f->value.u);
    case 187: f->value.u = (uint32_t)c->min_limit_mw; return SUCCESS;
    case 188: f->value.u = (uint32_t)c->max_limit_mw; return SUCCESS;
    case 189: f->value.u = (uint32_t)c->default_limit_mw; return SUCCESS;
    case 190: f->value.u = (uint32_t)c->limit_mw; return SUCCESS;
    case 192: f->value.u = (uint32_t)c->requested_limit_mw; return SUCCESS;
    default: return event_field(g, f, t);
    }
}
ret_t nvmlDeviceGetFieldValues(gpu_t *g, int n, field_t *f) {
    ALIVE(g);
    int64_t t = half_call(g);
    for (int i = 0; i < n; i++) f[i].nvmlReturn = field(g, &f[i], t);
    return done(g, SUCCESS);
}

#define FACT(function, type, member) \
    ret_t function(gpu_t *g, type *out) { ALIVE(g); *out = (type)g->condition.member; return SUCCESS; }
FACT(nvmlDeviceGetEnforcedPowerLimit, unsigned, enforced_limit_mw)
FACT(nvmlDeviceGetPowerManagementLimit, unsigned, limit_mw)
FACT(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, default_limit_mw)
FACT(nvmlDeviceGetPerformanceState, unsigned, performance_state)
FACT(nvmlDeviceGetPowerState, unsigned, performance_state)
FACT(nvmlDeviceGetPersistenceMode, unsigned, persistence)
ret_t nvmlDeviceGetPowerManagementLimitConstraints(gpu_t *g, unsigned *low, unsigned *high) {
    ALIVE(g);
    *low = (unsigned)g->condition.min_limit_mw, *high = (unsigned)g->condition.max_limit_mw;
    return SUCCESS;
}
ret_t nvmlDeviceGetPowerManagementMode(gpu_t *g, unsigned *mode) { ALIVE(g); *mode = 1; return SUCCESS; }
ret_t nvmlDeviceGetTemperature(gpu_t *g, int sensor, unsigned *c) {
    (void)sensor; ALIVE(g);
    if (g->parent) return NOT_SUPPORTED;
    *c = (unsigned)g->temperature_c;
    return SUCCESS;
}
typedef struct { uint32_t version; int sensor, celsius; } temperature_t;
ret_t nvmlDeviceGetTemperatureV(gpu_t *g, temperature_t *t) {
    unsigned c;
    ret_t r = nvmlDeviceGetTemperature(g, t->sensor, &c);
    if (!r) t->celsius = (int)c;
    return r;
}
ret_t nvmlDeviceGetClockInfo(gpu_t *g, int kind, unsigned *mhz) {
    ALIVE(g);
    *mhz = (unsigned)(kind == 2 ? g->condition.memory_clock_mhz : g->condition.sm_clock_mhz);
    return SUCCESS;
}
ret_t nvmlDeviceGetClock(gpu_t *g, int kind, int id, unsigned *mhz) { (void)id; return nvmlDeviceGetClockInfo(g, kind, mhz); }
ret_t nvmlDeviceGetMaxClockInfo(gpu_t *g, int kind, unsigned *mhz) {
    ALIVE(g);
    *mhz = (unsigned)(kind == 2 ? g->condition.max_memory_clock_mhz : g->condition.max_sm_clock_mhz);
    return SUCCESS;
}
ret_t nvmlDeviceGetApplicationsClock(gpu_t *g, int kind, unsigned *mhz) { return nvmlDeviceGetMaxClockInfo(g, kind, mhz); }
ret_t nvmlDeviceGetCurrentClocksEventReasons(gpu_t *g, unsigned long long *mask) {
    ALIVE(g); *mask = g->throttle_reasons; return SUCCESS;
}
ret_t nvmlDeviceGetCurrentClocksThrottleReasons(gpu_t *g, unsigned long long *mask) {
    return nvmlDeviceGetCurrentClocksEventReasons(g, mask);
}
ret_t nvmlDeviceGetComputeMode(gpu_t *g, unsigned *mode) { ALIVE(g); *mode = 0; return SUCCESS; }
ret_t nvmlDeviceGetEccMode(gpu_t *g, unsigned *now, unsigned *next) {
    ALIVE(g); *now = *next = (unsigned)g->condition.ecc; return SUCCESS;
}
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

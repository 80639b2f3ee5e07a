/* What a simulated board's sensors publish: true power through the lag, window, ticks and quanta of its sensor. */
#include "board.h"

#include <math.h>
#include <time.h>

control_t *control;

int64_t clock_ns(int realtime) {
    struct timespec t;
    clock_gettime(realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static const piece_t *piece_at(const gpu_t *g, int64_t t) {
    int64_t low = 0, high = g->n_steps;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (g->steps[middle].t_ns <= t) low = middle;
        else high = middle;
    }
    return &g->steps[low];
}

/* Energy since the first piece as the sensor sees it. A first-order lag of constant c delays its input x to y with
 * c·y' = x - y, so the integral of y is that of x less c·(y - y at the start). Before the first piece all is constant. */
static double sensed_j(const gpu_t *g, int64_t t) {
    const piece_t *p = piece_at(g, t);
    double s = (double)(t - p->t_ns) / 1e9, decay = (double)g->sensor.decay_ns / 1e9, lag = (double)g->sensor.lag_ns / 1e9;
    if (s < 0) return p->target_w * s;
    double excess = fmax(0, p->power_w - p->target_w), energy = p->energy_j + (p->target_w + p->slope_w_s * s / 2) * s;
    if (decay > 0) energy += excess * decay * (1 - exp(-s / decay));
    if (lag <= 0) return energy;
    if (decay > 0 && fabs(decay / lag - 1) < 1e-3) decay *= 1.002; /* the closed form has a pole there */
    double share = decay > 0 ? excess * decay / (decay - lag) : 0;
    double rest = p->lagged_w - (p->target_w - p->slope_w_s * lag + share);
    double lagged = p->target_w + p->slope_w_s * (s - lag) + (decay > 0 ? share * exp(-s / decay) : 0) + rest * exp(-s / lag);
    return energy - lag * (lagged - g->steps[0].lagged_w);
}

static int64_t jitter(const sensor_t *s, int64_t k) {
    uint64_t x = (uint64_t)k * 0x9E3779B97F4A7C15u + (uint64_t)s->seed;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return s->jitter_ns ? (int64_t)((x ^ (x >> 31)) % (uint64_t)(2 * s->jitter_ns + 1)) - s->jitter_ns : 0;
}

typedef struct { int64_t tick, phase; } beat_t;
static beat_t of_counter(const sensor_t *s) { return (beat_t){s->tick_ns, s->phase_ns}; }
static beat_t of_power(const sensor_t *s) {
    return s->power_tick_ns ? (beat_t){s->power_tick_ns, s->power_phase_ns} : of_counter(s);
}
static int64_t tick_ns(const sensor_t *s, beat_t b, int64_t k) {
    return control->origin_ns + b.phase + k * b.tick + jitter(s, k);
}
static int64_t last_tick(const sensor_t *s, beat_t b, int64_t t) {
    int64_t k = (t - control->origin_ns - b.phase) / b.tick + 1; /* jitter is less than half a tick */
    while (tick_ns(s, b, k) > t) k--;
    return k;
}

int64_t power_published_ns(const gpu_t *g, int64_t t) {
    if (g->fault.power_stall_ns && t > g->fault.power_stall_ns) t = g->fault.power_stall_ns;
    return tick_ns(&g->sensor, of_power(&g->sensor), last_tick(&g->sensor, of_power(&g->sensor), t));
}
static int64_t counter_tick(const gpu_t *g, int64_t t) {
    const fault_t *f = &g->fault;
    if (f->stall_ns && t > f->stall_ns) t = f->stall_ns;
    if (f->freeze_ns && t > f->freeze_ns && (!f->thaw_ns || t < f->thaw_ns)) t = f->freeze_ns;
    return last_tick(&g->sensor, of_counter(&g->sensor), t);
}
int64_t counter_published_ns(const gpu_t *g, int64_t t) {
    return tick_ns(&g->sensor, of_counter(&g->sensor), counter_tick(g, t));
}

static double window_w(const gpu_t *g, int64_t t, int64_t width) {
    return (sensed_j(g, t) - sensed_j(g, t - width)) / ((double)width / 1e9);
}

/* A counter that adds sensed mean × tick at each tick and knows nothing of the time between. Sums of the past are kept. */
static double sensed_only_j(const gpu_t *g, int64_t last) {
    static struct { int64_t k, origin; double sum; } kept[MAX_GPUS];
    const sensor_t *s = &g->sensor;
    beat_t b = of_counter(s);
    int64_t i = g - control->gpus;
    if (kept[i].origin != control->origin_ns || kept[i].k > last) {
        kept[i].origin = control->origin_ns, kept[i].k = 0, kept[i].sum = 0;
    }
    while (kept[i].k < last) {
        int64_t from = tick_ns(s, b, kept[i].k), to = tick_ns(s, b, kept[i].k + 1);
        kept[i].sum += window_w(g, to, s->window_ns) * (double)(to - from) / 1e9;
        kept[i].k++;
    }
    return kept[i].sum;
}

static double counted_j(const gpu_t *g, int64_t k) {
    if (g->sensor.counter_mode == COUNTER_SENSED_ONLY) return sensed_only_j(g, k);
    const sensor_t *s = &g->sensor;
    return sensed_j(g, tick_ns(s, of_counter(s), k)) - sensed_j(g, control->origin_ns);
}

unsigned long long counter_mj(const gpu_t *g, int64_t t) {
    const fault_t *f = &g->fault;
    const sensor_t *s = &g->sensor;
    if (g->faults & COUNTER_ZERO) return 0;
    int64_t k = counter_tick(g, t);
    double joules = g->counter_start_j + counted_j(g, k), scale = f->counter_scale > 0 ? f->counter_scale : 1;
    int64_t now = tick_ns(s, of_counter(s), k);
    if (f->reset_ns && now >= f->reset_ns) joules -= g->counter_start_j + counted_j(g, last_tick(s, of_counter(s), f->reset_ns));
    if (f->jump_ns && now >= f->jump_ns) joules += f->jump_j;
    unsigned long long mj = (unsigned long long)(fmax(0, joules) * scale * 1000 + 1e-4);
    return s->counter_quantum_mj > 1 ? mj - mj % (unsigned long long)s->counter_quantum_mj : mj;
}

static unsigned quantised_mw(const gpu_t *g, double watts) {
    unsigned mw = (unsigned)(fmax(0, watts) * 1000 + 0.5); /* differences of sums are a hair off */
    return g->sensor.power_quantum_mw > 1 ? mw - mw % (unsigned)g->sensor.power_quantum_mw : mw;
}
unsigned instant_mw(const gpu_t *g, int64_t t) {
    return quantised_mw(g, window_w(g, power_published_ns(g, t), g->sensor.window_ns));
}
unsigned average_mw(const gpu_t *g, int64_t t) {
    if (!g->sensor.average_ns) return instant_mw(g, t);
    return quantised_mw(g, window_w(g, power_published_ns(g, t), g->sensor.average_ns));
}

unsigned long long event_ns(const gpu_t *g, int which, int64_t t) {
    int64_t since = g->condition.event_since_ns[which];
    return (unsigned long long)(g->condition.event_ns[which] + (since && t > since ? t - since : 0));
}

/* SPDX-License-Identifier: MIT
 *
 * A pool of our own instead of OpenMP's: its threads spin only for microseconds before they sleep, so a
 * machine that other programs keep busy slows this one down no more than its share.
 */
#include "common/base/parallel.h"

#include <cblas.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    MOST_WORKERS = 1023,
    SPINS = 2000, /* looks at the generation before a thread sleeps: some 20 microseconds */
};

/* What a generation of work is. Every worker acknowledges it, also those beyond the team. */
typedef struct Job {
    ParallelBody *body;
    void *context;
    size_t n, unit, units, pieces; /* parallel_for; pieces = 0: parallel_each */
    atomic_size_t next;            /* parallel_each */
    size_t team;
} Job;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    atomic_uint generation;
    atomic_uint remaining; /* workers that have not acknowledged */
    unsigned sleeping;     /* under lock */
    unsigned hired_at; /* generation when the newest workers were created: the last one they skip */
    size_t workers;
    Job job;
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .start = PTHREAD_COND_INITIALIZER,
    .done = PTHREAD_COND_INITIALIZER,
};

static int threads = 1;
static _Thread_local int self = -1; /* number in the team while inside; -1 outside */

static int available_processors(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

void parallel_init(int n) {
    threads = n > 0 ? n : available_processors();
    if (threads > MOST_WORKERS + 1) {
        threads = MOST_WORKERS + 1;
    }
    openblas_set_num_threads(1);
}

int parallel_threads(void) {
    return threads;
}

bool parallel_is_inside(void) {
    return self >= 0;
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void work(Job *job, size_t member) {
    self = (int)member;
    if (job->pieces == 0) {
        for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->n;) {
            job->body(job->context, i, i + 1, (int)member);
        }
    }
    /* The pieces are the same however many members the team has. */
    for (size_t p = member; p < job->pieces; p += job->team) {
        size_t units = job->units, pieces = job->pieces;
        size_t begin = (units / pieces * p + units % pieces * p / pieces) * job->unit;
        size_t last = units / pieces * (p + 1) + units % pieces * (p + 1) / pieces;
        job->body(job->context, begin, p + 1 == pieces ? job->n : last * job->unit, (int)p);
    }
    self = -1;
}

static void *worker(void *argument) {
    size_t member = (size_t)(uintptr_t)argument;
    unsigned seen = pool.hired_at; /* stays until the first generation is acknowledged */
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&pool.generation) == seen; i++) {
            relax();
        }
        if (atomic_load(&pool.generation) == seen) {
            pthread_mutex_lock(&pool.lock);
            pool.sleeping++;
            while (atomic_load(&pool.generation) == seen) {
                pthread_cond_wait(&pool.start, &pool.lock);
            }
            pool.sleeping--;
            pthread_mutex_unlock(&pool.lock);
        }
        seen++;
        if (member < pool.job.team) {
            work(&pool.job, member);
        }
        if (atomic_fetch_sub(&pool.remaining, 1) == 1) {
            pthread_mutex_lock(&pool.lock);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.lock);
        }
    }
    return NULL;
}

/* A forked child has none of the threads. */
static void forget(void) {
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.start, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.workers = 0;
    pool.sleeping = 0;
}

/* As many workers as the team wants beside the caller, or as the system gives. */
static void hire(size_t wanted) {
    if (pool.workers >= wanted) {
        return;
    }
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return;
    }
    if (pool.workers == 0) {
        static bool registered;
        registered = registered || pthread_atfork(NULL, NULL, forget) == 0;
    }
    pool.hired_at = atomic_load(&pool.generation);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    while (pool.workers < wanted) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, worker, (void *)(uintptr_t)(pool.workers + 1)) !=
            0) {
            break;
        }
        pool.workers++;
    }
    pthread_attr_destroy(&attributes);
}

static void run(size_t team) {
    pool.job.team = team;
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.remaining, (unsigned)pool.workers);
    atomic_fetch_add(&pool.generation, 1);
    if (pool.sleeping > 0) {
        pthread_cond_broadcast(&pool.start);
    }
    pthread_mutex_unlock(&pool.lock);
    work(&pool.job, 0);
    for (int i = 0; i < SPINS && atomic_load(&pool.remaining) > 0; i++) {
        relax();
    }
    if (atomic_load(&pool.remaining) > 0) {
        pthread_mutex_lock(&pool.lock);
        while (atomic_load(&pool.remaining) > 0) {
            pthread_cond_wait(&pool.done, &pool.lock);
        }
        pthread_mutex_unlock(&pool.lock);
    }
}

void parallel_for(size_t n, size_t grain, ParallelBody *body, void *context) {
    if (n == 0) {
        return;
    }
    size_t unit = grain == 0 ? 1 : grain;
    size_t units = n / unit + (n % unit != 0);
    size_t pieces = units < (size_t)threads ? units : (size_t)threads;
    if (self >= 0 || pieces == 1) {
        body(context, 0, n, self >= 0 ? self : 0);
        return;
    }
    hire(pieces - 1);
    size_t team = pieces < pool.workers + 1 ? pieces : pool.workers + 1;
    pool.job = (Job){
        .body = body, .context = context, .n = n, .unit = unit, .units = units, .pieces = pieces};
    run(team);
}

void parallel_each(size_t n, ParallelBody *body, void *context) {
    size_t team = n < (size_t)threads ? n : (size_t)threads;
    if (team <= 1 || self >= 0) {
        for (size_t i = 0; i < n; i++) {
            body(context, i, i + 1, self >= 0 ? self : 0);
        }
        return;
    }
    hire(team - 1);
    pool.job = (Job){.body = body, .context = context, .n = n};
    run(team < pool.workers + 1 ? team : pool.workers + 1);
}

// SPDX-License-Identifier: MIT
#include "sync/progress.h"

#include <stdio.h>

#include "base/clock.h"

enum {
    EVERY_US = 200 * 1000,
    WIDTH = 30,
};

static pthread_mutex_t drawing = PTHREAD_MUTEX_INITIALIZER;
static int64_t drawn_us;
static bool shown;

static void draw(struct pass *pass, int64_t now)
{
    size_t total = pass->steps_total, done = atomic_load(&pass->steps_done);
    uint64_t rows = atomic_load(&pass->counts.copied) + atomic_load(&pass->counts.repaired);
    double seconds = (double)(now - pass->started_us) / 1e6;
    if (total == 0)
        return;
    if (done > total) // it was estimated
        total = done;
    int full = (int)(done * WIDTH / total);
    double left = done ? seconds / (double)done * (double)(total - done) : 0;
    fprintf(stderr, "\r[%.*s%*s] %3zu %%  %llu rows  %.0f rows/s  %.0f s left \033[K", full,
            "##############################", WIDTH - full, "", done * 100 / total,
            (unsigned long long)rows, seconds > 0 ? (double)rows / seconds : 0, left);
    shown = true;
}

void progress_show(struct pass *pass)
{
    if (!pass->options.progress || pthread_mutex_trylock(&drawing))
        return;
    int64_t now = clock_us();
    if (now - drawn_us > EVERY_US) {
        draw(pass, now);
        drawn_us = now;
    }
    pthread_mutex_unlock(&drawing);
}

void progress_hide(struct pass *pass)
{
    if (!pass->options.progress)
        return;
    pthread_mutex_lock(&drawing);
    if (shown)
        fputs("\r\033[K", stderr);
    shown = false;
    pthread_mutex_unlock(&drawing);
}

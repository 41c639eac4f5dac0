/* Preloaded: fsync and fdatasync do their work, and then take at least
   ORDERLEDGER_BENCH_FSYNC_US microseconds in all, asleep as on a slower disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

typedef int (*sync_call)(int);

static long floor_ns(void) {
    static long cached = -1;
    if (cached < 0) {
        const char *given = getenv("ORDERLEDGER_BENCH_FSYNC_US");
        cached = given == NULL ? 0 : atol(given) * 1000;
    }
    return cached;
}

static int padded(const char *name, int descriptor) {
    sync_call real = (sync_call)dlsym(RTLD_NEXT, name);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int result = real(descriptor);
    int error = errno;
    until.tv_nsec += floor_ns();
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    /* The kernel otherwise rounds a sleep up by 50 us. */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
    errno = error;
    return result;
}

int fsync(int descriptor) { return padded("fsync", descriptor); }
int fdatasync(int descriptor) { return padded("fdatasync", descriptor); }

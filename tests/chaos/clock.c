/* A wall clock that jumps by as many seconds as /srv/clock.offset says: loaded before libc (LD_PRELOAD) by a training's
 * unit. Containers share the machine's clock, so this is as near to a jumping one as a single host of the demo can get.
 * The clock that only goes forward (CLOCK_MONOTONIC) is left alone, as a real jump leaves it alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

static long offset(void) {
    long seconds = 0;
    FILE *told = fopen("/srv/clock.offset", "r");
    if (told) {
        if (fscanf(told, "%ld", &seconds) != 1) seconds = 0;
        fclose(told);
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    if (!code && clock == CLOCK_REALTIME) now->tv_sec += offset();
    return code;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    int code = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return code;
}

time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}

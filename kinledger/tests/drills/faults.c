/* Loaded before the C library, into a process under test. Two numbers in a shared file, named by KINLEDGER_FAULTS, say how the
 * machine misbehaves, and may be changed at any moment: seconds by which the wall clock is off, and microseconds that each
 * flush to disk takes longer. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t nothing[2];
static const volatile int64_t *faults = nothing;

__attribute__((constructor)) static void open_faults(void) {
    const char *path = getenv("KINLEDGER_FAULTS");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *memory = mmap(0, sizeof nothing, PROT_READ, MAP_SHARED, file, 0);
    if (memory != MAP_FAILED) faults = memory;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += faults[0];
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int fsync(int file) {
    if (faults[1] > 0) usleep((useconds_t)faults[1]);
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    if (faults[1] > 0) usleep((useconds_t)faults[1]);
    return (int)syscall(SYS_fdatasync, file);
}

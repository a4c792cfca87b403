/* The time of day of a process, put forward and back while it runs (LD_PRELOAD): the system's plus the seconds, eight bytes of
   the machine's own order, in the file that HITSTREAM_TEST_CLOCK names. Monotonic clocks and pauses go on as they are, as when an
   administrator sets a machine's clock.

   libfaketime does not do: it does not know the waits of C11, which are librdkafka's, and breaks pauses to a monotonic time. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000L
#define SLICE (NANOSECONDS / 20)

static volatile const int64_t *shift;

__attribute__((constructor)) static void open_clock(void)
{
    static const int64_t none = 0;
    const char *path = getenv("HITSTREAM_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *found = file < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    shift = found == MAP_FAILED ? &none : found;
    if (file >= 0)
        close(file);
}

static int system_time(clockid_t clock, struct timespec *at)
{
    return (int)syscall(SYS_clock_gettime, clock, at);
}

static int64_t shift_of(clockid_t clock)
{
    return shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) ? *shift : 0;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int failed = system_time(clock, at);
    if (!failed)
        at->tv_sec += shift_of(clock);
    return failed;
}

int gettimeofday(struct timeval *at, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

/* A wait until a time of day ends when the clock, however it was set meanwhile, has come there: in slices, each of which ends as
   POSIX lets waits end without cause. glibc keeps in bit 1 of __wrefs that a condition goes by the monotonic clock. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    static int (*wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!wait)
        wait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    if (condition->__data.__wrefs & 2)
        return wait(condition, mutex, until);

    struct timespec now, end;
    system_time(CLOCK_REALTIME, &now);
    int64_t left = (until->tv_sec - *shift - now.tv_sec) * NANOSECONDS + until->tv_nsec - now.tv_nsec;
    int64_t slice = left < SLICE ? left : SLICE;
    int64_t at = now.tv_sec * NANOSECONDS + now.tv_nsec + (slice < 0 ? 0 : slice);
    end.tv_sec = at / NANOSECONDS;
    end.tv_nsec = at % NANOSECONDS;
    int ended = wait(condition, mutex, &end);
    return ended == ETIMEDOUT && left > SLICE ? 0 : ended;
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until)
{
    switch (pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until)) {
    case 0:
        return thrd_success;
    case ETIMEDOUT:
        return thrd_timedout;
    default:
        return thrd_error;
    }
}

/* A slow disk, for soak tests on Linux: writes to files take as long as on a disk of so many MiB a second, and each sync some
   milliseconds more.

       cc -O2 -shared -fPIC -o slow_disk.so benches/slow_disk.c -ldl
       LD_PRELOAD=./slow_disk.so SLOW_DISK_MIB=20 SLOW_DISK_SYNC_MS=10 steersman up --dir load/state --apply load/load.toml

   As on a disk behind a page cache, a write returns at once until a second's worth is waiting, and a sync waits for all that was
   written before it, by whomever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* When the disk will have written all that it was given, in seconds of the monotonic clock. */
static double done_at;

static double number(const char *name, double usual) {
    const char *text = getenv(name);
    return text ? atof(text) : usual;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void wait_until(double moment) {
    double seconds = moment - now();
    if (seconds > 0) {
        struct timespec time = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
        nanosleep(&time, NULL);
    }
}

/* Gives the disk this much more to do; when it will have done it. */
static double give(double seconds) {
    pthread_mutex_lock(&lock);
    double from = now();
    done_at = (done_at > from ? done_at : from) + seconds;
    double moment = done_at;
    pthread_mutex_unlock(&lock);
    return moment;
}

static void written(int file, ssize_t bytes) {
    struct stat about;
    if (bytes > 0 && fstat(file, &about) == 0 && S_ISREG(about.st_mode))
        wait_until(give(bytes / (number("SLOW_DISK_MIB", 20) * 1048576)) - 1);
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(write);
    ssize_t done = real(file, bytes, count);
    written(file, done);
    return done;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    ssize_t done = real(file, parts, count);
    written(file, done);
    return done;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    ssize_t done = real(file, bytes, count, at);
    written(file, done);
    return done;
}

int fsync(int file) {
    REAL(fsync);
    wait_until(give(number("SLOW_DISK_SYNC_MS", 10) / 1e3));
    return real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    wait_until(give(number("SLOW_DISK_SYNC_MS", 10) / 1e3));
    return real(file);
}

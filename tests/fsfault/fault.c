/* A preloaded library that makes flushes (and, asked for, writes) of chosen files fail as a dying disk does.
 *
 *   cc -shared -fPIC -O2 -o fault.so fault.c -ldl
 *   LD_PRELOAD=$PWD/fault.so FSFAULT_PATH=/store/commitlog/ FSFAULT_AFTER=100 orbitmq-broker ...
 *
 * FSFAULT_PATH     part of the path of the files meant; without it nothing fails
 * FSFAULT_CALLS    "sync" (default: fsync, fdatasync, msync), "write" (write, pwrite and their vector forms) or "sync,write"
 * FSFAULT_AFTER    how many of those calls succeed first, default 0
 * FSFAULT_TRIGGER  a file: while it does not exist, calls succeed and are not counted
 * FSFAULT_COUNT    how many calls fail, default all that follow
 * FSFAULT_ERRNO    what they fail with, default 5 (EIO); 28 is ENOSPC
 *
 * FSFAULT_CONTROL  a file of eight 64-bit numbers that may change while the program runs: microseconds by which each flush
 *                  and each write of those files is longer, whether flushes and whether writes fail, and milliseconds by
 *                  which the wall clock is off
 * FSFAULT_SOURCE   a loopback address from which connections to loopback addresses are made: who connects is told by it
 * FSFAULT_RECORD   a file to which each write of those files adds "w OFFSET LENGTH PATH" before it is done, and each flush
 *                  "s NUMBER PATH" before and "e NUMBER PATH" after it has succeeded: what a power cut may take back
 *
 * Each failure that was counted is one line on stderr. Calls must go through the C library: a static program, or one that
 * enters the kernel by itself, is not seen.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? atol(text) : otherwise;
}

enum { SLOW_SYNC, SLOW_WRITE, BROKEN_SYNC, BROKEN_WRITE, CLOCK_OFF, FIELDS = 8 };
static const volatile int64_t healthy[FIELDS], *control = healthy;
static int record = -1;

__attribute__((constructor)) static void open_files(void) {
    const char *control_path = getenv("FSFAULT_CONTROL"), *record_path = getenv("FSFAULT_RECORD");
    if (record_path && *record_path) record = open(record_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    int file = control_path && *control_path ? open(control_path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *at = mmap(NULL, sizeof healthy, PROT_READ, MAP_SHARED, file, 0);
    if (at != MAP_FAILED) control = at;
    close(file);
}

static int is_meant(const char *path) {
    const char *part = getenv("FSFAULT_PATH");
    return part && *part && strstr(path, part);
}

/* Whether this call on this path is to fail; sets errno and says so if it is. */
static int fails(const char *kind, const char *call, const char *path) {
    const char *kinds = getenv("FSFAULT_CALLS"), *trigger = getenv("FSFAULT_TRIGGER");
    if (!is_meant(path) || !strstr(kinds && *kinds ? kinds : "sync", kind)) return 0;
    if (trigger && *trigger && access(trigger, F_OK) != 0) return 0;
    long failure = atomic_fetch_add(&calls, 1) - number("FSFAULT_AFTER", 0), count = number("FSFAULT_COUNT", -1);
    if (failure < 0 || (count >= 0 && failure >= count)) return 0;
    dprintf(STDERR_FILENO, "fsfault: %s of %s fails\n", call, path);
    errno = (int)number("FSFAULT_ERRNO", EIO);
    return 1;
}

static int path_of(int descriptor, char *path, size_t size) {
    char link[64];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, size - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

/* What the control file has in store for a call: it takes longer, and maybe fails. */
static int suffers(int slow, int broken) {
    int before = errno;
    if (control[slow] > 0) usleep((useconds_t)control[slow]);
    errno = control[broken] ? EIO : before;
    return control[broken] != 0;
}

static int write_fails(const char *call, int descriptor, size_t length, off_t at) {
    char path[4096], line[4200];
    if (!path_of(descriptor, path, sizeof path)) return 0;
    if (fails("write", call, path)) return 1;
    if (!is_meant(path)) return 0;
    if (suffers(SLOW_WRITE, BROKEN_WRITE)) return 1;
    /* Plain writes without an offset are not how the files meant are written. */
    if (record >= 0 && at >= 0) {
        int size = snprintf(line, sizeof line, "w %lld %zu %s\n", (long long)at, length, path), before = errno;
        static typeof(&write) real_write;
        if (!real_write) real_write = (typeof(&write))dlsym(RTLD_NEXT, "write");
        if (real_write(record, line, (size_t)size) != size) dprintf(STDERR_FILENO, "fsfault: no record: %s\n", line);
        errno = before;
    }
    return 0;
}

static size_t length_of(const struct iovec *from, int n) {
    size_t length = 0;
    for (int i = 0; i < n; i++) length += from[i].iov_len;
    return length;
}

static int flush(const char *call, int descriptor, int (*real)(int)) {
    static atomic_long flushes;
    char path[4096];
    if (!path_of(descriptor, path, sizeof path)) return real(descriptor);
    if (fails("sync", call, path)) return -1;
    if (!is_meant(path)) return real(descriptor);
    long flush = atomic_fetch_add(&flushes, 1);
    if (record >= 0) dprintf(record, "s %ld %s\n", flush, path);
    if (suffers(SLOW_SYNC, BROKEN_SYNC)) return -1;
    int result = real(descriptor), why = errno;
    if (record >= 0 && result == 0) dprintf(record, "e %ld %s\n", flush, path);
    errno = why;
    return result;
}

/* A mapping's file is found by its address. */
static int fails_at_address(const char *call, const void *address) {
    char line[4600], path[4096];
    uintptr_t from, to, at = (uintptr_t)address;
    int found = 0, before = errno;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && !found && fgets(line, sizeof line, maps))
        found = sscanf(line, "%lx-%lx %*s %*s %*s %*s %4095[^\n]", &from, &to, path) == 3 && from <= at && at < to;
    if (maps) fclose(maps);
    errno = before;
    return found && fails("sync", call, path);
}

#define REAL(name) \
    static typeof(&name) real; \
    if (!real) real = (typeof(&name))dlsym(RTLD_NEXT, #name)

int fsync(int fd) { REAL(fsync); return flush("fsync", fd, real); }
int fdatasync(int fd) { REAL(fdatasync); return flush("fdatasync", fd, real); }
int msync(void *at, size_t n, int flags) { REAL(msync); return fails_at_address("msync", at) ? -1 : real(at, n, flags); }
ssize_t write(int fd, const void *from, size_t n) {
    REAL(write);
    return fd > 2 && write_fails("write", fd, n, -1) ? -1 : real(fd, from, n);
}
ssize_t writev(int fd, const struct iovec *from, int n) {
    REAL(writev);
    return fd > 2 && write_fails("writev", fd, length_of(from, n), -1) ? -1 : real(fd, from, n);
}
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
    REAL(pwrite);
    return write_fails("pwrite", fd, n, at) ? -1 : real(fd, from, n, at);
}
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) {
    REAL(pwrite64);
    return write_fails("pwrite64", fd, n, at) ? -1 : real(fd, from, n, at);
}
ssize_t pwritev(int fd, const struct iovec *from, int n, off_t at) {
    REAL(pwritev);
    return write_fails("pwritev", fd, length_of(from, n), at) ? -1 : real(fd, from, n, at);
}
ssize_t pwritev64(int fd, const struct iovec *from, int n, off64_t at) {
    REAL(pwritev64);
    return write_fails("pwritev64", fd, length_of(from, n), at) ? -1 : real(fd, from, n, at);
}

/* An address without a port is kept until the connection needs one, so that ports do not run out. */
int connect(int fd, const struct sockaddr *to, socklen_t size) {
    REAL(connect);
    const char *from = getenv("FSFAULT_SOURCE");
    struct sockaddr_in source = {.sin_family = AF_INET};
    int yes = 1, before = errno;
    if (from && to->sa_family == AF_INET && ntohl(((const struct sockaddr_in *)to)->sin_addr.s_addr) >> 24 == 127 &&
        inet_pton(AF_INET, from, &source.sin_addr) == 1) {
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        bind(fd, (struct sockaddr *)&source, sizeof source);
        errno = before;
    }
    return real(fd, to, size);
}

/* Clocks that run on are left alone: only what tells the time of day is off. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    int64_t off = control[CLOCK_OFF];
    if (result != 0 || off == 0) return result;
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE && clock != CLOCK_TAI) return result;
    int64_t fraction = now->tv_nsec + off % 1000 * 1000000;
    now->tv_sec += off / 1000 + (fraction < 0 ? -1 : fraction / 1000000000);
    now->tv_nsec = (fraction + 1000000000) % 1000000000;
    return 0;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise) == 0)
        *now = (struct timeval){precise.tv_sec, precise.tv_nsec / 1000};
    return 0;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

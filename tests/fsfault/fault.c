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
 * Each failure is one line on stderr. Calls must go through the C library: a static program, or one that enters the kernel
 * by itself, is not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? atol(text) : otherwise;
}

/* Whether this call on this path is to fail; sets errno and says so if it is. */
static int fails(const char *kind, const char *call, const char *path) {
    const char *part = getenv("FSFAULT_PATH"), *kinds = getenv("FSFAULT_CALLS"), *trigger = getenv("FSFAULT_TRIGGER");
    if (!part || !*part || !strstr(path, part) || !strstr(kinds && *kinds ? kinds : "sync", kind)) return 0;
    if (trigger && *trigger && access(trigger, F_OK) != 0) return 0;
    long failure = atomic_fetch_add(&calls, 1) - number("FSFAULT_AFTER", 0), count = number("FSFAULT_COUNT", -1);
    if (failure < 0 || (count >= 0 && failure >= count)) return 0;
    dprintf(STDERR_FILENO, "fsfault: %s of %s fails\n", call, path);
    errno = (int)number("FSFAULT_ERRNO", EIO);
    return 1;
}

static int fails_at_descriptor(const char *kind, const char *call, int descriptor) {
    char link[64], path[4096];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return fails(kind, call, path);
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

int fsync(int fd) { REAL(fsync); return fails_at_descriptor("sync", "fsync", fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails_at_descriptor("sync", "fdatasync", fd) ? -1 : real(fd); }
int msync(void *at, size_t n, int flags) { REAL(msync); return fails_at_address("msync", at) ? -1 : real(at, n, flags); }
ssize_t write(int fd, const void *from, size_t n) {
    REAL(write);
    return fd > 2 && fails_at_descriptor("write", "write", fd) ? -1 : real(fd, from, n);
}
ssize_t writev(int fd, const struct iovec *from, int n) {
    REAL(writev);
    return fd > 2 && fails_at_descriptor("write", "writev", fd) ? -1 : real(fd, from, n);
}
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
    REAL(pwrite);
    return fails_at_descriptor("write", "pwrite", fd) ? -1 : real(fd, from, n, at);
}
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) {
    REAL(pwrite64);
    return fails_at_descriptor("write", "pwrite64", fd) ? -1 : real(fd, from, n, at);
}
ssize_t pwritev(int fd, const struct iovec *from, int n, off_t at) {
    REAL(pwritev);
    return fails_at_descriptor("write", "pwritev", fd) ? -1 : real(fd, from, n, at);
}
ssize_t pwritev64(int fd, const struct iovec *from, int n, off64_t at) {
    REAL(pwritev64);
    return fails_at_descriptor("write", "pwritev64", fd) ? -1 : real(fd, from, n, at);
}

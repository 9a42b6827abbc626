/* Loaded before libc: counts what a process does to files below one folder, and breaks it off at a chosen one.
 *
 * arm(root, at, mode) begins; at < 0 only counts. Modes: 0 kill before the operation, 1 kill in the middle of it
 * (half of a write is done), 2 from the operation on the disk is full, 3 that one operation alone finds it full.
 * Operations: opening for writing, writing, flushing, truncating, renaming, making and deleting.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 4096
#define KINDS 7
enum { OPEN, WRITE, FLUSH, TRUNCATE, RENAME, MAKE, DELETE };

static char root[PATH_MAX];
static long at = -1, count;
static int mode, armed, owner;
static char watched[FDS];
static char kinds[1 << 20];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void fault_arm(const char *folder, long when, int how) {
    snprintf(root, sizeof root, "%s", folder);
    at = when;
    mode = how;
    count = 0;
    owner = getpid();
    armed = 1;
}
long fault_count(void) { return count; }
const char *fault_kinds(void) { return kinds; }
void fault_disarm(void) { armed = 0; }

static int below(int dir, const char *path) {
    char full[PATH_MAX * 2], base[PATH_MAX] = "";
    if (!armed || !path) return 0;
    if (path[0] != '/') {
        if (dir == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            ssize_t n = readlink(link, base, sizeof base - 1);
            if (n < 0) return 0;
            base[n] = 0;
        }
        snprintf(full, sizeof full, "%s/%s", base, path);
        path = full;
    }
    size_t n = strlen(root);
    return strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* 0: go on; 1: half of it, then die; 2: the disk is full. What frees room goes on. */
static int event(int kind) {
    long now = count++;
    if (now < (long)sizeof kinds - 1) kinds[now] = "owftrmd"[kind];
    if (at < 0 || now < at) return 0;
    if (mode <= 1) {
        if (now > at) return 0;
        if (mode == 1 && kind == WRITE) return 1;
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    if (mode == 3 && now > at) return 0;
    return kind == RENAME || kind == DELETE ? 0 : 2;
}
static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }
static int full(void) { errno = ENOSPC; return -1; }
static void note(int fd, int is) { if (fd >= 0 && fd < FDS) watched[fd] = (char)is; }
static int is_watched(int fd) { return armed && fd >= 0 && fd < FDS && watched[fd]; }
static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

#define OPENING(name, dir, path, flags, call)                        \
    int is = writes(flags) && below(dir, path);                      \
    if (is && event(OPEN) == 2 && ((flags) & (O_CREAT | O_TRUNC))) return full(); \
    int fd = call;                                                   \
    note(fd, is);                                                    \
    return fd;

#define MODE(flags) \
    mode_t m = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); m = va_arg(a, mode_t); va_end(a); }

int open(const char *path, int flags, ...) { MODE(flags) OPENING(open, AT_FDCWD, path, flags, REAL(open)(path, flags, m)) }
int open64(const char *path, int flags, ...) { MODE(flags) OPENING(open64, AT_FDCWD, path, flags, REAL(open64)(path, flags, m)) }
int openat(int d, const char *path, int flags, ...) { MODE(flags) OPENING(openat, d, path, flags, REAL(openat)(d, path, flags, m)) }
int openat64(int d, const char *path, int flags, ...) { MODE(flags) OPENING(openat64, d, path, flags, REAL(openat64)(d, path, flags, m)) }

#define FOPENING(call)                                                                    \
    int is = how[0] != 'r' || strchr(how, '+');                                           \
    is = is && below(AT_FDCWD, path);                                                     \
    if (is && event(OPEN) == 2) { errno = ENOSPC; return NULL; }                          \
    FILE *file = call;                                                                    \
    if (file) note(fileno(file), is);                                                     \
    return file;
FILE *fopen(const char *path, const char *how) { FOPENING(REAL(fopen)(path, how)) }
FILE *fopen64(const char *path, const char *how) { FOPENING(REAL(fopen64)(path, how)) }

#define WRITING(half, whole)                        \
    if (is_watched(fd)) switch (event(WRITE)) {     \
        case 1: half; die();                        \
        case 2: return full();                      \
    }                                               \
    return whole;
ssize_t write(int fd, const void *b, size_t n) { WRITING((void)!REAL(write)(fd, b, n / 2), REAL(write)(fd, b, n)) }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { WRITING((void)!REAL(pwrite)(fd, b, n / 2, o), REAL(pwrite)(fd, b, n, o)) }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { WRITING((void)!REAL(pwrite64)(fd, b, n / 2, o), REAL(pwrite64)(fd, b, n, o)) }
ssize_t writev(int fd, const struct iovec *v, int n) { WRITING((void)!REAL(writev)(fd, v, n / 2), REAL(writev)(fd, v, n)) }

int fsync(int fd) { if (is_watched(fd) && event(FLUSH) == 2) return full(); return REAL(fsync)(fd); }
int fdatasync(int fd) { if (is_watched(fd) && event(FLUSH) == 2) return full(); return REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t n) { if (is_watched(fd) && event(TRUNCATE) == 2 && n) return full(); return REAL(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { if (is_watched(fd) && event(TRUNCATE) == 2 && n) return full(); return REAL(ftruncate64)(fd, n); }
int rename(const char *a, const char *b) { if (below(AT_FDCWD, b)) event(RENAME); return REAL(rename)(a, b); }
int renameat(int d, const char *a, int e, const char *b) { if (below(e, b)) event(RENAME); return REAL(renameat)(d, a, e, b); }
int mkdir(const char *p, mode_t m) { if (below(AT_FDCWD, p) && event(MAKE) == 2) return full(); return REAL(mkdir)(p, m); }
int mkdirat(int d, const char *p, mode_t m) { if (below(d, p) && event(MAKE) == 2) return full(); return REAL(mkdirat)(d, p, m); }
int unlink(const char *p) { if (below(AT_FDCWD, p)) event(DELETE); return REAL(unlink)(p); }
int unlinkat(int d, const char *p, int f) { if (below(d, p)) event(DELETE); return REAL(unlinkat)(d, p, f); }
int rmdir(const char *p) { if (below(AT_FDCWD, p)) event(DELETE); return REAL(rmdir)(p); }
int close(int fd) { note(fd, 0); return REAL(close)(fd); }

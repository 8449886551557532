/* What a file is: all of them are one statx(2), and the older ones' answer is made of it. */
#include "api/io/await.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int ask(int dir, const char *path, int flags, unsigned mask, struct statx *status)
{
    struct op op;

    prep_statx(&op, dir, path, flags, mask, status);
    return await(&op, "statx");
}

int gring_statx(int dir, const char *path, int flags, unsigned mask, struct statx *status)
{
    if (!hub_self())
        return statx(dir, path, flags, mask, status);
    return (int)api_result(ask(dir, path, flags, mask, status));
}

static struct timespec time_of(struct statx_timestamp stamp)
{
    return (struct timespec){ .tv_sec = stamp.tv_sec, .tv_nsec = stamp.tv_nsec };
}

/* As the kernel fills it in for fstatat(2). */
static void convert(struct stat *old, const struct statx *status)
{
    *old = (struct stat){
        .st_dev = makedev(status->stx_dev_major, status->stx_dev_minor),
        .st_ino = status->stx_ino,
        .st_mode = status->stx_mode,
        .st_nlink = status->stx_nlink,
        .st_uid = status->stx_uid,
        .st_gid = status->stx_gid,
        .st_rdev = makedev(status->stx_rdev_major, status->stx_rdev_minor),
        .st_size = (off_t)status->stx_size,
        .st_blksize = (blksize_t)status->stx_blksize,
        .st_blocks = (blkcnt_t)status->stx_blocks,
        .st_atim = time_of(status->stx_atime),
        .st_mtim = time_of(status->stx_mtime),
        .st_ctim = time_of(status->stx_ctime),
    };
}

/* fstatat(2) mounts nothing on its way; statx(2) would unless it is told not to. */
int gring_fstatat(int dir, const char *path, struct stat *old, int flags)
{
    struct statx status;
    int error;

    if (!hub_self())
        return fstatat(dir, path, old, flags);
    error = ask(dir, path, flags | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &status);
    if (error == 0)
        convert(old, &status);
    return (int)api_result(error);
}

int gring_stat(const char *path, struct stat *old)
{
    return gring_fstatat(AT_FDCWD, path, old, 0);
}

int gring_lstat(const char *path, struct stat *old)
{
    return gring_fstatat(AT_FDCWD, path, old, AT_SYMLINK_NOFOLLOW);
}

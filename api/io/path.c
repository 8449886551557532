/* Names of files: giving, changing and taking them away. */
#include "api/io/await.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int gring_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    struct op op;

    if (!hub_self())
        return renameat2(from_dir, from, to_dir, to, flags);
    prep_renameat(&op, from_dir, from, to_dir, to, flags);
    return (int)api_result(await(&op, "rename"));
}

int gring_rename(const char *from, const char *to)
{
    return gring_renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int gring_unlinkat(int dir, const char *path, int flags)
{
    struct op op;

    if (!hub_self())
        return unlinkat(dir, path, flags);
    prep_unlinkat(&op, dir, path, flags);
    return (int)api_result(await(&op, "unlink"));
}

int gring_mkdirat(int dir, const char *path, mode_t mode)
{
    struct op op;

    if (!hub_self())
        return mkdirat(dir, path, mode);
    prep_mkdirat(&op, dir, path, mode);
    return (int)api_result(await(&op, "mkdir"));
}

int gring_mkdir(const char *path, mode_t mode)
{
    return gring_mkdirat(AT_FDCWD, path, mode);
}

int gring_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    struct op op;

    if (!hub_self())
        return linkat(from_dir, from, to_dir, to, flags);
    prep_linkat(&op, from_dir, from, to_dir, to, flags);
    return (int)api_result(await(&op, "link"));
}

int gring_symlinkat(const char *target, int dir, const char *path)
{
    struct op op;

    if (!hub_self())
        return symlinkat(target, dir, path);
    prep_symlinkat(&op, target, dir, path);
    return (int)api_result(await(&op, "symlink"));
}

/*
 * A file system in memory: names, of which several may be one file, directories one in another,
 * FIFOs, and locks on whole files. Paths are compared as they are.
 */
#include "tests/sim/kernel.h"
#include "tests/sim/wrap.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* ---- the tree -------------------------------------------------------------------------------- */

static struct name *find(const char *path)
{
    for (struct list *link = world.names.next; link != &world.names; link = link->next) {
        struct name *name = CONTAINER_OF(link, struct name, link);

        if (strcmp(name->path, path) == 0)
            return name;
    }
    return NULL;
}

/* Is there a directory for it? */
static int parent_error(const char *path)
{
    const char *slash = strrchr(path, '/');
    char parent[NAME_BYTES];
    const struct name *name;

    if (!slash || slash == path)
        return 0;
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
    name = find(parent);
    if (!name)
        return -ENOENT;
    return name->file->kind == STORED_DIRECTORY ? 0 : -ENOTDIR;
}

static bool has_children(const struct name *directory)
{
    size_t length = strlen(directory->path);

    for (struct list *link = world.names.next; link != &world.names; link = link->next) {
        const struct name *name = CONTAINER_OF(link, struct name, link);

        if (strncmp(name->path, directory->path, length) == 0 && name->path[length] == '/')
            return true;
    }
    return false;
}

static void add_name(const char *path, struct stored_file *file)
{
    struct name *name = sim_alloc(sizeof *name);

    snprintf(name->path, sizeof name->path, "%s", path);
    name->file = file;
    file->link_count++;
    list_push_back(&world.names, &name->link);
}

static void remove_name(struct name *name)
{
    list_unlink(&name->link);
    name->file->link_count--;
}

static struct stored_file *file_new(enum stored_kind kind)
{
    struct stored_file *file = sim_alloc(sizeof *file);

    file->kind = kind;
    file->number = ++world.file_count;
    return file;
}

void sim_fifo(const char *path)
{
    add_name(path, file_new(STORED_FIFO));
}

void file_resize(struct stored_file *file, size_t size)
{
    if (size > file->capacity) {
        size_t capacity = size * 2;
        unsigned char *grown = sim_alloc(capacity);

        if (file->size)
            memcpy(grown, file->bytes, file->size);
        file->bytes = grown;
        file->capacity = capacity;
    }
    if (size < file->size)
        memset(file->bytes + size, 0, file->size - size);
    file->size = size;
}

/* ---- opening --------------------------------------------------------------------------------- */

static struct stored_file *file_at(const char *path, int flags, int *error)
{
    struct name *name = find(path);
    struct stored_file *file;

    *error = !name ? -ENOENT : -EEXIST;
    if (name ? (flags & O_CREAT && flags & O_EXCL) : !(flags & O_CREAT))
        return NULL;
    if (name)
        return name->file;
    *error = parent_error(path);
    if (*error < 0)
        return NULL;
    file = file_new(STORED_FILE);
    add_name(path, file);
    return file;
}

static void become(struct object *object, struct stored_file *file, int flags)
{
    if (flags & O_TRUNC)
        file_resize(file, 0);
    object->file = file;
    object->flags = flags;
}

/* The ring's attempt does not wait for a FIFO's other end; one that makes or cuts files does, on
 * one of the kernel's few workers. */
static int open_fifo_now(struct stored_file *file, int flags)
{
    if (flags & (O_CREAT | O_TRUNC) && !(flags & O_NONBLOCK))
        sim_fail("the opening of a FIFO may keep a worker of the kernel for ever");
    return fifo_open(file, flags | O_NONBLOCK);
}

/* The number comes first: where there is none, no file is made. */
int attempt_open(struct io_request *request)
{
    int flags = (int)request->sqe.open_flags, error = 0, fd;
    struct object *object = object_new(REGULAR_FILE);
    struct stored_file *file;

    fd = descriptor_new(object);
    if (fd < 0)
        return fd;
    file = file_at((const char *)(uintptr_t)request->sqe.addr, flags, &error);
    if (file && file->kind == STORED_FILE) {
        become(object, file, flags);
        return fd;
    }
    descriptor_close(fd);
    if (!file)
        return error;
    return file->kind == STORED_FIFO ? open_fifo_now(file, flags) : -EISDIR;
}

/* By a plain thread, which may wait. */
int __real_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);

int __wrap_openat64(int dir, const char *path, int flags, ...)
{
    const struct name *name = find(path);

    (void)dir;
    if (!name)
        return answer(-ENOENT);
    if (name->file->kind != STORED_FIFO)
        sim_fail("a thread opens %s, which is no FIFO", path);
    return answer(fifo_open(name->file, flags));
}

/* Another descriptor of what has the number in /proc/self/fd. */
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);

int __wrap_open64(const char *path, int flags, ...)
{
    const struct object *object;
    int fd;

    if (sscanf(path, "/proc/self/fd/%d", &fd) != 1 || fd < FD_FIRST)
        return __real_open64(path, flags);
    object = descriptor_object(fd);
    return answer(object && object->fifo ? fifo_open(object->fifo, flags) : -ENXIO);
}

/* ---- names, by the ring ---------------------------------------------------------------------- */

static const char *path_of(const struct io_request *request)
{
    return (const char *)(uintptr_t)request->sqe.addr;
}

static const char *second_path_of(const struct io_request *request)
{
    return (const char *)(uintptr_t)request->sqe.addr2;
}

int attempt_rename(struct io_request *request)
{
    struct name *from = find(path_of(request)), *to = find(second_path_of(request));
    int error = parent_error(second_path_of(request));

    if (!from || error < 0)
        return from ? error : -ENOENT;
    if (from->file->kind == STORED_DIRECTORY)
        sim_fail("renaming directories is not simulated");
    if (to && request->sqe.rename_flags & RENAME_NOREPLACE)
        return -EEXIST;
    if (to && to->file->kind == STORED_DIRECTORY)
        return -EISDIR;
    if (disk_fails())
        return -EIO;
    if (to && to->file == from->file)
        return 0; /* two names of one file stay */
    if (to)
        remove_name(to);
    snprintf(from->path, sizeof from->path, "%s", second_path_of(request));
    return 0;
}

int attempt_unlink(struct io_request *request)
{
    struct name *name = find(path_of(request));
    bool wants_directory = request->sqe.unlink_flags & AT_REMOVEDIR;

    if (!name)
        return -ENOENT;
    if (wants_directory != (name->file->kind == STORED_DIRECTORY))
        return wants_directory ? -ENOTDIR : -EISDIR;
    if (wants_directory && has_children(name))
        return -ENOTEMPTY;
    if (disk_fails())
        return -EIO;
    remove_name(name);
    return 0;
}

static int make_name(const char *path, struct stored_file *file)
{
    int error = parent_error(path);

    if (error < 0 || find(path))
        return error < 0 ? error : -EEXIST;
    if (disk_fails())
        return -ENOSPC;
    add_name(path, file ? file : file_new(STORED_DIRECTORY));
    return 0;
}

int attempt_mkdir(struct io_request *request)
{
    return make_name(path_of(request), NULL);
}

int attempt_link(struct io_request *request)
{
    const struct name *from = find(path_of(request));

    if (!from)
        return -ENOENT;
    if (from->file->kind == STORED_DIRECTORY)
        return -EPERM;
    return make_name(second_path_of(request), from->file);
}

int attempt_statx(struct io_request *request)
{
    static const mode_t modes[] = { S_IFREG, S_IFDIR, S_IFIFO };
    struct statx *status = (struct statx *)(uintptr_t)request->sqe.off;
    const struct name *name = find(path_of(request));

    if (!name)
        return -ENOENT;
    *status = (struct statx){ .stx_mask = STATX_BASIC_STATS,
                              .stx_mode = (uint16_t)modes[name->file->kind],
                              .stx_ino = name->file->number,
                              .stx_nlink = name->file->link_count,
                              .stx_size = name->file->size };
    return 0;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static int size_error(const struct object *object)
{
    if (!object)
        return -EBADF;
    if (object->kind != REGULAR_FILE || (object->flags & O_ACCMODE) == O_RDONLY)
        return -EINVAL;
    return disk_fails() ? -EIO : 0;
}

static int cut(const struct object *object, uint64_t size)
{
    int error = size_error(object);

    if (error == 0)
        file_resize(object->file, size);
    return error;
}

int attempt_ftruncate(struct io_request *request)
{
    return cut(request->object, request->sqe.off);
}

WRAP(int, ftruncate64, int fd, off_t size)
{
    return fd < FD_FIRST ? __real_ftruncate64(fd, size)
                         : answer(cut(descriptor_object(fd), (uint64_t)size));
}

int attempt_fallocate(struct io_request *request)
{
    uint64_t end = request->sqe.off + request->sqe.addr;
    int error = size_error(request->object);

    if (error == 0 && end > request->object->file->size)
        file_resize(request->object->file, end);
    return error;
}

/* ---- locks ----------------------------------------------------------------------------------- */

/* Of the open file: descriptors that are copies of each other have it together. */
void lock_release(struct object *object)
{
    if (object->lock == LOCK_EX)
        object->file->is_locked = false;
    if (object->lock == LOCK_SH)
        object->file->sharer_count--;
    object->lock = 0;
}

/* Giving up what one has comes first: a lock is not turned into another kind at once. */
static int lock_now(struct object *object, int kind)
{
    struct stored_file *file = object->file;

    lock_release(object);
    if (kind == LOCK_UN)
        return 0;
    if (file->is_locked || (kind == LOCK_EX && file->sharer_count)) {
        sometimes(LOCK_WAS_TAKEN);
        return -EWOULDBLOCK;
    }
    object->lock = kind;
    file->is_locked = kind == LOCK_EX;
    file->sharer_count += kind == LOCK_SH;
    return 0;
}

WRAP(int, flock, int fd, int operation)
{
    struct object *object = descriptor_object(fd);

    if (!object || object->kind != REGULAR_FILE)
        return answer(object ? -EINVAL : -EBADF);
    if (!(operation & (LOCK_NB | LOCK_UN)))
        sim_fail("flock(2) that waits would block the hub");
    return answer(lock_now(object, operation & ~LOCK_NB));
}

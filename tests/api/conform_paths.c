/*
 * Each call of greenring/io.h that takes a name, made as the POSIX original and as ours, on names of
 * every kind: tests/support/conform.h. What it has made of the folder is compared, too.
 */
#define CONFORM_FOLDER
#include "tests/support/conform.h"

#include <sys/un.h>

/* ---- a folder for each scene ----------------------------------------------------------------- */

static char folder[64];

static void enter_scene(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };

    umask(022);
    strcpy(folder, P_tmpdir "/greenring-conform-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
    put(open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), FOLDER);
    put(open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0640), FILE_FD);
    cr_assert_eq(write(FILE_FD, CONTENT, CONTENT_BYTES), CONTENT_BYTES);
    cr_assert_eq(mkdir("empty", 0755) || mkdir("full", 0755) || link("file", "full/file"), 0);
    cr_assert_eq(symlink("file", "link") || symlink("missing", "dangling"), 0);
    cr_assert_eq(symlink("loop", "loop") || symlink("full", "dirlink") || mkfifo("fifo", 0600), 0);
    put(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), SPARE);
    cr_assert_eq(bind(SPARE, (struct sockaddr *)&address, sizeof address), 0);
}

static int by_name(const struct dirent **one, const struct dirent **two)
{
    return strcmp((*one)->d_name, (*two)->d_name);
}

/* Names with what they are, in the order of the alphabet; then everything is taken away. */
static void list_and_remove(const char *path, char *text, size_t size)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, by_name);

    cr_assert_geq(count, 0, "%s: %m", path);
    for (int index = 0; index < count; index++) {
        char name[600];
        struct stat status;
        bool is_self = entries[index]->d_name[0] == '.';

        snprintf(name, sizeof name, "%s/%s", path, entries[index]->d_name);
        if (!is_self && lstat(name, &status) == 0) {
            snprintf(text + strlen(text), size - strlen(text), "%s %o %ld %ld;", name + 1,
                     status.st_mode, (long)status.st_nlink,
                     S_ISDIR(status.st_mode) ? 0 : (long)status.st_size);
            if (S_ISDIR(status.st_mode))
                list_and_remove(name, text, size);
            else
                cr_assert_eq(unlink(name), 0);
        }
        free(entries[index]);
    }
    free(entries);
    if (strcmp(path, ".") != 0)
        cr_assert_eq(rmdir(path), 0);
}

static void leave_scene(struct outcome *outcome)
{
    outcome->listing[0] = 0;
    list_and_remove(".", outcome->listing, sizeof outcome->listing);
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(rmdir(folder), 0);
}

/* ---- names -----------------------------------------------------------------------------------
 * All of them in the folder: whoever runs the tests may be allowed to take away others. */

#define NAMED(object, text)                                                                        \
    static void object(struct scene *s)                                                            \
    {                                                                                              \
        s->path = text;                                                                            \
    }

NAMED(file, "file")
NAMED(file_with_a_slash, "file/")
NAMED(below_a_file, "file/below")
NAMED(missing, "missing")
NAMED(missing_with_a_slash, "missing/")
NAMED(below_nothing, "missing/below")
NAMED(nothing, "")
NAMED(here, ".")
NAMED(empty_folder, "empty")
NAMED(empty_folder_with_a_slash, "empty/")
NAMED(full_folder, "full")
NAMED(in_a_folder, "full/file")
NAMED(link_to_a_file, "link")
NAMED(link_to_a_folder, "dirlink")
NAMED(link_to_a_folder_with_a_slash, "dirlink/")
NAMED(link_to_nothing, "dangling")
NAMED(loop, "loop")
NAMED(below_a_loop, "loop/below")
NAMED(socket_name, "socket")
NAMED(fifo, "fifo")

static void too_long_a_name(struct scene *s)
{
    static char name[NAME_MAX + 2];

    memset(name, 'n', NAME_MAX + 1);
    s->path = name;
}

static void too_long_a_path(struct scene *s)
{
    static char path[PATH_MAX + 10];

    for (size_t index = 0; index < sizeof path - 1; index++)
        path[index] = index % 2 ? '/' : '.';
    s->path = path;
}

#if !UNDER_ASAN
NAMED(no_memory, (const char *)(uintptr_t)8)
NAMED(null, NULL)
#define UNREADABLE { "no_memory", no_memory }, { "null", null },
#else
#define UNREADABLE /* AddressSanitizer looks there before the kernel does */
#endif

#define OBJECT(name)                                                                               \
    {                                                                                              \
#name, name                                                                                \
    }
/* clang-format off */

/* A FIFO's opening waits. */
#define BUT_FIFOS                                                                                  \
    OBJECT(file), OBJECT(file_with_a_slash), OBJECT(below_a_file), OBJECT(missing),                \
    OBJECT(missing_with_a_slash), OBJECT(below_nothing), OBJECT(nothing), OBJECT(here),            \
    OBJECT(empty_folder), OBJECT(empty_folder_with_a_slash), OBJECT(full_folder),    \
    OBJECT(in_a_folder), OBJECT(link_to_a_file), OBJECT(link_to_a_folder),                         \
    OBJECT(link_to_a_folder_with_a_slash), OBJECT(link_to_nothing), OBJECT(loop),                  \
    OBJECT(below_a_loop), OBJECT(socket_name), OBJECT(too_long_a_name),            \
    OBJECT(too_long_a_path), UNREADABLE

static const struct object openable[] = { BUT_FIFOS { 0 } };
static const struct object names[] = { BUT_FIFOS OBJECT(fifo), { 0 } };

#define SEVERAL "of several mistakes in one call any may be the one that is reported"

static const struct difference differences[] = {
    { "fstatat_with_an_unknown_flag", NULL, ANY, 0, SEVERAL },
    { "fstatat_of_what_may_be_empty", "null", -1, EFAULT, "with AT_EMPTY_PATH and \"\", not NULL" },
    { "linkat_with_an_unknown_flag", NULL, ANY, 0, SEVERAL },
    { "open_making_a_directory", NULL, ANY, 0, SEVERAL },
    { "open_of_a_file_without_a_name_to_read", NULL, ANY, 0, SEVERAL },
    { "renameat2_in_two_ways", NULL, ANY, 0, SEVERAL },
    { "statx_of_an_unknown_mask", NULL, ANY, 0, SEVERAL },
    { "statx_synchronising_in_two_ways", NULL, ANY, 0, SEVERAL },
    { 0 },
};

/* The descriptor's status flags are compared by given. */
#define OPEN(...) given(call, m, call->open(s->path, __VA_ARGS__))
#define OPENAT(...) given(call, m, call->openat(__VA_ARGS__))

Same(open, to_read, openable, OPEN(O_RDONLY))
Same(open, to_write, openable, OPEN(O_WRONLY))
Same(open, to_read_and_write, openable, OPEN(O_RDWR | O_CLOEXEC))
Same(open, in_an_unknown_way, openable, OPEN(O_ACCMODE))
Same(open, without_following, openable, OPEN(O_RDONLY | O_NOFOLLOW))
Same(open, of_a_directory, openable, OPEN(O_RDONLY | O_DIRECTORY))
Same(open, of_the_name_only, names, OPEN(O_PATH))
Same(open, of_the_link_itself, names, OPEN(O_PATH | O_NOFOLLOW))
Same(open, nonblocking, names, OPEN(O_RDONLY | O_NONBLOCK))
Same(open, nonblocking_to_write, names, OPEN(O_WRONLY | O_NONBLOCK))
Same(open, cutting_it, openable, OPEN(O_WRONLY | O_TRUNC))
Same(open, cutting_it_to_read, openable, OPEN(O_RDONLY | O_TRUNC))
Same(open, to_append, openable, OPEN(O_WRONLY | O_APPEND))
Same(open, making_it, openable, OPEN(O_RDWR | O_CREAT, 0666))
Same(open, making_it_to_append, openable, OPEN(O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666))
Same(open, making_it_new, names, OPEN(O_WRONLY | O_CREAT | O_EXCL, 0600))
Same(open, making_it_and_cutting_it, openable, OPEN(O_WRONLY | O_CREAT | O_TRUNC | O_SYNC, 0666))
Same(open, making_it_with_a_strange_mode, openable, OPEN(O_WRONLY | O_CREAT, 0177777))
Same(open, making_a_directory, openable, OPEN(O_RDONLY | O_CREAT | O_DIRECTORY, 0777))
Same(open, of_a_file_without_a_name, openable, OPEN(O_RDWR | O_TMPFILE, 0600))
Same(open, of_a_file_without_a_name_to_read, openable, OPEN(O_RDONLY | O_TMPFILE, 0600))
Same(open, directly, openable, OPEN(O_RDONLY | O_DIRECT))
Same(open, with_unknown_flags, openable, OPEN(O_RDONLY | 1 << 28))
Same(openat, in_a_folder, openable, OPENAT(FOLDER, s->path, O_RDONLY))
Same(openat, in_what_is_no_folder, openable, OPENAT(FILE_FD, s->path, O_RDONLY))
Same(openat, in_what_is_closed, openable, OPENAT(PEER, s->path, O_RDONLY))
Same(openat, making_it, openable, OPENAT(FOLDER, s->path, O_RDWR | O_CREAT, 0666))

Same(stat, of_it, names, call->stat(s->path, &m->status))
Same(lstat, of_it, names, call->lstat(s->path, &m->status))
Same(fstatat, in_a_folder, names, call->fstatat(FOLDER, s->path, &m->status, 0))
Same(fstatat, of_the_link_itself, names, call->fstatat(FOLDER, s->path, &m->status, AT_SYMLINK_NOFOLLOW))
Same(fstatat, in_what_is_no_folder, names, call->fstatat(FILE_FD, s->path, &m->status, 0))
Same(fstatat, of_what_may_be_empty, names, call->fstatat(FILE_FD, s->path, &m->status, AT_EMPTY_PATH))
Same(fstatat, with_an_unknown_flag, names, call->fstatat(FOLDER, s->path, &m->status, 1 << 20))
Same(statx, of_it, names, call->statx(FOLDER, s->path, 0, STATX_BASIC_STATS, &m->statx))
Same(statx, of_the_link_itself, names, call->statx(FOLDER, s->path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &m->statx))
Same(statx, of_an_unknown_mask, names, call->statx(FOLDER, s->path, 0, 1u << 31, &m->statx))
Same(statx, synchronising_in_two_ways, names, call->statx(FOLDER, s->path, AT_STATX_SYNC_TYPE, STATX_BASIC_STATS, &m->statx))

Same(rename, to_a_free_name, names, call->rename(s->path, "other"))
Same(rename, over_a_file, names, call->rename(s->path, "full/file"))
Same(rename, over_an_empty_folder, names, call->rename(s->path, "empty"))
Same(rename, over_a_full_folder, names, call->rename(s->path, "full"))
Same(rename, into_itself, names, call->rename(s->path, "full/below"))
Same(rename, of_a_file_to_it, names, call->rename("file", s->path))
Same(rename, of_a_folder_to_it, names, call->rename("full", s->path))
Same(rename, of_nothing_to_it, names, call->rename("missing", s->path))
Same(renameat2, without_replacing, names, call->renameat2(FOLDER, "file", FOLDER, s->path, 1))
Same(renameat2, exchanging, names, call->renameat2(FOLDER, "file", FOLDER, s->path, 2))
Same(renameat2, in_two_ways, names, call->renameat2(FOLDER, "file", FOLDER, s->path, 3))
Same(unlinkat, of_it, names, call->unlinkat(FOLDER, s->path, 0))
Same(unlinkat, of_the_folder, names, call->unlinkat(FOLDER, s->path, AT_REMOVEDIR))
Same(unlinkat, with_an_unknown_flag, names, call->unlinkat(FOLDER, s->path, 1))
Same(linkat, of_it, names, call->linkat(FOLDER, s->path, FOLDER, "new", 0))
Same(linkat, of_what_it_leads_to, names, call->linkat(FOLDER, s->path, FOLDER, "new", AT_SYMLINK_FOLLOW))
Same(linkat, to_it, names, call->linkat(FOLDER, "file", FOLDER, s->path, 0))
Same(linkat, with_an_unknown_flag, names, call->linkat(FOLDER, s->path, FOLDER, "new", 1))
Same(linkat, of_what_may_be_empty, names, call->linkat(FILE_FD, s->path, FOLDER, "new", AT_EMPTY_PATH))
Same(symlinkat, to_it, names, call->symlinkat(s->path, FOLDER, "new"))
Same(symlinkat, of_this_name, names, call->symlinkat("target", FOLDER, s->path))
Same(mkdir, of_this_name, names, call->mkdir(s->path, 0777))
Same(mkdir, with_a_strange_mode, names, call->mkdir(s->path, 07777))
Same(mkdirat, of_this_name, names, call->mkdirat(FOLDER, s->path, 0700))
Same(mkdirat, in_what_is_no_folder, names, call->mkdirat(FILE_FD, s->path, 0700))

/*
 * Calls on names: tasks make, rename, link, cut, look at and take away files in directories of
 * their own, on a disk that is slow and fails, under kills and deadlines; and compete for one name
 * that only one at a time can make.
 *
 * A call that failed has changed nothing, one that succeeded all that it should; errno is what the
 * names as they are explain.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TASKS_MAX = 5, NAMES = 5, STEPS_MAX = 50, SIZE_LIMIT = 9000 };

/* What should be there. */
struct file {
    unsigned link_count;
    off_t size;
};

static struct house {
    char directory[16];
    struct file *names[NAMES]; /* NULL: there is none */
    bool is_made;
    gring_task *task;
} * houses;

static unsigned holder_count; /* of the one name */

static const char *path_of(const struct house *house, unsigned index)
{
    char *path = sim_alloc(32);

    snprintf(path, 32, "%s/%u", house->directory, index);
    return path;
}

static unsigned any_name(void)
{
    return (unsigned)sim_below(NAMES);
}

/* expected: what must be wrong, or 0. True: it was done. */
static bool succeeded(int result, int expected)
{
    if (result >= 0) {
        SIM_MUST(expected == 0);
        return true;
    }
    if (errno != ECANCELED && errno != ETIMEDOUT && errno != expected)
        sim_excuse(errno);
    return false;
}

/* ---- the steps ------------------------------------------------------------------------------- */

static void step_make(struct house *house, unsigned index)
{
    int fd = gring_open(path_of(house, index), O_RDWR | O_CREAT | O_EXCL, 0600);

    if (!succeeded(fd, house->names[index] ? EEXIST : 0))
        return;
    house->names[index] = sim_alloc(sizeof *house->names[index]);
    house->names[index]->link_count = 1;
    gring_close(fd);
}

static void step_look(struct house *house, unsigned index)
{
    const struct file *file = house->names[index];
    struct stat status;

    if (!succeeded(gring_stat(path_of(house, index), &status), file ? 0 : ENOENT))
        return;
    SIM_MUST(S_ISREG(status.st_mode) && status.st_size == file->size);
    SIM_MUST(status.st_nlink == file->link_count);
}

static void forget_name(struct house *house, unsigned index)
{
    if (house->names[index])
        house->names[index]->link_count--;
    house->names[index] = NULL;
}

static void step_rename(struct house *house, unsigned index)
{
    unsigned target = any_name(), flags = sim_chance(300) ? RENAME_NOREPLACE : 0;
    bool is_there = house->names[target] != NULL;
    int expected = !house->names[index] ? ENOENT : is_there && flags ? EEXIST : 0;
    int result =
        gring_renameat2(AT_FDCWD, path_of(house, index), AT_FDCWD, path_of(house, target), flags);

    if (!succeeded(result, expected) || house->names[index] == house->names[target])
        return; /* two names of one file stay */
    forget_name(house, target);
    house->names[target] = house->names[index];
    house->names[index] = NULL;
}

static void step_link(struct house *house, unsigned index)
{
    unsigned target = any_name();
    int expected = !house->names[index] ? ENOENT : house->names[target] ? EEXIST : 0;
    int result = gring_linkat(AT_FDCWD, path_of(house, index), AT_FDCWD, path_of(house, target), 0);

    if (!succeeded(result, expected))
        return;
    house->names[target] = house->names[index];
    house->names[target]->link_count++;
}

static void step_unlink(struct house *house, unsigned index)
{
    int result = gring_unlinkat(AT_FDCWD, path_of(house, index), 0);

    if (succeeded(result, house->names[index] ? 0 : ENOENT))
        forget_name(house, index);
}

static void step_cut(struct house *house, unsigned index)
{
    struct file *file = house->names[index];
    int fd = gring_open(path_of(house, index), O_RDWR);
    off_t size = (off_t)sim_below(SIZE_LIMIT) + 1;

    if (!succeeded(fd, file ? 0 : ENOENT))
        return;
    if (sim_chance(500)) {
        if (succeeded(gring_ftruncate(fd, size), 0))
            file->size = size;
    } else if (succeeded(gring_fallocate(fd, 0, 0, size), 0)) {
        file->size = size > file->size ? size : file->size;
    }
    gring_close(fd);
}

static void step_leave(struct house *house, unsigned index)
{
    unsigned there = 0;

    (void)index;
    for (unsigned name = 0; name < NAMES; name++)
        there += house->names[name] != NULL;
    if (succeeded(gring_unlinkat(AT_FDCWD, house->directory, AT_REMOVEDIR), there ? ENOTEMPTY : 0))
        house->is_made = false;
}

/* Whoever made it has it alone until he takes it away, which nothing interrupts. */
static void step_compete(struct house *house, unsigned index)
{
    int fd = gring_open("/one", O_RDWR | O_CREAT | O_EXCL, 0600);

    (void)house;
    (void)index;
    if (fd < 0) {
        succeeded(fd, EEXIST);
        return;
    }
    SIM_MUST(++holder_count == 1);
    gring_sleep(sim_duration(GRING_MS));
    gring_close(fd);
    holder_count--;
    GRING_SHIELD
    while (gring_unlinkat(AT_FDCWD, "/one", 0) < 0)
        sim_excuse(errno);
}

static void take_a_step(struct house *house)
{
    static void (*const steps[])(struct house * house, unsigned index) = {
        step_make, step_make,   step_look, step_look,  step_rename,  step_rename,
        step_link, step_unlink, step_cut,  step_leave, step_compete,
    };
    gring_timeout timeout;

    gring_timeout_start(&timeout, sim_chance(300) ? sim_duration(10 * GRING_MS) : GRING_FOREVER);
    if (house->is_made)
        steps[sim_below(sizeof steps / sizeof steps[0])](house, any_name());
    else
        house->is_made = succeeded(gring_mkdir(house->directory, 0700), 0);
    gring_timeout_stop(&timeout);
}

static void *live(void *arg)
{
    struct house *house = arg;
    unsigned steps = (unsigned)sim_size(STEPS_MAX);

    while (steps-- > 0 && !gring_cancelled())
        take_a_step(house);
    return NULL;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void check(struct house *house)
{
    struct stat status;

    succeeded(gring_stat(house->directory, &status), house->is_made ? 0 : ENOENT);
    for (unsigned index = 0; index < NAMES; index++)
        step_look(house, index);
}

SIM_WORKLOAD(names, SIM_NO_MEMORY | SIM_NO_DESCRIPTORS | SIM_BAD_DISK)
{
    unsigned count = (unsigned)sim_between(1, TASKS_MAX);
    struct stat status;

    houses = sim_alloc(count * sizeof *houses);
    holder_count = 0;
    for (unsigned index = 0; index < count; index++) {
        snprintf(houses[index].directory, sizeof houses[index].directory, "/home%u", index);
        houses[index].task = gring_spawn(live, &houses[index]);
        if (!houses[index].task)
            sim_excuse(errno);
    }
    gring_sleep(sim_duration(100 * GRING_MS));
    for (unsigned index = 0; index < count; index++) {
        if (houses[index].task && sim_chance(300))
            gring_kill(houses[index].task);
        if (houses[index].task)
            gring_join(houses[index].task, NULL);
    }
    for (unsigned index = 0; index < count; index++)
        check(&houses[index]);
    SIM_MUST(gring_stat("/one", &status) < 0 && errno == ENOENT);
}

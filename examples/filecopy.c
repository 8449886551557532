/*
 * filecopy - copies a file while a heartbeat goes on: regular files block nobody.
 *
 * Usage: filecopy FROM TO
 * Reads and writes 256 KiB at a time and makes it durable with fsync. Prints how many heartbeats
 * of one millisecond came meanwhile, and how late the latest was.
 */
#include <errno.h>
#include <fcntl.h>
#include <greenring/greenring.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 256 * 1024 };

struct pulse {
    uint64_t beats;
    gring_ns latest;
};

static int beat(void *arg, const gring_tick *tick)
{
    struct pulse *pulse = arg;

    pulse->beats++;
    if (tick->late > pulse->latest)
        pulse->latest = tick->late;
    return 0;
}

static int copy(int from, int to, char *block)
{
    ssize_t size;

    while ((size = gring_read(from, block, BLOCK_BYTES)) > 0)
        if (gring_write_full(to, block, (size_t)size, NULL) < 0)
            return -1;
    return size < 0 ? -1 : gring_fsync(to);
}

static void *copy_files(void *arg)
{
    char **paths = arg, *block = malloc(BLOCK_BYTES);
    struct pulse pulse = { 0 };
    gring_task *heart = gring_every(GRING_MS, beat, &pulse, NULL);
    int from = gring_open(paths[0], O_RDONLY | O_CLOEXEC);
    int to = from < 0 ? -1 : gring_open(paths[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int failed = !block || !heart || to < 0 || copy(from, to, block) < 0;

    if (failed)
        perror("filecopy");
    else
        printf("copied; %llu heartbeats, the latest %.2f ms late\n",
               (unsigned long long)pulse.beats, (double)pulse.latest / 1e6);
    if (to >= 0)
        gring_close(to);
    if (from >= 0)
        gring_close(from);
    gring_drop(heart); /* it ends with the run */
    free(block);
    return failed ? gring_fail(1) : NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: filecopy FROM TO\n");
        return 2;
    }
    return gring_run(copy_files, argv + 1, NULL) != 0;
}

/*
 * Lives through the histories that fuzzers found worth keeping: each file of the folder that is
 * its argument, or the one file. Compiled once for each model: MODEL. Exit status 0; a model that
 * disagrees aborts, after the file's name.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

void MODEL(const uint8_t *data, size_t size);

static unsigned file_count;

static void fail(const char *path)
{
    perror(path);
    exit(1);
}

static void replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t size;

    if (!file || fseek(file, 0, SEEK_END) != 0)
        fail(path);
    size = (size_t)ftell(file);
    rewind(file);
    data = malloc(size + 1);
    if (!data || fread(data, 1, size, file) != size)
        fail(path);
    fclose(file);
    fprintf(stderr, "%s\n", path);
    MODEL(data, size);
    free(data);
    file_count++;
}

static void replay_folder(DIR *folder, const char *folder_path)
{
    struct dirent *entry;
    char path[PATH_BYTES];

    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder_path, entry->d_name);
        replay(path);
    }
    closedir(folder);
}

int main(int argc, char **argv)
{
    DIR *folder;

    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER|FILE\n", argv[0]);
        return 2;
    }
    folder = opendir(argv[1]);
    if (folder)
        replay_folder(folder, argv[1]);
    else
        replay(argv[1]);
    fprintf(stderr, "%u histories\n", file_count);
    return file_count > 0 ? 0 : 1;
}

/*
 * greenlet - the program with which greenlets are usually explained: two coroutines that switch
 * to one another by name.
 *
 * Usage: greenlet
 * Prints 12, 56 and 34, a line each. 78 is never reached: when the first one has printed 34 it
 * ends, and the end goes to its parent, main; the second stays suspended and is given up there.
 */
#include <greenring/co.h>
#include <greenring/greenring.h>
#include <stdio.h>

static gring_co *first, *second;

static void *test1(void *unused)
{
    (void)unused;
    puts("12");
    gring_co_switch(second, NULL, NULL);
    puts("34");
    return NULL;
}

static void *test2(void *unused)
{
    (void)unused;
    puts("56");
    gring_co_switch(first, NULL, NULL);
    puts("78");
    return NULL;
}

static void *run(void *arg)
{
    first = gring_co_new(test1, NULL, 0);
    second = gring_co_new(test2, NULL, 0);
    if (!first || !second || gring_co_switch(first, NULL, NULL) != 0)
        return perror("greenlet"), gring_fail(1);
    gring_co_free(first);
    gring_co_free(second);
    return arg;
}

int main(void)
{
    return gring_run(run, NULL, NULL) != 0;
}

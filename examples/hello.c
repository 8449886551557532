/*
 * hello - the smallest program: two tasks that wait for each other.
 *
 * Usage: hello
 * Prints "hello" and "world" from two green threads, in that order.
 */
#include <greenring/greenring.h>
#include <stdio.h>

static void *world(void *arg)
{
    puts("world");
    return arg;
}

static void *hello(void *arg)
{
    gring_task *task = gring_spawn(world, arg); /* queued; we go on */

    puts("hello");
    return task && gring_join(task, NULL) == 0 ? arg : gring_fail(1);
}

int main(void)
{
    return gring_run(hello, NULL, NULL) != 0;
}

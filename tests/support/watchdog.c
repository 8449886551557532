/*
 * Ends a Criterion test that hangs, so that the report names it. Criterion's own --timeout counts
 * processor time: a test that waits for ever would last until the whole program is killed, with
 * nothing said.
 *
 * Each test is a process, which begins here; GRING_TEST_SECONDS gives slow machines longer.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { SECONDS = 60 };

static void bite(int signal_number)
{
    static const char text[] = "watchdog: this test has not ended in time\n";

    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    raise(signal_number); /* again, with the default action: SA_RESETHAND */
}

__attribute__((constructor)) static void watch(void)
{
    struct sigaction action = { .sa_handler = bite, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) };
    const char *seconds = getenv("GRING_TEST_SECONDS");

    if (!getenv("BXFI_MAP"))
        return; /* the program that starts the tests, not one of them */
    sigaction(SIGALRM, &action, NULL);
    alarm(seconds ? (unsigned)atoi(seconds) : SECONDS);
}

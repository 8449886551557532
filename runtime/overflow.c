/* The SIGSEGV handler that names the task; see overflow.h. */
#include "runtime/overflow.h"

#include "runtime/hub.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIGNAL_STACK_BYTES = 64 * 1024 };

/* Only the name and numbers of the task that stands still in the fault are read; snprintf of
 * integers and strings does not allocate in glibc, which is what makes it fit for this place. */
static void name_the_task(struct gring_hub *hub, const struct coro *coro, const void *address)
{
    const struct gring_task *task = hub->running;
    bool is_coroutine = coro->entry != hub->stacks.entry;
    char line[256];
    int length;

    if (task && task->coro == coro)
        length = snprintf(line, sizeof line,
                          "greenring: stack overflow in %stask %llu%s%s: it has used up its %zu "
                          "KiB; %s it with a larger stack_size (fault at %p)\n",
                          is_coroutine ? "a coroutine of " : "", (unsigned long long)task->id,
                          *task_name(task) ? " " : "", task_name(task),
                          stack_usable_bytes(coro->pool) / 1024, is_coroutine ? "make" : "spawn",
                          address);
    else
        length = snprintf(
            line, sizeof line,
            "greenring: stack overflow on the hub's own stack, in a callback (fault at %p)\n",
            address);
    if (write(STDERR_FILENO, line, (size_t)length) < 0)
        return;
}

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    struct gring_hub *hub = hub_self();
    struct coro *owner = hub ? stacks_guard_owner(&hub->stacks, info->si_addr) : NULL;

    (void)context;
    if (owner)
        name_the_task(hub, owner, info->si_addr);
    signal(signal_number, SIG_DFL); /* returning repeats the fault, now with the default action */
}

static bool disposition_is_default(void)
{
    struct sigaction now;

    return sigaction(SIGSEGV, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
           now.sa_handler == SIG_DFL;
}

static bool disposition_is_ours(void)
{
    struct sigaction now;

    return sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
           now.sa_sigaction == on_fault;
}

void overflow_watch(struct gring_hub *hub)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    stack_t stack = { .ss_size = SIGNAL_STACK_BYTES };

    if (hub->config.no_sigsegv || !disposition_is_default())
        return;
    hub->signal_stack = stack.ss_sp = malloc(SIGNAL_STACK_BYTES);
    if (!hub->signal_stack)
        return; /* an overflow is still a SIGSEGV, only a nameless one */
    sigemptyset(&action.sa_mask);
    if (sigaltstack(&stack, &hub->old_signal_stack) == 0)
        sigaction(SIGSEGV, &action, NULL);
}

void overflow_unwatch(struct gring_hub *hub)
{
    if (!hub->signal_stack)
        return;
    if (disposition_is_ours())
        signal(SIGSEGV, SIG_DFL);
    sigaltstack(&hub->old_signal_stack, NULL);
    free(hub->signal_stack);
    hub->signal_stack = NULL;
}

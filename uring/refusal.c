/* Looks at what refused the ring and says it in one line; see refusal.h. */
#include "uring/refusal.h"

#include "base/log.h"
#include "base/sys.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

static const char *call_of(const struct refusal_facts *facts)
{
    return facts->call ? facts->call : "io_uring_setup";
}

#define SECCOMP_REMEDY                                                                             \
    "a seccomp filter denied it (the default of Docker and Kubernetes does); run with a profile "  \
    "that allows "                                                                                 \
    "io_uring_setup, io_uring_enter and io_uring_register"

static void eperm_sentence(const struct refusal_facts *facts, char *text, size_t size)
{
    if (facts->sysctl_disabled > 0)
        snprintf(text, size,
                 "%s: EPERM; kernel.io_uring_disabled=%d forbids it%s; set it to 0 "
                 "(sysctl -w "
                 "kernel.io_uring_disabled=0)%s",
                 call_of(facts), facts->sysctl_disabled,
                 facts->sysctl_disabled == 1 ? " for processes without CAP_SYS_ADMIN" : "",
                 facts->sysctl_disabled == 1 ? " or add this user to kernel.io_uring_group" : "");
    else if (facts->seccomp)
        snprintf(text, size, "%s: EPERM; kernel.io_uring_disabled=%d, so " SECCOMP_REMEDY,
                 call_of(facts), facts->sysctl_disabled < 0 ? 0 : facts->sysctl_disabled);
    else
        snprintf(text, size,
                 "%s: EPERM, and neither kernel.io_uring_disabled nor a seccomp filter "
                 "explains it; look "
                 "for a security module (SELinux, AppArmor) that denies io_uring",
                 call_of(facts));
}

static void enosys_sentence(const struct refusal_facts *facts, char *text, size_t size)
{
    if (facts->seccomp)
        snprintf(text, size,
                 "%s: ENOSYS under a seccomp filter, kernel %s: " SECCOMP_REMEDY
                 "; without a filter this means a kernel too old (6.1 is needed)",
                 call_of(facts), facts->release);
    else
        snprintf(text, size,
                 "io_uring is not in this kernel or too old in it (%s); greenring needs Linux 6.1 "
                 "or newer with "
                 "CONFIG_IO_URING",
                 facts->release);
}

static void enomem_sentence(const struct refusal_facts *facts, char *text, size_t size)
{
    if (facts->memlock_bytes == SIZE_MAX)
        snprintf(text, size,
                 "%s: ENOMEM; the machine or the cgroup has no memory left for the rings; "
                 "free some or use fewer ring_entries",
                 call_of(facts));
    else
        snprintf(text, size,
                 "%s: ENOMEM; memlock is limited to %zu KiB, which kernels up to 5.11 "
                 "count the rings "
                 "against: raise it (ulimit -l, LimitMEMLOCK=); on newer kernels the machine or "
                 "the cgroup is out of "
                 "memory",
                 call_of(facts), facts->memlock_bytes / 1024);
}

void refusal_sentence(const struct refusal_facts *facts, char *text, size_t size)
{
    switch (-facts->error) {
    case EPERM:
    case EACCES:
        eperm_sentence(facts, text, size);
        break;
    case ENOSYS:
    case EOPNOTSUPP:
        enosys_sentence(facts, text, size);
        break;
    case ENOMEM:
        enomem_sentence(facts, text, size);
        break;
    case EMFILE:
    case ENFILE:
        snprintf(text, size, "%s: %s; close descriptors or raise RLIMIT_NOFILE (ulimit -n)",
                 call_of(facts), strerror(-facts->error));
        break;
    case EINVAL:
        snprintf(text, size,
                 "%s: EINVAL with every set of flags; kernel %s is too old (6.1 is "
                 "needed) or "
                 "ring_entries is above 32768",
                 call_of(facts), facts->release);
        break;
    default:
        snprintf(text, size, "%s: %s on kernel %s%s", call_of(facts), strerror(-facts->error),
                 facts->release,
                 facts->seccomp ? "; a seccomp filter is in force: " SECCOMP_REMEDY : "");
    }
}

static int read_sysctl(void)
{
    char text[16];

    return sys_read_text("/proc/sys/kernel/io_uring_disabled", text, sizeof text) < 0 ? -1
                                                                                      : atoi(text);
}

static bool seccomp_in_force(void)
{
    char line[256] = "";
    FILE *status = fopen("/proc/thread-self/status", "re");
    int mode = 0;

    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "Seccomp: %d", &mode) == 1)
            break;
    if (status)
        fclose(status);
    return mode > 0;
}

static size_t memlock_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return limit.rlim_cur;
}

void refusal_report(const char *call, int error)
{
    struct refusal_facts facts = { .call = call,
                                   .error = error,
                                   .sysctl_disabled = read_sysctl(),
                                   .seccomp = seccomp_in_force(),
                                   .memlock_bytes = memlock_limit() };
    struct utsname machine;
    char text[512];

    if (uname(&machine) == 0)
        snprintf(facts.release, sizeof facts.release, "%s", machine.release);
    refusal_sentence(&facts, text, sizeof text);
    log_line(LOG_ERROR, "%s", text);
}

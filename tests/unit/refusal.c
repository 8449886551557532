/* uring/refusal.h: each case has its sentence, with the cause and a remedy in it. */
#include "uring/refusal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ALLOW "allows io_uring_setup, io_uring_enter and io_uring_register"

enum { WORDS_MAX = 4 };

struct refusal_case {
    struct refusal_facts facts;
    const char *says[WORDS_MAX];
    const char *never_says[WORDS_MAX];
};

static const struct refusal_case cases[] = {
    { .facts = { .error = -EPERM, .sysctl_disabled = 2, .memlock_bytes = SIZE_MAX },
      .says = { "EPERM", "kernel.io_uring_disabled=2", "sysctl -w kernel.io_uring_disabled=0" },
      .never_says = { "CAP_SYS_ADMIN", "io_uring_group", "seccomp" } },
    { .facts = { .error = -EPERM, .sysctl_disabled = 1, .memlock_bytes = SIZE_MAX },
      .says = { "kernel.io_uring_disabled=1", "CAP_SYS_ADMIN", "kernel.io_uring_group" },
      .never_says = { "seccomp" } },
    /* the sysctl is enough of a reason */
    { .facts = { .error = -EPERM, .sysctl_disabled = 2, .seccomp = true },
      .says = { "kernel.io_uring_disabled=2" },
      .never_says = { "seccomp" } },
    { .facts = { .error = -EPERM, .sysctl_disabled = 0, .seccomp = true },
      .says = { "EPERM", "seccomp", "Docker", ALLOW },
      .never_says = { "set it to 0" } },
    /* a kernel before the sysctl */
    { .facts = { .error = -EPERM, .sysctl_disabled = -1, .seccomp = true },
      .says = { "seccomp", ALLOW },
      .never_says = { "=-1" } },
    { .facts = { .error = -EPERM, .sysctl_disabled = 0 },
      .says = { "SELinux", "AppArmor" },
      .never_says = { "Docker" } },
    { .facts = { .error = -EACCES, .sysctl_disabled = 0, .seccomp = true },
      .says = { "seccomp", ALLOW } },
    { .facts = { .error = -ENOSYS, .release = "5.4.0-old" },
      .says = { "5.4.0-old", "6.1", "CONFIG_IO_URING" },
      .never_says = { "seccomp" } },
    { .facts = { .error = -ENOSYS, .release = "6.8.0", .seccomp = true },
      .says = { "seccomp", "6.8.0", "6.1", ALLOW } },
    { .facts = { .error = -EOPNOTSUPP, .release = "5.4.0-old" }, .says = { "5.4.0-old", "6.1" } },
    { .facts = { .error = -ENOMEM, .memlock_bytes = SIZE_MAX },
      .says = { "ENOMEM", "cgroup", "ring_entries" },
      .never_says = { "memlock", "KiB" } },
    { .facts = { .error = -ENOMEM, .memlock_bytes = 64 * 1024 },
      .says = { "ENOMEM", "64 KiB", "ulimit -l", "LimitMEMLOCK" } },
    { .facts = { .error = -EMFILE }, .says = { "RLIMIT_NOFILE", "ulimit -n" } },
    { .facts = { .error = -ENFILE }, .says = { "descriptors" } },
    { .facts = { .error = -EINVAL, .release = "5.10.1" },
      .says = { "EINVAL", "5.10.1", "6.1", "ring_entries" } },
    { .facts = { .error = -EXDEV, .release = "6.8.0" },
      .says = { "6.8.0" },
      .never_says = { "seccomp" } },
    { .facts = { .error = -EXDEV, .release = "6.8.0", .seccomp = true },
      .says = { "6.8.0", "seccomp", ALLOW } },
};

Test(refusal, each_cause_has_its_sentence_and_no_other_cause_in_it)
{
    for (size_t index = 0; index < sizeof cases / sizeof cases[0]; index++) {
        const struct refusal_case *one = &cases[index];
        char text[512];

        refusal_sentence(&one->facts, text, sizeof text);
        for (int word = 0; word < WORDS_MAX; word++) {
            if (one->says[word])
                cr_assert(strstr(text, one->says[word]), "case %zu lacks '%s': %s", index,
                          one->says[word], text);
            if (one->never_says[word])
                cr_assert_not(strstr(text, one->never_says[word]), "case %zu has '%s': %s", index,
                              one->never_says[word], text);
        }
    }
}

Test(refusal, the_call_that_was_refused_is_named)
{
    const int errors[] = { EPERM, ENOSYS, ENOMEM, EMFILE, EINVAL, EXDEV };

    for (size_t index = 0; index < sizeof errors / sizeof errors[0]; index++) {
        struct refusal_facts facts = { .call = "io_uring_enter",
                                       .error = -errors[index],
                                       .seccomp = true,
                                       .memlock_bytes = SIZE_MAX };
        char text[512];

        refusal_sentence(&facts, text, sizeof text);
        cr_assert_eq(strncmp(text, "io_uring_enter: ", 16), 0, "%s", text);
    }
}

Test(refusal, every_sentence_is_one_complete_line)
{
    for (size_t index = 0; index < sizeof cases / sizeof cases[0]; index++) {
        char text[512];

        memset(text, 'x', sizeof text);
        refusal_sentence(&cases[index].facts, text, sizeof text);
        cr_assert(memchr(text, 0, sizeof text), "case %zu", index);
        cr_assert_lt(strlen(text), sizeof text - 1, "case %zu was cut", index);
        cr_assert_null(strchr(text, '\n'), "case %zu", index);
    }
}

Test(refusal, other_errors_are_named)
{
    const int errors[] = { EMFILE, ENFILE, EXDEV, EIO, EBUSY };

    for (size_t index = 0; index < sizeof errors / sizeof errors[0]; index++) {
        struct refusal_facts facts = { .error = -errors[index], .release = "6.8.0" };
        char text[512];

        refusal_sentence(&facts, text, sizeof text);
        cr_assert(strstr(text, strerror(errors[index])), "%s", text);
    }
}

Test(refusal, a_small_buffer_is_not_overrun)
{
    struct refusal_facts facts = { .error = -EPERM, .seccomp = true };
    char text[32];

    memset(text, 'x', sizeof text);
    refusal_sentence(&facts, text, 16);
    cr_assert_eq(strlen(text), 15);
    cr_assert_eq(text[16], 'x');
}

/*
 * Why there is no ring: one line that names the cause and the remedy.
 *
 * The cause is found by looking (sysctl, seccomp state, memlock limit), not guessed from the
 * errno alone: the same EPERM comes from the sysctl and from a container's seccomp profile.
 */
#ifndef GRING_URING_REFUSAL_H
#define GRING_URING_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>

/* What was seen on the machine when the ring was refused. */
struct refusal_facts {
    const char *call;     /* which system call; NULL: io_uring_setup */
    int error;            /* -errno of it */
    int sysctl_disabled;  /* kernel.io_uring_disabled: 0, 1, 2, or -1 where there is none */
    bool seccomp;         /* a seccomp filter is in force for this thread */
    size_t memlock_bytes; /* RLIMIT_MEMLOCK, SIZE_MAX unlimited */
    char release[65];     /* uname -r, for the reader only */
};

/* The sentence, for facts; pure, so that each case has a test. */
void refusal_sentence(const struct refusal_facts *facts, char *text, size_t size);

/* Looks, then logs the sentence. */
void refusal_report(const char *call, int error);

#endif

/*
 * What this kernel offers, asked once by trying, never read off a version.
 *
 * GRING_WITHOUT=name,name,… in the environment denies features, so that each fallback can be
 * forced where the kernel has the real thing. The names are in the list below.
 */
#ifndef GRING_URING_PROBE_H
#define GRING_URING_PROBE_H

#include <stdbool.h>
#include <stdint.h>

enum feature {
    /* "single_issuer"    one thread submits; needed by the next        6.0  */
    FEATURE_SINGLE_ISSUER,
    /* "defer_taskrun"    completions only while we enter               6.1  */
    FEATURE_DEFER_TASKRUN,
    /* "registered_ring"  no descriptor look-up per enter               5.18 */
    FEATURE_REGISTERED_RING,
    /* "iowq_caps"        a bound on the kernel's worker threads        5.15 */
    FEATURE_IOWQ_CAPS,
    /* "no_iowait"        an idle hub is not counted as waiting for IO  6.15 */
    FEATURE_NO_IOWAIT,
    /* "guard_install"    stack guards without a mapping of their own   6.13 */
    FEATURE_GUARD_INSTALL,
    /* "rwf_nosignal"     writes that raise no SIGPIPE                  6.18 */
    FEATURE_RWF_NOSIGNAL,
    /* "ftruncate"        cuts files without a thread of ours           6.9  */
    FEATURE_FTRUNCATE,
    /* "buffer_ring"      receives take a buffer when data is there  5.19 */
    FEATURE_BUFFER_RING,
    /* "send_zc"          sends that do not copy                        6.0  */
    FEATURE_SEND_ZC,
    FEATURE_COUNT
};

/* Denied by GRING_WITHOUT? Unknown names there are reported once, with the known ones. */
bool feature_denied(enum feature feature);

/* Does this kernel take writes with RWF_NOSIGNAL? Tried once, on a pipe. */
bool probe_rwf_nosignal(void);

/* Does this kernel have the opcode? Asked once. */
bool probe_opcode(int opcode);

/*
 * Are a pipe's transfers done without a worker thread? Before Linux 6.4 the kernel cannot attempt
 * them without blocking: a read is given to a worker when there is something to read, a write
 * when there is some room, and the worker then blocks until all is written. That works, but
 * their number must not be bounded (writers could occupy all that the readers need), and the
 * SIGPIPE of a write is lost with the worker. This is a fact, not a feature to be denied.
 */
bool probe_pipe_nowait(void);

#endif

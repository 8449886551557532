/* The features' names and GRING_WITHOUT; see probe.h. The trying itself is done where the
 * feature is used first. */
#include "uring/probe.h"

#include "base/log.h"
#include "base/sys.h"

#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* Linux 6.18 */
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

static const char *const names[FEATURE_COUNT] = {
    [FEATURE_SINGLE_ISSUER] = "single_issuer",
    [FEATURE_DEFER_TASKRUN] = "defer_taskrun",
    [FEATURE_REGISTERED_RING] = "registered_ring",
    [FEATURE_IOWQ_CAPS] = "iowq_caps",
    [FEATURE_NO_IOWAIT] = "no_iowait",
    [FEATURE_GUARD_INSTALL] = "guard_install",
    [FEATURE_RWF_NOSIGNAL] = "rwf_nosignal",
    [FEATURE_FTRUNCATE] = "ftruncate",
    [FEATURE_BUFFER_RING] = "buffer_ring",
    [FEATURE_SEND_ZC] = "send_zc",
};

static pthread_once_t denied_once = PTHREAD_ONCE_INIT;
static uint32_t denied;

static void report_unknown(const char *name, size_t length)
{
    char known[256] = "";

    for (int feature = 0; feature < FEATURE_COUNT; feature++) {
        strcat(known, feature ? ", " : "");
        strcat(known, names[feature]);
    }
    log_line(LOG_WARNING, "GRING_WITHOUT names an unknown feature '%.*s'; known are: %s",
             (int)length, name, known);
}

static void deny(const char *name, size_t length)
{
    for (int feature = 0; feature < FEATURE_COUNT; feature++)
        if (strlen(names[feature]) == length && !memcmp(names[feature], name, length)) {
            denied |= 1u << feature;
            return;
        }
    if (length)
        report_unknown(name, length);
}

static void read_environment(void)
{
    const char *rest = getenv("GRING_WITHOUT");

    while (rest && *rest) {
        size_t length = strcspn(rest, ", ");

        deny(rest, length);
        rest += length;
        rest += *rest != 0;
    }
}

bool feature_denied(enum feature feature)
{
    pthread_once(&denied_once, read_environment);
    return denied & 1u << feature;
}

static pthread_once_t pipe_once = PTHREAD_ONCE_INIT;
static bool nosignal_works, pipe_nowait_works;

static void try_pipe_flags(void)
{
    nosignal_works = !feature_denied(FEATURE_RWF_NOSIGNAL) && sys_pipe_write_takes(RWF_NOSIGNAL);
    pipe_nowait_works = sys_pipe_write_takes(RWF_NOWAIT);
}

bool probe_rwf_nosignal(void)
{
    pthread_once(&pipe_once, try_pipe_flags);
    return nosignal_works;
}

static pthread_once_t opcodes_once = PTHREAD_ONCE_INIT;
static uint64_t opcodes[4]; /* one bit for each of 256 */

static void ask_for_opcodes(void)
{
    struct io_uring_probe *probe = io_uring_get_probe();

    for (int opcode = 0; probe && opcode < 256; opcode++)
        if (io_uring_opcode_supported(probe, opcode))
            opcodes[opcode / 64] |= UINT64_C(1) << opcode % 64;
    io_uring_free_probe(probe);
}

bool probe_opcode(int opcode)
{
    pthread_once(&opcodes_once, ask_for_opcodes);
    return opcode >= 0 && opcode < 256 && opcodes[opcode / 64] >> opcode % 64 & 1;
}

bool probe_pipe_nowait(void)
{
    pthread_once(&pipe_once, try_pipe_flags);
    return pipe_nowait_works;
}

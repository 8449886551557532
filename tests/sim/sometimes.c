/* What a simulation has done so far; see kernel.h. */
#include "tests/sim/kernel.h"

uint64_t *sometimes_counts;

const char *const sometimes_names[SOMETIMES_COUNT] = {
    [SQ_WAS_FULL] = "the SQ was full",
    [PART_WAS_SUBMITTED] = "a part of the SQ was submitted",
    [ENTER_SAID_EINTR] = "enter said EINTR",
    [ENTER_SAID_EAGAIN] = "enter said EAGAIN",
    [ENTER_SAID_EBUSY] = "enter said EBUSY",
    [CQ_OVERFLOWED] = "the CQ overflowed",
    [COMPLETION_SAID_EAGAIN] = "a completion said EAGAIN",
    [COMPLETION_SAID_EINTR] = "a completion said EINTR",
    [TRANSFER_WAS_SHORT] = "a transfer was short",
    [CANCEL_WON] = "a cancel won",
    [CANCEL_LOST] = "a cancel found nothing",
    [CANCEL_MET_WORKER] = "a cancel met a worker",
    [CANCEL_CAME_BETWEEN_ATTEMPTS] = "a cancel came between two attempts",
    [CANCEL_FOUND_A_PART_MOVED] = "a cancel found a part moved",
    [CANCEL_ANSWERED_BEFORE_ITS_TARGET] = "a cancel was answered before its target",
    [CONNECTION_WAS_RESET] = "a connection was reset",
    [CONNECT_WAS_REFUSED] = "a connect was refused",
    [ACCEPT_FOUND_NO_DESCRIPTOR] = "an accept found no descriptor",
    [MEMORY_WAS_REFUSED] = "memory was refused",
    [DISK_FAILED] = "the disk failed",
    [THREAD_CAME_BETWEEN] = "a thread came between two steps",
    [MAIL_WAS_SIGNALLED] = "mail was signalled",
    [TIME_LEAPT] = "time leapt",
    [BUFFERS_RAN_OUT] = "the provided buffers ran out",
    [BUFFER_CAME_WITHOUT_DATA] = "a provided buffer came without data",
    [ZERO_COPY_WAS_REFUSED] = "a zero-copy send was refused",
    [NOTIFICATION_WAS_LATE] = "a notification was late",
    [CHAIN_WAS_CUT] = "a chain was cut by a partial submit",
    [LINK_BROKE] = "a link broke",
    [FILE_WAS_HELD_BY_A_WORKER] = "a file was held by its worker after the completion",
    [DESCRIPTOR_WAS_PASSED] = "a descriptor was passed",
    [DESCRIPTOR_WAS_LOST_ON_THE_WAY] = "a descriptor was lost on the way",
    [DATAGRAM_WAS_LOST] = "a datagram was lost",
    [EPOLL_WAS_NEEDED] = "a wait needed epoll",
    [LOCK_WAS_TAKEN] = "a lock was taken",
    [FIFO_WAS_WAITED_FOR] = "a FIFO was waited for",
    [THREAD_STAYED_IN_OPEN] = "a thread stayed in open(2)",
};

void sometimes(enum sometimes what)
{
    if (sometimes_counts)
        sometimes_counts[what]++;
}

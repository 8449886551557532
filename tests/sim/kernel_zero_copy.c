/*
 * Sends without a copy: a completion with the result, then a notification when the network has
 * let go of the caller's memory, which must not have changed before that.
 */
#include "tests/sim/kernel.h"

#include <errno.h>
#include <string.h>

/* What the network reads a second time, if a packet is lost. */
struct lent_memory {
    struct io_request *request;
    size_t size;
    unsigned char bytes[];
};

int zero_copy_refuses(const struct io_request *request)
{
    if (request->object->number % 4 == 0) {
        sometimes(ZERO_COPY_WAS_REFUSED);
        return -EOPNOTSUPP;
    }
    return memory_fails() ? -ENOMEM : 0;
}

bool zero_copy_notifies(const struct io_request *request)
{
    if (request->sqe.opcode != IORING_OP_SEND_ZC)
        return false;
    /* a failure has a notification or none: the kernel had begun to set it up, or not */
    return request->result > 0 ? !sim_chance(50) : sim_chance(400);
}

static void look_again(const struct lent_memory *lent)
{
    unsigned char *now = sim_alloc(lent->size + 1);

    request_copy_out(lent->request, now, lent->size, 0);
    if (memcmp(now, lent->bytes, lent->size) != 0)
        sim_fail("the memory of a zero-copy send was changed before its notification");
}

static void notify(void *arg, uint64_t unused)
{
    struct lent_memory *lent = arg;

    (void)unused;
    look_again(lent);
    sim_note("notify", (int64_t)lent->request->number, 0, 0);
    ring_post(lent->request->sqe.user_data, 0, IORING_CQE_F_NOTIF);
    request_free(lent->request);
}

void zero_copy_lend(struct io_request *request)
{
    size_t size = request->result > 0 ? (size_t)request->result : 0;
    struct lent_memory *lent = sim_alloc(sizeof *lent + size);
    bool is_late = sim_chance(world.mood.late_completion);

    lent->request = request;
    lent->size = size;
    request_copy_out(request, lent->bytes, size, 0);
    if (is_late)
        sometimes(NOTIFICATION_WAS_LATE);
    kernel_at(is_late ? sim_duration(CLOCK_SECOND) : 0, notify, lent, 0);
}

/* The caller's own SQEs: one operation, several at once, several in a chain. */
#include "api/io/await.h"
#include "api/result.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"
#include "uring/raw.h"

#include <greenring/uring.h>
#include <stdlib.h>

bool gring_uring_has(int opcode)
{
    return raw_takes(opcode) && probe_opcode(opcode);
}

int gring_uring_op(const struct io_uring_sqe *sqe, uint32_t *cqe_flags)
{
    struct op op;
    int result;

    if (!hub_self())
        return (int)api_result(runtime_no_hub());
    result = prep_raw(&op, sqe, false);
    if (result < 0)
        return (int)api_result(result);
    result = await(&op, "uring_op");
    if (cqe_flags)
        *cqe_flags = op.cqe_flags;
    return (int)api_result(result);
}

/* ---- several as one source of a wait --------------------------------------------------------- */

struct group {
    struct source source;
    bool is_chain;
    unsigned count, left_count; /* ops; those that are not done yet */
    struct op ops[];
};

static void one_done(struct op *op)
{
    struct group *group = op->owner;

    if (--group->left_count == 0)
        source_done(&group->source);
}

/* In a chain the op layer finds the one that runs, and sees to those that follow it. */
static void ask_to_stop(struct source *source)
{
    struct group *group = CONTAINER_OF(source, struct group, source);
    struct ops *ops = &hub_self()->ops;

    for (unsigned index = group->is_chain ? group->count - 1 : 0; index < group->count; index++)
        ops_cancel(ops, &group->ops[index]);
}

static int submit_each(struct group *group)
{
    for (unsigned index = 0; index < group->count; index++) {
        struct op *op = &group->ops[index];

        op->result = ops_submit(&hub_self()->ops, op);
        if (op->result < 0)
            group->left_count--;
    }
    return 0;
}

static int submit(struct group *group)
{
    return group->is_chain ? ops_submit_chain(&hub_self()->ops, group->ops, group->count)
                           : submit_each(group);
}

static int park(struct wait *wait, struct group *group)
{
    int error = submit(group);

    if (error < 0 || group->left_count == 0)
        return error;
    wait_hold(wait, &group->source, ask_to_stop);
    wait_park(wait);
    return 0;
}

/* How many went well; what did not may be the work of the interruption, which is reported then. */
static int group_result(struct wait *wait, const struct group *group, int32_t *results)
{
    int good_count = 0;
    bool was_cut_short = false;

    for (unsigned index = 0; index < group->count; index++) {
        int32_t result = group->ops[index].result;

        results[index] = result;
        good_count += result >= 0;
        was_cut_short |= result == -ECANCELED || result == -EINTR;
    }
    return was_cut_short && wait->interruption ? wait_outcome(wait) : good_count;
}

/* Nothing was begun: that is what each result says. */
static int not_permitted(int error, unsigned count, int32_t *results)
{
    for (unsigned index = 0; index < count; index++)
        results[index] = -ECANCELED;
    return error;
}

static int await_group(struct group *group, int32_t *results)
{
    struct wait wait;
    int error = wait_begin(&wait, group->is_chain ? "uring_chain" : "uring_batch", -1);

    if (error < 0)
        return not_permitted(error, group->count, results);
    error = park(&wait, group);
    return error < 0 ? error : group_result(&wait, group, results);
}

static int prepare(struct group *group, const struct io_uring_sqe *sqes)
{
    for (unsigned index = 0; index < group->count; index++) {
        struct op *op = &group->ops[index];
        int error = prep_raw(op, &sqes[index], group->is_chain && index + 1 < group->count);

        if (error < 0)
            return error;
        op->owner = group;
        op->on_done = one_done;
    }
    return 0;
}

static int run_group(bool is_chain, const struct io_uring_sqe *sqes, unsigned count,
                     int32_t *results)
{
    struct group *group = malloc(sizeof *group + count * sizeof group->ops[0]);
    int result;

    if (!group)
        return -ENOMEM;
    *group = (struct group){ .is_chain = is_chain, .count = count, .left_count = count };
    result = prepare(group, sqes);
    if (result == 0)
        result = await_group(group, results);
    free(group);
    return result;
}

int gring_uring_chain(const struct io_uring_sqe *sqes, int n, int32_t res[])
{
    if (!hub_self())
        return (int)api_result(runtime_no_hub());
    if (n <= 0 || (unsigned)n > hub_self()->ops.sq_entries)
        return (int)api_result(n == 0 ? 0 : -EINVAL);
    return (int)api_result(run_group(true, sqes, (unsigned)n, res));
}

int gring_uring_batch(const struct io_uring_sqe *sqes, int n, int32_t res[])
{
    if (!hub_self())
        return (int)api_result(runtime_no_hub());
    if (n <= 0)
        return (int)api_result(n == 0 ? 0 : -EINVAL);
    return (int)api_result(run_group(false, sqes, (unsigned)n, res));
}

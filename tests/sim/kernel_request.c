/* The life of a request, from its SQE to its last CQE, and what a cancel finds; see kernel.h. */
#include "tests/sim/kernel.h"

#include <errno.h>
#include <string.h>

static unsigned live_count;

unsigned request_count(void)
{
    return live_count;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static struct io_request *request_new(const struct io_uring_sqe *sqe)
{
    struct io_request *request = sim_alloc(sizeof *request);

    *request = (struct io_request){ .sqe = *sqe, .number = ++world.request_number };
    list_push_back(&world.requests, &request->all_link);
    live_count++;
    return request;
}

void request_free(struct io_request *request)
{
    list_unlink(&request->all_link);
    if (request->object)
        object_drop(request->object);
    request->number = 0; /* what is on the agenda for it is stale */
    live_count--;
}

static bool is_vector(const struct io_uring_sqe *sqe)
{
    return sqe->opcode == IORING_OP_READV || sqe->opcode == IORING_OP_WRITEV;
}

static void copy_vector(struct io_request *request, const struct iovec *vector, size_t count)
{
    struct iovec *copy = sim_alloc((count + 1) * sizeof *copy);

    if (count)
        memcpy(copy, vector, count * sizeof *copy);
    request->vector = copy;
    request->vector_count = (unsigned)count;
}

void request_take_vector(struct io_request *request)
{
    const struct io_uring_sqe *sqe = &request->sqe;
    const struct msghdr *message = message_of(request);
    void *start = (void *)(uintptr_t)sqe->addr;

    request->single = (struct iovec){ .iov_base = start, .iov_len = sqe->len };
    request->vector = &request->single;
    request->vector_count = 1;
    if (message)
        copy_vector(request, message->msg_iov, message->msg_iovlen);
    else if (is_vector(sqe))
        copy_vector(request, start, sqe->len);
}

size_t request_bytes(const struct io_request *request)
{
    size_t total = 0;

    for (unsigned index = 0; index < request->vector_count; index++)
        total += request->vector[index].iov_len;
    return total;
}

/* Both: `size` bytes at `place` of what the vector describes. */
static void copy(const struct io_request *request, unsigned char *bytes, size_t size, size_t place,
                 bool into_vector)
{
    for (unsigned index = 0; index < request->vector_count && size; index++) {
        const struct iovec *part = &request->vector[index];
        size_t count;

        if (place >= part->iov_len) {
            place -= part->iov_len;
            continue;
        }
        count = part->iov_len - place < size ? part->iov_len - place : size;
        if (into_vector)
            memcpy((char *)part->iov_base + place, bytes, count);
        else
            memcpy(bytes, (char *)part->iov_base + place, count);
        bytes += count;
        size -= count;
        place = 0;
    }
}

void request_copy_in(const struct io_request *request, const void *bytes, size_t size, size_t place)
{
    copy(request, (unsigned char *)(uintptr_t)bytes, size, place, true);
}

void request_copy_out(const struct io_request *request, void *bytes, size_t size, size_t place)
{
    copy(request, bytes, size, place, false);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void stop_waiting(struct io_request *request)
{
    if (list_linked(&request->wait_link))
        list_unlink(&request->wait_link);
}

/* A buffer is the kernel's until the completion, also when nothing came: garbage in it harms only
 * who looks too early. */
static void scribble(struct io_request *request)
{
    static const unsigned char garbage[64] = { [0 ... 63] = 0xdb };
    unsigned opcode = request->sqe.opcode;
    bool reads = opcode == IORING_OP_READ || opcode == IORING_OP_READV ||
                 opcode == IORING_OP_RECV || opcode == IORING_OP_RECVMSG;
    size_t size = request_bytes(request);

    if (reads && request->result == -ECANCELED && sim_chance(500))
        request_copy_in(request, garbage, size < sizeof garbage ? size : sizeof garbage, 0);
}

/* ---- chains ---------------------------------------------------------------------------------- */

/* A short transfer breaks it too, if a whole one was asked for: see io_uring_enter(2). */
static bool breaks_chain(const struct io_request *request)
{
    size_t wanted = request_bytes(request);

    if (request->result < 0)
        return true;
    switch (request->sqe.opcode) {
    case IORING_OP_READ:
    case IORING_OP_READV:
    case IORING_OP_WRITE:
    case IORING_OP_WRITEV:
        return (size_t)request->result < wanted;
    case IORING_OP_RECV:
    case IORING_OP_SEND:
    case IORING_OP_SEND_ZC:
    case IORING_OP_RECVMSG:
    case IORING_OP_SENDMSG:
        return request->sqe.msg_flags & MSG_WAITALL && (size_t)request->result < wanted;
    default:
        return false;
    }
}

static void start(struct io_request *request);
static void complete(struct io_request *request);

/* The one behind it begins, or ends unbegun, and that in turn ends what is behind it. */
static void go_on(struct io_request *request)
{
    struct io_request *next = request->next;

    if (!next)
        return;
    if (!breaks_chain(request) || request->sqe.flags & IOSQE_IO_HARDLINK) {
        start(next);
        return;
    }
    sometimes(LINK_BROKE);
    next->result = -ECANCELED;
    next->sqe.flags &= (uint8_t)~IOSQE_IO_HARDLINK;
    complete(next);
}

/* ---- after the completion -------------------------------------------------------------------- */

static void let_go(struct io_request *request)
{
    go_on(request);
    request_free(request);
}

static void let_go_later(void *arg, uint64_t ticket)
{
    struct io_request *request = arg;

    if (request->number == ticket)
        let_go(request);
}

/* A worker holds the file until it gets to run again, and then until the ring is entered; what is
 * linked behind the request waits for that, too. Not of one whose fence a partial submit has cut
 * off: nothing is promised then. */
static bool lingers(const struct io_request *request)
{
    return request->by_worker && !request->was_cut && request->object &&
           request->object->kind == REGULAR_FILE && sim_chance(world.mood.late_release);
}

static void linger(struct io_request *request)
{
    sometimes(FILE_WAS_HELD_BY_A_WORKER);
    request->state = REQUEST_LINGERING;
    kernel_at(sim_duration(world.mood.delay), let_go_later, request, request->number);
}

void requests_let_go(void)
{
    struct list *next;

    for (struct list *link = world.requests.next; link != &world.requests; link = next) {
        struct io_request *request = CONTAINER_OF(link, struct io_request, all_link);

        next = link->next;
        if (request->state == REQUEST_LINGERING)
            request_free(request);
    }
}

static void complete_twice(struct io_request *request)
{
    ring_post(request->sqe.user_data, request->result, request->cqe_flags | IORING_CQE_F_MORE);
    go_on(request);
    if (request->object)
        object_drop(request->object);
    request->object = NULL;
    zero_copy_lend(request);
}

static void complete(struct io_request *request)
{
    sim_note("complete", (int64_t)request->number, request->result, request->sqe.opcode);
    scribble(request);
    if (request->result == -EAGAIN)
        sometimes(COMPLETION_SAID_EAGAIN);
    if (request->result == -EINTR)
        sometimes(COMPLETION_SAID_EINTR);
    if (zero_copy_notifies(request)) {
        complete_twice(request);
        return;
    }
    ring_post(request->sqe.user_data, request->result, request->cqe_flags);
    if (lingers(request))
        linger(request);
    else
        let_go(request);
}

static void complete_later(void *arg, uint64_t ticket)
{
    struct io_request *request = arg;

    if (request->number == ticket)
        complete(request);
}

void request_end(struct io_request *request, int result)
{
    stop_waiting(request);
    request->state = REQUEST_ENDING;
    request->result = result;
    if (sim_chance(world.mood.late_completion)) {
        kernel_at(sim_duration(world.mood.delay), complete_later, request, request->number);
        return;
    }
    complete(request);
}

void request_post_more(struct io_request *request, int result, uint32_t flags)
{
    sim_note("more", (int64_t)request->number, result, request->sqe.opcode);
    ring_post(request->sqe.user_data, result, flags | IORING_CQE_F_MORE);
}

/* What a request that is stopped in the middle says: what it has moved, if anything. */
static void stop(struct io_request *request, int error)
{
    if (request->done)
        sometimes(CANCEL_FOUND_A_PART_MOVED);
    request_end(request, request->done ? (int)request->done : error);
}

/* ---- attempts -------------------------------------------------------------------------------- */

static void attempt(struct io_request *request);

static void attempt_later(void *arg, uint64_t ticket)
{
    struct io_request *request = arg;

    if (request->number == ticket && request->state == REQUEST_WOKEN)
        attempt(request);
}

static void wake(struct io_request *request)
{
    gring_ns delay = sim_chance(world.mood.late_attempt) ? sim_duration(world.mood.delay) : 0;

    stop_waiting(request);
    request->state = REQUEST_WOKEN;
    kernel_at(delay, attempt_later, request, request->number);
}

static unsigned events_of(const struct io_request *request)
{
    const struct operation *operation = operation_of(&request->sqe);
    if (request->sqe.opcode == IORING_OP_POLL_ADD)
        return poll_asked(request);
    return operation->events | POLLERR | POLLHUP;
}

void request_look(struct io_request *request)
{
    if (object_events(request->object) & events_of(request) || sim_chance(world.mood.spurious_wake))
        wake(request);
}

static void wait_for_object(struct io_request *request)
{
    request->state = REQUEST_WAITING;
    list_push_back(&request->object->waiters, &request->wait_link);
    request_look(request);
}

static void would_block(struct io_request *request)
{
    const struct operation *operation = operation_of(&request->sqe);

    if (request->cancel_told) /* the signal is pending: this worker does not fall asleep */
        stop(request, sim_chance(500) ? -EINTR : -ECANCELED);
    else if (operation->may_be_again && request->done == 0 &&
             sim_chance(world.mood.spurious_eagain))
        request_end(request, -EAGAIN);
    else if (operation->may_be_again && request->done == 0 && sim_chance(world.mood.spurious_eintr))
        request_end(request, -EINTR);
    else
        wait_for_object(request);
}

static void attempt(struct io_request *request)
{
    int result = operation_of(&request->sqe)->attempt(request);

    if (result == WOULD_BLOCK)
        would_block(request);
    else
        request_end(request, result);
}

/* ---- workers --------------------------------------------------------------------------------- */

static void worker_done(void *arg, uint64_t ticket)
{
    struct io_request *request = arg;

    if (request->number != ticket || request->state != REQUEST_RUNNING)
        return;
    if (request->cancel_told && sim_chance(500))
        stop(request, sim_chance(500) ? -EINTR : -ECANCELED);
    else
        attempt(request);
}

static void worker_begins(void *arg, uint64_t ticket)
{
    struct io_request *request = arg;

    if (request->number != ticket || request->state != REQUEST_QUEUED)
        return;
    request->state = REQUEST_RUNNING;
    kernel_at(sim_duration(world.mood.delay), worker_done, request, request->number);
}

static void give_to_worker(struct io_request *request)
{
    request->state = REQUEST_QUEUED;
    request->by_worker = true;
    kernel_at(sim_duration(world.mood.delay), worker_begins, request, request->number);
}

static bool wants_worker(const struct io_request *request)
{
    const struct operation *operation = operation_of(&request->sqe);

    if (operation->goes_to_worker)
        return true;
    return request->object && request->object->kind == REGULAR_FILE &&
           sim_chance(world.mood.worker);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

static struct io_request *find(uint64_t user_data)
{
    for (struct list *link = world.requests.next; link != &world.requests; link = link->next) {
        struct io_request *request = CONTAINER_OF(link, struct io_request, all_link);

        if (request->sqe.user_data == user_data && request->state != REQUEST_HELD &&
            request->state != REQUEST_LINGERING && request->sqe.opcode != IORING_OP_ASYNC_CANCEL)
            return request;
    }
    return NULL;
}

/* The answer to a cancel, by the state in which it meets the request. */
static int cancel(struct io_request *request)
{
    switch (request->state) {
    case REQUEST_WAITING:
    case REQUEST_QUEUED:
        sometimes(CANCEL_WON);
        stop(request, -ECANCELED);
        return 0;
    case REQUEST_WOKEN: /* between two attempts: in the tables or not */
        sometimes(CANCEL_CAME_BETWEEN_ATTEMPTS);
        if (sim_chance(world.mood.lost_cancel))
            return -ENOENT;
        stop(request, -ECANCELED);
        return 0;
    case REQUEST_RUNNING:
        sometimes(CANCEL_MET_WORKER);
        request->cancel_told = true;
        return -EALREADY;
    default:
        sometimes(CANCEL_ANSWERED_BEFORE_ITS_TARGET);
        return sim_chance(900) ? -ENOENT : -EALREADY;
    }
}

static void submit_cancel(struct io_request *request)
{
    struct io_request *target = find(request->sqe.addr);

    if (!target)
        sometimes(CANCEL_LOST);
    sim_note("cancel", (int64_t)request->number, target ? (int64_t)target->number : 0,
             target ? (int64_t)target->state : -1);
    request_end(request, target ? cancel(target) : -ENOENT);
}

/* ---- submitting ------------------------------------------------------------------------------ */

static bool polls_first(const struct io_uring_sqe *sqe)
{
    return (sqe->opcode == IORING_OP_RECV || sqe->opcode == IORING_OP_SEND) &&
           sqe->ioprio & IORING_RECVSEND_POLL_FIRST;
}

static void begin(struct io_request *request, const struct operation *operation)
{
    if (operation->needs_object) {
        request->object = descriptor_object(request->sqe.fd);
        if (!request->object) {
            request_end(request, -EBADF);
            return;
        }
        object_hold(request->object);
    }
    if (wants_worker(request))
        give_to_worker(request);
    else if (polls_first(&request->sqe))
        wait_for_object(request);
    else if (sim_chance(world.mood.late_attempt / 4))
        wake(request);
    else
        attempt(request);
}

static void start(struct io_request *request)
{
    const struct operation *operation = operation_of(&request->sqe);

    request->state = REQUEST_NEW;
    if (request->sqe.opcode == IORING_OP_ASYNC_CANCEL) {
        submit_cancel(request);
        return;
    }
    if (!operation)
        sim_fail("opcode %u is not simulated: see kernel_ops.c", request->sqe.opcode);
    begin(request, operation);
}

static bool is_linked(const struct io_uring_sqe *sqe)
{
    return sqe->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK);
}

/* A chain begins when all of it is here, or the end of the submission has cut it. */
void request_submit(const struct io_uring_sqe *sqe, bool is_last)
{
    static struct io_request *first, *last; /* of the chain that is open */
    struct io_request *request = request_new(sqe), *whole;

    sim_note("submit", (int64_t)request->number, sqe->opcode, sqe->fd);
    request_take_vector(request);
    if (first) {
        request->state = REQUEST_HELD;
        last->next = request;
    } else {
        first = request;
    }
    last = request;
    if (is_linked(sqe) && !is_last)
        return;
    request->was_cut = is_linked(sqe);
    if (request->was_cut)
        sometimes(CHAIN_WAS_CUT);
    whole = first;
    first = NULL;
    start(whole);
}

/*
 * Descriptors that messages carry: SCM_RIGHTS of unix(7).
 *
 * They are taken at the send, belong to the bytes of their message, and come with the first of
 * these that is received; who receives them without room for them, or without asking, has lost
 * them, and so has who closes a socket in which they wait. A receive does not go beyond a message
 * that carries some.
 */
#include "tests/sim/kernel.h"

#include <errno.h>
#include <string.h>

void passed_drop(struct passed *passed)
{
    for (unsigned index = 0; passed && index < passed->count; index++)
        object_drop(passed->objects[index]);
}

/* ---- sending --------------------------------------------------------------------------------- */

static bool is_rights(const struct cmsghdr *header)
{
    return header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS;
}

static int hold_all(struct passed *passed, const struct cmsghdr *header)
{
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    int fd;

    for (size_t index = 0; index < count; index++) {
        memcpy(&fd, CMSG_DATA(header) + index * sizeof fd, sizeof fd);
        if (passed->count == PASSED_MAX || !descriptor_object(fd))
            return passed->count == PASSED_MAX ? -EINVAL : -EBADF;
        passed->objects[passed->count++] = descriptor_object(fd);
        object_hold(descriptor_object(fd));
    }
    return 0;
}

int passed_collect(const struct msghdr *message, struct passed **passed)
{
    struct cmsghdr *header = message->msg_controllen ? CMSG_FIRSTHDR(message) : NULL;
    int error = 0;

    *passed = NULL;
    if (!header)
        return 0;
    *passed = sim_alloc(sizeof **passed);
    for (; header && error == 0; header = CMSG_NXTHDR((struct msghdr *)(uintptr_t)message, header))
        if (is_rights(header))
            error = hold_all(*passed, header);
    if (error < 0)
        passed_drop(*passed);
    return error;
}

/* ---- in a stream ----------------------------------------------------------------------------- */

static struct passed *first_of(const struct channel *channel)
{
    return CONTAINER_OF(channel->passed.next, struct passed, link);
}

/* Those of the last `size` bytes that were sent. */
void channel_attach(struct channel *channel, struct passed *passed, size_t size)
{
    if (!channel->receiver || size == 0) {
        passed_drop(passed);
        return;
    }
    passed->end = channel->taken + channel->queued;
    passed->place = passed->end - size;
    list_push_back(&channel->passed, &passed->link);
}

size_t channel_until_passed_end(const struct channel *channel)
{
    return list_empty(&channel->passed) ? SIZE_MAX : first_of(channel)->end - channel->taken;
}

struct passed *channel_passed(const struct channel *channel, size_t size)
{
    bool reached =
        size && !list_empty(&channel->passed) && first_of(channel)->place < channel->taken + size;

    return reached ? first_of(channel) : NULL;
}

void channel_drop_passed(struct channel *channel)
{
    struct list *link;

    while ((link = list_pop_front(&channel->passed)))
        passed_drop(CONTAINER_OF(link, struct passed, link));
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* New descriptors for as many as there are numbers and room for; the others are lost. */
static unsigned install(const struct passed *passed, struct cmsghdr *header, size_t room)
{
    unsigned count = 0;
    int fd = 0;

    while (count < passed->count && fd >= 0 && CMSG_LEN((count + 1) * sizeof fd) <= room) {
        object_hold(passed->objects[count]);
        fd = descriptor_new(passed->objects[count]);
        if (fd >= 0)
            memcpy(CMSG_DATA(header) + count++ * sizeof fd, &fd, sizeof fd);
    }
    return count;
}

/* They are in the receiver's table from now on, though its completion may come late. */
void passed_deliver(struct io_request *request, const struct passed *passed)
{
    struct msghdr *message = message_of(request);
    struct cmsghdr *header = message->msg_control;
    size_t room = header ? message->msg_controllen : 0;
    unsigned count = room >= CMSG_LEN(sizeof(int)) ? install(passed, header, room) : 0;

    if (count < passed->count) {
        sometimes(DESCRIPTOR_WAS_LOST_ON_THE_WAY);
        request->message_flags |= MSG_CTRUNC;
    }
    if (count == 0)
        return;
    sometimes(DESCRIPTOR_WAS_PASSED);
    *header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(count * sizeof(int)),
                                .cmsg_level = SOL_SOCKET,
                                .cmsg_type = SCM_RIGHTS };
    request->control_bytes = smaller(CMSG_SPACE(count * sizeof(int)), room);
}

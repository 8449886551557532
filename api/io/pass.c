/* Passing a descriptor to another process over a unix socket; see unix(7) and cmsg(3). */
#include "api/result.h"
#include "base/sys.h"

#include <greenring/net.h>
#include <string.h>

/* Room for what else a socket may add (SO_PASSCRED), so that the descriptor still fits. */
union send_control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};
union receive_control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
};

ssize_t gring_send_fd(int sock, int fd, const void *buf, size_t size)
{
    struct iovec part = { .iov_base = (void *)(uintptr_t)buf, .iov_len = size };
    union send_control control = { .header = { .cmsg_len = CMSG_LEN(sizeof fd),
                                               .cmsg_level = SOL_SOCKET,
                                               .cmsg_type = SCM_RIGHTS } };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };

    if (size == 0)
        return api_result(-EINVAL);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    return gring_sendmsg(sock, &message, 0);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Whoever sent several: nobody would ever close the others. */
static int keep_first(const struct cmsghdr *header, int kept)
{
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    int fd;

    for (size_t index = 0; index < count; index++) {
        memcpy(&fd, CMSG_DATA(header) + index * sizeof fd, sizeof fd);
        if (kept < 0)
            kept = fd;
        else
            sys_close(fd);
    }
    return kept;
}

static int take_descriptor(struct msghdr *message)
{
    struct cmsghdr *header;
    int fd = -1;

    for (header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header))
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
            fd = keep_first(header, fd);
    return fd;
}

ssize_t gring_recv_fd(int sock, int *fd, void *buf, size_t size)
{
    struct iovec part = { .iov_base = buf, .iov_len = size };
    union receive_control control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    ssize_t result;

    *fd = -1;
    if (size == 0)
        return api_result(-EINVAL);
    result = gring_recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
    if (result >= 0)
        *fd = take_descriptor(&message);
    return result;
}

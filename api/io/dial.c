/* Connecting to and listening on an endpoint given as text. */
#include "api/io/endpoint.h"
#include "api/io/resolve.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <greenring/net.h>
#include <netinet/in.h>
#include <unistd.h>

/* ---- dial ------------------------------------------------------------------------------------ */

static int duplicate(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    return copy < 0 ? -errno : copy;
}

/* -errno after undoing; the socket goes without waiting: nothing is in flight on it. */
static int give_up(int fd)
{
    int error = -errno;

    gring_close(fd);
    return error;
}

static int dial_address(const struct address *address)
{
    int fd = socket(address->family, address->socket_type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (gring_connect(fd, (const struct sockaddr *)&address->storage, address->length) < 0)
        return give_up(fd);
    return fd;
}

static int dial_each(const struct address *addresses, int count, const struct gring_task *task)
{
    int result = -ENXIO;

    for (int index = 0; index < count; index++) {
        result = dial_address(&addresses[index]);
        if (result >= 0 || (task && task_interruption(task)))
            return result; /* connected, or not wanted any more */
    }
    return result;
}

/* An interruption is no address's failure: it ends the call and is reported by it, even where the
 * network could have said the same. */
static int dial_until_interrupted(const struct address *addresses, int count)
{
    struct gring_task *task = hub_self() ? hub_self()->running : NULL;
    int result;

    if (!task)
        return dial_each(addresses, count, NULL);
    task_hold_reports(task);
    result = dial_each(addresses, count, task);
    task_release_reports(task, result < 0);
    return result;
}

static int dial(const char *text)
{
    struct address addresses[ADDRESSES_MAX];
    struct endpoint endpoint;
    int result = endpoint_parse(&endpoint, text);

    if (result < 0 || endpoint.kind == ENDPOINT_FD)
        return result < 0 ? result : duplicate(endpoint.fd);
    result = resolve(&endpoint, addresses);
    return result < 0 ? result : dial_until_interrupted(addresses, result);
}

int gring_net_dial(const char *endpoint)
{
    int saved_errno = errno;
    int result = endpoint ? dial(endpoint) : -EINVAL;

    errno = saved_errno; /* an address that failed before another one worked is no error */
    return (int)api_result(result);
}

/* ---- listen ---------------------------------------------------------------------------------- */

static uint16_t port_of(const struct address *address)
{
    if (address->family == AF_INET)
        return ((const struct sockaddr_in *)&address->storage)->sin_port;
    if (address->family == AF_INET6)
        return ((const struct sockaddr_in6 *)&address->storage)->sin6_port;
    return 1; /* unix: no such thing */
}

static int set_options(int fd, const struct address *address, unsigned flags)
{
    int on = 1;

    if (address->family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return -1;
    return flags & GRING_REUSEPORT ? setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) : 0;
}

static int listen_address(const struct address *address, int backlog, unsigned flags)
{
    int fd = socket(address->family, address->socket_type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (set_options(fd, address, flags) < 0 ||
        bind(fd, (const struct sockaddr *)&address->storage, address->length) < 0)
        return give_up(fd);
    if (address->socket_type == SOCK_STREAM && listen(fd, backlog) < 0)
        return give_up(fd);
    return fd;
}

static int listen_on(const char *text, int backlog, unsigned flags)
{
    struct address addresses[ADDRESSES_MAX];
    struct endpoint endpoint;
    int result = endpoint_parse(&endpoint, text);

    if (result < 0 || endpoint.kind == ENDPOINT_FD)
        return result < 0 ? result : duplicate(endpoint.fd);
    result = resolve(&endpoint, addresses);
    if (result <= 0)
        return result < 0 ? result : -ENXIO;
    if (flags & GRING_REUSEPORT && port_of(&addresses[0]) == 0)
        return -EINVAL;
    return listen_address(&addresses[0], backlog, flags);
}

int gring_net_listen(const char *endpoint, int backlog, unsigned flags)
{
    if (!endpoint || flags & ~GRING_REUSEPORT)
        return (int)api_result(-EINVAL);
    return (int)api_result(listen_on(endpoint, backlog, flags));
}

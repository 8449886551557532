/*
 * Name look-ups off the hub; see resolve.h.
 *
 * A look-up that has begun cannot be stopped, so it owns all its memory: whoever waited for it
 * may leave, and the look-up is abandoned to the threads.
 */
#include "api/io/resolve.h"

#include "runtime/hub.h"
#include "runtime/offload.h"
#include "runtime/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct lookup {
    struct offload_job job;
    struct endpoint endpoint;
    struct source *waiter;
    int result; /* as of resolve */
    struct address addresses[ADDRESSES_MAX];
};

struct lookup_source {
    struct source source;
    struct lookup *lookup;
};

/* ---- asking ---------------------------------------------------------------------------------- */

static int error_of(int eai)
{
    switch (eai) {
    case EAI_SYSTEM:
        return errno ? -errno : -EIO;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_SERVICE:
        return -EINVAL;
    default:
        return -ENXIO;
    }
}

static int copy_addresses(const struct addrinfo *list, struct address addresses[])
{
    int count = 0;

    for (; list && count < ADDRESSES_MAX; list = list->ai_next, count++) {
        addresses[count] = (struct address){ .family = list->ai_family,
                                             .socket_type = list->ai_socktype,
                                             .length = list->ai_addrlen };
        memcpy(&addresses[count].storage, list->ai_addr, list->ai_addrlen);
    }
    return count;
}

static int look_up(const struct endpoint *endpoint, struct address addresses[])
{
    struct addrinfo hints = { .ai_family = endpoint->family,
                              .ai_socktype = endpoint->socket_type,
                              .ai_flags = AI_PASSIVE };
    /* none: every address of this machine */
    const char *host = *endpoint->host ? endpoint->host : NULL;
    struct addrinfo *list;
    int eai, count;

    eai = getaddrinfo(host, endpoint->service, &hints, &list);
    if (eai)
        return error_of(eai);
    count = copy_addresses(list, addresses);
    freeaddrinfo(list);
    return count;
}

/* ---- waiting for the answer ------------------------------------------------------------------ */

static void run_lookup(struct offload_job *job)
{
    struct lookup *lookup = CONTAINER_OF(job, struct lookup, job);

    lookup->result = look_up(&lookup->endpoint, lookup->addresses);
}

static void lookup_done(struct offload_job *job)
{
    source_done(CONTAINER_OF(job, struct lookup, job)->waiter);
}

static void discard_lookup(struct offload_job *job)
{
    free(CONTAINER_OF(job, struct lookup, job));
}

static void leave_lookup(struct source *source)
{
    offload_abandon(&CONTAINER_OF(source, struct lookup_source, source)->lookup->job);
    source_done(source);
}

static int take_result(struct lookup *lookup, struct address addresses[])
{
    int result = lookup->result;

    if (result > 0)
        memcpy(addresses, lookup->addresses, (size_t)result * sizeof *addresses);
    free(lookup);
    return result;
}

static int await_lookup(struct lookup *lookup, struct address addresses[])
{
    struct lookup_source waiting = { .lookup = lookup };
    struct wait wait;
    int error = wait_begin(&wait, "a name look-up", -1);

    if (error == 0) {
        lookup->waiter = &waiting.source;
        error = offload_start(hub_self(), &lookup->job, OFFLOAD_NAMES);
    }
    if (error < 0) {
        free(lookup);
        return error;
    }
    wait_hold(&wait, &waiting.source, leave_lookup);
    wait_park(&wait);
    if (wait.interruption)
        return wait_outcome(&wait); /* the look-up is the threads' now */
    return take_result(lookup, addresses);
}

static int look_up_green(const struct endpoint *endpoint, struct address addresses[])
{
    struct lookup *lookup = calloc(1, sizeof *lookup);

    if (!lookup)
        return -ENOMEM;
    lookup->endpoint = *endpoint;
    lookup->job.run = run_lookup;
    lookup->job.on_done = lookup_done;
    lookup->job.discard = discard_lookup;
    return await_lookup(lookup, addresses);
}

/* ---- the call -------------------------------------------------------------------------------- */

static int unix_address(const struct endpoint *endpoint, struct address *address)
{
    *address = (struct address){ .family = AF_UNIX,
                                 .socket_type = endpoint->socket_type,
                                 .length = endpoint->unix_length };
    memcpy(&address->storage, &endpoint->unix_address, endpoint->unix_length);
    return 1;
}

int resolve(const struct endpoint *endpoint, struct address addresses[ADDRESSES_MAX])
{
    struct address *first = &addresses[0];

    if (endpoint->kind == ENDPOINT_UNIX)
        return unix_address(endpoint, first);
    *first = (struct address){ .socket_type = endpoint->socket_type };
    if (endpoint_numeric(endpoint, &first->storage, &first->length) == 0) {
        first->family = first->storage.ss_family;
        return 1;
    }
    return hub_self() ? look_up_green(endpoint, addresses) : look_up(endpoint, addresses);
}

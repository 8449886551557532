/*
 * A bulk transfer through an echoing server: one connection, both directions at once, one thread.
 *
 * Bytes follow pattern.h by their place in the stream, so every returned byte is compared with what
 * it must be; running checksums of what was sent and of what came back are kept as a second witness
 * that does not share the comparison's code.
 */
#ifndef BENCH_BULK_H
#define BENCH_BULK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct bulk {
    /* Set by the caller before bulk_start(). */
    uint16_t port;
    uint64_t size_bytes;
    uint64_t key;

    /* Readable after bulk_finish(). */
    uint64_t sent_bytes;
    uint64_t received_bytes;
    uint64_t mismatched_bytes;
    uint64_t elapsed_ns;
    bool is_ok; /* all came back, right, checksums agree, and the server closed after our end */

    /* Private. */
    pthread_t thread;
    atomic_bool is_done;
    atomic_bool must_stop;
};

/* Starts the transfer. Returns 0 or -errno; after 0 bulk_finish() must be called. */
int bulk_start(struct bulk *bulk);

/* True once bulk_finish() would not wait. */
bool bulk_is_done(struct bulk *bulk);

/* Gives the transfer up if it is not done, and takes the thread back. */
void bulk_finish(struct bulk *bulk);

#endif

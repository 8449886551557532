/*
 * FIFOs; see fifo(7).
 *
 *     writers ──► one object ──► channel ──► ends[0] ──► each reader is told
 *
 * All who write have the same object; each reader has one of its own, for it is hung up on only by
 * writers that came after it. Who opens an end and waits for the other one is there already, for who
 * comes without waiting, and is let in by whoever comes, also if he has left again meanwhile.
 */
#include "tests/sim/kernel.h"

#include <errno.h>
#include <fcntl.h>

/* ---- ends ------------------------------------------------------------------------------------ */

static struct channel *channel_of(struct stored_file *fifo)
{
    if (!fifo->channel)
        fifo->channel = channel_new(NULL, NULL);
    return fifo->channel;
}

static struct object *join_as_writer(struct stored_file *fifo)
{
    struct object *writer = fifo->ends[1];

    if (writer) {
        object_hold(writer);
        return writer;
    }
    writer = fifo->ends[1] = object_new(PIPE_WRITER);
    writer->flags = O_WRONLY;
    writer->fifo = fifo;
    writer->out = channel_of(fifo);
    writer->out->sender = writer;
    writer->out->ended = writer->out->end_arrived = false;
    return writer;
}

/* Who comes without waiting, and finds no writer, is not hung up on by those who were there. */
static struct object *join_as_reader(struct stored_file *fifo, bool is_patient)
{
    struct object *reader = object_new(PIPE_READER);

    if (!fifo->ends[0]) {
        fifo->ends[0] = object_new(PIPE_READER);
        fifo->ends[0]->in = channel_of(fifo);
        fifo->ends[0]->in->receiver = fifo->ends[0];
        list_init(&fifo->ends[0]->readers);
    }
    reader->fifo = fifo;
    reader->in = fifo->channel;
    reader->writers_seen = is_patient || fifo->ends[1] ? 0 : fifo->arrivals[1];
    list_push_back(&fifo->ends[0]->readers, &reader->reader_link);
    return reader;
}

/* The last who had it. When both ends are gone, so are the bytes. */
void fifo_release(struct object *end)
{
    struct stored_file *fifo = end->fifo;

    if (end->kind == PIPE_WRITER) {
        fifo->ends[1] = NULL;
    } else {
        list_unlink(&end->reader_link);
        if (list_empty(&fifo->ends[0]->readers)) {
            fifo->channel->receiver = fifo->ends[0] = NULL;
            if (fifo->ends[1])
                object_changed(fifo->ends[1]);
        }
    }
    if (!fifo->ends[0] && !fifo->ends[1])
        fifo->channel = NULL;
}

void fifo_changed(const struct object *end)
{
    struct list *link = end->readers.next, *next;

    for (; link && link != &end->readers; link = next) {
        next = link->next;
        object_changed(CONTAINER_OF(link, struct object, reader_link));
    }
}

/* ---- what a reader sees ---------------------------------------------------------------------- */

bool fifo_has_ended(const struct object *reader)
{
    return !reader->fifo->ends[1] && reader->in->queued == reader->in->arrived;
}

bool fifo_hung_up(const struct object *reader)
{
    return fifo_has_ended(reader) && reader->fifo->arrivals[1] != reader->writers_seen;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void wait_for_other(struct stored_file *fifo, bool writes)
{
    unsigned before = fifo->arrivals[!writes];

    if (fifo->ends[!writes])
        return;
    sometimes(FIFO_WAS_WAITED_FOR);
    while (fifo->arrivals[!writes] == before)
        threads_wait_for(&fifo->somebody_came);
}

int fifo_open(struct stored_file *fifo, int flags)
{
    bool writes = (flags & O_ACCMODE) == O_WRONLY;
    bool is_patient = !(flags & O_NONBLOCK);
    struct object *end;

    if ((flags & O_ACCMODE) == O_RDWR)
        sim_fail("FIFOs that are opened both ways are not simulated");
    if (writes && !is_patient && !fifo->ends[0])
        return -ENXIO;
    end = writes ? join_as_writer(fifo) : join_as_reader(fifo, is_patient);
    fifo->arrivals[writes]++;
    threads_wake(&fifo->somebody_came);
    if (is_patient)
        wait_for_other(fifo, writes);
    return descriptor_new(end);
}

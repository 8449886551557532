/*
 * The mailbox on one thread: several senders, whose mail must come in each one's order and once,
 * and a hub that must be told of mail exactly when it sleeps. The eventfd is a real one; the kernel
 * that reads it is the fake ring. Where several threads meet: tests/stress/hub.c; every
 * interleaving of sleeper and senders: tests/unit/wake_up.c.
 */
#include "runtime/mailbox.h"
#include "tests/model/choices.h"
#include "tests/support/fake_ring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { LETTERS = 16 };

static struct letter {
    struct mail mail;
    bool in_box;
    bool answers; /* when it is delivered it is posted again, once */
} letters[LETTERS];

/* What was posted and not delivered, in order. */
static struct {
    unsigned queue[LETTERS];
    unsigned count;
    unsigned due; /* of them may be delivered by the delivery under way */
    bool asleep, told;
} twin;

static struct mailbox mailbox;
static struct ops ops;

static bool is_signalled(void)
{
    struct pollfd eventfd = { .fd = mailbox.event_fd, .events = POLLIN };

    return poll(&eventfd, 1, 0) == 1;
}

static void post(unsigned which)
{
    if (letters[which].in_box)
        return;
    letters[which].in_box = true;
    twin.queue[twin.count++] = which;
    twin.told |= twin.asleep;
    mailbox_post(&mailbox, &letters[which].mail);
}

static void delivered(struct mail *mail)
{
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);

    MUST(twin.due > 0 && letter == &letters[twin.queue[0]]);
    memmove(twin.queue, twin.queue + 1, --twin.count * sizeof twin.queue[0]);
    twin.due--;
    letter->in_box = false;
    if (letter->answers) {
        letter->answers = false;
        post((unsigned)(letter - letters)); /* behind the rest, and not in this turn */
    }
}

static void deliver(void)
{
    twin.due = twin.count;
    mailbox_deliver(&mailbox);
    MUST(twin.due == 0);
}

static void lie_down(void)
{
    bool may_sleep = mailbox_may_sleep(&mailbox, &ops);

    MUST(may_sleep == !twin.count);
    twin.asleep = may_sleep;
    twin.told = false;
}

/* The kernel reads the eventfd if it has been asked to and there is something to read. */
static void kernel_reads(void)
{
    uint64_t count;

    (void)ops_enter(&ops, 0);
    for (unsigned index = 0; index < fake.taken_count; index++)
        if (fake.taken[index].opcode == IORING_OP_READ && is_signalled()) {
            MUST(read(mailbox.event_fd, &count, sizeof count) == sizeof count);
            MUST(count == 1); /* a burst of mail costs one signal */
            kernel_completes(index, sizeof count);
        }
    ops_reap(&ops, CQ_ROOM);
    forget_completed();
}

/* As the hub's enter returns: it was told if, and only if, mail has come while it slept. */
static void wake_up(void)
{
    if (!twin.asleep)
        return;
    MUST(is_signalled() == twin.told);
    kernel_reads();
    MUST(mailbox.watched == !twin.told);
    mailbox_awake(&mailbox);
    twin.asleep = false;
}

static void begin(struct choices *choices)
{
    memset(&twin, 0, sizeof twin);
    memset(letters, 0, sizeof letters);
    for (unsigned which = 0; which < LETTERS; which++)
        letters[which].mail.deliver = delivered;
    MUST(ops_open(&ops, 1 + choose(choices, 8)) == 0);
    MUST(mailbox_open(&mailbox) == 0);
}

static void end(void)
{
    wake_up();
    while (twin.count)
        deliver();
    if (mailbox.watched)
        ops_cancel(&ops, &mailbox.read);
    while (mailbox.watched) {
        (void)ops_enter(&ops, 0);
        for (unsigned index = 0; index < fake.taken_count; index++)
            kernel_completes(index, fake.taken[index].opcode == IORING_OP_READ ? -ECANCELED : 0);
        ops_reap(&ops, CQ_ROOM);
        forget_completed();
    }
    mailbox_close(&mailbox);
    ops_close(&ops);
}

MODEL(mailbox)
{
    begin(choices);
    while (choices_left(choices)) {
        unsigned what = choose(choices, 8);

        if (what < 4)
            post(choose(choices, LETTERS));
        else if (what == 4)
            letters[choose(choices, LETTERS)].answers = true;
        else if (what == 5 && !twin.asleep)
            deliver();
        else if (what == 6 && !twin.asleep)
            lie_down();
        else if (what == 7)
            wake_up();
        MUST(is_signalled() == (twin.asleep && twin.told));
    }
    end();
}

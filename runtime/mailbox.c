/* Lossless wake-up over an eventfd; the argument is in mailbox.h. */
#include "runtime/mailbox.h"

#include "base/check.h"
#include "base/sys.h"
#include "uring/prep.h"

int mailbox_open(struct mailbox *mailbox)
{
    *mailbox = (struct mailbox){ .event_fd = sys_eventfd() };
    mpsc_init(&mailbox->queue);
    return mailbox->event_fd < 0 ? mailbox->event_fd : 0;
}

void mailbox_close(struct mailbox *mailbox)
{
    CHECK(!mailbox->watched);
    sys_close(mailbox->event_fd);
}

void mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    mpsc_push(&mailbox->queue, &mail->node);
    /* The push before the look at `asleep`; pairs with the fence in mailbox_may_sleep. From here
     * on the mail may be gone: only the mailbox is touched. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&mailbox->asleep, memory_order_relaxed) &&
        atomic_exchange_explicit(&mailbox->asleep, false, memory_order_relaxed))
        sys_eventfd_signal(mailbox->event_fd);
}

void mailbox_deliver(struct mailbox *mailbox)
{
    struct mpsc_node *node;

    if (mpsc_empty(&mailbox->queue))
        return;
    node = mpsc_take_all(&mailbox->queue);
    while (node) {
        struct mail *mail = CONTAINER_OF(node, struct mail, node);

        node = node->next; /* before the call: the mail may be gone after it */
        mail->deliver(mail);
    }
}

static void read_done(struct op *op)
{
    CONTAINER_OF(op, struct mailbox, read)->watched = false;
}

static void watch(struct mailbox *mailbox, struct ops *ops)
{
    prep_read(&mailbox->read, mailbox->event_fd, &mailbox->signal_count,
              sizeof mailbox->signal_count, 0);
    mailbox->read.on_descriptor = false;
    mailbox->read.on_done = read_done;
    mailbox->watched = ops_submit(ops, &mailbox->read) == 0;
}

bool mailbox_may_sleep(struct mailbox *mailbox, struct ops *ops)
{
    if (!mailbox->watched)
        watch(mailbox, ops);
    atomic_store_explicit(&mailbox->asleep, true, memory_order_relaxed);
    /* The announcement before the look at the queue; pairs with the fence in mailbox_post. */
    atomic_thread_fence(memory_order_seq_cst);
    if (mpsc_empty(&mailbox->queue))
        return true;
    mailbox_awake(mailbox);
    return false;
}

void mailbox_awake(struct mailbox *mailbox)
{
    atomic_store_explicit(&mailbox->asleep, false, memory_order_relaxed);
}

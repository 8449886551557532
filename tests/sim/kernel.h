/*
 * The simulated kernel from inside: objects behind descriptors, requests, operations, moods.
 *
 *     SQE ──► submit ──► attempt ──► would block: WAITING on its object
 *                │           ▲             │ the object changed
 *                │           └── WOKEN ◄───┘
 *                └─► QUEUED ─► RUNNING (a worker)          every way: ENDING ──► CQE
 *
 * Everything happens inside ring_enter, as with deferred task work; only plain threads
 * (kernel_threads.c) act in between. A request that is between two states can be found by a
 * cancel or not: each answer that the real kernel can give in a state is given sometimes.
 *
 * What objects there are: kernel_object.c; kernel_datagrams.c, kernel_passing.c (descriptors in
 * messages), kernel_names.c and kernel_fifos.c (files) have theirs.
 *
 * To add an operation: one line in the table of kernel_ops.c with a function that makes one
 * attempt and returns the result, -errno, or WOULD_BLOCK. For an operation with several
 * completions the attempt calls request_post_more for each but the last and returns
 * WOULD_BLOCK to stay; to end a multishot it returns the last result, whose completion has no
 * F_MORE.
 */
#ifndef TESTS_SIM_KERNEL_H
#define TESTS_SIM_KERNEL_H

#include "base/list.h"
#include "tests/sim/agenda.h"
#include "tests/sim/sim.h"
#include "uring/ring.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

enum { FD_FIRST = 1000, FD_LIMIT = 4096 };
enum { WOULD_BLOCK = -100000 };

static inline size_t smaller(size_t left, size_t right)
{
    return left < right ? left : right;
}

/* ---- moods: per mille, drawn for each run ---------------------------------------------------- */

struct mood {
    unsigned short_transfer, spurious_eagain, spurious_eintr, spurious_wake;
    unsigned enter_error, enter_signal, partial_submit;
    unsigned late_completion, late_release, late_attempt, worker, lost_cancel, early_thread;
    unsigned clock_leap, reset, no_memory, no_descriptor, refusal, bad_disk;
    gring_ns latency, delay;        /* at most: of a network's byte, of a completion */
    unsigned sq_room, cq_room;      /* entries; the SQ's not above what was asked for */
    unsigned completions_per_enter; /* at most, as deferred task work hands them out */
    size_t channel_bytes;           /* of a connection's or pipe's buffer, at most */
    unsigned descriptor_limit;
    unsigned denied_features; /* 1 << enum feature */
};

/* ---- objects --------------------------------------------------------------------------------- */

/* One direction of a connection, or a pipe. */
struct channel {
    unsigned char *bytes;
    size_t capacity, head; /* head: the oldest byte that was not taken */
    size_t queued;         /* sent and not taken */
    size_t arrived;        /* of them those that the receiver can see */
    uint64_t taken;        /* in all: the place of the oldest byte in the stream */
    struct list passed;    /* descriptors that travel with bytes of these, in order */
    bool ended;            /* the sender sends no more */
    bool end_arrived;
    struct object *receiver, *sender; /* NULL: closed */
};

enum object_kind {
    SOCKET_FRESH,
    SOCKET_CONNECTING,
    SOCKET_STREAM,
    SOCKET_DATAGRAM,
    SOCKET_LISTENER, /* the last socket */
    PIPE_READER,
    PIPE_WRITER,
    REGULAR_FILE,
    EVENT_COUNTER,
    EPOLL
};

struct object {
    enum object_kind kind;
    unsigned number;          /* for the trace */
    unsigned reference_count; /* descriptors, requests, a listener's queue */
    bool nonblocking;
    struct list waiters; /* requests */

    struct channel *in, *out;
    bool receive_shut, send_shut;
    int error;   /* pending, reported once: ECONNRESET */
    bool broken; /* by a reset */
    bool linger_reset;

    struct sockaddr_storage address; /* bound */
    socklen_t address_length;
    struct sockaddr_storage peer_address;
    struct list listeners_link, accept_queue; /* of struct arrival */
    unsigned accept_count, backlog;
    struct io_request *connecting;

    struct list datagrams; /* those that arrived first; of a pair also those under way */
    unsigned datagrams_sent, datagrams_arrived, datagram_room;
    struct object *peer; /* of a datagram pair; NULL: closed */
    bool is_pair, peer_was_missed;

    struct stored_file *file;
    uint64_t position;
    int flags;                /* O_* of a file */
    int lock;                 /* LOCK_EX, LOCK_SH, or 0 */
    struct stored_file *fifo; /* whose end it is, or NULL */
    struct list readers, reader_link;
    unsigned writers_seen;

    uint64_t counter;

    struct list watchers; /* epoll descriptors in which this one is */
    struct object *watched;
    unsigned watched_events;
    struct list watch_link;
};

/* A connection that waits to be accepted. */
struct arrival {
    struct list link;
    struct object *socket;
};

enum stored_kind { STORED_FILE, STORED_DIRECTORY, STORED_FIFO };

struct stored_file {
    enum stored_kind kind;
    unsigned number, link_count;
    unsigned char *bytes;
    size_t size, capacity;
    bool is_locked; /* by one, or shared by so many */
    unsigned sharer_count;

    /* a FIFO: of each, the reading one first */
    struct object *ends[2];
    unsigned arrivals[2];
    struct channel *channel;
    atomic_uint somebody_came; /* who opens waits for this */
};

enum { NAME_BYTES = 108 };
struct name {
    struct list link;
    char path[NAME_BYTES];
    struct stored_file *file;
};

struct object *object_new(enum object_kind kind);
void object_hold(struct object *object);
void object_drop(struct object *object);
/* Its waiting requests look again. */
void object_changed(struct object *object);
unsigned object_events(const struct object *object); /* poll(2) bits that are true now */

int descriptor_new(struct object *object); /* takes over a reference, also when it fails; -EMFILE */
struct object *descriptor_object(int fd);  /* borrowed, or NULL */
int descriptor_close(int fd);
int descriptor_replace(struct object *object, int fd); /* as dup2(2) */

void connect_pair(struct object *client, struct object *server);
void pipe_join(struct object *reader, struct object *writer);
size_t channel_send(struct channel *channel, const void *bytes, size_t size);
size_t channel_peek(const struct channel *channel, void *bytes, size_t size);
void channel_take(struct channel *channel, size_t size);
void channel_end(struct channel *channel);
void connection_reset(struct object *socket);
void socket_shutdown(struct object *socket, int how);
struct object *datagram_socket_at(const struct sockaddr_storage *address);
struct object *listener_at(const struct sockaddr_storage *address);
int socket_bind(struct object *socket, const struct sockaddr *address, socklen_t length);
int socket_listen(struct object *socket, int backlog);
struct channel *channel_new(struct object *sender, struct object *receiver);
void file_resize(struct stored_file *file, size_t size);
void lock_release(struct object *object);
/* A descriptor, or -errno. Without O_NONBLOCK: on a plain thread, which waits for the other end. */
int fifo_open(struct stored_file *fifo, int flags);
void fifo_release(struct object *end);
void fifo_changed(const struct object *end); /* ends[0]: its readers are told */
bool fifo_has_ended(const struct object *reader);
bool fifo_hung_up(const struct object *reader);

struct object *datagram_socket_new(void);
void datagram_join(struct object *left, struct object *right);
void datagram_release(struct object *socket);
unsigned datagram_events(const struct object *socket);

/* Descriptors that a message carries; a reference to each. */
enum { PASSED_MAX = 8 };
struct passed {
    struct list link;    /* in a channel */
    uint64_t place, end; /* of its message in the stream */
    unsigned count;
    struct object *objects[PASSED_MAX];
};

/* From the message's ancillary data; NULL: it has none. -EBADF: one is no descriptor. */
int passed_collect(const struct msghdr *message, struct passed **passed);
void passed_drop(struct passed *passed); /* NULL: nothing */
/* To those `size` bytes that were sent last. Takes them over. */
void channel_attach(struct channel *channel, struct passed *passed, size_t size);
/* How far a receive may go at most. */
size_t channel_until_passed_end(const struct channel *channel);
/* What comes with the next `size` bytes, or NULL; still the channel's. */
struct passed *channel_passed(const struct channel *channel, size_t size);
void channel_drop_passed(struct channel *channel);

/* ---- requests -------------------------------------------------------------------------------- */

enum request_state {
    REQUEST_NEW,
    REQUEST_HELD, /* linked to one that has not ended: no cancel finds it */
    REQUEST_WAITING,
    REQUEST_WOKEN,
    REQUEST_QUEUED,
    REQUEST_RUNNING,
    REQUEST_ENDING,
    REQUEST_LINGERING /* completed; its worker has not let go of the file */
};

struct io_request {
    struct list all_link, wait_link;
    struct io_uring_sqe sqe;
    struct iovec single;
    const struct iovec *vector; /* what the SQE names, copied at submission */
    unsigned vector_count;
    struct object *object;
    struct io_request *next; /* in its chain: HELD */
    uint64_t number;         /* of this request; an agenda's entry for another one is stale */
    enum request_state state;
    size_t done; /* moved so far, where one request goes on after a part */
    int result;
    uint32_t cqe_flags;
    size_t control_bytes; /* what RECVMSG says in its header: of ancillary data, of the address */
    socklen_t name_bytes;
    int message_flags;
    bool by_worker;
    bool was_cut;     /* from what is linked behind it */
    bool cancel_told; /* its worker was */
};

struct operation {
    const char *name;
    int (*attempt)(struct io_request *request);
    unsigned events;     /* poll(2) bits that make another attempt worth while */
    bool needs_object;   /* -EBADF without */
    bool may_be_again;   /* -EAGAIN may be its answer where it would block */
    bool goes_to_worker; /* on a file: always, else sometimes */
};

const struct operation *operation_of(const struct io_uring_sqe *sqe); /* NULL: unknown opcode */

/* is_last: of what this enter takes; a chain that is open then ends here. */
void request_submit(const struct io_uring_sqe *sqe, bool is_last);
/* A completion of a request that goes on. */
void request_post_more(struct io_request *request, int result, uint32_t flags);
/* Its object may have changed: an attempt will follow if one is worth while. */
void request_look(struct io_request *request);
void request_end(struct io_request *request, int result);
void request_free(struct io_request *request);
void requests_let_go(void); /* with the ring: those that have completed */
/* The memory that its SQE names. */
void request_take_vector(struct io_request *request);
size_t request_bytes(const struct io_request *request);
void request_copy_in(const struct io_request *request, const void *bytes, size_t size,
                     size_t place);
void request_copy_out(const struct io_request *request, void *bytes, size_t size, size_t place);
unsigned request_count(void); /* in the kernel now */

/* The first provided buffer becomes the request's, or -ENOBUFS; after the attempt, of which
 * `result` came, it goes with the completion or back. */
int buffer_select(struct io_request *request);
void buffer_settle(struct io_request *request, int result);

/* 0, or why this socket cannot send without a copy now. */
int zero_copy_refuses(const struct io_request *request);
/* Does a notification follow its completion? If so, it is lent until that. */
bool zero_copy_notifies(const struct io_request *request);
void zero_copy_lend(struct io_request *request);

/* The header that SENDMSG and RECVMSG name, or NULL. */
struct msghdr *message_of(const struct io_request *request);
void passed_deliver(struct io_request *request, const struct passed *passed);
unsigned poll_asked(const struct io_request *request);
int attempt_poll(struct io_request *request);
unsigned epoll_events(const struct object *epoll);
void epoll_release(struct object *object);
void epoll_changed(const struct object *watched);

int attempt_splice(struct io_request *request);
int attempt_open(struct io_request *request);
int attempt_rename(struct io_request *request);
int attempt_unlink(struct io_request *request);
int attempt_mkdir(struct io_request *request);
int attempt_link(struct io_request *request);
int attempt_statx(struct io_request *request);
int attempt_ftruncate(struct io_request *request);
int attempt_fallocate(struct io_request *request);

/* How much of what could move does move now: at least a byte, if there is one. */
size_t some_of(size_t size);
bool disk_fails(void);
int pending_error(struct object *object); /* reported once */

int attempt_send(struct io_request *request);
int attempt_recv(struct io_request *request);
int attempt_sendmsg(struct io_request *request);
int attempt_recvmsg(struct io_request *request);
int datagram_send(struct io_request *request);
int datagram_receive(struct io_request *request, unsigned flags);

void ring_post(uint64_t user_data, int result, uint32_t flags);

/* ---- the world ------------------------------------------------------------------------------- */

extern struct world {
    gring_ns now;
    struct mood mood;
    unsigned faults;       /* of this run */
    struct agenda kernel;  /* happens while the ring is entered */
    struct agenda threads; /* happens whenever time passes */
    struct list requests, listeners, datagram_sockets, names;
    struct object *descriptors[FD_LIMIT];
    unsigned descriptor_count, object_count, file_count;
    unsigned descriptors_left;
    uint64_t request_number, foreign_count, thread_count, enter_count;
    uint16_t next_port;
    bool is_calm; /* no fault, whatever the mood: the run begins or ends */
} world;

void world_begin(unsigned faults, const struct mood *mood);
void world_check_empty(void);

void kernel_at(gring_ns delay, agenda_fn run, void *arg, uint64_t ticket);

/* Plain threads take their turn: those that are due, sometimes one that is early. */
void threads_run(void);
void threads_pause(gring_ns duration);
bool threads_pending(void);
/* A plain thread sleeps until it is woken, for this word or for nothing. */
void threads_wait_for(const atomic_uint *word);
void threads_wake(const atomic_uint *word);
void threads_check_ended(void);

/* ---- what has happened ----------------------------------------------------------------------- */

/* A simulator proves nothing about what it never does: each of these is counted, and sim --seeds
 * says which have not happened. */
enum sometimes {
    SQ_WAS_FULL,
    PART_WAS_SUBMITTED,
    ENTER_SAID_EINTR,
    ENTER_SAID_EAGAIN,
    ENTER_SAID_EBUSY,
    CQ_OVERFLOWED,
    COMPLETION_SAID_EAGAIN,
    COMPLETION_SAID_EINTR,
    TRANSFER_WAS_SHORT,
    CANCEL_WON,
    CANCEL_LOST,
    CANCEL_MET_WORKER,
    CANCEL_CAME_BETWEEN_ATTEMPTS,
    CANCEL_FOUND_A_PART_MOVED,
    CANCEL_ANSWERED_BEFORE_ITS_TARGET,
    CONNECTION_WAS_RESET,
    CONNECT_WAS_REFUSED,
    ACCEPT_FOUND_NO_DESCRIPTOR,
    MEMORY_WAS_REFUSED,
    DISK_FAILED,
    THREAD_CAME_BETWEEN,
    MAIL_WAS_SIGNALLED,
    TIME_LEAPT,
    BUFFERS_RAN_OUT,
    BUFFER_CAME_WITHOUT_DATA,
    ZERO_COPY_WAS_REFUSED,
    NOTIFICATION_WAS_LATE,
    CHAIN_WAS_CUT,
    LINK_BROKE,
    FILE_WAS_HELD_BY_A_WORKER,
    DESCRIPTOR_WAS_PASSED,
    DESCRIPTOR_WAS_LOST_ON_THE_WAY,
    DATAGRAM_WAS_LOST,
    EPOLL_WAS_NEEDED,
    LOCK_WAS_TAKEN,
    FIFO_WAS_WAITED_FOR,
    THREAD_STAYED_IN_OPEN,
    SOMETIMES_COUNT
};

void sometimes(enum sometimes what);
extern uint64_t *sometimes_counts; /* of SOMETIMES_COUNT; NULL: not counted */
extern const char *const sometimes_names[SOMETIMES_COUNT];

/* Allocations fail now and then. */
bool memory_fails(void);
/* A run begins. failing: 1 is the first allocation, which is refused; 0: none by its number. */
void allocations_begin(uint64_t failing);
uint64_t allocations_refused(void); /* since then */
size_t memory_live_count(void);
/* Those of sys_reserve that are there, zeroed; how many. */
unsigned reservations_empty(void);
void arena_reset(void);

#endif

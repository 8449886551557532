/*
 * What a UDP request costs a server: tasks that recvfrom and sendto, against a raw ring and
 * against a thread that blocks.
 *
 * One socket, datagrams of 64 bytes over loopback, as many outstanding as the server has tasks. The
 * client is a process of its own on another processor, sends a request for each reply and looks at
 * every byte; counted is the server's processor time.
 */
#include "baseline/udp_ring.h"
#include "report.h"

#include <greenring/greenring.h>
#include <sched.h>
#include <sys/wait.h>

enum { REQUESTS = 20 * 1000, LIMIT_SECONDS = 120 };

/* ---- the client ------------------------------------------------------------------------------ */

static void move_elsewhere(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((sched_getcpu() + 1) % count, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void ask(int fd, unsigned number)
{
    unsigned words[UDP_BYTES / sizeof(unsigned)];

    for (size_t index = 0; index < sizeof words / sizeof words[0]; index++)
        words[index] = number * 2654435761u + (unsigned)index;
    if (send(fd, words, sizeof words, 0) != sizeof words)
        die("send", errno);
}

/* Each reply must be a request that was sent, byte by byte; the first word tells which. */
static void check_reply(int fd)
{
    unsigned words[UDP_BYTES / sizeof(unsigned)];

    if (recv(fd, words, sizeof words, 0) != sizeof words)
        die("recv", errno);
    for (size_t index = 1; index < sizeof words / sizeof words[0]; index++)
        if (words[index] != words[0] + index)
            die("a reply", EBADMSG);
}

static void run_client(const struct sockaddr_in *server)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    unsigned sent = 0;

    move_elsewhere();
    alarm(LIMIT_SECONDS);
    if (connect(fd, (const struct sockaddr *)server, sizeof *server) < 0)
        die("connect", errno);
    while (sent < UDP_SLOTS)
        ask(fd, sent++);
    for (unsigned received = 0; received < REQUESTS; received++) {
        check_reply(fd);
        if (sent < REQUESTS)
            ask(fd, sent++);
    }
    _exit(0);
}

/* ---- the servers ----------------------------------------------------------------------------- */

static int server_fd;
static unsigned answered;
static gring_task *main_task;

static void *serve_green(void *unused)
{
    char buf[UDP_BYTES];
    struct sockaddr_in peer;

    while (answered < REQUESTS) {
        socklen_t length = sizeof peer;
        ssize_t size =
            gring_recvfrom(server_fd, buf, sizeof buf, 0, (struct sockaddr *)&peer, &length);

        if (size < 0)
            break; /* the last one has been answered by another task */
        gring_sendto(server_fd, buf, (size_t)size, 0, (struct sockaddr *)&peer, length);
        answered++;
    }
    return unused;
}

/* Whoever answers the last one ends the run, and with it the others' waits. */
static void *serve_and_end(void *unused)
{
    serve_green(unused);
    gring_unpark(main_task, NULL);
    return unused;
}

static void *run_tasks(void *unused)
{
    main_task = gring_self();
    for (int index = 0; index < UDP_SLOTS; index++)
        gring_spawn_n(serve_and_end, NULL);
    gring_park(NULL);
    return unused;
}

static void run_green(void)
{
    answered = 0;
    if (gring_run(run_tasks, NULL, NULL) < 0)
        die("gring_run", errno);
}

static void run_ring(void)
{
    udp_serve_by_ring(server_fd, REQUESTS);
}

static void run_blocking(void)
{
    char buf[UDP_BYTES];
    struct sockaddr_in peer;

    for (answered = 0; answered < REQUESTS; answered++) {
        socklen_t length = sizeof peer;
        ssize_t size = recvfrom(server_fd, buf, sizeof buf, 0, (struct sockaddr *)&peer, &length);

        if (size < 0 ||
            sendto(server_fd, buf, (size_t)size, 0, (struct sockaddr *)&peer, length) < 0)
            die("UDP", errno);
    }
}

/* ---- measuring ------------------------------------------------------------------------------- */

static double measure(void (*serve)(void))
{
    struct sockaddr_in address = local_address(0);
    socklen_t length = sizeof address;
    double start;
    int status;
    pid_t client;

    server_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (server_fd < 0 || bind(server_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockname(server_fd, (struct sockaddr *)&address, &length) < 0)
        die("UDP", errno);
    client = fork();
    if (client == 0)
        run_client(&address);
    start = bench_now_ns();
    serve();
    start = bench_now_ns() - start;
    close(server_fd);
    if (waitpid(client, &status, 0) < 0 || status != 0)
        die("the client", ECHILD);
    return start / REQUESTS;
}

static double green(void)
{
    return measure(run_green);
}

static double raw_ring(void)
{
    return measure(run_ring);
}

static double blocking(void)
{
    return measure(run_blocking);
}

int main(void)
{
    static const struct comparison comparisons[] = {
        { .name = "CPU a UDP request, 32 outstanding",
          .baseline_name = "raw ring, single-shot",
          .ours = green,
          .baseline = raw_ring },
        { .name = "  a thread",
          .baseline_name = "blocking recvfrom and sendto",
          .ours = green,
          .baseline = blocking },
    };

    for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
        bench_compare(&comparisons[index]);
    return 0;
}

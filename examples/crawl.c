/*
 * crawl - fetches many pages, a few at a time, and prints them in the order they were asked for.
 *
 * Usage: crawl PAGES AT_A_TIME
 * The server is part of the program: each of its pages takes a little longer than the one after
 * it. imap keeps the order all the same, and never has more than AT_A_TIME results that nobody
 * has read, however long the list is.
 */
#include <arpa/inet.h>
#include <greenring/greenring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char endpoint[64];
static int pages, asked;

static void *serve(void *arg)
{
    int fd = (int)(long)arg, page = 0;
    char text[512];
    ssize_t size = gring_recv(fd, text, sizeof text - 1, 0);

    text[size > 0 ? size : 0] = 0;
    if (sscanf(text, "GET /%d", &page) == 1) {
        gring_sleep((pages - page) * GRING_MS / 10);
        size = snprintf(text, sizeof text, "HTTP/1.0 200 OK\r\n\r\npage %d", page);
        gring_write_full(fd, text, (size_t)size, NULL);
    }
    gring_close(fd);
    return NULL;
}

static void *accept_all(void *listener)
{
    int fd;

    while ((fd = gring_accept((int)(long)listener, NULL, NULL)) >= 0)
        if (gring_spawn_n(serve, (void *)(long)fd) < 0)
            gring_close(fd);
    return NULL;
}

static int next_page(void *unused, void **page)
{
    (void)unused;
    *page = (void *)(long)asked;
    return asked++ < pages;
}

/* The body, malloc'ed. */
static void *fetch(void *page)
{
    char request[64], *text = calloc(1, 512), *body;
    int fd = gring_within(10 * GRING_SEC, gring_net_dial(endpoint));

    snprintf(request, sizeof request, "GET /%ld HTTP/1.0\r\n\r\n", (long)page);
    if (fd >= 0 && gring_write_full(fd, request, strlen(request), NULL) > 0)
        gring_within(10 * GRING_SEC, gring_read_full(fd, text, 511, NULL));
    gring_close(fd);
    body = strstr(text, "\r\n\r\n");
    return body ? memmove(text, body + 4, strlen(body + 4) + 1) : (free(text), gring_fail(EPROTO));
}

static void *crawl(void *at_a_time)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int listener = gring_net_listen("tcp:127.0.0.1:0", 128, 0);
    gring_pool *pool = gring_pool_new(strtoul(at_a_time, NULL, 10));
    gring_task *server, *task;
    gring_pile *pile;

    if (listener < 0 || !pool || getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        return perror("crawl"), gring_fail(1);
    snprintf(endpoint, sizeof endpoint, "tcp:127.0.0.1:%d", ntohs(address.sin_port));
    server = gring_spawn(accept_all, (void *)(long)listener);
    pile = gring_pool_imap(pool, fetch, next_page, NULL);
    while (gring_pile_next(pile, &task) > 0) {
        void *body;

        puts(gring_join(task, &body) == 0 ? body : "(failed)");
        free(body);
    }
    gring_pile_free(pile);
    gring_pool_free(pool);
    gring_close(listener);
    gring_join(server, NULL);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3 || (pages = atoi(argv[1])) < 1) {
        fprintf(stderr, "usage: crawl PAGES AT_A_TIME\n");
        return 2;
    }
    return gring_run(crawl, argv[2], NULL) != 0;
}

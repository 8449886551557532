/* Endpoints, taken apart; see endpoint.h. Text is compared byte by byte: no locale has a say. */
#include "api/io/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"
#define HOST_BYTES LETTERS DIGITS "-._" /* what resolvers take; "_" is not for hosts, but in use */
#define SERVICE_BYTES LETTERS DIGITS "-._+"
#define SCOPE_BYTES LETTERS DIGITS "-._"
#define PORT_MAX 65535
#define ABSTRACT_START 1 /* the abstract name follows a zero byte */

/* A part of the text. */
struct span {
    const char *start;
    size_t size;
};

static struct span span_of(const char *start, const char *end)
{
    return (struct span){ start, (size_t)(end - start) };
}

static bool consists_of(struct span span, const char *bytes)
{
    for (size_t index = 0; index < span.size; index++)
        if (!memchr(bytes, span.start[index], strlen(bytes)))
            return false;
    return true;
}

/* Copies with a zero byte behind. */
static int copy(char *to, size_t to_bytes, struct span span)
{
    if (span.size >= to_bytes)
        return -ENAMETOOLONG;
    memcpy(to, span.start, span.size);
    to[span.size] = 0;
    return 0;
}

/* The decimal number, or -EINVAL: none, not only digits, or above the limit. */
static int parse_number(struct span span, int limit)
{
    int number = 0;

    if (!span.size || !consists_of(span, DIGITS))
        return -EINVAL;
    for (size_t index = 0; index < span.size; index++) {
        int digit = span.start[index] - '0';

        if (number > (limit - digit) / 10)
            return -EINVAL;
        number = number * 10 + digit;
    }
    return number;
}

/* ---- host and port ---- */

static bool is_ipv4(const char *host)
{
    struct in_addr address;

    return inet_pton(AF_INET, host, &address) == 1;
}

/* An interface's name or number behind the address: "%eth0". */
static bool is_scope(const char *scope)
{
    size_t size = strlen(scope);

    return size > 0 && size < IF_NAMESIZE && consists_of((struct span){ scope, size }, SCOPE_BYTES);
}

/* An IPv6 address, with or without a scope. */
static bool is_ipv6(const char *host)
{
    const char *scope = strchr(host, '%');
    struct in6_addr address;
    char literal[INET6_ADDRSTRLEN];

    if (!scope)
        return inet_pton(AF_INET6, host, &address) == 1;
    return is_scope(scope + 1) && copy(literal, sizeof literal, span_of(host, scope)) == 0 &&
           inet_pton(AF_INET6, literal, &address) == 1;
}

static int parse_bracketed_host(struct endpoint *endpoint, struct span span)
{
    int error = copy(endpoint->host, sizeof endpoint->host, span);

    if (error < 0)
        return error;
    if (endpoint->family == AF_INET || !is_ipv6(endpoint->host))
        return -EINVAL;
    return 0;
}

static int parse_plain_host(struct endpoint *endpoint, struct span span)
{
    int error;

    if (span.size == 1 && *span.start == '*')
        span.size = 0; /* "*" is kept as the empty host */
    if (!consists_of(span, HOST_BYTES))
        return -EINVAL;
    error = copy(endpoint->host, sizeof endpoint->host, span);
    if (error < 0)
        return error;
    return endpoint->family == AF_INET6 && is_ipv4(endpoint->host) ? -EINVAL : 0;
}

/*
 * A name begins with a letter. A few registered ones do not ("3com-tsmux"), but refusing these
 * finds "80x" and "0x50" here and not in the resolver.
 */
static int parse_service(struct endpoint *endpoint, struct span span)
{
    bool is_name = span.size && memchr(LETTERS, *span.start, strlen(LETTERS));

    if (is_name && !consists_of(span, SERVICE_BYTES))
        return -EINVAL;
    if (!is_name && parse_number(span, PORT_MAX) < 0)
        return -EINVAL;
    return copy(endpoint->service, sizeof endpoint->service, span);
}

static int parse_inet(struct endpoint *endpoint, const char *text)
{
    bool is_bracketed = *text == '[';
    const char *host_end = strchr(text, is_bracketed ? ']' : ':');
    const char *colon = host_end && is_bracketed ? host_end + 1 : host_end;
    int error;

    if (!colon || *colon != ':')
        return -EINVAL;
    if (is_bracketed)
        error = parse_bracketed_host(endpoint, span_of(text + 1, host_end));
    else
        error = parse_plain_host(endpoint, span_of(text, host_end));
    if (error < 0)
        return error;
    return parse_service(endpoint, span_of(colon + 1, colon + strlen(colon)));
}

/* ---- the other kinds ---- */

static int parse_unix_path(struct endpoint *endpoint, const char *path)
{
    struct sockaddr_un *address = &endpoint->unix_address;
    struct span span = { path, strlen(path) };

    endpoint->unix_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + span.size + 1);
    return copy(address->sun_path, sizeof address->sun_path, span);
}

/* The length ends the name, not a zero byte: it may fill all of sun_path. */
static int parse_unix_abstract(struct endpoint *endpoint, const char *name)
{
    struct sockaddr_un *address = &endpoint->unix_address;
    size_t size = strlen(name);

    if (!size)
        return -EINVAL; /* the kernel would choose a name, which nobody could then dial */
    if (size > sizeof address->sun_path - ABSTRACT_START)
        return -ENAMETOOLONG;
    memcpy(address->sun_path + ABSTRACT_START, name, size);
    endpoint->unix_length =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + ABSTRACT_START + size);
    return 0;
}

static int parse_unix(struct endpoint *endpoint, const char *text)
{
    endpoint->unix_address.sun_family = AF_UNIX;
    if (*text == '/')
        return parse_unix_path(endpoint, text);
    if (*text == '@')
        return parse_unix_abstract(endpoint, text + 1);
    return -EINVAL;
}

static int parse_fd(struct endpoint *endpoint, const char *text)
{
    int fd = parse_number((struct span){ text, strlen(text) }, INT_MAX);

    if (fd < 0)
        return fd;
    endpoint->fd = fd;
    return 0;
}

/* ---- the whole ---- */

struct scheme {
    const char *prefix;
    enum endpoint_kind kind;
    int family;
    int socket_type;
    int (*parse)(struct endpoint *endpoint, const char *text);
};

static const struct scheme schemes[] = {
    { "tcp:", ENDPOINT_INET, AF_UNSPEC, SOCK_STREAM, parse_inet },
    { "tcp4:", ENDPOINT_INET, AF_INET, SOCK_STREAM, parse_inet },
    { "tcp6:", ENDPOINT_INET, AF_INET6, SOCK_STREAM, parse_inet },
    { "udp:", ENDPOINT_INET, AF_UNSPEC, SOCK_DGRAM, parse_inet },
    { "udp4:", ENDPOINT_INET, AF_INET, SOCK_DGRAM, parse_inet },
    { "udp6:", ENDPOINT_INET, AF_INET6, SOCK_DGRAM, parse_inet },
    { "unix:", ENDPOINT_UNIX, AF_UNIX, SOCK_STREAM, parse_unix },
    { "fd:", ENDPOINT_FD, AF_UNSPEC, 0, parse_fd },
};

int endpoint_parse(struct endpoint *endpoint, const char *text)
{
    for (size_t index = 0; index < sizeof schemes / sizeof *schemes; index++) {
        const struct scheme *scheme = &schemes[index];
        size_t prefix_bytes = strlen(scheme->prefix);

        if (strncmp(text, scheme->prefix, prefix_bytes) != 0)
            continue;
        *endpoint = (struct endpoint){
            .kind = scheme->kind,
            .family = scheme->family,
            .socket_type = scheme->socket_type,
            .fd = -1,
        };
        return scheme->parse(endpoint, text + prefix_bytes);
    }
    return -EINVAL;
}

/* ---- addresses in numbers ---- */

static int numeric_ipv4(const char *host, in_port_t port, struct sockaddr_storage *address,
                        socklen_t *length)
{
    struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = port };

    if (*host && inet_pton(AF_INET, host, &ipv4.sin_addr) != 1)
        return -ENOENT;
    memcpy(address, &ipv4, sizeof ipv4);
    *length = sizeof ipv4;
    return 0;
}

static int numeric_ipv6(const char *host, in_port_t port, struct sockaddr_storage *address,
                        socklen_t *length)
{
    struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = port };

    if (*host && inet_pton(AF_INET6, host, &ipv6.sin6_addr) != 1)
        return -ENOENT;
    memcpy(address, &ipv6, sizeof ipv6);
    *length = sizeof ipv6;
    return 0;
}

static int numeric_inet(const struct endpoint *endpoint, struct sockaddr_storage *address,
                        socklen_t *length)
{
    struct span service = { endpoint->service, strlen(endpoint->service) };
    int port = parse_number(service, PORT_MAX);
    bool is_ipv6_literal = strchr(endpoint->host, ':');

    if (port < 0)
        return -ENOENT;
    if (endpoint->family == AF_INET6 || is_ipv6_literal)
        return numeric_ipv6(endpoint->host, htons((in_port_t)port), address, length);
    return numeric_ipv4(endpoint->host, htons((in_port_t)port), address, length);
}

int endpoint_numeric(const struct endpoint *endpoint, struct sockaddr_storage *address,
                     socklen_t *length)
{
    if (endpoint->kind == ENDPOINT_FD)
        return -EINVAL;
    if (endpoint->kind == ENDPOINT_INET)
        return numeric_inet(endpoint, address, length);
    memcpy(address, &endpoint->unix_address, sizeof endpoint->unix_address);
    *length = endpoint->unix_length;
    return 0;
}

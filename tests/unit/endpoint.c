/* Endpoints as text: what is taken, into what, and what is refused. */
#include "api/io/endpoint.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

enum { PATH_BYTES = sizeof((struct sockaddr_un){ 0 }).sun_path };

static struct endpoint endpoint;

/* prefix, `count` times "a", suffix. */
static const char *text_with_as(const char *prefix, size_t count, const char *suffix)
{
    static char text[1024];
    size_t size = strlen(prefix);

    memcpy(text, prefix, size);
    memset(text + size, 'a', count);
    strcpy(text + size + count, suffix);
    return text;
}

static const struct {
    const char *text;
    int family;
    int socket_type;
    const char *host;
    const char *service;
} inet_forms[] = {
    { "tcp:example.org:80", AF_UNSPEC, SOCK_STREAM, "example.org", "80" },
    { "tcp4:example.org:80", AF_INET, SOCK_STREAM, "example.org", "80" },
    { "tcp6:example.org:80", AF_INET6, SOCK_STREAM, "example.org", "80" },
    { "udp:example.org:53", AF_UNSPEC, SOCK_DGRAM, "example.org", "53" },
    { "udp4:example.org:53", AF_INET, SOCK_DGRAM, "example.org", "53" },
    { "udp6:example.org:53", AF_INET6, SOCK_DGRAM, "example.org", "53" },
    { "tcp:127.0.0.1:0", AF_UNSPEC, SOCK_STREAM, "127.0.0.1", "0" },
    { "tcp:127.0.0.1:65535", AF_UNSPEC, SOCK_STREAM, "127.0.0.1", "65535" },
    { "tcp4:127.0.0.1:080", AF_INET, SOCK_STREAM, "127.0.0.1", "080" },
    { "tcp:[::1]:80", AF_UNSPEC, SOCK_STREAM, "::1", "80" },
    { "tcp6:[::1]:80", AF_INET6, SOCK_STREAM, "::1", "80" },
    { "udp6:[::ffff:10.0.0.1]:80", AF_INET6, SOCK_DGRAM, "::ffff:10.0.0.1", "80" },
    { "tcp:[fe80::1%eth0]:80", AF_UNSPEC, SOCK_STREAM, "fe80::1%eth0", "80" },
    { "tcp:[fe80::1%2]:http", AF_UNSPEC, SOCK_STREAM, "fe80::1%2", "http" },
    { "tcp::80", AF_UNSPEC, SOCK_STREAM, "", "80" },
    { "tcp:*:80", AF_UNSPEC, SOCK_STREAM, "", "80" },
    { "tcp6:*:80", AF_INET6, SOCK_STREAM, "", "80" },
    { "tcp:localhost:http", AF_UNSPEC, SOCK_STREAM, "localhost", "http" },
    { "tcp:localhost:http-alt", AF_UNSPEC, SOCK_STREAM, "localhost", "http-alt" },
    { "tcp:a_b-c.Example.org.:x11", AF_UNSPEC, SOCK_STREAM, "a_b-c.Example.org.", "x11" },
};

Test(endpoint, host_and_port_are_taken_apart)
{
    for (size_t index = 0; index < COUNT_OF(inet_forms); index++) {
        const char *text = inet_forms[index].text;

        cr_assert_eq(endpoint_parse(&endpoint, text), 0, "%s", text);
        cr_assert_eq(endpoint.kind, ENDPOINT_INET, "%s", text);
        cr_assert_eq(endpoint.family, inet_forms[index].family, "%s", text);
        cr_assert_eq(endpoint.socket_type, inet_forms[index].socket_type, "%s", text);
        cr_assert_str_eq(endpoint.host, inet_forms[index].host, "%s", text);
        cr_assert_str_eq(endpoint.service, inet_forms[index].service, "%s", text);
        cr_assert_eq(endpoint.fd, -1, "%s", text);
    }
}

static const char *const refused[] = {
    /* no scheme, or none of ours */
    "",
    ":",
    "tcp",
    "localhost:80",
    ":80",
    "TCP:localhost:80",
    "tcp5:localhost:80",
    " tcp:localhost:80",
    "tcp :localhost:80",
    "sctp:localhost:80",
    "http://localhost:80",
    "unix",
    "fd",
    /* parts missing */
    "tcp:",
    "tcp::",
    "tcp:80",
    "tcp:localhost",
    "tcp:localhost:",
    "tcp:*",
    "tcp:*:",
    "tcp4:",
    "udp6:",
    /* parts too many */
    "tcp:localhost:80:",
    "tcp:localhost:80:81",
    "tcp:localhost:http:",
    "tcp:::1:80",
    "tcp6:::1:80",
    "tcp:fe80::1%eth0:80",
    "tcp:localhost:80/path",
    "tcp://localhost:80",
    /* ports */
    "tcp:localhost:65536",
    "tcp:localhost:99999999999999999999",
    "tcp:localhost:-1",
    "tcp:localhost:+80",
    "tcp:localhost:-http",
    "tcp:localhost: 80",
    "tcp:localhost:80 ",
    "tcp:localhost:80\n",
    "tcp:localhost:80x",
    "tcp:localhost:0x50",
    "tcp:localhost:8.0",
    "tcp:localhost:*",
    "tcp:localhost:ht tp",
    "tcp:localhost:h\xc3\xa4",
    /* hosts */
    "tcp:local host:80",
    "tcp: localhost:80",
    "tcp:localhost :80",
    "tcp:local\thost:80",
    "tcp:local/host:80",
    "tcp:user@localhost:80",
    "tcp:h\xc3\xa4:80",
    "tcp:**:80",
    "tcp:*.org:80",
    "tcp:local%host:80",
    "tcp6:127.0.0.1:80",
    "udp6:127.0.0.1:80",
    /* brackets */
    "tcp:[::1]",
    "tcp:[::1]:",
    "tcp:[::1]80",
    "tcp:[::1:80",
    "tcp:::1]:80",
    "tcp:[]:80",
    "tcp:[*]:80",
    "tcp:[localhost]:80",
    "tcp:[127.0.0.1]:80",
    "tcp:[::1]]:80",
    "tcp:[[::1]]:80",
    "tcp:[::1] :80",
    "tcp:[:::1]:80",
    "tcp:[::g]:80",
    "tcp:[::1%]:80",
    "tcp:[::1%a b]:80",
    "tcp:[::1%a/b]:80",
    "tcp:[%eth0]:80",
    "tcp:[::1%aaaaaaaaaaaaaaaa]:80",
    "tcp4:[::1]:80",
    "udp4:[::1]:80",
    "tcp:a[::1]:80",
    "tcp:[::1]:[80]",
    /* unix */
    "unix:",
    "unix:@",
    "unix:relative",
    "unix:./relative",
    "unix: /path",
    "UNIX:/path",
    "unix4:/path",
    /* descriptors */
    "fd:",
    "fd:-1",
    "fd:+1",
    "fd: 1",
    "fd:1 ",
    "fd:1x",
    "fd:0x1",
    "fd:1.0",
    "fd:stdin",
    "fd:2147483648",
    "fd:4294967296",
    "fd:99999999999999999999",
};

Test(endpoint, what_is_no_endpoint_is_refused)
{
    for (size_t index = 0; index < COUNT_OF(refused); index++)
        cr_assert_eq(endpoint_parse(&endpoint, refused[index]), -EINVAL, "\"%s\"", refused[index]);
}

Test(endpoint, longest_host_fits_and_a_longer_one_is_told)
{
    size_t longest = sizeof endpoint.host - 1;

    cr_assert_eq(endpoint_parse(&endpoint, text_with_as("tcp:", longest, ":80")), 0);
    cr_assert_eq(strlen(endpoint.host), longest);
    cr_assert_eq(endpoint_parse(&endpoint, text_with_as("tcp:", longest + 1, ":80")),
                 -ENAMETOOLONG);
    cr_assert_eq(endpoint_parse(&endpoint, text_with_as("tcp:[", longest + 1, "]:80")),
                 -ENAMETOOLONG);
}

Test(endpoint, longest_service_fits_and_a_longer_one_is_told)
{
    size_t longest = sizeof endpoint.service - 1;

    cr_assert_eq(endpoint_parse(&endpoint, text_with_as("tcp:localhost:", longest, "")), 0);
    cr_assert_eq(strlen(endpoint.service), longest);
    cr_assert_eq(endpoint_parse(&endpoint, text_with_as("tcp:localhost:", longest + 1, "")),
                 -ENAMETOOLONG);
}

Test(endpoint, socket_file_is_an_address)
{
    size_t start = offsetof(struct sockaddr_un, sun_path);

    cr_assert_eq(endpoint_parse(&endpoint, "unix:/run/a:b @[1].sock"), 0);
    cr_assert_eq(endpoint.kind, ENDPOINT_UNIX);
    cr_assert_eq(endpoint.family, AF_UNIX);
    cr_assert_eq(endpoint.socket_type, SOCK_STREAM);
    cr_assert_eq(endpoint.fd, -1);
    cr_assert_eq(endpoint.unix_address.sun_family, AF_UNIX);
    cr_assert_str_eq(endpoint.unix_address.sun_path, "/run/a:b @[1].sock");
    cr_assert_eq(endpoint.unix_length, start + strlen("/run/a:b @[1].sock") + 1);
}

Test(endpoint, abstract_name_is_counted_and_not_ended)
{
    cr_assert_eq(endpoint_parse(&endpoint, "unix:@/name"), 0);
    cr_assert_eq(endpoint.kind, ENDPOINT_UNIX);
    cr_assert_eq(endpoint.unix_address.sun_family, AF_UNIX);
    cr_assert_arr_eq(endpoint.unix_address.sun_path, "\0/name", 6);
    cr_assert_eq(endpoint.unix_length, offsetof(struct sockaddr_un, sun_path) + 6);
}

Test(endpoint, longest_path_fits_and_a_longer_one_is_told)
{
    size_t longest = PATH_BYTES - 2; /* without the slash and the zero byte behind */

    cr_assert_eq(endpoint_parse(&endpoint, text_with_as("unix:/", longest, "")), 0);
    cr_assert_eq(endpoint.unix_length, sizeof endpoint.unix_address);
    cr_assert_eq(endpoint.unix_address.sun_path[PATH_BYTES - 1], 0);
    cr_assert_eq(endpoint_parse(&endpoint, text_with_as("unix:/", longest + 1, "")), -ENAMETOOLONG);
}

Test(endpoint, longest_abstract_name_fits_and_a_longer_one_is_told)
{
    size_t longest = PATH_BYTES - 1; /* without the zero byte in front */

    cr_assert_eq(endpoint_parse(&endpoint, text_with_as("unix:@", longest, "")), 0);
    cr_assert_eq(endpoint.unix_length, sizeof endpoint.unix_address);
    cr_assert_eq(endpoint.unix_address.sun_path[0], 0);
    cr_assert_eq(endpoint.unix_address.sun_path[PATH_BYTES - 1], 'a');
    cr_assert_eq(endpoint_parse(&endpoint, text_with_as("unix:@", longest + 1, "")), -ENAMETOOLONG);
}

Test(endpoint, descriptor_is_a_number)
{
    char text[32];

    cr_assert_eq(endpoint_parse(&endpoint, "fd:0"), 0);
    cr_assert_eq(endpoint.kind, ENDPOINT_FD);
    cr_assert_eq(endpoint.family, AF_UNSPEC);
    cr_assert_eq(endpoint.fd, 0);
    snprintf(text, sizeof text, "fd:%d", INT_MAX);
    cr_assert_eq(endpoint_parse(&endpoint, text), 0);
    cr_assert_eq(endpoint.fd, INT_MAX);
}

static const struct {
    const char *text;
    int family;
    const char *address;
    int port;
} numeric_forms[] = {
    { "tcp:127.0.0.1:80", AF_INET, "127.0.0.1", 80 },
    { "tcp4:10.1.2.3:65535", AF_INET, "10.1.2.3", 65535 },
    { "udp:127.0.0.1:0", AF_INET, "127.0.0.1", 0 },
    { "tcp:[::1]:80", AF_INET6, "::1", 80 },
    { "tcp6:[2001:db8::7]:443", AF_INET6, "2001:db8::7", 443 },
    { "tcp::80", AF_INET, "0.0.0.0", 80 },
    { "tcp:*:80", AF_INET, "0.0.0.0", 80 },
    { "udp4:*:53", AF_INET, "0.0.0.0", 53 },
    { "tcp6::80", AF_INET6, "::", 80 },
    { "udp6:*:0053", AF_INET6, "::", 53 },
};

static void check_numeric(const char *text, int family, const char *expected, int port)
{
    struct sockaddr_storage address;
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&address;
    bool is_ipv4 = family == AF_INET;
    char found[INET6_ADDRSTRLEN];
    socklen_t length = 0;

    memset(&address, 0xff, sizeof address);
    cr_assert_eq(endpoint_parse(&endpoint, text), 0, "%s", text);
    cr_assert_eq(endpoint_numeric(&endpoint, &address, &length), 0, "%s", text);
    cr_assert_eq(address.ss_family, family, "%s", text);
    cr_assert_eq(length, is_ipv4 ? sizeof *ipv4 : sizeof *ipv6, "%s", text);
    inet_ntop(family, is_ipv4 ? (void *)&ipv4->sin_addr : (void *)&ipv6->sin6_addr, found,
              sizeof found);
    cr_assert_str_eq(found, expected, "%s", text);
    cr_assert_eq(ntohs(is_ipv4 ? ipv4->sin_port : ipv6->sin6_port), port, "%s", text);
    cr_assert(is_ipv4 || (ipv6->sin6_scope_id == 0 && ipv6->sin6_flowinfo == 0), "%s", text);
}

Test(endpoint, numbers_need_no_resolver)
{
    for (size_t index = 0; index < COUNT_OF(numeric_forms); index++)
        check_numeric(numeric_forms[index].text, numeric_forms[index].family,
                      numeric_forms[index].address, numeric_forms[index].port);
}

static const char *const needing_resolver[] = {
    "tcp:localhost:80",      "tcp:127.0.0.1:http", "tcp:*:http",       "tcp6:[::1]:http",
    "tcp:[fe80::1%eth0]:80", "tcp:127.1:80",       "tcp:256.0.0.1:80", "tcp6:localhost:80",
};

Test(endpoint, names_need_a_resolver)
{
    struct sockaddr_storage address;
    socklen_t length;

    for (size_t index = 0; index < COUNT_OF(needing_resolver); index++) {
        const char *text = needing_resolver[index];

        cr_assert_eq(endpoint_parse(&endpoint, text), 0, "%s", text);
        cr_assert_eq(endpoint_numeric(&endpoint, &address, &length), -ENOENT, "%s", text);
    }
}

Test(endpoint, socket_file_needs_no_resolver)
{
    struct sockaddr_storage address;
    socklen_t length;

    cr_assert_eq(endpoint_parse(&endpoint, "unix:/run/socket"), 0);
    cr_assert_eq(endpoint_numeric(&endpoint, &address, &length), 0);
    cr_assert_eq(length, endpoint.unix_length);
    cr_assert_arr_eq(&address, &endpoint.unix_address, length);
}

Test(endpoint, descriptor_has_no_address)
{
    struct sockaddr_storage address;
    socklen_t length;

    cr_assert_eq(endpoint_parse(&endpoint, "fd:3"), 0);
    cr_assert_eq(endpoint_numeric(&endpoint, &address, &length), -EINVAL);
}

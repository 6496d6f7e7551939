/* Requests for a page, each by a connection of its own or again and again, through a proxy or not.
 *
 * visit METHOD ADDRESS PORT SERVER SERVER_PORT PATH CONNECTIONS SECONDS KEEP
 *
 * METHOD is "connect" or "socks5", a tunnel through the proxy at ADDRESS and PORT; "http", a request
 * that it forwards; or "plain", a request to ADDRESS itself.  KEEP is 1 or 0.  It has so many
 * CONNECTIONS at once, until the SECONDS are over and something was answered, and writes how many
 * requests were answered, how many connections were made for them, how many failed, the octets of all
 * bodies, and the seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024, HEAD = 4096, PATIENCE = 10, FAILURES = 1000 };
enum stage { CONNECTING, METHODS, TUNNEL, REQUEST };

struct visitor {
    int fd;
    enum stage stage;
    int in_body;
    int closes;
    int served;
    long left;
    size_t length;
    char head[HEAD + 1];
};

static struct visitor visitors[MOST];
static char octets[1 << 18];
static struct sockaddr_storage proxy;
static socklen_t proxy_length;
static const char *method;
static char greeting[512], request[1024];
static size_t greeting_length, request_length;
static int keep, poll_fd;
static long answered, made, failed, bodies;

static void fail(const char *what)
{
    fprintf(stderr, "visit: %s\n", what);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void begin(struct visitor *one)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = one};
    int on = 1;

    made++;
    memset(one, 0, offsetof(struct visitor, head));
    one->fd = socket(proxy.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (one->fd < 0)
        fail("no socket");
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(one->fd, (struct sockaddr *)&proxy, proxy_length) && errno != EINPROGRESS)
        fail(strerror(errno));
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, one->fd, &event);
}

static void again(struct visitor *one, int good)
{
    failed += !good;
    if (failed > FAILURES && failed > answered)
        fail("too much fails");
    close(one->fd);
    begin(one);
}

/* Send all of it, and await its answer. */
static void say(struct visitor *one, const void *data, size_t length, enum stage stage)
{
    one->stage = stage;
    one->length = 0;
    one->in_body = 0;
    if (send(one->fd, data, length, MSG_NOSIGNAL) != (ssize_t)length)
        again(one, one->served);
}

static void ask(struct visitor *one)
{
    say(one, request, request_length, REQUEST);
}

static void greet(struct visitor *one)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};

    epoll_ctl(poll_fd, EPOLL_CTL_MOD, one->fd, &event);
    if (!strcmp(method, "socks5"))
        say(one, "\5\1\0", 3, METHODS);
    else if (!strcmp(method, "connect"))
        say(one, greeting, greeting_length, TUNNEL);
    else
        ask(one);
}

/* What there is of a head; 1 once it is whole, 0 until then, -1 if it is none that was hoped for. */
static int head_is_good(struct visitor *one)
{
    one->head[one->length] = 0;
    if (!memmem(one->head, one->length, "\r\n\r\n", 4))
        return one->length == HEAD ? -1 : 0;
    return one->length > 12 && !strncmp(one->head + 8, " 200", 4) ? 1 : -1;
}

static int socks_is_good(struct visitor *one)
{
    size_t whole = 10;

    if (one->stage == METHODS)
        return one->length < 2 ? 0 : !memcmp(one->head, "\5\0", 2) ? 1 : -1;
    if (one->length >= 4 && one->head[3] == 4)
        whole = 22;
    return one->length < whole ? 0 : !memcmp(one->head, "\5\0", 2) ? 1 : -1;
}

static void heard_proxy(struct visitor *one)
{
    int good = *method == 's' ? socks_is_good(one) : head_is_good(one);

    if (good < 0)
        again(one, 0);
    else if (good && one->stage == METHODS)
        say(one, greeting, greeting_length, TUNNEL);
    else if (good)
        ask(one);
}

static void heard_body(struct visitor *one, long count)
{
    bodies += count;
    one->left -= count;
    if (one->left < 0)
        return again(one, 0);
    if (one->left)
        return;
    answered++;
    one->served = 1;
    if (!one->closes)
        ask(one);
}

static void heard_head(struct visitor *one)
{
    int good = head_is_good(one);
    char *body, *size;

    if (!good)
        return;
    size = strcasestr(one->head, "\r\nContent-Length:");
    if (good < 0 || !size)
        return again(one, 0);
    one->left = atol(size + 17);
    body = strstr(one->head, "\r\n\r\n") + 4;
    one->closes = !keep || strcasestr(one->head, "\r\nConnection: close");
    one->in_body = 1;
    heard_body(one, one->head + one->length - body);
}

static void hear(struct visitor *one)
{
    ssize_t count;

    if (one->in_body) {
        count = recv(one->fd, octets, sizeof octets, 0);
        if (count > 0)
            heard_body(one, count);
    } else {
        count = recv(one->fd, one->head + one->length, HEAD - one->length, 0);
        if (count > 0) {
            one->length += count;
            if (one->stage == REQUEST)
                heard_head(one);
            else
                heard_proxy(one);
        }
    }
    if (count == 0 || (count < 0 && errno != EAGAIN)) {
        /* Kept or not, a connection may be closed once there was an answer. */
        again(one, one->served && (one->in_body ? !one->left : !one->length));
    }
}

static void prepare(const char *server, int port, const char *path)
{
    const char *asked = keep ? "" : "Connection: close\r\n";
    struct in_addr address;

    if (*method == 'h')
        snprintf(request, sizeof request, "GET http://%s:%d%s HTTP/1.1\r\nHost: %s:%d\r\n%s\r\n", server,
                 port, path, server, port, asked);
    else
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%d\r\n%s\r\n", path, server, port,
                 asked);
    request_length = strlen(request);
    if (*method == 's') {
        if (inet_pton(AF_INET, server, &address) != 1)
            fail("no IPv4 address of the server");
        memcpy(greeting, "\5\1\0\1", 4);
        memcpy(greeting + 4, &address, 4);
        greeting[8] = port >> 8;
        greeting[9] = port;
        greeting_length = 10;
    } else
        greeting_length = snprintf(greeting, sizeof greeting, "CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n",
                                   server, port, server, port);
}

static void find(const char *address, int port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&proxy;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&proxy;

    if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        proxy_length = sizeof *v6;
    } else if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        proxy_length = sizeof *v4;
    } else
        fail("no address");
}

int main(int count, char **arguments)
{
    struct epoll_event events[64];
    double begun = now(), end, last;
    int visits;

    if (count != 10)
        fail("METHOD ADDRESS PORT SERVER SERVER_PORT PATH CONNECTIONS SECONDS KEEP");
    method = arguments[1];
    find(arguments[2], atoi(arguments[3]));
    keep = atoi(arguments[9]);
    prepare(arguments[4], atoi(arguments[5]), arguments[6]);
    visits = atoi(arguments[7]);
    end = begun + atof(arguments[8]);
    last = end + PATIENCE;
    poll_fd = epoll_create1(0);
    for (int number = 0; number < visits && number < MOST; number++)
        begin(&visitors[number]);
    while (now() < end || (!answered && now() < last)) {
        int ready = epoll_wait(poll_fd, events, 64, 20);

        for (int number = 0; number < ready; number++) {
            struct visitor *one = events[number].data.ptr;

            if (one->stage == CONNECTING && events[number].events & (EPOLLERR | EPOLLHUP))
                again(one, 0);
            else if (one->stage == CONNECTING)
                greet(one);
            else
                hear(one);
        }
    }
    printf("%ld %ld %ld %ld %f\n", answered, made, failed, bodies, now() - begun);
    return 0;
}

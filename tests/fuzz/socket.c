// SPDX-License-Identifier: MIT
// The whole server for AFL++: an input is what a client sends on a connection of its own.
//
//   socket CONFIGURATION PORT   in which the configuration listens on that port of 127.0.0.1
//
// Compiled by afl-clang-fast only, which brings the __AFL macros.
#pragma clang diagnostic ignored "-Wconversion" // in those macros
int server_main(int argc, char **argv);
#define main server_main
#include "server/main.c"
#undef main

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>

enum {
    INPUTS = 5000,  // of a process
    ANSWER_MS = 50, // without a byte: the server waits for more, or tells a listener nothing
};

__AFL_FUZZ_INIT();

static void *serve_all(void *configuration)
{
    char *argv[] = {"sherd-server", "--config", configuration, NULL};
    server_main(3, argv);
    abort(); // nobody told it to stop
}

static int dial(in_port_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool answers(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    char buffer[65536];
    return poll(&wait, 1, ANSWER_MS) == 1 && recv(fd, buffer, sizeof buffer, 0) > 0;
}

static void play(in_port_t port, const unsigned char *input, ssize_t len)
{
    int fd = dial(port);
    if (fd < 0)
        abort(); // nobody takes connections any more
    if (send(fd, input, (size_t)len, MSG_NOSIGNAL) > 0)
        shutdown(fd, SHUT_WR);
    while (answers(fd))
        ;
    close(fd);
}

int main(int argc, char **argv)
{
    pthread_t thread;
    int fd;
    if (argc != 3)
        return EXIT_USAGE;
    in_port_t port = (in_port_t)atoi(argv[2]);
    __AFL_INIT(); // threads do not outlive the fork behind it
    unsigned char *input = __AFL_FUZZ_TESTCASE_BUF;
    if (pthread_create(&thread, NULL, serve_all, argv[1]))
        return EXIT_OTHER;
    while ((fd = dial(port)) < 0)
        poll(NULL, 0, 1);
    close(fd);
    while (__AFL_LOOP(INPUTS))
        play(port, input, __AFL_FUZZ_TESTCASE_LEN);
    _exit(EXIT_OK);
}

/* main.c - start, ready lines, signals, graceful shutdown (spec/l2-proxy.md §1). */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <uv.h>

#include "config/config.h"
#include "http/http.h"
#include "loop/worker.h"
#include "metrics/metrics.h"

enum {
    EXIT_USAGE = 2,
    MMAP_THRESHOLD_BYTES = 64 * 1024,
};

struct program {
    struct config config;
    struct metrics metrics;
    uv_loop_t loop;
    uv_signal_t interrupt, terminate;
    uv_timer_t grace;
    struct http *http;
    struct pool *pool;
    bool stopping, ended;
};

/* Tunnels and flows are descriptors: take what the system grants without asking. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* mallopt(3): once a large block was freed, the C library raises its threshold and serves the next
 * one from the heap. A tunnel's buffers are sized for its busiest moment and must stay pages of
 * their own, real only as far as they are used. Setting the threshold keeps it in place. */
static void keep_large_blocks_apart(void)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
#endif
}

static void end(struct program *program)
{
    if (program->ended)
        return;
    program->ended = true;
    pool_stop(program->pool);
    http_close(program->http);
    uv_close((uv_handle_t *)&program->interrupt, NULL);
    uv_close((uv_handle_t *)&program->terminate, NULL);
    uv_close((uv_handle_t *)&program->grace, NULL);
}

static void on_grace_over(uv_timer_t *timer)
{
    end(timer->data);
}

static void on_drained(void *context)
{
    struct program *program = context;

    /* Not from inside the listener's call: the timer ends the program in the next turn. */
    uv_timer_start(&program->grace, on_grace_over, 0, 0);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct program *program = signal->data;

    (void)number;
    if (program->stopping)
        return;
    program->stopping = true;
    fprintf(stderr, "aero-l2-proxy shutting down\n");
    uv_timer_start(&program->grace, on_grace_over, program->config.shutdown_grace_ms, 0);
    pool_shutdown(program->pool);
    http_drain(program->http, on_drained, program);
}

static void say_ready(const struct program *program)
{
    const char *address = http_address(program->http);

    /* Launchers that read standard output for the ready line want nothing else there. */
    fprintf(stderr, "aero-l2-proxy listening on http://%s\n", address);
    if (program->config.ready_stdout) {
        printf("AERO_L2_PROXY_READY ws://%s/l2\n", address);
        fflush(stdout);
    }
}

static bool start(struct program *program)
{
    uv_loop_t *loop = &program->loop;

    program->http = http_new(loop, &program->config, &program->metrics);
    if (program->http == NULL)
        return false;
    program->pool =
        pool_new(loop, &program->config, &program->metrics, http_ticket_returned, program->http);
    if (program->pool == NULL)
        return false;
    http_set_pool(program->http, program->pool);
    uv_signal_init(loop, &program->interrupt);
    uv_signal_init(loop, &program->terminate);
    uv_timer_init(loop, &program->grace);
    program->interrupt.data = program->terminate.data = program->grace.data = program;
    uv_signal_start(&program->interrupt, on_signal, SIGINT);
    uv_signal_start(&program->terminate, on_signal, SIGTERM);
    return true;
}

int main(int argc, char **argv)
{
    static struct program program;
    char why[CONFIG_WHY_BYTES];

    switch (config_load(&program.config, argc, argv, &config_environment, why)) {
    case CONFIG_RUN:
        break;
    case CONFIG_EXIT_OK:
        return EXIT_SUCCESS;
    case CONFIG_BAD_USAGE:
        fprintf(stderr, "aero-l2-proxy: %s\n", why);
        return EXIT_USAGE;
    case CONFIG_BAD_VALUE:
        fprintf(stderr, "aero-l2-proxy: invalid configuration: %s\n", why);
        config_free(&program.config);
        return EXIT_FAILURE;
    }
    if (geteuid() == 0)
        fprintf(stderr, "aero-l2-proxy: warning: running as root, which it never needs\n");
    if (program.config.auth_mode == AUTH_NONE)
        fprintf(stderr, "aero-l2-proxy: warning: no authentication, everybody may open tunnels\n");
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    keep_large_blocks_apart();
    uv_loop_init(&program.loop);
    if (!start(&program))
        return EXIT_FAILURE;
    say_ready(&program);
    uv_run(&program.loop, UV_RUN_DEFAULT);
    uv_loop_close(&program.loop);
    pool_free(program.pool);
    http_free(program.http);
    config_free(&program.config);
    return EXIT_SUCCESS;
}

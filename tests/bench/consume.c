/* Counts $MESSAGES AMQP messages and does nothing else:
 * consume HOST PORT VHOST USER PASSWORD QUEUE */

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PREFETCH = 1000, ACKNOWLEDGED = 100, CHANNEL = 1, FRAME = 131072 };

static void check(int good, const char *what) {
    if (!good) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

static int normal(amqp_rpc_reply_t reply) { return reply.reply_type == AMQP_RESPONSE_NORMAL; }

int main(int argc, char **argv) {
    check(argc == 7 && getenv("MESSAGES"), "reading the arguments");
    long number = atol(getenv("MESSAGES"));
    amqp_connection_state_t broker = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(broker);
    check(socket && amqp_socket_open(socket, argv[1], atoi(argv[2])) == 0, "connecting");
    check(normal(amqp_login(broker, argv[3], 0, FRAME, 0, AMQP_SASL_METHOD_PLAIN, argv[4], argv[5])),
          "logging in");
    amqp_channel_open(broker, CHANNEL);
    check(normal(amqp_get_rpc_reply(broker)), "opening a channel");
    amqp_basic_qos(broker, CHANNEL, 0, PREFETCH, 0);
    amqp_basic_consume(broker, CHANNEL, amqp_cstring_bytes(argv[6]), amqp_empty_bytes, 0, 0, 0,
                       amqp_empty_table);
    check(normal(amqp_get_rpc_reply(broker)), "subscribing");
    for (long seen = 1; seen <= number; seen++) {
        amqp_envelope_t envelope;
        amqp_maybe_release_buffers(broker);
        check(normal(amqp_consume_message(broker, &envelope, NULL, 0)), "receiving");
        if (seen % ACKNOWLEDGED == 0 || seen == number) {
            check(amqp_basic_ack(broker, CHANNEL, envelope.delivery_tag, 1) == 0, "acknowledging");
        }
        amqp_destroy_envelope(&envelope);
    }
    puts("done");
    fflush(stdout);
    pause();
}

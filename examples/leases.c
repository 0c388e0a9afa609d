/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * leases.c - a lease server on a Unix socket: one thread, hundreds of requests in flight, no answer before it is
 * durable.
 *
 *	leases serve DIRECTORY SOCKET
 *	leases ask SOCKET acquire|steal ACTOR NODE TTL_MS      prints: granted TOKEN
 *	leases ask SOCKET renew ACTOR TOKEN TTL_MS | release ACTOR TOKEN
 *
 * A packet is a request. What arrives together becomes one submission; its answers are sent when its ticket is durable.
 */
#include <errno.h>
#include <pinfold.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BATCH 64   /* requests of one submission */
#define FLIGHTS 64 /* submissions on their way to the disk */
#define LINE 512

struct request {
	int client; /* a descriptor of our own for the answer: a client may be gone by then */
	char line[LINE], actor[PINFOLD_ACTOR_MAX + 1];
};

struct flight {
	pinfold_ticket ticket;
	size_t count;
	struct request request[BATCH];
	struct pinfold_lease_op op[BATCH];
};

static struct flight flights[FLIGHTS];
static uint64_t begun, answered; /* flights; those between are waited for */
static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
	stopped = 1;
}

static bool parse(const struct request *request, char *ret_actor, struct pinfold_lease_op *ret_op)
{
	static const char *const verbs[] = { "", "acquire", "steal", "renew", "release" };
	unsigned long long number = 0, ttl_ms = 1;
	struct pinfold_lease_op op = { 0 };
	char verb[16];
	int fields = sscanf(request->line, "%15s %255s %llu %llu", verb, ret_actor, &number, &ttl_ms);

	for (int what = PINFOLD_LEASE_ACQUIRE; fields >= 3 && what <= PINFOLD_LEASE_RELEASE; what++)
		if (strcmp(verb, verbs[what]) == 0)
			op.what = (enum pinfold_lease_what)what;
	if (!op.what || (fields < 4 && op.what != PINFOLD_LEASE_RELEASE) || !ttl_ms ||
	    ttl_ms > PINFOLD_LEASE_TTL_MAX_MS)
		return false;
	op.actor = ret_actor;
	op.actor_size = strlen(ret_actor);
	op.ttl_ms = ttl_ms;
	*(op.what <= PINFOLD_LEASE_STEAL ? &op.node : &op.token) = number;
	*ret_op = op;
	return op.node != PINFOLD_LEASE_NODE_ANY;
}

/* Takes one request of @client, which waits in @epoll, into the flight being filled. */
static void receive(int epoll, int client, struct flight *flight)
{
	struct request *request = &flight->request[flight->count];
	ssize_t size = recv(client, request->line, LINE - 1, MSG_DONTWAIT);

	if (size < 0 && errno == EAGAIN)
		return;
	if (size <= 0) {
		/* A close alone would leave it in there for as long as a duplicate is open, under a number that is
		 * free. */
		epoll_ctl(epoll, EPOLL_CTL_DEL, client, NULL);
		close(client);
		return;
	}
	request->line[size] = '\0';
	if (!parse(request, request->actor, &flight->op[flight->count]))
		send(client, "what?", 5, MSG_NOSIGNAL | MSG_DONTWAIT);
	else if ((request->client = dup(client)) >= 0)
		flight->count++;
}

static void answer(const struct request *request, int result, const struct pinfold_lease_op *op)
{
	char line[LINE];
	int size;

	if (result == 0)
		size = snprintf(line, sizeof(line), "granted %llu", (unsigned long long)op->ret_token);
	else
		size = snprintf(line, sizeof(line), "%s; holder: node %llu, token %llu, %llu ms left",
				strerror(-result), (unsigned long long)op->ret_node, (unsigned long long)op->ret_token,
				(unsigned long long)op->ret_remaining_ms);
	send(request->client, line, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(request->client);
}

static void submit(struct pinfold_leases *leases, struct flight *flight)
{
	int r = pinfold_lease_submit(leases, flight->op, flight->count, &flight->ticket);

	if (r == 0) {
		begun++;
		return;
	}
	for (size_t i = 0; i < flight->count; i++) /* nothing was done */
		answer(&flight->request[i], r, &(struct pinfold_lease_op){ 0 });
	flight->count = 0;
}

/* Answers whatever is durable, in order. */
static void land(struct pinfold *pf)
{
	for (; answered < begun; answered++) {
		struct flight *flight = &flights[answered % FLIGHTS];
		int r = pinfold_ticket_poll(pf, flight->ticket);

		if (r == 0)
			return;
		for (size_t i = 0; i < flight->count; i++)
			answer(&flight->request[i], r < 0 ? r : flight->op[i].result, &flight->op[i]);
		flight->count = 0;
	}
}

static int serve(struct pinfold *pf, struct pinfold_leases *leases, int listener)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), durable = pinfold_ticket_fd(pf);
	struct epoll_event event = { .events = EPOLLIN };

	event.data.fd = listener;
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	event.data.fd = durable;
	epoll_ctl(epoll, EPOLL_CTL_ADD, durable, &event);
	while (!stopped) {
		struct epoll_event events[BATCH];
		struct flight *flight = &flights[begun % FLIGHTS];
		int count = epoll_wait(epoll, events, BATCH, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			uint64_t ignored;

			if (fd == durable) {
				if (read(durable, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
					return -1;
			} else if (fd == listener) {
				event.data.fd = accept(listener, NULL, NULL);
				epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
			} else if (begun - answered < FLIGHTS) { /* else they wait in the socket */
				receive(epoll, fd, flight);
			}
		}
		if (flight->count && begun - answered < FLIGHTS)
			submit(leases, flight);
		land(pf);
	}
	return 0;
}

/* Whether a server that was killed left the socket: nobody listens there. */
static bool is_stale(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool stale = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 && errno == ECONNREFUSED;

	close(fd);
	return stale;
}

static int listen_at(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int r = bind(fd, (const struct sockaddr *)address, sizeof(*address));

	if (r < 0 && errno == EADDRINUSE && is_stale(address) && unlink(address->sun_path) == 0)
		r = bind(fd, (const struct sockaddr *)address, sizeof(*address));
	return r < 0 || listen(fd, 128) < 0 ? -1 : fd;
}

static int ask(const struct sockaddr_un *address, int argc, char **argv)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char line[LINE] = "";
	ssize_t size;

	for (int i = 0; i < argc; i++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s%s", i ? " " : "", argv[i]);
	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    send(fd, line, strlen(line), 0) < 0 || (size = recv(fd, line, sizeof(line), 0)) <= 0)
		return fprintf(stderr, "leases: %s: %s\n", address->sun_path, strerror(errno)), 1;
	printf("%.*s\n", (int)size, line);
	return strncmp(line, "granted", 7) != 0;
}

int main(int argc, char **argv)
{
	struct pinfold_config config = { .size = sizeof(config), .flags = PINFOLD_OPEN_CREATE };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct pinfold_leases *leases;
	struct pinfold *pf;
	char error[256];
	int listener, status = 1;

	if (argc < 4 || (strcmp(argv[1], "serve") && strcmp(argv[1], "ask")))
		return fprintf(stderr, "usage: leases serve DIRECTORY SOCKET | leases ask SOCKET REQUEST...\n"), 2;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[1][0] == 'a' ? argv[2] : argv[3]);
	if (argv[1][0] == 'a')
		return ask(&address, argc - 3, argv + 3);
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = stop }, NULL);
	sigaction(SIGINT, &(struct sigaction){ .sa_handler = stop }, NULL);
	if (pinfold_open(argv[2], &config, error, sizeof(error), &pf) < 0)
		return fprintf(stderr, "leases: %s\n", error), 1;
	if (pinfold_leases_open(pf, "actors", PINFOLD_TABLE_CREATE, &leases) < 0)
		fprintf(stderr, "leases: %s\n", pinfold_errmsg(pf));
	else if ((listener = listen_at(&address)) < 0)
		fprintf(stderr, "leases: %s: %s\n", address.sun_path, strerror(errno));
	else
		status = serve(pf, leases, listener) < 0 || unlink(address.sun_path) < 0;
	return pinfold_close(pf) < 0 || status;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control.c - the control socket: others ask the process that has the store
 * open to pin, unpin or checkpoint.
 *
 * DIR/control is a SOCK_SEQPACKET socket; one request packet, one answer packet. The
 * directory is 0700; besides, the peer's user (SO_PEERCRED) must be this
 * process's or root. Served by the controller thread, one client at a time,
 * with a time-out, so a client that hangs delays only a tick.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/engine.h"

#define CONTROL_MAGIC 0x4c544350u /* "PCTL" */
#define CONTROL_VERSION 1
#define CONTROL_TIMEOUT_MS 200
#define CLIENT_TIMEOUT_MS 60000 /* a pin may have to read gigabytes first */

enum control_op { CONTROL_PIN = 1, CONTROL_UNPIN, CONTROL_CHECKPOINT };

struct control_request {
	uint32_t magic, version;
	uint32_t op, reserved;
	struct pinfold_extent extent;
	uint64_t offset, size;
	struct pinfold_pin_opts opts;
};

struct control_answer {
	uint32_t magic, version;
	int32_t result;
	char message[PF_ERROR_MAX];
};

/* Paths of sockets are short (108 bytes); a directory descriptor makes any directory's do. */
static int socket_address(int dir_fd, struct sockaddr_un *ret_address)
{
	memset(ret_address, 0, sizeof(*ret_address));
	ret_address->sun_family = AF_UNIX;
	snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "/proc/self/fd/%d/control", dir_fd);
	return 0;
}

int pf_control_listen(struct pinfold *pf)
{
	const char *dir = pf_store_dir(pf->store);
	struct sockaddr_un address;
	int dir_fd, fd, r;

	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return pf_error(-errno, "%s: %s", dir, strerror(errno));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		r = pf_error(-errno, "socket: %s", strerror(errno));
		goto err_dir;
	}
	socket_address(dir_fd, &address);
	unlinkat(dir_fd, "control", 0); /* left by a writer that was killed; the store's lock is ours */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || fchmodat(dir_fd, "control", 0600, 0) ||
	    listen(fd, 8)) {
		r = pf_error(-errno, "%s/control: %s", dir, strerror(errno));
		goto err_socket;
	}
	close(dir_fd);
	pf->control_fd = fd;
	return 0;

err_socket:
	close(fd);
err_dir:
	close(dir_fd);
	return r;
}

void pf_control_close(struct pinfold *pf)
{
	int dir_fd;

	if (pf->control_fd < 0)
		return;
	close(pf->control_fd);
	pf->control_fd = -1;
	dir_fd = open(pf_store_dir(pf->store), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd >= 0) {
		unlinkat(dir_fd, "control", 0);
		close(dir_fd);
	}
}

/* ---- server ---- */

static bool peer_allowed(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == geteuid() || peer.uid == 0);
}

static int carry_out(struct pinfold *pf, const struct control_request *request, char *message, size_t size)
{
	pinfold_pin_key key;
	uint32_t index, count;
	int r;

	switch (request->op) {
	case CONTROL_PIN:
		r = pinfold_pin_slice(pf, &request->extent, request->offset, request->size, &request->opts, &key);
		if (r == 0)
			snprintf(message, size, "pinned, key %#llx", (unsigned long long)key);
		return r;
	case CONTROL_UNPIN:
		r = pf_slice_span(pf, &request->extent, request->offset, request->size, &index, &count);
		if (r == 0)
			r = pf_unpin_span(pf, request->extent.file_id, index, count);
		if (r == 0)
			snprintf(message, size, "unpinned");
		return r;
	case CONTROL_CHECKPOINT:
		r = pf_store_checkpoint(pf->store);
		if (r == 0)
			snprintf(message, size, "checkpoint written");
		return r;
	default:
		return pf_error(-EINVAL, "unknown request %u", request->op);
	}
}

void pf_control_serve(struct pinfold *pf)
{
	struct control_answer answer = { .magic = CONTROL_MAGIC, .version = CONTROL_VERSION };
	struct control_request request;
	struct pollfd ready;
	ssize_t got;
	int fd = accept4(pf->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	ready = (struct pollfd){ .fd = fd, .events = POLLIN };
	if (!peer_allowed(fd)) {
		answer.result = -EPERM;
		snprintf(answer.message, sizeof(answer.message),
			 "only the user that runs the store's process, or root, may ask");
	} else if (poll(&ready, 1, CONTROL_TIMEOUT_MS) != 1) {
		goto out;
	} else {
		got = recv(fd, &request, sizeof(request), 0);
		if (got != (ssize_t)sizeof(request) || request.magic != CONTROL_MAGIC ||
		    request.version != CONTROL_VERSION || request.reserved != 0) {
			answer.result = -EPROTO;
			snprintf(answer.message, sizeof(answer.message),
				 "malformed request, or another version of pinfold");
		} else {
			answer.result = carry_out(pf, &request, answer.message, sizeof(answer.message));
			if (answer.result)
				snprintf(answer.message, sizeof(answer.message), "%s", pf_error_text());
		}
	}
	send(fd, &answer, sizeof(answer), MSG_NOSIGNAL);
out:
	close(fd);
}

/* ---- client ---- */

static int ask(const char *dir, struct control_request *request, char *ret_message, size_t message_size)
{
	struct timeval timeout = { .tv_sec = CLIENT_TIMEOUT_MS / 1000 };
	struct control_answer answer;
	struct sockaddr_un address;
	int dir_fd, fd, r;

	request->magic = CONTROL_MAGIC;
	request->version = CONTROL_VERSION;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return pf_error(-errno, "%s: %s", dir, strerror(errno));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		r = pf_error(-errno, "socket: %s", strerror(errno));
		goto out_dir;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	socket_address(dir_fd, &address);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		r = errno == ENOENT || errno == ECONNREFUSED ?
			    pf_error(-ENOENT, "%s: no process has the store open for writing", dir) :
			    pf_error(-errno, "%s/control: %s", dir, strerror(errno));
		goto out;
	}
	if (send(fd, request, sizeof(*request), MSG_NOSIGNAL) != (ssize_t)sizeof(*request) ||
	    recv(fd, &answer, sizeof(answer), 0) != (ssize_t)sizeof(answer) || answer.magic != CONTROL_MAGIC ||
	    answer.version != CONTROL_VERSION) {
		r = pf_error(-EPROTO, "%s: the process that has the store open did not answer", dir);
		goto out;
	}
	answer.message[sizeof(answer.message) - 1] = '\0';
	r = answer.result;
	if (r)
		pf_error(r, "%s", answer.message);
	else if (ret_message && message_size)
		snprintf(ret_message, message_size, "%s", answer.message);
out:
	close(fd);
out_dir:
	close(dir_fd);
	if (r && ret_message && message_size)
		snprintf(ret_message, message_size, "%s", pf_error_text());
	return r;
}

int pinfold_live_pin(const char *dir, const struct pinfold_extent *extent, uint64_t offset, uint64_t size,
		     const struct pinfold_pin_opts *opts, char *ret_message, size_t message_size)
{
	struct control_request request = { .op = CONTROL_PIN, .offset = offset, .size = size };

	REQUIRE(dir && extent);
	request.extent = *extent;
	if (opts)
		request.opts = *opts;
	return ask(dir, &request, ret_message, message_size);
}

int pinfold_live_unpin(const char *dir, const struct pinfold_extent *extent, uint64_t offset, uint64_t size,
		       char *ret_message, size_t message_size)
{
	struct control_request request = { .op = CONTROL_UNPIN, .offset = offset, .size = size };

	REQUIRE(dir && extent);
	request.extent = *extent;
	return ask(dir, &request, ret_message, message_size);
}

int pinfold_live_checkpoint(const char *dir, char *ret_message, size_t message_size)
{
	struct control_request request = { .op = CONTROL_CHECKPOINT };

	REQUIRE(dir);
	return ask(dir, &request, ret_message, message_size);
}

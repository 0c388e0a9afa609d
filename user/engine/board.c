/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/board.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

#define FIRST_ROW_MS 1000
#define PLANE_SIZE ((uint64_t)PF_BOARD_ROWS * PF_BOARD_COLUMNS)

struct pf_board {
	int fd;
	struct pf_board_head *head;
};

static uint64_t page_round(uint64_t size)
{
	return (size + 4095) & ~4095ull;
}

int pf_board_new(uint64_t opened_ms, uint32_t slices_per_file, struct pf_board **ret_board)
{
	uint64_t slices_at = page_round(sizeof(struct pf_board_head));
	uint64_t decisions_at = slices_at + page_round(sizeof(struct pf_board_slice) * (uint64_t)PF_BOARD_SLICES_MAX);
	uint64_t history_at = decisions_at + page_round(sizeof(struct pinfold_live_decision) * PF_BOARD_DECISIONS);
	uint64_t size = history_at + PF_PLANE_COUNT * PLANE_SIZE;
	struct pf_board *board = calloc(1, sizeof(*board));
	struct pf_board_head *head;
	int r;

	if (!board)
		return pf_error(-ENOMEM, "out of memory");
	board->fd = memfd_create("pinfold-live", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (board->fd < 0) {
		r = pf_error(-errno, "memfd_create for the live board: %s", strerror(errno));
		goto err_free;
	}
	if (ftruncate(board->fd, (off_t)size) || fcntl(board->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)) {
		r = pf_error(-errno, "cannot size the live board: %s", strerror(errno));
		goto err_close;
	}
	head = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, board->fd, 0);
	if (head == MAP_FAILED) {
		r = pf_error(-errno, "cannot map the live board: %s", strerror(errno));
		goto err_close;
	}
	/* The mapping above stays writable; no other one can become so. */
	fcntl(board->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
	head->head_size = sizeof(*head);
	head->size = size;
	head->opened_ms = opened_ms;
	head->slices_at = slices_at;
	head->decisions_at = decisions_at;
	head->history_at = history_at;
	head->row_ms = FIRST_ROW_MS;
	head->row_count = 1;
	head->row_started_ms = opened_ms;
	head->slices_per_column = 1;
	head->slices_per_file = slices_per_file;
	head->magic = PF_BOARD_MAGIC;
	board->head = head;
	*ret_board = board;
	return 0;

err_close:
	close(board->fd);
err_free:
	free(board);
	return r;
}

void pf_board_free(struct pf_board *board)
{
	if (!board)
		return;
	munmap(board->head, board->head->size);
	close(board->fd);
	free(board);
}

int pf_board_fd(const struct pf_board *board)
{
	return board->fd;
}

struct pf_board_head *pf_board_head(struct pf_board *board)
{
	return board->head;
}

void pf_board_begin(struct pf_board *board)
{
	atomic_fetch_add_explicit(&board->head->seq, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

void pf_board_end(struct pf_board *board)
{
	atomic_fetch_add_explicit(&board->head->seq, 1, memory_order_release);
}

static void *at(struct pf_board *board, uint64_t offset)
{
	return (char *)board->head + offset;
}

void pf_board_slice(struct pf_board *board, uint64_t n, const struct pf_board_slice *slice)
{
	struct pf_board_slice *slot;

	if (n >= PF_BOARD_SLICES_MAX)
		return;
	slot = (struct pf_board_slice *)at(board, board->head->slices_at) + n;
	if (memcmp(slot, slice, sizeof(*slot)) != 0)
		*slot = *slice;
}

void pf_board_decision(struct pf_board *board, const struct pinfold_live_decision *decision)
{
	struct pf_board_head *head = board->head;
	struct pinfold_live_decision *ring = at(board, head->decisions_at);

	ring[head->decision_count % PF_BOARD_DECISIONS] = *decision;
	ring[head->decision_count % PF_BOARD_DECISIONS].sequence = head->decision_count;
	head->decision_count++;
}

/* ---- history ---- */

static uint8_t *cell(struct pf_board *board, enum pf_board_plane plane, uint32_t row, uint32_t column)
{
	return (uint8_t *)at(board, board->head->history_at) + plane * PLANE_SIZE + (uint64_t)row * PF_BOARD_COLUMNS +
	       column;
}

/* 16 x log2(1 + n): a byte holds up to 2^15 faults a turn and slice, with a step of 4 %. */
static uint8_t log_scale(uint64_t n)
{
	uint64_t value = n + 1;
	unsigned int whole = 63u - (unsigned int)__builtin_clzll(value);
	unsigned int part = whole >= 4 ? (unsigned int)(value >> (whole - 4)) & 15u :
					 (unsigned int)(value << (4 - whole)) & 15u;
	unsigned int scaled = whole * 16 + part;

	return scaled > 255 ? 255 : (uint8_t)scaled;
}

static void keep_max(uint8_t *to, uint8_t value)
{
	if (value > *to)
		*to = value;
}

static void halve_rows(struct pf_board *board)
{
	for (int plane = 0; plane < PF_PLANE_COUNT; plane++) {
		for (uint32_t row = 0; row < PF_BOARD_ROWS; row += 2)
			for (uint32_t column = 0; column < board->head->column_count; column++) {
				uint8_t *a = cell(board, plane, row, column);
				uint8_t *b = cell(board, plane, row + 1, column);
				uint8_t max = *a > *b ? *a : *b;

				*cell(board, plane, row / 2, column) = max;
			}
		memset(cell(board, plane, PF_BOARD_ROWS / 2, 0), 0, PLANE_SIZE / 2);
	}
	board->head->row_count = PF_BOARD_ROWS / 2;
	board->head->row_ms *= 2;
}

static void halve_columns(struct pf_board *board)
{
	for (int plane = 0; plane < PF_PLANE_COUNT; plane++)
		for (uint32_t row = 0; row < board->head->row_count; row++) {
			uint8_t *cells = cell(board, plane, row, 0);

			for (uint32_t column = 0; column < PF_BOARD_COLUMNS / 2; column++)
				cells[column] = cells[2 * column] > cells[2 * column + 1] ? cells[2 * column] :
											    cells[2 * column + 1];
			memset(cells + PF_BOARD_COLUMNS / 2, 0, PF_BOARD_COLUMNS / 2);
		}
	board->head->column_count = (board->head->column_count + 1) / 2;
	board->head->slices_per_column *= 2;
}

void pf_board_cell(struct pf_board *board, uint32_t file_id, uint32_t index, uint64_t faults, float heat, uint8_t state)
{
	struct pf_board_head *head = board->head;
	uint64_t position = (uint64_t)file_id * head->slices_per_file + index;
	uint32_t row = head->row_count - 1;
	uint32_t column;

	while (position / head->slices_per_column >= PF_BOARD_COLUMNS)
		halve_columns(board);
	column = (uint32_t)(position / head->slices_per_column);
	if (column >= head->column_count)
		head->column_count = column + 1;
	keep_max(cell(board, PF_PLANE_FAULTS, row, column), log_scale(faults));
	keep_max(cell(board, PF_PLANE_HEAT, row, column), (uint8_t)(heat * 255.0f));
	keep_max(cell(board, PF_PLANE_STATE, row, column), state);
}

void pf_board_row(struct pf_board *board, uint64_t now_ms)
{
	struct pf_board_head *head = board->head;

	while (now_ms - head->row_started_ms >= head->row_ms) {
		if (head->row_count == PF_BOARD_ROWS)
			halve_rows(board);
		head->row_started_ms += head->row_ms;
		head->row_count++;
	}
}

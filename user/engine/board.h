/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * board.h - the live board: the engine's state in a memory file, for watchers.
 *
 * DESIGN
 * One writer (the controller, under the engine's lock), any number of readers
 * in other processes that open /proc/PID/fd/N, whose N stands in the store's
 * lock file. The kernel's own check on that path (same user, or ptrace right) is the
 * access control. Readers copy between two equal even values of @seq, so the
 * writer never waits.
 *
 * Layout: struct pf_board_head, then at the offsets it names: slices,
 * decisions, history. The memory file is sparse: what is not used costs nothing.
 *
 * History halves its resolution when it fills: in time (pairs of rows merge,
 * row_ms doubles) and in space (pairs of columns merge), so that a board of fixed
 * size always shows the whole life of the store.
 */
#ifndef PF_BOARD_H
#define PF_BOARD_H

#include <pinfold/live.h>
#include <stdatomic.h>

#define PF_BOARD_MAGIC 0x31304442464e4950ull /* "PINFBD01" */
#define PF_BOARD_SLICES_MAX (1u << 19)
#define PF_BOARD_DECISIONS 4096u
#define PF_BOARD_ROWS 512u
#define PF_BOARD_COLUMNS 4096u

/** A slice as published; times absolute, so an unchanged slice need not be written again. */
struct pf_board_slice {
	struct pinfold_live_slice view;
	uint64_t since_ms, expires_ms; /* CLOCK_MONOTONIC; expires UINT64_MAX: never */
};

struct pf_board_head {
	uint64_t magic;
	uint32_t head_size;      /* sizeof this: a version check of its own */
	_Atomic uint32_t seq;
	uint64_t size;           /* of the memory file */
	uint64_t opened_ms;      /* CLOCK_MONOTONIC */
	uint64_t slices_at, decisions_at, history_at;
	uint64_t slice_count;    /* published slices */
	uint64_t decision_count; /* ever; the last PF_BOARD_DECISIONS are kept at sequence % that */
	uint32_t row_ms, row_count, column_count;
	uint32_t slices_per_column;
	uint32_t slices_per_file;
	uint32_t reserved;
	uint64_t row_started_ms;
	struct pinfold_live_info info;
};

/** Cell of the history; three planes of rows x columns. */
enum pf_board_plane { PF_PLANE_FAULTS, PF_PLANE_HEAT, PF_PLANE_STATE, PF_PLANE_COUNT };

struct pf_board;

int pf_board_new(uint64_t opened_ms, uint32_t slices_per_file, struct pf_board **ret_board);
void pf_board_free(struct pf_board *board);
int pf_board_fd(const struct pf_board *board);

/** All writes stand between begin and end. Controller only. */
void pf_board_begin(struct pf_board *board);
void pf_board_end(struct pf_board *board);
struct pf_board_head *pf_board_head(struct pf_board *board);
/** Publishes slice number @n; writes only if it differs from what stands there. */
void pf_board_slice(struct pf_board *board, uint64_t n, const struct pf_board_slice *slice);
void pf_board_decision(struct pf_board *board, const struct pinfold_live_decision *decision);
/**
 * Folds one slice's turn into the current history row: @faults new faults of
 * this turn, @heat 0..1, @state enum pinfold_slice_state.
 */
void pf_board_cell(struct pf_board *board, uint32_t file_id, uint32_t index, uint64_t faults, float heat,
		   uint8_t state);
/** Ends a turn at @now_ms: starts a new row when the current one is @row_ms old. */
void pf_board_row(struct pf_board *board, uint64_t now_ms);

#endif

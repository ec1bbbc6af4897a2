/*
 * board.h - which processes of this node live, and in which life. Writer: the master.
 *
 * One store of generation 0 makes every registry entry of a dead worker invisible, before anyone sweeps them.
 */
#ifndef NOEXD_SHM_BOARD_H
#define NOEXD_SHM_BOARD_H

#include <stdbool.h>
#include <stdint.h>

struct board;

enum board_state { BOARD_DOWN, BOARD_STARTING, BOARD_READY, BOARD_STOPPING };

struct board_slot { uint32_t generation; enum board_state state; int32_t pid, cpu; uint64_t started_at_ms; uint32_t restarts; };

/* slot: 0-63, SLOT_LINK or SLOT_GATE everywhere. */
uint32_t board_generation(const struct board *b, uint16_t slot);       /* 0 = down; acquire; the hot path */
int  board_get(const struct board *b, uint16_t slot, struct board_slot *out);   /* NX_EINVAL; NX_EBUSY: ask again */
void board_set(struct board *b, uint16_t slot, const struct board_slot *in);
void board_set_state(struct board *b, uint16_t slot, enum board_state state);
/* Whole node: set once by the master. */
void board_set_node(struct board *b, uint64_t incarnation, uint64_t started_at_ms);
uint64_t board_incarnation(const struct board *b);
uint64_t board_started_at_ms(const struct board *b);

#endif

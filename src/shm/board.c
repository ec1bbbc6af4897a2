/*
 * board.c - which processes of this node live, and in which life.
 *
 * Lives here: the shared layout of the board; generations as words of their own, the rest behind a latch.
 * Never here: forking, reaping, back-off: the master decides, this only shows it.
 * Runs in: every process; the master alone writes.
 */
#include "shm/board.h"

#include "base/base.h"
#include "shm/latch.h"
#include "shm/shm_priv.h"
#include "wire/envelope.h"

enum { BOARD_WORDS = 4, BOARD_SLOTS = SLOT_WORKERS_MAX + 2, BOARD_PLACE_NONE = -1 };

struct board_place { struct latch latch; latch_word bodies[2][BOARD_WORDS]; };

struct board {
    latch_word incarnation, started_at_ms;
    latch_word unused[LATCH_LINE_WORDS - 2];
    _Atomic uint32_t generations[BOARD_SLOTS];      /* close together: every lookup of a name reads one */
    uint32_t pad[14];
    struct board_place places[BOARD_SLOTS];
};
_Static_assert(offsetof(struct board, generations) == 64, "generations begin a cache line");
_Static_assert(offsetof(struct board, places) % 64 == 0, "places begin a cache line");
_Static_assert(sizeof(struct board_place) == 128, "a place is two cache lines");

size_t
board_size(void)
{
    return sizeof(struct board);
}

/* Workers by their slot, then the link worker, then the gate. */
static int
board_place(uint16_t slot)
{
    if (slot < SLOT_WORKERS_MAX)
        return slot;
    if (slot == SLOT_LINK)
        return SLOT_WORKERS_MAX;
    if (slot == SLOT_GATE)
        return SLOT_WORKERS_MAX + 1;
    return BOARD_PLACE_NONE;
}

uint32_t
board_generation(const struct board *b, uint16_t slot)
{
    int place = board_place(slot);
    return place < 0 ? 0 : atomic_load_explicit(&b->generations[place], memory_order_acquire);
}

static void
board_unpack(const uint64_t words[static BOARD_WORDS], struct board_slot *out)
{
    out->generation = (uint32_t)words[0];
    out->state = (enum board_state)(words[0] >> 32 & 3);
    out->pid = (int32_t)(uint32_t)words[1];
    out->cpu = (int32_t)(uint32_t)(words[1] >> 32);
    out->started_at_ms = words[2];
    out->restarts = (uint32_t)words[3];
}
_Static_assert(BOARD_STOPPING == 3, "a state fits two bits");

int
board_get(const struct board *b, uint16_t slot, struct board_slot *out)
{
    int place = board_place(slot);
    if (place < 0)
        return NX_EINVAL;
    uint64_t words[BOARD_WORDS];
    int err = latch_read(&b->places[place].latch, b->places[place].bodies[0], BOARD_WORDS, words);
    if (err != 0)
        return err;
    board_unpack(words, out);
    return 0;
}

void
board_set(struct board *b, uint16_t slot, const struct board_slot *in)
{
    int place = board_place(slot);
    nx_assert(place >= 0);
    uint64_t words[BOARD_WORDS] = {
        (uint64_t)in->generation | (uint64_t)in->state << 32,
        (uint64_t)(uint32_t)in->pid | (uint64_t)(uint32_t)in->cpu << 32,
        in->started_at_ms,
        in->restarts,
    };
    /* Of a death the generation tells first, of a birth last: who sees a generation that lives finds its pid and CPU in
     * place. */
    if (in->generation == 0)
        atomic_store_explicit(&b->generations[place], 0, memory_order_release);
    latch_write(&b->places[place].latch, b->places[place].bodies[0], BOARD_WORDS, words);
    atomic_store_explicit(&b->generations[place], in->generation, memory_order_release);
}

void
board_set_state(struct board *b, uint16_t slot, enum board_state state)
{
    struct board_slot now;
    int err = board_get(b, slot, &now);
    nx_assert(err == 0);            /* the caller is the only writer: no commit can fall into its own read */
    now.state = state;
    board_set(b, slot, &now);
}

void
board_set_node(struct board *b, uint64_t incarnation, uint64_t started_at_ms)
{
    latch_store(&b->started_at_ms, started_at_ms);
    latch_store(&b->incarnation, incarnation);
}

uint64_t
board_incarnation(const struct board *b)
{
    return latch_load(&b->incarnation);
}

uint64_t
board_started_at_ms(const struct board *b)
{
    return latch_load(&b->started_at_ms);
}

/*
 * test_board.c - the board of processes.
 */
#include "base/base.h"
#include "shm_test.h"
#include "wire/envelope.h"

UNIT(board, each_slot_is_read_as_it_was_set_and_unknown_slots_are_down)
{
    struct shm *shm = test_shm(64);
    struct board *b = shm_board(shm);
    const uint16_t slots[] = { 0, 5, 63, SLOT_LINK, SLOT_GATE };
    for (size_t i = 0; i < BASE_COUNT(slots); i++)
        board_set(b, slots[i], &(struct board_slot){ .generation = 10 + (uint32_t)i, .state = BOARD_STARTING, .pid = (int32_t)(100 + i),
                                                     .cpu = -1, .started_at_ms = 1000 + i, .restarts = (uint32_t)i });
    for (size_t i = 0; i < BASE_COUNT(slots); i++) {
        struct board_slot s;
        CU_ASSERT_EQUAL(board_get(b, slots[i], &s), 0);
        CU_ASSERT(s.generation == 10 + i && s.state == BOARD_STARTING && s.pid == (int32_t)(100 + i) && s.cpu == -1);
        CU_ASSERT(s.started_at_ms == 1000 + i && s.restarts == i);
        CU_ASSERT_EQUAL(board_generation(b, slots[i]), 10 + i);
    }
    struct board_slot s;
    CU_ASSERT_EQUAL(board_generation(b, 64), 0);
    CU_ASSERT_EQUAL(board_generation(b, SLOT_ANY), 0);
    CU_ASSERT_EQUAL(board_get(b, 64, &s), NX_EINVAL);
    CU_ASSERT_EQUAL(board_get(b, SLOT_ANY, &s), NX_EINVAL);
    shm_destroy(&shm);
}

UNIT(board, a_new_state_keeps_the_rest)
{
    struct shm *shm = test_shm(64);
    struct board *b = shm_board(shm);
    struct board_slot s;
    board_set_state(b, 2, BOARD_STOPPING);
    CU_ASSERT_EQUAL(board_get(b, 2, &s), 0);
    CU_ASSERT(s.state == BOARD_STOPPING && s.generation == TEST_LIFE && s.pid == 102);
    board_set_node(b, 0x1234, 99);
    CU_ASSERT_EQUAL(board_incarnation(b), 0x1234);
    CU_ASSERT_EQUAL(board_started_at_ms(b), 99);
    shm_destroy(&shm);
}

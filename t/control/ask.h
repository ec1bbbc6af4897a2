/*
 * ask.h - the tests' side of the control socket: requests and answers as JSON, and bytes as they are.
 */
#ifndef NOEXD_T_CONTROL_ASK_H
#define NOEXD_T_CONTROL_ASK_H

#include <stddef.h>
#include <stdint.h>

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "control/client.h"
#include "node.h"

struct client *ask_open(const struct node *n);
/* The answer as JSON text, in a buffer of this file; for an error "NX_ENAME: text". */
const char *ask(struct client *c, const char *method, const char *json);
struct base_error *ask_error(void);                /* of the last one */
/* The next event as JSON, "" = none within the time. */
const char *ask_event(struct client *c, int64_t timeout_ms);

/* Bytes. */
int  raw_open(const struct node *n);
/* One request [0, id, method, [params]] in bytes. */
void raw_request(struct buf *out, uint32_t id, const char *method, const char *json);
void raw_send(int fd, const void *bytes, size_t len);
struct raw_answer { int kind; uint32_t id; bool is_error; char json[4096]; };
/* 1 = an answer or notification; 0 = the other side closed. More than 10 s of silence end the test program. */
int  raw_next(int fd, struct buf *in, struct raw_answer *out);

/* Turns of the child until *what is at least `want`; false if that does not come. */
bool node_until(struct node *n, _Atomic uint32_t *what, uint32_t want);

#endif

/*
 * raw.h - a peer that speaks the wire by hand, to say what no link worker would say.
 */
#ifndef NOEXD_T_LINK_RAW_H
#define NOEXD_T_LINK_RAW_H

#include "world.h"

struct raw { struct node *to; int fd; struct frame_sealer *sealer; struct frame_opener *opener; struct buf in, out; };

int  raw_connect(struct node *to);                                  /* TCP only; non-blocking after that */
void raw_write(struct world *w, int fd, const void *bytes, size_t len);
bool raw_is_closed(int fd);                                        /* end or reset seen; what comes before is thrown away */
/* The handshake, as the initiator with that node id. */
void raw_begin(struct raw *r, struct node *to, const char *id);
void raw_end(struct raw *r);
void raw_message(struct raw *r, const struct envelope *e, const void *body);          /* into the open frame; any flags that frame_add2 takes */
void raw_flush(struct raw *r);                                     /* seal and write */
void raw_lead(struct raw *r);                                      /* an empty behavior table: the first message of a chooser */
size_t raw_read(struct raw *r, uint8_t type, uint8_t kind);        /* reads what is there; messages of that kind, or frames of that type if kind is 0 */

#endif

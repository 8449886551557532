/*
 * SQEs that a caller wrote: which are passed on, and what the op layer must know about them.
 *
 * An op has one completion, or two of a zero-copy send, it belongs to nobody else, and its
 * user_data is ours. What does not keep to that is refused; so is an opcode that is not known
 * here, because nobody could say how often it completes.
 */
#ifndef GRING_URING_RAW_H
#define GRING_URING_RAW_H

#include "uring/op.h"

#include <stdbool.h>

/* The buffer group that is ours; callers may have the others. */
enum { BUFFER_GROUP = 0xffff };

/* Copies *sqe into the op. is_followed: it is linked to the one behind it, by its own link flag or
 * a plain one. -EINVAL: refused. */
int prep_raw(struct op *op, const struct io_uring_sqe *sqe, bool is_followed);

/* Would an SQE with this opcode be passed on? */
bool raw_takes(int opcode);

#endif

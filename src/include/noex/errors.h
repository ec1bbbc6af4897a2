/*
 * errors.h - every error of noexd: number, name and sentence, in one list.
 *
 * Lives here: the list, and the two functions that turn a code into text. The numbers travel between nodes, so they
 * never change; a new error takes the next free number.
 * Never here: details of one failure (see nx_error in noex.h).
 */
#ifndef NOEX_ERRORS_H
#define NOEX_ERRORS_H

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, number, sentence) */
#define NX_ERRORS(X) \
    X(NX_ENODE, -1, "node not reachable") \
    X(NX_ETIMEDOUT, -2, "call timed out") \
    X(NX_ENOSERVER, -3, "server not running") \
    X(NX_ENONAME, -4, "name not registered") \
    X(NX_ECONFLICT, -5, "name already registered") \
    X(NX_EDEADLOCK, -6, "call cycle") \
    X(NX_ECANCELED, -7, "given up") \
    X(NX_EAPP, -8, "the handler's own error") \
    X(NX_EINVAL, -9, "wrong argument") \
    X(NX_ENOMEM, -10, "out of memory") \
    X(NX_ESYS, -11, "system call failed") \
    X(NX_ENOBEHAVIOR, -12, "behavior not registered") \
    X(NX_EINIT, -13, "init failed") \
    X(NX_EINITTIMEOUT, -14, "init timed out") \
    X(NX_EMISMATCH, -15, "behavior differs on the target node") \
    X(NX_EMAILBOX, -16, "mailbox full") \
    X(NX_EBUSY, -17, "too much in progress") \
    X(NX_ETOOBIG, -18, "message too big") \
    X(NX_EBADMSG, -19, "message malformed") \
    X(NX_EFULL, -20, "registry full")

enum nx_errno {
    NX_OK = 0,
#define NX_ERROR_ENUM(name, number, sentence) name = number,
    NX_ERRORS(NX_ERROR_ENUM)
#undef NX_ERROR_ENUM
};

/* The sentence of an error code; "ok" for 0, "unknown error" for a number not in the list. Never NULL, never freed. */
const char *nx_strerror(int code);

/* The name of an error code ("NX_ENODE"); "NX_OK" for 0, "NX_EUNKNOWN" otherwise. Never NULL, never freed. */
const char *nx_errname(int code);

#ifdef __cplusplus
}
#endif
#endif

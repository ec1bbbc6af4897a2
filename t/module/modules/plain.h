/*
 * plain.h - callbacks that do nothing, for modules whose fault lies elsewhere.
 */
#ifndef NOEXD_T_MODULE_PLAIN_H
#define NOEXD_T_MODULE_PLAIN_H

#include <noex/noex.h>

__attribute__((unused)) static int
start(nx_self *self, nx_value args, void **state)
{
    (void)self, (void)args, (void)state;
    return 0;
}

__attribute__((unused)) static int
call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    (void)self, (void)state, (void)msg, (void)reply;
    return 0;
}

__attribute__((unused)) static int
cast(nx_self *self, void *state, nx_value msg)
{
    (void)self, (void)state, (void)msg;
    return 0;
}

#endif

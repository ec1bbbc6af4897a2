/*
 * supervisor_args.h - a configured supervisor as the arguments of the behavior "supervisor".
 */
#ifndef NOEXD_PROCESS_SUPERVISOR_ARGS_H
#define NOEXD_PROCESS_SUPERVISOR_ARGS_H

#include "conf/conf.h"
#include "value/value.h"

/* Packs the map that supervisor/supervisor.h describes. 0, NX_ENOMEM, NX_ETOOBIG, NX_EINVAL. */
int supervisor_args(const struct conf_supervisor *s, nx_packer *out);

#endif

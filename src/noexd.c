/*
 * noexd.c - the server program: reads the arguments, calls process/.
 *
 * Lives here: the command line, after nginx's.
 * Never here: anything else.
 * Runs in: the master; `noexd -t`, `-T`, `-s`, `keygen`; the stager and the validator, which are this program started again by the master.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

#include "base/buf.h"
#include "conf/conf.h"
#include "process/process.h"

static const char usage[] =
    "usage: noexd [-c FILE] [-p PREFIX] [-g DIRECTIVES] [-t | -T | -s SIGNAL | -v | -V | -h]\n"
    "       noexd keygen [FILE]\n"
    "  -c FILE        the configuration, relative to the prefix (etc/noexd/noexd.conf)\n"
    "  -p PREFIX      where etc, var and lib are (" NOEXD_DEFAULT_PREFIX ")\n"
    "  -g DIRECTIVES  text after the configuration file, e.g. \"daemon = off\"\n"
    "  -t             check the configuration and load every module in a throwaway process\n"
    "  -T             the same, and print the configuration\n"
    "  -s SIGNAL      stop (at once), quit (finish what is queued), reopen (the log)\n"
    "  -v, -V         version; version and how it was built\n"
    "  keygen [FILE]  a new cluster secret, to FILE (0600) or standard output\n";

#if defined(__clang__)                   /* says of itself that it is clang in __VERSION__ already, and that it is gcc in __GNUC__ */
static const char compiler[] = __VERSION__;
#elif defined(__GNUC__)
static const char compiler[] = "gcc " __VERSION__;
#endif

static const struct option long_options[] = { { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'v' }, { 0 } };

static void
print_version(bool is_long)
{
    printf("noexd %s\n", PACKAGE_VERSION);
    if (is_long)
        printf("built by %s, prefix %s, memory from %s\n", compiler, NOEXD_DEFAULT_PREFIX,
#ifdef HAVE_JEMALLOC
               "jemalloc"
#else
               "the C library"
#endif
        );
}

static void
print_sources(const struct conf *conf)
{
    for (size_t i = 0; i < conf_source_count(conf); i++) {
        const struct conf_source *s = conf_source_at(conf, i);
        printf("# configuration file %s:\n%.*s\n", s->path, (int)s->len, s->text);
    }
}

/* What runs was started with another configuration than the one that is wrong now: it can be told all the same. */
static int
signal_without_conf(const struct conf_options *options, const char *signal_name, struct buf *complaints)
{
    char *rest = (char *)(uintptr_t)buf_cstr(complaints);      /* ours to take apart */
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        if (line[0] != '\0')
            fprintf(stderr, "noexd: warning: %s\n", line);
    return process_signal_by_prefix(options->prefix != NULL ? options->prefix : options->default_prefix, signal_name);
}

int
main(int argc, char **argv)
{
    if (process_begin(argc, argv) != 0)
        return 1;
    if (argc > 1 && strcmp(argv[1], PROCESS_STAGER_WORD) == 0)
        return process_stager_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], PROCESS_VALIDATOR_WORD) == 0)
        return process_validator_main(argc, argv);

    struct conf_options options = { .default_prefix = NOEXD_DEFAULT_PREFIX };
    const char *signal_name = NULL;
    bool is_test = false, is_dump = false;
    for (int o; (o = getopt_long(argc, argv, "c:p:g:s:tTvVh", long_options, NULL)) != -1;) {
        switch (o) {
        case 'c': options.file = optarg; break;
        case 'p': options.prefix = optarg; break;
        case 'g': options.directives = optarg; break;
        case 's': signal_name = optarg; break;
        case 't': is_test = true; break;
        case 'T': is_test = is_dump = true; break;
        case 'v': print_version(false); return 0;
        case 'V': print_version(true); return 0;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs("noexd: try noexd -h\n", stderr); return 2;
        }
    }
    bool is_keygen = optind < argc && strcmp(argv[optind], "keygen") == 0;
    int too_many = is_keygen ? optind + 2 : optind;
    if (too_many < argc) {
        fprintf(stderr, "noexd: unexpected argument \"%s\"; try noexd -h\n", argv[too_many]);
        return 2;
    }
    if (is_test && signal_name != NULL) {
        fputs("noexd: -t and -T check, -s tells the running noexd: not both at once; try noexd -h\n", stderr);
        return 2;
    }
    if (is_keygen)
        return process_keygen(argv[optind + 1]);

    struct conf *conf = NULL;
    struct buf complaints;
    buf_init(&complaints, 0);
    int status = 1;
    if (conf_load(&options, &conf, &complaints) != 0) {
        const char *text = buf_cstr(&complaints);
        if (signal_name != NULL)
            status = signal_without_conf(&options, signal_name, &complaints);
        else
            fprintf(stderr, "%s", text != NULL ? text : "noexd: out of memory\n");
        buf_fini(&complaints);
        return status;
    }
    buf_fini(&complaints);
    if (signal_name != NULL) {
        status = process_signal(conf->pid_file, signal_name);
    } else if (is_test) {
        status = process_test(conf);
        if (is_dump && status == 0)
            print_sources(conf);
    } else {
        status = process_serve(conf, PACKAGE_VERSION);
    }
    conf_free(&conf);
    if (fflush(stdout) != 0) {
        perror("noexd: standard output");
        status = 1;
    }
    return status;
}

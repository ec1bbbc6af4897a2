/*
 * good_next.c - a module for the tests of src/module: the next version of good.
 */
#define GOOD_VERSION 2
#include "good.c"

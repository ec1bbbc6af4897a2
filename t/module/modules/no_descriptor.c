/*
 * no_descriptor.c - a module for the tests of src/module: a shared object, but no module.
 */
int answer(void);

int
answer(void)
{
    return 42;
}

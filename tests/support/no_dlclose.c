/* no_dlclose.c: part of sanitized programs only: modules that Open MPI loads stay loaded, so that a
 * leak report can name them and tests/support/lsan.supp can tell them from leaks of our own. */
int dlclose(void *handle);

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}

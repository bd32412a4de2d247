/* launchd's function for a job's own sockets, for systems that have none: STAND_IN_LAUNCHD says that launchd started
   us, STAND_IN_SOCKET_<name> which descriptor the socket <name> has. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int launch_activate_socket(const char *name, int **descriptors, size_t *count) {
    static int taken;
    char key[128];
    const char *value;
    if (!getenv("STAND_IN_LAUNCHD")) return ESRCH;
    snprintf(key, sizeof key, "STAND_IN_SOCKET_%s", name);
    if (!(value = getenv(key))) return ENOENT;
    if (taken) return EALREADY;
    taken = 1;
    *descriptors = malloc(sizeof **descriptors); /* the caller's to free */
    **descriptors = atoi(value);
    *count = 1;
    return 0;
}

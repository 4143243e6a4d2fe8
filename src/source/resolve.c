/* resolve.c: what a path leads to. A run directory leads to one of its checkpoints, a model in the
 * cache of huggingface_hub (models--OWNER--NAME) to the snapshot that refs/main names. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ballot/source.h"

#define NAME_BYTES 256

/* The name that a small file of one line holds, of something in a folder. */
static bal_status read_name(const char *dir, const char *file, char name[NAME_BYTES])
{
    char path[BAL_SOURCE_PATH_BYTES];
    bal_mapping text;
    BAL_TRY(bal_path_in(dir, file, path));
    BAL_TRY(bal_mapping_open(path, &text));
    size_t n = text.n_bytes;
    if (n > 0 && text.data[n - 1] == '\n') --n;
    bool good = n > 0 && n < NAME_BYTES && memchr(text.data, '/', n) == NULL &&
                memchr(text.data, 0, n) == NULL && text.data[0] != '.';
    snprintf(name, NAME_BYTES, "%.*s", good ? (int)n : 0, (const char *)text.data);
    bal_mapping_close(&text);
    return good ? BAL_OK
                : bal_fail(BAL_ERR_INPUT, "%s: expected the name of something in %s", path, dir);
}

static bal_status resolve_run(const char *run, char found[BAL_SOURCE_PATH_BYTES])
{
    char latest[NAME_BYTES];
    if (bal_has_file(run, "best.h5")) return bal_path_in(run, "best.h5", found);
    if (!bal_has_file(run, "LATEST"))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: this run has no checkpoint yet; see how far it is with: ballot "
                        "inspect %s/ballots.journal",
                        run, run);
    BAL_TRY(read_name(run, "LATEST", latest));
    return bal_path_in(run, latest, found);
}

/* Names in a folder that begin with prefix, up to as many as fit; their number. */
static int list(const char *dir, const char *prefix, char names[512])
{
    DIR *stream = opendir(dir);
    int n = 0;
    names[0] = 0;
    for (struct dirent *item; stream != NULL && (item = readdir(stream)) != NULL;) {
        size_t used = strlen(names);
        if (item->d_name[0] == '.' || strncmp(item->d_name, prefix, strlen(prefix)) != 0) continue;
        snprintf(names + used, 512 - used, "%s%s", n++ > 0 ? ", " : "", item->d_name);
    }
    if (stream != NULL) closedir(stream);
    return n;
}

static bal_status resolve_cache(const char *root, char found[BAL_SOURCE_PATH_BYTES])
{
    char name[NAME_BYTES], snapshots[BAL_SOURCE_PATH_BYTES], names[512];
    BAL_TRY(bal_path_in(root, "snapshots", snapshots));
    if (bal_has_file(root, "refs/main")) {
        BAL_TRY(read_name(root, "refs/main", name));
    } else {
        int n = list(snapshots, "", names);
        if (n == 0)
            return bal_fail(
                BAL_ERR_INPUT,
                "%s: a model in the cache of huggingface_hub, but %s is empty; download "
                "the model again",
                root, snapshots);
        if (n > 1)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: a model in the cache of huggingface_hub without refs/main; give "
                            "one of the %d folders in %s: %s",
                            root, n, snapshots, names);
        snprintf(name, sizeof name, "%.*s", NAME_BYTES - 1, names);
    }
    BAL_TRY(bal_path_in(snapshots, name, found));
    if (bal_is_dir(found)) return BAL_OK;
    return bal_fail(BAL_ERR_INPUT,
                    "%s: refs/main names the snapshot %s, which is not in %s; download the model "
                    "again",
                    root, name, snapshots);
}

bal_status bal_source_resolve(const char *path, char found[BAL_SOURCE_PATH_BYTES])
{
    char names[512];
    if (strlen(path) >= BAL_SOURCE_PATH_BYTES)
        return bal_fail(BAL_ERR_INPUT, "%s: the path is too long", path);
    strcpy(found, path);
    if (access(path, F_OK) != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: cannot be read: %s; a model is a file or folder on this machine: "
                        "download those of the Hugging Face Hub first",
                        path, strerror(errno));
    if (!bal_is_dir(path) || bal_has_file(path, "config.json")) return BAL_OK;
    if (bal_has_file(path, "ballots.journal") || bal_has_file(path, "LATEST") ||
        bal_has_file(path, "best.h5"))
        return resolve_run(path, found);
    if (bal_has_file(path, "snapshots")) return resolve_cache(path, found);
    if (list(path, "models--", names) == 0) return BAL_OK;
    return bal_fail(BAL_ERR_INPUT, "%s: a cache of several models; give one of them: %s", path,
                    names);
}

/* Task-locals, as the public names them. */
#include "runtime/local.h"
#include "api/result.h"
#include "runtime/runtime.h"

#include <greenring/local.h>

int gring_key_create(gring_key *key, void (*dtor)(void *value), unsigned flags)
{
    if (!key || flags & ~GRING_KEY_INHERIT)
        return (int)api_result(-EINVAL);
    return (int)api_result(local_key_create(key, dtor, flags & GRING_KEY_INHERIT));
}

int gring_key_delete(gring_key key)
{
    return (int)api_result(local_key_delete(key));
}

void *gring_key_get(gring_key key)
{
    struct gring_task *task = hub_running_task();

    return task ? local_get(task, key) : NULL;
}

int gring_key_set(gring_key key, void *value)
{
    struct gring_task *task = hub_running_task();

    return (int)api_result(task ? local_set(task, key, value) : runtime_no_hub());
}

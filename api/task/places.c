/* A semaphore with a debt; see places.h. */
#include "api/task/places.h"

#include <errno.h>

void places_init(struct places *places, size_t size)
{
    *places = (struct places){ .size = size };
    gring_sem_init(&places->free, (unsigned)size, 0, 0);
}

int places_wait(struct places *places)
{
    int result;

    places->waiting++;
    result = gring_sem_acquire(&places->free);
    places->waiting--;
    return result < 0 ? -errno : 0;
}

bool places_try(struct places *places)
{
    int saved_errno = errno;
    bool taken = gring_sem_tryacquire(&places->free) == 0;

    errno = saved_errno;
    return taken;
}

void places_return(struct places *places)
{
    if (places->debt)
        places->debt--;
    else
        gring_sem_release(&places->free);
}

static size_t unused(const struct places *places)
{
    int balance = gring_sem_balance(&places->free);

    return balance > 0 ? (size_t)balance : 0;
}

static size_t less_of(size_t left, size_t right)
{
    return left < right ? left : right;
}

static void add(struct places *places, size_t count)
{
    size_t paid = less_of(places->debt, count);

    places->debt -= paid;
    if (count > paid)
        gring_sem_release_n(&places->free, (unsigned)(count - paid));
}

/* Where some are free nobody waits, so the semaphore can begin anew with fewer. */
static void take_away(struct places *places, size_t count)
{
    size_t free = unused(places), taken = less_of(free, count);

    if (taken)
        gring_sem_init(&places->free, (unsigned)(free - taken), 0, 0);
    places->debt += count - taken;
}

void places_resize(struct places *places, size_t size)
{
    if (size > places->size)
        add(places, size - places->size);
    else
        take_away(places, places->size - size);
    places->size = size;
}

long places_free(const struct places *places)
{
    return (long)unused(places) - (long)places->debt;
}

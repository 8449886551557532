/* Keys, and the slots of tasks; see local.h. */
#include "runtime/local.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>

enum { INDEX_BITS = 6, GENERATION_BITS = 32 - INDEX_BITS };

/* The word of a key: these, and its generation above them. */
enum { KEY_LIVE = 1, KEY_BEING_MADE = 2, KEY_INHERITS = 4, KEY_FLAG_BITS = 3 };

static_assert(1 << INDEX_BITS == LOCAL_KEYS_MAX, "an index is what a key has below its generation");
static_assert(GENERATION_BITS + KEY_FLAG_BITS <= 32, "a word holds both");

static struct {
    _Atomic uint32_t word;
    _Atomic(local_destructor) destructor;
} keys[LOCAL_KEYS_MAX];

atomic_uint local_inheritable_count;

struct local_slot {
    void *value;
    unsigned key; /* with which it was set, or 0 */
    bool inherited;
};

struct task_locals {
    unsigned slot_count;
    struct local_slot slots[];
};

/* ---- keys ------------------------------------------------------------------------------------ */

static unsigned index_of(unsigned key)
{
    return key % LOCAL_KEYS_MAX;
}

static bool is_word_of(uint32_t word, unsigned key)
{
    return word & KEY_LIVE && word >> KEY_FLAG_BITS == key >> INDEX_BITS;
}

static bool is_live(unsigned key)
{
    return is_word_of(atomic_load_explicit(&keys[index_of(key)].word, memory_order_relaxed), key);
}

/* Never 0: a key of zero bytes is none. */
static uint32_t next_generation(uint32_t word)
{
    uint32_t generation = ((word >> KEY_FLAG_BITS) + 1) % ((uint32_t)1 << GENERATION_BITS);

    return generation ? generation : 1;
}

static bool claim(unsigned index)
{
    uint32_t word = atomic_load_explicit(&keys[index].word, memory_order_relaxed);

    return !(word & (KEY_LIVE | KEY_BEING_MADE)) &&
           atomic_compare_exchange_strong(&keys[index].word, &word, word | KEY_BEING_MADE);
}

/* Release, twice: who sees the destructor sees that the word has changed; who sees the new word
 * sees the destructor. */
static unsigned publish(unsigned index, local_destructor destructor, bool inherit)
{
    uint32_t word = atomic_load_explicit(&keys[index].word, memory_order_relaxed);
    uint32_t generation = next_generation(word);
    uint32_t flags = KEY_LIVE | (inherit ? KEY_INHERITS : 0);

    atomic_store_explicit(&keys[index].destructor, destructor, memory_order_release);
    atomic_store_explicit(&keys[index].word, generation << KEY_FLAG_BITS | flags,
                          memory_order_release);
    return generation << INDEX_BITS | index;
}

int local_key_create(unsigned *key, local_destructor destructor, bool inherit)
{
    for (unsigned index = 0; index < LOCAL_KEYS_MAX; index++) {
        if (!claim(index))
            continue;
        if (inherit)
            atomic_fetch_add(&local_inheritable_count, 1);
        *key = publish(index, destructor, inherit);
        return 0;
    }
    return -EAGAIN;
}

int local_key_delete(unsigned key)
{
    _Atomic uint32_t *at = &keys[index_of(key)].word;
    uint32_t word = atomic_load(at);
    uint32_t generation = word >> KEY_FLAG_BITS;

    if (!is_word_of(word, key) ||
        !atomic_compare_exchange_strong(at, &word, generation << KEY_FLAG_BITS))
        return -EINVAL;
    if (word & KEY_INHERITS)
        atomic_fetch_sub(&local_inheritable_count, 1);
    return 0;
}

/* NULL: it has none, or was deleted. */
static local_destructor destructor_of(unsigned key)
{
    local_destructor destructor =
        atomic_load_explicit(&keys[index_of(key)].destructor, memory_order_acquire);

    return is_live(key) ? destructor : NULL;
}

/* ---- slots ----------------------------------------------------------------------------------- */

static struct task_locals *locals_of(const struct gring_task *task)
{
    return task->extras ? task->extras->locals : NULL;
}

void *local_get(const struct gring_task *task, unsigned key)
{
    const struct task_locals *locals = locals_of(task);
    unsigned index = index_of(key);

    if (!locals || index >= locals->slot_count || locals->slots[index].key != key)
        return NULL;
    return is_live(key) ? locals->slots[index].value : NULL;
}

/* Keys are given out from index 0: few keys, few slots. */
static struct task_locals *make_room(struct gring_task *task, unsigned index)
{
    struct task_extras *extras = task_extras(task);
    unsigned before = extras && extras->locals ? extras->locals->slot_count : 0;
    unsigned count = before ? before : 4;
    struct task_locals *locals;

    if (!extras || index < before)
        return extras ? extras->locals : NULL;
    while (count <= index)
        count *= 2;
    locals = realloc(extras->locals, sizeof *locals + count * sizeof locals->slots[0]);
    if (!locals)
        return NULL;
    for (unsigned slot = before; slot < count; slot++)
        locals->slots[slot] = (struct local_slot){ .value = NULL };
    locals->slot_count = count;
    extras->locals = locals;
    return locals;
}

static int put(struct gring_task *task, const struct local_slot *slot)
{
    struct task_locals *locals = make_room(task, index_of(slot->key));

    if (!locals)
        return -ENOMEM;
    locals->slots[index_of(slot->key)] = *slot;
    return 0;
}

int local_set(struct gring_task *task, unsigned key, void *value)
{
    if (!is_live(key))
        return -EINVAL;
    return put(task, &(struct local_slot){ .value = value, .key = key });
}

/* ---- spawn and end --------------------------------------------------------------------------- */

static bool is_inheritable(const struct local_slot *slot)
{
    uint32_t word = atomic_load_explicit(&keys[index_of(slot->key)].word, memory_order_relaxed);

    return slot->value && is_word_of(word, slot->key) && word & KEY_INHERITS;
}

int local_inherit(struct gring_task *task, const struct gring_task *spawner)
{
    const struct task_locals *locals = spawner ? locals_of(spawner) : NULL;

    for (unsigned index = 0; locals && index < locals->slot_count; index++) {
        struct local_slot slot = locals->slots[index];

        if (!is_inheritable(&slot))
            continue;
        slot.inherited = true;
        if (put(task, &slot) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* The value is gone before its destructor runs, which may set another one. */
static bool destroy(struct local_slot *slot)
{
    local_destructor destructor = slot->value && !slot->inherited ? destructor_of(slot->key) : NULL;
    void *value = slot->value;

    if (!destructor)
        return false;
    slot->value = NULL;
    destructor(value);
    return true;
}

void local_forget(struct gring_task *task)
{
    free(task->extras->locals);
    task->extras->locals = NULL;
}

bool local_destroy_round(struct gring_task *task)
{
    bool called = false;

    /* locals_of each time: a destructor that sets a value may have moved them */
    for (unsigned index = 0; locals_of(task) && index < locals_of(task)->slot_count; index++)
        called |= destroy(&locals_of(task)->slots[index]);
    return called;
}

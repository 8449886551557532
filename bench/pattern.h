/*
 * Bytes that tell where they belong, and a checksum that does not care how a stream was cut.
 *
 * Every 8-byte word of a message is a function of a key and of its place in the message; the key
 * comes from the run, the connection and the sequence number. A byte that belongs to another
 * connection, to an earlier request or to another offset therefore differs, but for one case in 256
 * per byte.
 */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t pattern_mix(uint64_t value)
{
    value = (value ^ (value >> 32)) * 0xd6e8feb86659fd93ull;
    value = (value ^ (value >> 32)) * 0xd6e8feb86659fd93ull;
    return value ^ (value >> 32);
}

static inline uint64_t pattern_key(uint64_t run, uint64_t connection, uint64_t sequence)
{
    return pattern_mix(pattern_mix(run + connection) + sequence);
}

static inline uint64_t pattern_word(uint64_t key, uint64_t word_index)
{
    uint64_t word = (key + word_index) * 0x9e3779b97f4a7c15ull;

    return word ^ (word >> 32);
}

/* Fills `buf` with the words of `key` from word `first_word` on; the last word may be cut. */
static inline void pattern_fill(void *buf, size_t size_bytes, uint64_t key, uint64_t first_word)
{
    size_t word_count = size_bytes / 8;
    char *out = buf;
    uint64_t word;

    for (size_t i = 0; i < word_count; i++) {
        word = pattern_word(key, first_word + i);
        memcpy(out + i * 8, &word, 8);
    }
    if (size_bytes % 8) {
        word = pattern_word(key, first_word + word_count);
        memcpy(out + word_count * 8, &word, size_bytes % 8);
    }
}

/* Returns how many of `size_bytes` bytes differ; the caller knows that some do. */
static inline size_t pattern_count_differences(const char *left, const char *right,
                                               size_t size_bytes)
{
    size_t count = 0;

    for (size_t i = 0; i < size_bytes; i++)
        count += left[i] != right[i];
    return count;
}

/* A running checksum; equal streams give equal sums however they were cut. Starts as all zero. */
struct checksum {
    uint64_t sum;
    uint64_t partial; /* bytes that do not make a word yet, the oldest lowest */
    unsigned partial_bytes;
};

static inline void checksum_word(struct checksum *checksum, uint64_t word)
{
    uint64_t mixed = (checksum->sum ^ word) * 0x9e3779b97f4a7c15ull;

    checksum->sum = mixed ^ (mixed >> 29);
}

static inline void checksum_byte(struct checksum *checksum, unsigned char byte)
{
    checksum->partial |= (uint64_t)byte << (8 * checksum->partial_bytes);
    if (++checksum->partial_bytes < 8)
        return;
    checksum_word(checksum, checksum->partial);
    checksum->partial = 0;
    checksum->partial_bytes = 0;
}

static inline void checksum_add(struct checksum *checksum, const void *buf, size_t size_bytes)
{
    const unsigned char *in = buf;
    const unsigned char *end = in + size_bytes;
    uint64_t word;

    while (in < end && checksum->partial_bytes)
        checksum_byte(checksum, *in++);
    for (; end - in >= 8; in += 8) {
        memcpy(&word, in, 8);
        checksum_word(checksum, word);
    }
    while (in < end)
        checksum_byte(checksum, *in++);
}

static inline uint64_t checksum_value(const struct checksum *checksum)
{
    return pattern_mix(checksum->sum ^ checksum->partial ^ checksum->partial_bytes);
}

#endif

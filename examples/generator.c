/*
 * generator - all arrangements of a word's letters, by generators of generators.
 *
 * Usage: generator WORD            (1 to 8 letters)
 * Prints WORD's arrangements, one a line. Those of a word are those of its rest, with the first
 * letter put at each place in turn; so each generator asks another one for the arrangements of a
 * shorter word, and there are as many of them, each on a stack of its own, as letters. None
 * computes more than it is asked for.
 */
#include <greenring/co.h>
#include <greenring/greenring.h>
#include <stdio.h>
#include <string.h>

enum { LETTERS_MAX = 8 };

/* rest with the letter at that place */
static void insert(char *word, char letter, size_t place, const char *rest)
{
    memcpy(word, rest, place);
    word[place] = letter;
    strcpy(word + place + 1, rest + place);
}

/* -1: nobody wants more. */
static int yield_each_place(gring_gen *gen, char letter, const char *rest)
{
    char word[LETTERS_MAX + 1];

    for (size_t place = 0; place <= strlen(rest); place++) {
        insert(word, letter, place, rest);
        if (gring_gen_yield(gen, word) < 0)
            return -1;
    }
    return 0;
}

static void arrange(gring_gen *gen, void *arg)
{
    char *word = arg;
    gring_gen *shorter;
    void *rest;

    if (!*word) {
        gring_gen_yield(gen, word);
        return;
    }
    shorter = gring_gen_new(arrange, word + 1);
    if (!shorter)
        perror("generator");
    while (shorter && gring_gen_next(shorter, &rest) > 0)
        if (yield_each_place(gen, *word, rest) < 0)
            break;
    gring_gen_free(shorter);
}

static void *print_all(void *word)
{
    gring_gen *words = gring_gen_new(arrange, word);
    void *arrangement;

    if (!words)
        return perror("generator"), gring_fail(1);
    while (gring_gen_next(words, &arrangement) > 0)
        puts(arrangement);
    gring_gen_free(words);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 2 || !*argv[1] || strlen(argv[1]) > LETTERS_MAX) {
        fprintf(stderr, "usage: generator WORD   (1 to %d letters)\n", LETTERS_MAX);
        return 2;
    }
    return gring_run(print_all, argv[1], NULL) != 0;
}

/* A model as libFuzzer wants it. Compiled once for each: MODEL. */
#include <stddef.h>
#include <stdint.h>

void MODEL(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    MODEL(data, size);
    return 0;
}

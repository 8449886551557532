/* base/sys.h: what is promised of single wrappers. */
#include "base/sys.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(sys, a_futex_wait_that_need_not_wait_leaves_errno_alone)
{
    atomic_uint word = 1;

    errno = EIO;
    sys_futex_wait(&word, 0);
    cr_assert_eq(errno, EIO);
}

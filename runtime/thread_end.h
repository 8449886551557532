/*
 * A hub's thread must not end while the hub is open: pthread_exit in a task would leave the ring,
 * and every task and buffer in it, to nobody. It is caught as the thread ends.
 */
#ifndef GRING_RUNTIME_THREAD_END_H
#define GRING_RUNTIME_THREAD_END_H

/* Of the calling thread. Without a key to spare (PTHREAD_KEYS_MAX) it is not watched. */
void thread_end_watch(void);
void thread_end_unwatch(void);

#endif

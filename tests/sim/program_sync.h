/* What random programs do with sync objects: see program_sync.c. */
#ifndef TESTS_SIM_PROGRAM_SYNC_H
#define TESTS_SIM_PROGRAM_SYNC_H

/* Each step: 0, or -1 and errno as the call left it. */
int program_sync_begin(void);
int program_send(void);
int program_receive(void);
int program_event(void);
int program_choose(int fd); /* among others that this can be read; -1: not */
/* 1: a unit was taken, to be given back by program_release. */
int program_acquire(void);
void program_release(void);
/* When nobody else is left. */
void program_sync_end(void);

#endif

/*
 * What both fake QEMUs need: the far end of a control socket, random numbers, and the end of a test.
 */
#ifndef CONVERSATION_H
#define CONVERSATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Random numbers below `most`, one sequence a seed. */
uint64_t random_below(uint64_t *state, uint64_t most);
/* Ends the test with what was expected. */
void expect(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Our end of the plugin's control socket. */
extern int control_socket;
/* Makes a pair of sockets, with a buffer of this size for the plugin (0: the usual one), whose end it gives. */
int make_socket(int *ours, int buffer);
/* Reads so many bytes; false: there are no more. */
bool read_all(int fd, void *to, size_t size);
/* Sends so many bytes. */
void say(const char *bytes, size_t size);
/* Sends a command line and waits for its answer, a line of JSON; events are passed over. */
const char *ask(const char *line);
/* The next answer. */
const char *next_answer(void);
/* The answer's number of this name; fails without. */
uint64_t number_in(const char *answer, const char *name);

#endif

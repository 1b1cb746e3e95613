/* Memory under load from malloc and threads, as it is told: a word in, a word out. Built with the C library's malloc, run with others as well. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 4096, THREADS = 12, LARGEST = 4 << 20 };

static struct {
  char *at;
  size_t size;
} blocks[BLOCKS];
static uint32_t state = 12345;
static pthread_t threads[THREADS];
static int to_thread[THREADS][2], from_thread[THREADS][2], running;

static uint32_t number(void) { return (state = state * 1664525u + 1013904223u) >> 8; }

/* Mostly small, some beyond the threshold from which malloc maps. */
static size_t some_size(void) {
  switch (number() % 8) {
    case 0: return 1u << (17 + number() % 5);
    case 1: return 4096 + number() % 65536;
    default: return 16 + number() % 4096;
  }
}

static void grow(void) {
  for (int i = 0; i < BLOCKS / 4; i++) {
    int at = number() % BLOCKS;
    if (blocks[at].at == NULL && (blocks[at].at = malloc(blocks[at].size = some_size())) != NULL) memset(blocks[at].at, 1, blocks[at].size);
  }
}

static void enlarge(void) {
  for (int i = 0; i < BLOCKS; i += 3) {
    if (blocks[i].at == NULL || blocks[i].size > LARGEST || number() % 4) continue;
    char *more = realloc(blocks[i].at, 2 * blocks[i].size);
    if (more == NULL) continue;
    memset(more + blocks[i].size, 1, blocks[i].size);
    blocks[i].at = more;
    blocks[i].size *= 2;
  }
}

static void release(void) {
  for (int i = 0; i < BLOCKS; i++) {
    if (number() % 2) {
      free(blocks[i].at);
      blocks[i].at = NULL;
    }
  }
}

/* A thread has an arena of its own; it frees half of what it allocated, and waits. */
static void *work(void *number_of_thread) {
  int me = (int)(intptr_t)number_of_thread;
  char *mine[200], byte = 0;
  for (int i = 0; i < 200; i++)
    if ((mine[i] = malloc(1000 + i * 50)) != NULL) memset(mine[i], 1, 1000);
  for (int i = 0; i < 200; i += 2) free(mine[i]);
  if (write(from_thread[me][1], &byte, 1) != 1 || read(to_thread[me][0], &byte, 1) != 1) exit(1);
  for (int i = 1; i < 200; i += 2) free(mine[i]);
  return NULL;
}

static void start(void) {
  char byte;
  for (int i = 0; i < THREADS; i++) {
    if (pipe(to_thread[i]) || pipe(from_thread[i]) || pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i)) exit(1);
  }
  for (running = 0; running < THREADS; running++)
    if (read(from_thread[running][0], &byte, 1) != 1) exit(1);
}

static void join(int from) {
  for (; running > from; running--) {
    int i = running - 1;
    if (write(to_thread[i][1], "!", 1) != 1 || pthread_join(threads[i], NULL)) exit(1);
    for (int end = 0; end < 2; end++) {
      close(to_thread[i][end]);
      close(from_thread[i][end]);
    }
  }
}

int main(void) {
  char word[64];
  printf("ready %d\n", getpid());
  fflush(stdout);
  while (fgets(word, sizeof word, stdin)) {
    if (!strcmp(word, "grow\n")) grow();
    if (!strcmp(word, "enlarge\n")) enlarge();
    if (!strcmp(word, "release\n")) release();
    if (!strcmp(word, "start\n") && !running) start();
    if (!strcmp(word, "join some\n")) join(THREADS / 2);
    if (!strcmp(word, "join\n")) join(0);
    puts("done");
    fflush(stdout);
  }
  return 0;
}

/* A service that maps and unmaps all the time and is stalled when it cannot. Usage: stalled MIB-RESIDENT.
 *
 * It does so every 100 us, in 5: it is hardly ever preempted in the middle of it, so that a long one has waited for a lock.
 * A line in, a line out: [largest in us since the last line, how many of more than 1 ms]. Without transparent huge pages. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { EACH = 16 * 4096, PAUSE_NS = 100000, LONG_NS = 1000000 };

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static char *map(size_t size) {
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return memory;
}

int main(int count, char **words) {
    size_t size = (size_t)(count > 1 ? atol(words[1]) : 64) << 20;
    struct timespec pause = {0, PAUSE_NS};
    struct pollfd input = {0, POLLIN, 0};
    char line[4096];
    long long largest = 0, longer = 0;
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    memset(map(size), 1, size);
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    for (;;) {
        long long started = now_ns(), took;
        char *memory = map(EACH);
        memory[0] = 1;
        munmap(memory, EACH);
        took = now_ns() - started;
        if (took > largest)
            largest = took;
        longer += took > LONG_NS;
        if (poll(&input, 1, 0) > 0) {
            if (read(0, line, sizeof line) <= 0)
                return 0;
            printf("[%.1f, %lld]\n", largest / 1000.0, longer);
            fflush(stdout);
            largest = longer = 0;
        }
        nanosleep(&pause, NULL);
    }
}

// The animals of the zoo that are written in C. Usage: animals NAME RATE
//
// Says `ready PID`, then does one step for each line that it gets and answers with `done`, and the pid of a second process if there is one.
// RATE scales how much a step takes. What a step takes varies by a fifth, by a series of numbers that is the same each time; beside it, every
// animal allocates and frees a little, as any service does. Pages are always written to: what is said to grow is resident.
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define PAGE ((size_t)4096)
#define HUGE_PAGE (2 * MIB)
// Ticks at which a cache is emptied, and those in which a service warms up.
#define FLUSH_EVERY 10
#define WARM_AFTER_RESTART 3

static double rate = 1;
static uint64_t state = 88172645463325252u;
// A compiler leaves out an allocation that nobody can see.
static void *volatile seen;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t below(uint64_t bound) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state % bound;
}

// So many MiB at this rate, to a fifth, in whole pages.
static size_t about(double mib) {
  return (size_t)(mib * rate * (0.8 + 0.4 * (double)below(1000) / 1000) * MIB) / PAGE * PAGE;
}

static size_t exactly(double mib) {
  return (size_t)(mib * rate * MIB) / PAGE * PAGE;
}

static void *filled(void *block, size_t size) {
  if (block == NULL || block == MAP_FAILED) fail("no memory");
  memset(block, 1, size);
  return seen = block;
}

static void *reserved(size_t size) {
  void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) fail("mmap");
  return block;
}

static void small_blocks(size_t total) {
  for (size_t size; total > 0; total -= size < total ? size : total) {
    size = 48 + below(1000);
    filled(malloc(size), size);
  }
}

static void big_blocks(size_t total) {
  for (size_t size; total > 0; total -= size < total ? size : total) {
    size = 160 * KIB + below(400 * KIB);
    filled(malloc(size), size);
  }
}

// What any service does besides.
static void be_busy(void) {
  void *blocks[64];
  size_t count = below(64);
  for (size_t i = 0; i < count; i++) {
    size_t size = 16 + below(6000);
    blocks[i] = filled(malloc(size), size);
  }
  while (count > 0) free(blocks[--count]);
}

static void do_nothing(int tick) {
  (void)tick;
}

// Leaks.

static void leak_small(int tick) {
  (void)tick;
  small_blocks(about(2));
}

static void leak_big(int tick) {
  (void)tick;
  big_blocks(about(2));
}

#define WORKERS 4
static pthread_barrier_t begun, ended;

static _Noreturn void *leak_in_arena(void *seed) {
  for (uint64_t number = (uintptr_t)seed;;) {
    pthread_barrier_wait(&begun);
    for (size_t size, total = exactly(1.5 / WORKERS); total > 0; total -= size < total ? size : total) {
      number = number * 6364136223846793005u + 1442695040888963407u;
      size = 48 + (number >> 33) % 1000;
      memset(malloc(size), 1, size);
    }
    pthread_barrier_wait(&ended);
  }
}

static void begin_arenas(void) {
  pthread_barrier_init(&begun, NULL, WORKERS + 1);
  pthread_barrier_init(&ended, NULL, WORKERS + 1);
  for (uintptr_t i = 1; i <= WORKERS; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, leak_in_arena, (void *)i) != 0) fail("pthread_create");
  }
}

static void leak_arenas(int tick) {
  (void)tick;
  pthread_barrier_wait(&begun);
  pthread_barrier_wait(&ended);
}

// A thread uses 128 KiB of its stack.
static void use_stack(void) {
  volatile char stack[128 * KIB];
  for (size_t at = 0; at < sizeof stack; at += PAGE) stack[at] = 1;
}

static pthread_barrier_t met;

static void *be_stuck(void *argument) {
  use_stack();
  pthread_barrier_wait(&met);
  for (;;) pause();
  return argument;
}

static void leak_stuck_threads(int tick) {
  (void)tick;
  unsigned count = (unsigned)(8 * rate);
  pthread_barrier_init(&met, NULL, count + 1);
  for (unsigned i = 0; i < count; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, be_stuck, NULL) != 0) fail("pthread_create");
  }
  pthread_barrier_wait(&met);
}

static _Atomic pid_t last_thread;

static void *end_soon(void *argument) {
  use_stack();
  free(filled(malloc(500), 500));
  last_thread = gettid();
  return argument;
}

// Threads that have ended, and that nobody joins: their stacks stay, of which malloc's library gives back all but the last 16 KiB.
static void leak_unjoined_threads(int tick) {
  (void)tick;
  for (unsigned i = 0; i < (unsigned)(24 * rate); i++) {
    pthread_t thread;
    last_thread = 0;
    if (pthread_create(&thread, NULL, end_soon, NULL) != 0) fail("pthread_create");
    while (last_thread == 0 || tgkill(getpid(), last_thread, 0) == 0) sched_yield();
  }
}

static void leak_memfd(int tick) {
  (void)tick;
  size_t size = about(1);
  int fd = memfd_create("frame", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, (off_t)size) != 0) fail("memfd");
  filled(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), size);
  close(fd);
}

static int shm_file = -1;
static char *grown;
static size_t grown_size;

static void begin_shm(void) {
  char path[64];
  snprintf(path, sizeof path, "/dev/shm/zoo-%d", getpid());
  shm_file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (shm_file < 0) fail(path);
  // Whatever ends this process, nothing of it stays.
  unlink(path);
  grown_size = PAGE;
  if (ftruncate(shm_file, (off_t)grown_size) != 0) fail(path);
  grown = filled(mmap(NULL, grown_size, PROT_READ | PROT_WRITE, MAP_SHARED, shm_file, 0), grown_size);
}

static void grow_block(size_t by) {
  grown = mremap(grown, grown_size, grown_size + by, MREMAP_MAYMOVE);
  if (grown == MAP_FAILED) fail("mremap");
  filled(grown + grown_size, by);
  grown_size += by;
}

static void leak_shm(int tick) {
  (void)tick;
  size_t by = about(1);
  if (ftruncate(shm_file, (off_t)(grown_size + by)) != 0) fail("ftruncate");
  grow_block(by);
}

static void leak_sysv(int tick) {
  (void)tick;
  size_t size = about(1);
  int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
  if (id < 0) fail("shmget");
  void *segment = shmat(id, NULL, 0);
  // From now on it lives as long as it is attached.
  shmctl(id, IPC_RMID, NULL);
  filled(segment, size);
}

static void begin_mremap(void) {
  grown_size = MIB;
  grown = filled(reserved(grown_size), grown_size);
}

static void leak_mremap(int tick) {
  (void)tick;
  grow_block(about(1.5));
}

// Neighbours of other permissions do not merge; nothing of them is ever touched.
static void leak_mappings(int tick) {
  (void)tick;
  for (int i = 0; i < (int)(200 * rate); i++)
    if (mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) fail("mmap");
}

static char *region;
static size_t used;

static void begin_region(void) {
  region = reserved(512 * MIB);
}

static void touch_more(size_t by) {
  filled(region + used, by);
  used += by;
}

static void leak_reserved(int tick) {
  (void)tick;
  touch_more(about(1));
}

static void leak_late(int tick) {
  if (tick >= 18) small_blocks(about(2));
}

static void leak_until_fixed(int tick) {
  if (tick <= 12) small_blocks(about(2));
}

static void leak_in_bursts(int tick) {
  (void)tick;
  for (uint64_t blocks = below(5); blocks > 0; blocks--) {
    size_t size = exactly(0.75);
    filled(malloc(size), size);
  }
}

// What is collected now and then is ten times what leaks meanwhile; both are the same kind of memory.
static int collect_at = 5;

static void leak_under_sawtooth(int tick) {
  size_t leaked = exactly(0.4);
  filled(reserved(leaked), leaked);
  touch_more(exactly(4));
  if (tick >= collect_at) {
    madvise(region, used, MADV_DONTNEED);
    used = 0;
    collect_at += 4 + (int)below(3);
  }
}

// No leaks.

static void warm_up(int tick) {
  if (tick <= 8) small_blocks(about(5));
}

static void warm_up_after_restart(int tick) {
  if (tick <= WARM_AFTER_RESTART) small_blocks(about(5));
}

#define SLOTS 20000
static void *slots[SLOTS];

// Each key is in the cache from its first request on: the fewer are missing, the slower it grows.
static void fill_cache(int tick) {
  (void)tick;
  for (int i = 0; i < (int)(SLOTS / 4 * rate); i++) {
    uint64_t key = below(SLOTS);
    if (slots[key] == NULL) slots[key] = filled(malloc(2 * KIB), 2 * KIB);
  }
}

#define BURST 240000
static void *burst[BURST];

// Of blocks that are freed in between others no page is given back.
static void burst_once(int tick) {
  size_t count = (size_t)(BURST / 4 * rate);
  if (tick == 10 || tick == 11)
    for (size_t i = (size_t)(tick - 10) * count / 2; i < (size_t)(tick - 9) * count / 2; i++) burst[i] = filled(malloc(KIB), KIB);
  if (tick == 13)
    for (size_t i = 0; i < count; i += 2) free(burst[i]);
}

static void collect_garbage(int tick) {
  touch_more(about(4));
  if (tick >= collect_at) {
    // What is still in use lies at the beginning.
    madvise(region + 4 * MIB, used, MADV_DONTNEED);
    used = 4 * MIB;
    collect_at += 4 + (int)below(3);
  }
}

static void *entries[200000];
static size_t entry_count;

static void fill_and_free(int tick) {
  for (size_t size, total = about(2.5); total > 0 && entry_count < sizeof entries / sizeof *entries; total -= size < total ? size : total) {
    size = 200 + below(1000);
    entries[entry_count++] = filled(malloc(size), size);
  }
  if (tick % FLUSH_EVERY == 8)
    while (entry_count > 0) free(entries[--entry_count]);
}

// malloc keeps what is freed, unless it is told to give it back.
static void fill_and_flush(int tick) {
  fill_and_free(tick);
  if (entry_count == 0) malloc_trim(0);
}

static void step_once(int tick) {
  if (tick == 11) big_blocks(exactly(48));
}

static size_t file_pages, page_read;
static const volatile char *file;

// A file on disk that is mapped as a whole, and of which ever more is read.
static void begin_page_cache(void) {
  char path[4096];
  snprintf(path, sizeof path, "%s/zoo-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
  int fd = mkstemp(path);
  if (fd < 0) fail(path);
  unlink(path);
  size_t size = exactly(2) * 32;
  file_pages = size / PAGE;
  char block[64 * KIB];
  memset(block, 'x', sizeof block);
  for (size_t at = 0; at < size; at += sizeof block)
    if (write(fd, block, sizeof block) != sizeof block) fail("write");
  // Until they are written back its pages are dirty.
  fsync(fd);
  file = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  if (file == MAP_FAILED) fail("mmap");
  close(fd);
}

static void read_more(int tick) {
  (void)tick;
  for (size_t end = page_read + about(1.6) / PAGE; page_read < end && page_read < file_pages; page_read++) (void)file[page_read * PAGE];
}

static pid_t child;
static int to_child[2], from_child[2];

static void one_byte(int fd, ssize_t (*move)(int, void *, size_t)) {
  char byte = 'x';
  if (move(fd, &byte, 1) != 1) _exit(0);
}

static ssize_t put(int fd, void *bytes, size_t count) {
  return write(fd, bytes, count);
}

// A parent with much memory, and a child that writes to ever more of it: each page that it writes to is copied.
static void begin_fork(void) {
  size_t size = 64 * MIB;
  region = filled(reserved(size), size);
  if (pipe(to_child) != 0 || pipe(from_child) != 0) fail("pipe");
  child = fork();
  if (child != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  close(to_child[1]);
  for (one_byte(to_child[0], read); used < size; one_byte(to_child[0], read)) {
    size_t by = about(1.2);
    touch_more(by < size - used ? by : size - used);
    one_byte(from_child[1], put);
  }
  for (;;) one_byte(from_child[1], put), one_byte(to_child[0], read);
}

static void copy_more(int tick) {
  (void)tick;
  one_byte(to_child[1], put);
  one_byte(from_child[0], read);
}

// One byte in each huge page: small pages at first, and from one moment on huge ones.
static void begin_huge(void) {
  prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
  used = exactly(48) / HUGE_PAGE * HUGE_PAGE;
  region = (char *)(((uintptr_t)reserved(used + HUGE_PAGE) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
}

static void bloat_once(int tick) {
  if (tick != 12) return;
  madvise(region, used, MADV_HUGEPAGE);
  for (size_t at = 0; at < used; at += HUGE_PAGE) region[at] = 1;
}

static void begin_paging(void) {
  region = filled(reserved(128 * MIB), 128 * MIB);
}

static void page_out(int tick) {
  (void)tick;
  size_t by = about(1.5);
  if (madvise(region + used, by, MADV_PAGEOUT) != 0) fail("MADV_PAGEOUT");
  used += by;
}

#define LIVE 6000
static struct {
  void *start;
  size_t size;
  bool mapped;
} live[LIVE];

static void replace_some(int tick) {
  (void)tick;
  for (int i = 0; i < (int)(LIVE / 2 * rate); i++) {
    size_t place = below(LIVE);
    if (live[place].mapped) munmap(live[place].start, live[place].size);
    else free(live[place].start);
    // Eight places are for large blocks, so that what is alive is always about the same.
    live[place].mapped = place < 8;
    live[place].size = live[place].mapped ? (200 + below(200)) * KIB : 16 + below(6000);
    live[place].start = live[place].mapped ? reserved(live[place].size) : malloc(live[place].size);
    filled(live[place].start, live[place].size);
  }
}

// Until malloc has found the size that it needs for this.
static void begin_churn(void) {
  for (int i = 0; i < 60; i++) replace_some(0);
}

static void run_threads(int tick) {
  (void)tick;
  pthread_t threads[64];
  unsigned count = (unsigned)(16 * rate);
  for (unsigned i = 0; i < count; i++)
    if (pthread_create(&threads[i], NULL, end_soon, NULL) != 0) fail("pthread_create");
  for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static void begin_threads(void) {
  for (int i = 0; i < 10; i++) run_threads(0);
}

static void begin_shrinking(void) {
  used = exactly(2.5) * 32;
  region = filled(reserved(used), used);
}

static void give_back(int tick) {
  (void)tick;
  size_t by = about(2);
  used -= by;
  munmap(region + used, by);
}

static const struct animal {
  const char *name;
  void (*begin)(void);
  void (*step)(int tick);
} animals[] = {
    {"small-blocks", NULL, leak_small},
    {"big-blocks", NULL, leak_big},
    {"arenas", begin_arenas, leak_arenas},
    {"stuck-threads", NULL, leak_stuck_threads},
    {"unjoined-threads", NULL, leak_unjoined_threads},
    {"memfd", NULL, leak_memfd},
    {"dev-shm", begin_shm, leak_shm},
    {"sysv", NULL, leak_sysv},
    {"mremap", begin_mremap, leak_mremap},
    {"mappings", NULL, leak_mappings},
    {"reserved", begin_region, leak_reserved},
    {"late", NULL, leak_late},
    {"fixed", NULL, leak_until_fixed},
    {"bursts", NULL, leak_in_bursts},
    {"leak-under-sawtooth", begin_region, leak_under_sawtooth},
    {"leak-restarted", NULL, leak_small},
    {"warm-up", NULL, warm_up},
    {"warm-up-restarted", NULL, warm_up_after_restart},
    {"cache", NULL, fill_cache},
    {"retention", NULL, burst_once},
    {"collector", begin_region, collect_garbage},
    {"flushed-cache", NULL, fill_and_flush},
    {"flushed-cache-kept", NULL, fill_and_free},
    {"one-step", NULL, step_once},
    {"page-cache", begin_page_cache, read_more},
    {"copy-on-write", begin_fork, copy_more},
    {"huge-pages", begin_huge, bloat_once},
    {"paging", begin_paging, page_out},
    {"churn", begin_churn, replace_some},
    {"thread-pool", begin_threads, run_threads},
    {"shrinking", begin_shrinking, give_back},
    {"idle", NULL, do_nothing},
};

int main(int argc, char **argv) {
  const struct animal *animal = NULL;
  for (size_t i = 0; argc == 3 && i < sizeof animals / sizeof *animals; i++)
    if (strcmp(animals[i].name, argv[1]) == 0) animal = &animals[i];
  if (animal == NULL) {
    fprintf(stderr, "animals NAME RATE\n");
    return 2;
  }
  rate = atof(argv[2]);
  // Where every program gets huge pages, they would hide what small steps take.
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  if (animal->begin != NULL) animal->begin();
  printf("ready %d\n", getpid());
  fflush(stdout);
  char line[64];
  for (int tick = 1; fgets(line, sizeof line, stdin) != NULL; tick++) {
    be_busy();
    animal->step(tick);
    if (child != 0) printf("done %d\n", child);
    else printf("done\n");
    fflush(stdout);
  }
  return 0;
}
